/* Checking weights, in memory and in a file: planted bad scales and values, from many threads, and misuse. Quantising
 * with a context: the same bytes as without, and what importance does. */
#include "common.h"

#include <pthread.h>

#define NONE UINT64_MAX
#define UNTOUCHED UINT64_C(12345)
#define COUNT 5000

static void set_half(unsigned char *at, unsigned bits) {
    at[0] = (unsigned char)bits;
    at[1] = (unsigned char)(bits >> 8);
}

/* Zeros, but for one byte or one half in one block: where, and what is the index of the first bad block. */
static int plant(gguffuse_context *context, uint32_t type, size_t block_bytes, size_t offset, size_t size,
                 unsigned value) {
    static const size_t places[3] = {0, COUNT / 2, COUNT - 1};
    unsigned char *data = (unsigned char *)allocate(COUNT * block_bytes + 1) + 1; /* at any alignment */
    uint64_t found = UNTOUCHED;
    size_t i;
    CHECK_OK(gguffuse_validate(context, type, data, COUNT * block_bytes, &found));
    CHECK(found == NONE);
    for (i = 0; i < 3; i++) {
        unsigned char *field = data + places[i] * block_bytes + offset;
        field[0] = (unsigned char)value;
        if (size == 2) {
            set_half(field, value);
        }
        found = UNTOUCHED;
        CHECK_OK(gguffuse_validate(context, type, data, COUNT * block_bytes, &found));
        CHECK(found == places[i]);
        /* One block earlier the data are good, and the first block of what is left is the bad one. */
        found = UNTOUCHED;
        CHECK_OK(gguffuse_validate(context, type, data, places[i] * block_bytes, &found));
        CHECK(found == NONE);
        CHECK_OK(gguffuse_validate(context, type, data + places[i] * block_bytes, block_bytes, &found));
        CHECK(found == 0);
        memset(field, 0, size);
    }
    free(data - 1);
    return 0;
}

static int planted(void) {
    static const uint32_t threads[3] = {1, 2, 5};
    size_t i;
    for (i = 0; i < 3; i++) {
        gguffuse_context *context = context_with(threads[i], 0);
        CHECK(context);
        RUN(plant(context, GGUFFUSE_TYPE_Q4_K, 144, 0, 2, 0x7e00)); /* d is NaN */
        RUN(plant(context, GGUFFUSE_TYPE_Q4_K, 144, 2, 2, 0xfc00)); /* dmin is -infinity */
        RUN(plant(context, GGUFFUSE_TYPE_Q6_K, 210, 208, 2, 0x7c00));
        RUN(plant(context, GGUFFUSE_TYPE_Q5_0, 22, 0, 2, 0x7c01));
        RUN(plant(context, GGUFFUSE_TYPE_Q8_0, 34, 0, 2, 0xffff));
        RUN(plant(context, GGUFFUSE_TYPE_MXFP4, 17, 0, 1, 255));
        RUN(plant(context, GGUFFUSE_TYPE_NVFP4, 36, 3, 1, 127));
        RUN(plant(context, GGUFFUSE_TYPE_F16, 2, 0, 2, 0x7e00));
        RUN(plant(context, GGUFFUSE_TYPE_BF16, 2, 0, 2, 0x7f80));
        RUN(plant(context, GGUFFUSE_TYPE_F32, 4, 2, 2, 0x7fc0));
        RUN(plant(context, GGUFFUSE_TYPE_F64, 8, 6, 2, 0x7ff0));
        CHECK_OK(gguffuse_context_free(context));
    }
    return 0;
}

/* A file with a good tensor and a bad one. */
static int in_a_file(void) {
    builder b = new_builder();
    uint64_t dims[2] = {512, 100}, none[2] = {256, 0}, found = UNTOUCHED;
    unsigned char *blocks = (unsigned char *)allocate(200 * Q4K_BYTES);
    gguffuse_context *context = context_with(2, 0);
    gguffuse_file *file = NULL;
    bytes raw;
    add_tensor(&b, "good", GGUFFUSE_TYPE_Q4_K, 2, dims, blocks, 200 * Q4K_BYTES);
    set_half(blocks + 199 * Q4K_BYTES, 0x7fff);
    set_half(blocks + 57 * Q4K_BYTES + 2, 0x7c00);
    add_tensor(&b, "bad", GGUFFUSE_TYPE_Q4_K, 2, dims, blocks, 200 * Q4K_BYTES);
    add_tensor(&b, "empty", GGUFFUSE_TYPE_Q4_K, 2, none, NULL, 0);
    raw = finish(&b, NULL);
    CHECK(context);
    CHECK_OK(gguffuse_file_open_memory(raw.data, raw.size, NULL, &file));
    CHECK_OK(gguffuse_tensor_validate(context, file, 0, &found));
    CHECK(found == NONE);
    CHECK_OK(gguffuse_tensor_validate(context, file, 1, &found));
    CHECK(found == 57);
    CHECK_OK(gguffuse_tensor_validate(context, file, 2, &found));
    CHECK(found == NONE);

    found = UNTOUCHED;
    CHECK_STATUS(gguffuse_tensor_validate(context, file, 3, &found), GGUFFUSE_ERROR_NOT_FOUND);
    CHECK_STATUS(gguffuse_tensor_validate(NULL, file, 0, &found), GGUFFUSE_ERROR_INVALID_HANDLE);
    CHECK_STATUS(gguffuse_tensor_validate(context, NULL, 0, &found), GGUFFUSE_ERROR_INVALID_HANDLE);
    CHECK_STATUS(gguffuse_tensor_validate((gguffuse_context *)file, file, 0, &found), GGUFFUSE_ERROR_INVALID_HANDLE);
    CHECK_STATUS(gguffuse_tensor_validate(context, file, 0, (uint64_t *)((char *)&found + 4)), GGUFFUSE_ERROR_MISALIGNED);
    CHECK_OK(gguffuse_file_close(file));
    CHECK_STATUS(gguffuse_tensor_validate(context, file, 0, &found), GGUFFUSE_ERROR_INVALID_HANDLE);
    CHECK_OK(gguffuse_context_free(context));
    CHECK(found == UNTOUCHED);
    free(raw.data);
    free(blocks);
    return 0;
}

static int misused(void) {
    uint64_t data[36], found = UNTOUCHED;
    gguffuse_context *context = context_with(1, 0);
    memset(data, 0, sizeof data);
    CHECK(context);
    CHECK_STATUS(gguffuse_validate(NULL, GGUFFUSE_TYPE_Q4_K, data, 288, &found), GGUFFUSE_ERROR_INVALID_HANDLE);
    CHECK_STATUS(gguffuse_validate(context, 4, data, 288, &found), GGUFFUSE_ERROR_UNSUPPORTED_TYPE);
    CHECK_STATUS(gguffuse_validate(context, 99, data, 288, &found), GGUFFUSE_ERROR_UNSUPPORTED_TYPE);
    CHECK_STATUS(gguffuse_validate(context, GGUFFUSE_TYPE_Q4_K, data, 287, &found), GGUFFUSE_ERROR_SHAPE);
    CHECK_STATUS(gguffuse_validate(context, GGUFFUSE_TYPE_Q4_K, data, 288, &data[35]), GGUFFUSE_ERROR_ALIASING);
    CHECK_STATUS(gguffuse_validate(context, GGUFFUSE_TYPE_Q4_K, data, SIZE_MAX, &found), GGUFFUSE_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(gguffuse_validate(context, GGUFFUSE_TYPE_Q4_K, data, 288, (uint64_t *)((char *)data + 1)),
                 GGUFFUSE_ERROR_MISALIGNED);
    CHECK(found == UNTOUCHED && data[35] == 0);
    CHECK_OK(gguffuse_validate(context, GGUFFUSE_TYPE_Q4_K, data, 0, &found));
    CHECK(found == NONE);
    memset(data, 255, sizeof data); /* integers have no bad blocks */
    CHECK_OK(gguffuse_validate(context, GGUFFUSE_TYPE_I64, data, sizeof data, &found));
    CHECK(found == NONE);
    CHECK_OK(gguffuse_context_free(context));
    return 0;
}

/* ---- many threads at once ---- */

typedef struct task {
    gguffuse_context *context;
    const unsigned char *data;
    size_t size;
    uint64_t expected;
    int result;
} task;

static int validate_often(const task *t) {
    int i;
    for (i = 0; i < 50; i++) {
        uint64_t found = UNTOUCHED;
        CHECK_OK(gguffuse_validate(t->context, GGUFFUSE_TYPE_Q8_0, t->data, t->size, &found));
        CHECK(found == t->expected);
    }
    return 0;
}

static void *run_task(void *argument) {
    task *t = (task *)argument;
    t->result = validate_often(t);
    return NULL;
}

static int by_many_threads(void) {
    enum { THREADS = 4, BLOCKS = 60000 };
    pthread_t threads[THREADS];
    task tasks[THREADS];
    gguffuse_context *context = context_with(3, 0);
    int i;
    CHECK(context);
    for (i = 0; i < THREADS; i++) {
        unsigned char *data = (unsigned char *)allocate((size_t)BLOCKS * 34);
        uint64_t bad = (uint64_t)(BLOCKS - 1 - 9000 * i);
        if (i > 0) {
            set_half(data + 34 * bad, 0x7c00);
            set_half(data + 34 * (BLOCKS - 1), 0x7e00);
        }
        tasks[i].context = context;
        tasks[i].data = data;
        tasks[i].size = (size_t)BLOCKS * 34;
        tasks[i].expected = i > 0 ? bad : NONE;
        tasks[i].result = 1;
        CHECK(pthread_create(&threads[i], NULL, run_task, &tasks[i]) == 0);
    }
    for (i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
        CHECK(tasks[i].result == 0);
        free((void *)tasks[i].data);
    }
    CHECK_OK(gguffuse_context_free(context));
    return 0;
}

/* ---- quantising ---- */

/* The sum of squared errors of Q4_K blocks, each weighted with its column's importance. */
static double weighted_error(const unsigned char *blocks, const float *source, size_t rows, size_t k,
                             const float *importance) {
    double sum = 0;
    size_t i;
    for (i = 0; i < rows * k; i++) {
        double error = q4k_weight(blocks + i / Q4K_ELEMENTS * Q4K_BYTES, (int)(i % Q4K_ELEMENTS), NULL) - (double)source[i];
        sum += error * error * (double)importance[i % k];
    }
    return sum;
}

static int quantised(void) {
    enum { ROWS = 64, K = 768, BYTES = ROWS * K / Q4K_ELEMENTS * Q4K_BYTES };
    static const uint32_t threads[3] = {1, 2, 5};
    float *source = floats(ROWS * K), *importance = floats(K);
    unsigned char *plain = (unsigned char *)allocate(BYTES), *out = (unsigned char *)allocate(BYTES + 1);
    unsigned char *weighted = (unsigned char *)allocate(BYTES);
    double with, without;
    size_t i;
    fill_normal(source, ROWS * K, 5);
    for (i = 0; i < K; i++) {
        importance[i] = i % 7 == 0 ? 50.0f : 0.5f;
    }
    CHECK_OK(gguffuse_quantize(GGUFFUSE_TYPE_Q4_K, source, ROWS, K, plain, BYTES));
    for (i = 0; i < 3; i++) {
        gguffuse_context *context = context_with(threads[i], 0);
        CHECK(context);
        out[BYTES] = 77;
        CHECK_OK(gguffuse_quantize_with(context, GGUFFUSE_TYPE_Q4_K, source, ROWS, K, NULL, out, BYTES + 1));
        CHECK(memcmp(out, plain, BYTES) == 0 && out[BYTES] == 77);
        CHECK_OK(gguffuse_quantize_with(context, GGUFFUSE_TYPE_Q4_K, source, ROWS, K, importance, out, BYTES + 1));
        if (i == 0) {
            memcpy(weighted, out, BYTES);
        }
        CHECK(memcmp(out, weighted, BYTES) == 0 && out[BYTES] == 77);
        CHECK_OK(gguffuse_context_free(context));
    }
    with = weighted_error(weighted, source, ROWS, K, importance);
    without = weighted_error(plain, source, ROWS, K, importance);
    printf("weighted error %g with importance, %g without\n", with, without);
    CHECK(with < 0.9 * without);
    free(source);
    free(importance);
    free(plain);
    free(out);
    free(weighted);
    return 0;
}

static int quantised_wrongly(void) {
    static const float refused[3] = {-1.0f, (float)NAN, (float)INFINITY};
    float source[512], importance[256];
    unsigned char out[2 * Q4K_BYTES], before[2 * Q4K_BYTES];
    gguffuse_context *context = context_with(2, 0);
    size_t i;
    memset(out, 77, sizeof out);
    memcpy(before, out, sizeof out);
    for (i = 0; i < 512; i++) {
        source[i] = (float)i;
        importance[i % 256] = 1;
    }
    CHECK(context);
#define REFUSED(c, type, from, rows, k, weights, to, size, status)                                                     \
    CHECK_STATUS(gguffuse_quantize_with(c, type, from, rows, k, weights, to, size), status)
    REFUSED(NULL, GGUFFUSE_TYPE_Q4_K, source, 2, 256, NULL, out, sizeof out, GGUFFUSE_ERROR_INVALID_HANDLE);
    REFUSED(context, 5, source, 2, 256, NULL, out, sizeof out, GGUFFUSE_ERROR_UNSUPPORTED_TYPE);
    REFUSED(context, GGUFFUSE_TYPE_IQ1_S, source, 2, 256, NULL, out, sizeof out, GGUFFUSE_ERROR_UNSUPPORTED_TYPE);
    REFUSED(context, GGUFFUSE_TYPE_Q4_K, source, 2, 255, NULL, out, sizeof out, GGUFFUSE_ERROR_SHAPE);
    REFUSED(context, GGUFFUSE_TYPE_Q4_K, source, SIZE_MAX, 256, NULL, out, sizeof out, GGUFFUSE_ERROR_SHAPE);
    REFUSED(context, GGUFFUSE_TYPE_Q4_K, source, 2, 256, NULL, out, sizeof out - 1, GGUFFUSE_ERROR_BUFFER_TOO_SMALL);
    REFUSED(context, GGUFFUSE_TYPE_Q4_K, source, 2, 256, NULL, source, sizeof source, GGUFFUSE_ERROR_ALIASING);
    REFUSED(context, GGUFFUSE_TYPE_Q4_K, source, 2, 256, importance, importance, 288, GGUFFUSE_ERROR_ALIASING);
    REFUSED(context, GGUFFUSE_TYPE_Q4_K, (float *)((char *)source + 1), 1, 256, NULL, out, sizeof out,
            GGUFFUSE_ERROR_MISALIGNED);
    REFUSED(context, GGUFFUSE_TYPE_Q4_K, source, 2, 256, (float *)((char *)importance + 2), out, sizeof out,
            GGUFFUSE_ERROR_MISALIGNED);
    for (i = 0; i < 3; i++) {
        importance[255] = refused[i];
        REFUSED(context, GGUFFUSE_TYPE_Q4_K, source, 2, 256, importance, out, sizeof out, GGUFFUSE_ERROR_INVALID_ARGUMENT);
    }
    CHECK(memcmp(out, before, sizeof out) == 0 && source[5] == 5.0f && importance[0] == 1.0f);
    CHECK_OK(gguffuse_quantize_with(context, GGUFFUSE_TYPE_Q4_K, source, 0, 256, NULL, out, sizeof out));
    CHECK(memcmp(out, before, sizeof out) == 0);
    CHECK_OK(gguffuse_context_free(context));
    return 0;
}

int main(void) {
    RUN(planted());
    RUN(in_a_file());
    RUN(misused());
    RUN(by_many_threads());
    RUN(quantised());
    RUN(quantised_wrongly());
    return 0;
}

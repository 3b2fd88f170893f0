/* Activations packed once for several weights: the bits of gguffuse_matmul, and, so that both cannot be wrong alike, sums
 * over an own decoder; every misuse of the handle; many threads on one; freeing under way; a forked child. */
#include "common.h"
#include <pthread.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { WEIGHTS = 3 };

static const uint32_t types[WEIGHTS] = {GGUFFUSE_TYPE_Q4_K, GGUFFUSE_TYPE_F16, GGUFFUSE_TYPE_F32};

/* x, and weights of every type with what gguffuse_matmul makes of them. */
typedef struct setting {
    size_t m, n, k, x_stride, x_length, y_length;
    float *x;
    unsigned char *w[WEIGHTS];
    size_t w_bytes[WEIGHTS];
    float *expected[WEIGHTS];
} setting;

static int make(setting *s, gguffuse_context *context, size_t m, size_t n, size_t k, size_t x_gap) {
    size_t i;
    int t;
    s->m = m;
    s->n = n;
    s->k = k;
    s->x_stride = k + x_gap;
    s->x_length = (m - 1) * s->x_stride + k;
    s->y_length = m * n;
    s->x = floats(s->x_length);
    fill_normal(s->x, s->x_length, 3 * m + 5 * n + 7 * k);
    for (i = 0; i < s->x_length; i += 701) {
        s->x[i] *= 30;
    }
    for (t = 0; t < WEIGHTS; t++) {
        s->w[t] = random_weights(types[t], n, k, 11 * (size_t)t + m + n + k, &s->w_bytes[t]);
        s->expected[t] = floats(s->y_length);
        CHECK_OK(gguffuse_matmul(context, types[t], s->w[t], s->w_bytes[t], n, k, s->x, s->x_length, s->x_stride, m,
                                 s->expected[t], s->y_length, 0));
    }
    return 0;
}

static void drop(setting *s) {
    int t;
    free(s->x);
    for (t = 0; t < WEIGHTS; t++) {
        free(s->w[t]);
        free(s->expected[t]);
    }
}

/* The bound of c-tests/matmul.c for EXACT, on one column of y. */
static int check_column(const setting *s, int t, const float *y, size_t column) {
    size_t i, c;
    for (i = 0; i < s->m; i++) {
        double sum = 0, all_terms = 0, blocks = 0, block_a = 0, largest_x = 0;
        for (c = 0; c < s->k; c++) {
            double a, w = weight(types[t], s->w[t], s->k, column, c, &a), x = (double)s->x[i * s->x_stride + c];
            sum += w * x;
            all_terms += a * fabs(x);
            block_a += a;
            largest_x = fmax(largest_x, fabs(x));
            if (c % 256 == 255 || c + 1 == s->k) {
                blocks += block_a * largest_x;
                block_a = largest_x = 0;
            }
        }
        CHECK(fabs((double)y[i * s->n + column] - sum) <=
              blocks / 2097152 + (double)(s->k + 16) * 1.2e-7 * all_terms + 1e-30);
    }
    return 0;
}

static int check_products(gguffuse_context *context, gguffuse_activations *a, const setting *s, int exact) {
    float *y = floats(s->y_length);
    size_t cut = s->n / 3, i;
    int t;
    for (t = 0; t < WEIGHTS; t++) {
        memset(y, 0x7f, s->y_length * sizeof *y);
        CHECK_OK(gguffuse_activations_matmul(context, a, types[t], s->w[t], s->w_bytes[t], s->n, s->k, y, s->y_length, 0));
        CHECK(memcmp(y, s->expected[t], s->y_length * sizeof *y) == 0);
        if (exact) {
            for (i = 0; i < s->n; i += 7) {
                RUN(check_column(s, t, y, i));
            }
        }
        memset(y, 0x7f, s->y_length * sizeof *y);
        CHECK_OK(gguffuse_activations_matmul_rows(context, a, types[t], s->w[t], s->w_bytes[t], s->n, s->k, cut, s->n, y,
                                                  s->y_length, s->n));
        for (i = 0; i < cut; i++) {
            CHECK(memcmp(&y[i], "\x7f\x7f\x7f\x7f", 4) == 0); /* columns outside of the range are untouched */
        }
        CHECK_OK(gguffuse_activations_matmul_rows(context, a, types[t], s->w[t], s->w_bytes[t], s->n, s->k, 0, cut, y,
                                                  s->y_length, 0));
        CHECK(memcmp(y, s->expected[t], s->y_length * sizeof *y) == 0);
    }
    free(y);
    return 0;
}

/* Shapes one after the other in one handle, in every precision. */
static int products(void) {
    static const size_t shapes[][4] = {/* m, n, k, gap */
                                       {1, 67, 512, 0}, {33, 41, 768, 3}, {2, 33, 256, 1}, {40, 30, 1280, 0}, {1, 301, 1024, 0}};
    uint32_t precision;
    size_t i;
    for (precision = 0; precision < 3; precision++) {
        gguffuse_context *context = context_with(2, precision);
        gguffuse_activations *a = NULL;
        CHECK(context);
        CHECK_OK(gguffuse_activations_new(&a));
        for (i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            setting s;
            RUN(make(&s, context, shapes[i][0], shapes[i][1], shapes[i][2], shapes[i][3]));
            CHECK_OK(gguffuse_activations_pack(context, a, s.x, s.x_length, s.x_stride, s.m, s.k));
            RUN(check_products(context, a, &s, precision == GGUFFUSE_PRECISION_EXACT));
            s.x[(s.m - 1) * s.x_stride + 100] = NAN; /* the copy is what counts */
            RUN(check_products(context, a, &s, 0));
            drop(&s);
        }
        CHECK_OK(gguffuse_activations_free(a));
        CHECK_OK(gguffuse_context_free(context));
    }
    return 0;
}

/* Rows with NaN and infinities; no rows; y in the memory of x. */
static int special(void) {
    gguffuse_context *context = context_with(2, 0);
    gguffuse_activations *a = NULL;
    setting s;
    float *y;
    int t, kind;
    CHECK(context);
    CHECK_OK(gguffuse_activations_new(&a));
    for (kind = 0; kind < 2; kind++) { /* decode and panel */
        RUN(make(&s, context, kind ? 40 : 3, 19, 512, 0));
        s.x[512 + 300] = kind ? INFINITY : NAN;
        y = floats(s.y_length);
        CHECK_OK(gguffuse_activations_pack(context, a, s.x, s.x_length, 0, s.m, s.k));
        for (t = 0; t < WEIGHTS; t++) {
            size_t i;
            CHECK_OK(gguffuse_matmul(context, types[t], s.w[t], s.w_bytes[t], s.n, s.k, s.x, s.x_length, 0, s.m,
                                     s.expected[t], s.y_length, 0));
            CHECK_OK(gguffuse_activations_matmul(context, a, types[t], s.w[t], s.w_bytes[t], s.n, s.k, y, s.y_length, 0));
            CHECK(memcmp(y, s.expected[t], s.y_length * sizeof *y) == 0);
            for (i = 0; i < s.y_length; i++) {
                CHECK(isfinite(y[i]) == (i / s.n != 1));
            }
        }
        free(y);
        CHECK_OK(gguffuse_activations_matmul(context, a, types[0], s.w[0], s.w_bytes[0], s.n, s.k, s.x, s.x_length, 0));
        CHECK(memcmp(s.x, s.expected[0], s.n * sizeof *y) == 0);
        /* packed anew, without rows */
        CHECK_OK(gguffuse_activations_pack(context, a, s.x, 0, 0, 0, s.k));
        s.x[0] = 77;
        CHECK_OK(gguffuse_activations_matmul(context, a, types[0], s.w[0], s.w_bytes[0], s.n, s.k, s.x, 0, 0));
        CHECK(s.x[0] == 77);
        drop(&s);
    }
    CHECK_OK(gguffuse_activations_free(a));
    CHECK_OK(gguffuse_context_free(context));
    return 0;
}

#define REFUSED(call) CHECK_STATUS(call, GGUFFUSE_ERROR_INVALID_HANDLE)

static int not_activations(gguffuse_context *context, gguffuse_file *file, gguffuse_activations *a) {
    unsigned char w[Q4K_BYTES];
    float x[512], y[64];
    memset(w, 0, sizeof w);
    memset(x, 0, sizeof x);
    if (a) {
        REFUSED(gguffuse_activations_free(a));
    }
    REFUSED(gguffuse_activations_pack(context, a, x, 256, 0, 1, 256));
    REFUSED(gguffuse_activations_matmul(context, a, GGUFFUSE_TYPE_Q4_K, w, sizeof w, 1, 256, y, 1, 0));
    REFUSED(gguffuse_activations_matmul_rows(context, a, GGUFFUSE_TYPE_Q4_K, w, sizeof w, 1, 256, 0, 1, y, 1, 0));
    REFUSED(gguffuse_activations_matmul_tensor(context, a, file, 0, y, 64, 0));
    return 0;
}

static int not_a_context(gguffuse_context *context, gguffuse_file *file, gguffuse_activations *a) {
    unsigned char w[Q4K_BYTES];
    float x[512], y[64];
    memset(w, 0, sizeof w);
    memset(x, 0, sizeof x);
    REFUSED(gguffuse_activations_pack(context, a, x, 256, 0, 1, 256));
    REFUSED(gguffuse_activations_matmul(context, a, GGUFFUSE_TYPE_Q4_K, w, sizeof w, 1, 256, y, 1, 0));
    REFUSED(gguffuse_activations_matmul_rows(context, a, GGUFFUSE_TYPE_Q4_K, w, sizeof w, 1, 256, 0, 1, y, 1, 0));
    REFUSED(gguffuse_activations_matmul_tensor(context, a, file, 0, y, 64, 0));
    return 0;
}

static bytes model(void) {
    builder b = new_builder();
    uint64_t dims[2] = {512, 64};
    size_t size;
    unsigned char *w = random_weights(GGUFFUSE_TYPE_Q4_K, 64, 512, 5, &size);
    add_tensor(&b, "w", GGUFFUSE_TYPE_Q4_K, 2, dims, w, size);
    free(w);
    return finish(&b, NULL);
}

static int handles(void) {
    bytes raw = model();
    gguffuse_file *file = NULL;
    gguffuse_context *context = context_with(1, 0);
    gguffuse_activations *a = NULL, *next = NULL;
    uint64_t seed = 1;
    float x[512], y[64], expected[64];
    int i;
    CHECK(context);
    fill_normal(x, 512, 8);
    CHECK_OK(gguffuse_file_open_memory(raw.data, raw.size, NULL, &file));
    CHECK_OK(gguffuse_activations_new(&a));
    CHECK(a && (void *)a != (void *)context && (void *)a != (void *)file);
    CHECK_OK(gguffuse_activations_pack(context, a, x, 512, 0, 1, 512));

    RUN(not_activations(context, file, NULL));
    RUN(not_activations(context, file, (gguffuse_activations *)(void *)context)); /* of the wrong kind */
    RUN(not_activations(context, file, (gguffuse_activations *)(void *)file));
    RUN(not_activations(context, file, (gguffuse_activations *)(void *)x)); /* an address */
    RUN(not_a_context(NULL, file, a));
    RUN(not_a_context((gguffuse_context *)(void *)a, file, a));
    REFUSED(gguffuse_context_free((gguffuse_context *)(void *)a));
    REFUSED(gguffuse_file_close((gguffuse_file *)(void *)a));
    REFUSED(gguffuse_activations_matmul_tensor(context, a, NULL, 0, y, 64, 0));
    REFUSED(gguffuse_activations_matmul_tensor(context, a, (gguffuse_file *)(void *)a, 0, y, 64, 0));
    for (i = 0; i < (int)(8 * sizeof(uintptr_t)); i++) { /* near a real one */
        RUN(not_activations(context, file, (gguffuse_activations *)((uintptr_t)a ^ (uintptr_t)1 << i)));
    }
    for (i = 0; i < 10000; i++) { /* anything */
        uintptr_t any = (uintptr_t)random_u64(&seed) >> random_u64(&seed) % 60;
        if (any != 0 && any != (uintptr_t)a) {
            REFUSED(gguffuse_activations_free((gguffuse_activations *)any));
            REFUSED(gguffuse_activations_pack(context, (gguffuse_activations *)any, x, 512, 0, 1, 512));
        }
    }
    /* still whole after all that */
    CHECK_OK(gguffuse_activations_matmul_tensor(context, a, file, 0, y, 64, 0));
    CHECK_OK(gguffuse_matmul_tensor(context, file, 0, x, 512, 0, 1, expected, 64, 0));
    CHECK(memcmp(y, expected, sizeof y) == 0);

    CHECK_OK(gguffuse_activations_free(NULL));
    CHECK_OK(gguffuse_activations_free(a));
    RUN(not_activations(context, file, a));
    CHECK_OK(gguffuse_activations_new(&next));
    CHECK(next != a);
    RUN(not_activations(context, file, a)); /* stale, with others in their place */
    CHECK_OK(gguffuse_activations_pack(context, next, x, 512, 0, 1, 512));
    CHECK_OK(gguffuse_context_free(context));
    RUN(not_a_context(context, file, next)); /* a context that went before them */
    CHECK_OK(gguffuse_activations_free(next));
    CHECK_OK(gguffuse_file_close(file));
    free(raw.data);
    return 0;
}

static int arguments(void) {
    gguffuse_context *context = context_with(1, 0), *other = context_with(1, 0);
    gguffuse_activations *a = NULL;
    bytes raw = model();
    gguffuse_file *file = NULL;
    unsigned char *w;
    size_t w_bytes;
    float x[1024], y[8], gap[8];
    union {
        float aligned[4];
        unsigned char bytes[16];
    } odd;
    const float *odd_x = (const float *)(const void *)(odd.bytes + 1);
    float *odd_y = (float *)(void *)(odd.bytes + 1);
    int i;
    CHECK(context && other);
    memset(&odd, 0, sizeof odd);
    w = random_weights(GGUFFUSE_TYPE_Q4_K, 4, 512, 2, &w_bytes);
    CHECK_OK(gguffuse_file_open_memory(raw.data, raw.size, NULL, &file));
    fill_normal(x, 1024, 4);
    for (i = 0; i < 8; i++) {
        y[i] = gap[i] = 77;
    }
    CHECK_STATUS(gguffuse_activations_new(NULL), GGUFFUSE_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(gguffuse_activations_new((gguffuse_activations **)(void *)(odd.bytes + 1)), GGUFFUSE_ERROR_MISALIGNED);
    CHECK_OK(gguffuse_activations_new(&a));

#define PACK(x, x_length, x_stride, m, k) gguffuse_activations_pack(context, a, x, x_length, x_stride, m, k)
#define MATMUL(context, type, w, w_bytes, n, k, y, y_length, y_stride)                                                 \
    gguffuse_activations_matmul(context, a, type, w, w_bytes, n, k, y, y_length, y_stride)
    /* nothing is packed yet */
    CHECK_STATUS(MATMUL(context, GGUFFUSE_TYPE_Q4_K, w, w_bytes, 4, 512, y, 8, 0), GGUFFUSE_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(MATMUL(context, GGUFFUSE_TYPE_Q4_K, w, w_bytes, 4, 0, y, 8, 0), GGUFFUSE_ERROR_INVALID_ARGUMENT);
    CHECK_OK(PACK(x, 1024, 0, 2, 512));
    for (i = 0; i < 2; i++) { /* what is packed stays, whatever is refused */
        CHECK_STATUS(PACK(NULL, 1024, 0, 2, 512), GGUFFUSE_ERROR_NULL_ARGUMENT);
        CHECK_STATUS(PACK(NULL, 0, 0, 0, 512), GGUFFUSE_ERROR_NULL_ARGUMENT);
        CHECK_STATUS(PACK(odd_x, 3, 0, 1, 3), GGUFFUSE_ERROR_MISALIGNED);
        CHECK_STATUS(PACK(x, SIZE_MAX, 0, 2, 512), GGUFFUSE_ERROR_INVALID_ARGUMENT);
        CHECK_STATUS(PACK(x, SIZE_MAX / 4, 0, 2, 512), GGUFFUSE_ERROR_INVALID_ARGUMENT);
        CHECK_STATUS(PACK(x, 1023, 0, 2, 512), GGUFFUSE_ERROR_BUFFER_TOO_SMALL);
        CHECK_STATUS(PACK(x, 1024, 513, 2, 512), GGUFFUSE_ERROR_BUFFER_TOO_SMALL);
        CHECK_STATUS(PACK(x, 1024, 0, 3, 512), GGUFFUSE_ERROR_BUFFER_TOO_SMALL);
        CHECK_STATUS(PACK(x, 1024, 511, 2, 512), GGUFFUSE_ERROR_SHAPE);
        CHECK_STATUS(PACK(x, 1024, 0, 2, 0), GGUFFUSE_ERROR_SHAPE);
        CHECK_STATUS(PACK(x, 1024, 0, 0, 0), GGUFFUSE_ERROR_SHAPE);
        CHECK_STATUS(PACK(x, 1024, 0, SIZE_MAX, 512), GGUFFUSE_ERROR_SHAPE);
        CHECK_STATUS(PACK(x, 1024, 0, 0, SIZE_MAX), GGUFFUSE_ERROR_SHAPE);
        CHECK_STATUS(PACK(x, 1024, SIZE_MAX, 2, 512), GGUFFUSE_ERROR_SHAPE);

        CHECK_STATUS(MATMUL(other, GGUFFUSE_TYPE_Q4_K, w, w_bytes, 4, 512, y, 8, 0), GGUFFUSE_ERROR_INVALID_ARGUMENT);
        CHECK_STATUS(MATMUL(context, GGUFFUSE_TYPE_Q4_K, NULL, w_bytes, 4, 512, y, 8, 0), GGUFFUSE_ERROR_NULL_ARGUMENT);
        CHECK_STATUS(MATMUL(context, GGUFFUSE_TYPE_Q4_K, w, w_bytes, 4, 512, NULL, 8, 0), GGUFFUSE_ERROR_NULL_ARGUMENT);
        CHECK_STATUS(MATMUL(context, 4, w, w_bytes, 4, 512, y, 8, 0), GGUFFUSE_ERROR_UNSUPPORTED_TYPE);
        CHECK_STATUS(MATMUL(context, GGUFFUSE_TYPE_I8, w, w_bytes, 4, 512, y, 8, 0), GGUFFUSE_ERROR_UNSUPPORTED_TYPE);
        CHECK_STATUS(MATMUL(context, GGUFFUSE_TYPE_Q4_K, w, w_bytes, 4, 256, y, 8, 0), GGUFFUSE_ERROR_SHAPE);
        CHECK_STATUS(MATMUL(context, GGUFFUSE_TYPE_Q4_K, w, w_bytes, 4, 0, y, 8, 0), GGUFFUSE_ERROR_SHAPE);
        CHECK_STATUS(MATMUL(context, GGUFFUSE_TYPE_Q4_K, w, w_bytes, SIZE_MAX, 512, y, 8, 0), GGUFFUSE_ERROR_SHAPE);
        CHECK_STATUS(MATMUL(context, GGUFFUSE_TYPE_Q4_K, w, w_bytes, 4, 512, y, 8, 3), GGUFFUSE_ERROR_SHAPE);
        CHECK_STATUS(MATMUL(context, GGUFFUSE_TYPE_Q4_K, w, w_bytes - 1, 4, 512, y, 8, 0), GGUFFUSE_ERROR_BUFFER_TOO_SMALL);
        CHECK_STATUS(MATMUL(context, GGUFFUSE_TYPE_Q4_K, w, w_bytes, 5, 512, y, 10, 0), GGUFFUSE_ERROR_BUFFER_TOO_SMALL);
        CHECK_STATUS(MATMUL(context, GGUFFUSE_TYPE_Q4_K, w, w_bytes, 4, 512, y, 7, 0), GGUFFUSE_ERROR_BUFFER_TOO_SMALL);
        CHECK_STATUS(MATMUL(context, GGUFFUSE_TYPE_Q4_K, w, w_bytes, 4, 512, y, 8, 5), GGUFFUSE_ERROR_BUFFER_TOO_SMALL);
        CHECK_STATUS(MATMUL(context, GGUFFUSE_TYPE_Q4_K, w, SIZE_MAX, 4, 512, y, 8, 0), GGUFFUSE_ERROR_INVALID_ARGUMENT);
        CHECK_STATUS(MATMUL(context, GGUFFUSE_TYPE_Q4_K, w, w_bytes, 4, 512, y, SIZE_MAX, 0), GGUFFUSE_ERROR_INVALID_ARGUMENT);
        CHECK_STATUS(MATMUL(context, GGUFFUSE_TYPE_Q4_K, w, w_bytes, 1, 512, odd_y, 2, 0), GGUFFUSE_ERROR_MISALIGNED);
        CHECK_STATUS(MATMUL(context, GGUFFUSE_TYPE_Q4_K, w, w_bytes, 4, 512, (float *)(void *)w, 8, 0), GGUFFUSE_ERROR_ALIASING);
#define ROWS(begin, end)                                                                                               \
    gguffuse_activations_matmul_rows(context, a, GGUFFUSE_TYPE_Q4_K, w, w_bytes, 4, 512, begin, end, y, 8, 0)
        CHECK_STATUS(ROWS(3, 2), GGUFFUSE_ERROR_INVALID_ARGUMENT);
        CHECK_STATUS(ROWS(0, 5), GGUFFUSE_ERROR_INVALID_ARGUMENT);
        CHECK_STATUS(ROWS(SIZE_MAX, SIZE_MAX), GGUFFUSE_ERROR_INVALID_ARGUMENT);
        CHECK_OK(ROWS(2, 2));
        CHECK_STATUS(gguffuse_activations_matmul_tensor(context, a, file, 1, y, 8, 0), GGUFFUSE_ERROR_NOT_FOUND);
        CHECK_STATUS(gguffuse_activations_matmul_tensor(context, a, file, 0, y, 8, 0), GGUFFUSE_ERROR_BUFFER_TOO_SMALL);
        CHECK_STATUS(gguffuse_activations_matmul_tensor(other, a, file, 0, y, 8, 0), GGUFFUSE_ERROR_INVALID_ARGUMENT);
        CHECK_STATUS(gguffuse_activations_matmul_tensor(context, a, file, 0, NULL, 8, 0), GGUFFUSE_ERROR_NULL_ARGUMENT);
        CHECK(memcmp(y, gap, sizeof y) == 0);
    }
    CHECK_OK(MATMUL(context, GGUFFUSE_TYPE_Q4_K, w, w_bytes, 4, 512, y, 8, 0));
    CHECK_OK(gguffuse_matmul(context, GGUFFUSE_TYPE_Q4_K, w, w_bytes, 4, 512, x, 1024, 0, 2, gap, 8, 0));
    CHECK(memcmp(y, gap, sizeof y) == 0);
    /* another context may pack them anew: then they are its own */
    CHECK_OK(gguffuse_activations_pack(other, a, x, 256, 0, 1, 256));
    CHECK_STATUS(MATMUL(context, GGUFFUSE_TYPE_Q4_K, w, w_bytes, 4, 256, y, 8, 0), GGUFFUSE_ERROR_INVALID_ARGUMENT);
    CHECK_OK(MATMUL(other, GGUFFUSE_TYPE_Q4_K, w, w_bytes, 4, 256, y, 8, 0));
    CHECK_OK(gguffuse_activations_free(a));
    CHECK_OK(gguffuse_context_free(context));
    CHECK_OK(gguffuse_context_free(other));
    CHECK_OK(gguffuse_file_close(file));
    free(raw.data);
    free(w);
    return 0;
}

/* Threads of a host, each with its own rows of every product. */
enum { THREADS = 16, ROUNDS = 8 };

typedef struct worker {
    pthread_t thread;
    gguffuse_context *context;
    gguffuse_activations *a;
    const setting *s;
    float *y[WEIGHTS]; /* shared by all */
    float *own;
    size_t begin, end;
    long products;
    int failed;
} worker;

static void *work(void *argument) {
    worker *self = (worker *)argument;
    const setting *s = self->s;
    int round, t;
    for (round = 0; round < ROUNDS; round++) {
        for (t = 0; t < WEIGHTS; t++) {
            if (gguffuse_activations_matmul_rows(self->context, self->a, types[t], s->w[t], s->w_bytes[t], s->n, s->k,
                                                 self->begin, self->end, self->y[t], s->y_length, 0) != GGUFFUSE_OK ||
                gguffuse_activations_matmul(self->context, self->a, types[t], s->w[t], s->w_bytes[t], s->n, s->k, self->own,
                                            s->y_length, 0) != GGUFFUSE_OK ||
                memcmp(self->own, s->expected[t], s->y_length * sizeof(float)) != 0) {
                self->failed = 1;
                return NULL;
            }
        }
    }
    return NULL;
}

static int many_threads(size_t m) {
    worker workers[THREADS];
    setting s;
    gguffuse_context *context = context_with(2, 0);
    gguffuse_activations *a = NULL;
    float *y[WEIGHTS];
    int i, t;
    CHECK(context);
    RUN(make(&s, context, m, 203, 512, 0));
    CHECK_OK(gguffuse_activations_new(&a));
    CHECK_OK(gguffuse_activations_pack(context, a, s.x, s.x_length, 0, s.m, s.k));
    for (t = 0; t < WEIGHTS; t++) {
        y[t] = floats(s.y_length);
    }
    for (i = 0; i < THREADS; i++) {
        workers[i].context = context;
        workers[i].a = a;
        workers[i].s = &s;
        memcpy(workers[i].y, y, sizeof y);
        workers[i].own = floats(s.y_length);
        workers[i].begin = s.n * (size_t)i / THREADS;
        workers[i].end = s.n * (size_t)(i + 1) / THREADS;
        workers[i].failed = 0;
        CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
    for (i = 0; i < THREADS; i++) {
        CHECK(pthread_join(workers[i].thread, NULL) == 0);
        CHECK(!workers[i].failed);
        free(workers[i].own);
    }
    for (t = 0; t < WEIGHTS; t++) {
        CHECK(memcmp(y[t], s.expected[t], s.y_length * sizeof(float)) == 0);
        free(y[t]);
    }
    CHECK_OK(gguffuse_activations_free(a));
    CHECK_OK(gguffuse_context_free(context));
    drop(&s);
    return 0;
}

/* Multiplies until the handle, or the context, is freed under it. */
static void *work_until_freed(void *argument) {
    worker *self = (worker *)argument;
    const setting *s = self->s;
    for (;;) {
        gguffuse_status status = gguffuse_activations_matmul(self->context, self->a, types[0], s->w[0], s->w_bytes[0], s->n,
                                                             s->k, self->own, s->y_length, 0);
        if (status == GGUFFUSE_ERROR_INVALID_HANDLE) {
            return NULL;
        }
        if (status != GGUFFUSE_OK || memcmp(self->own, s->expected[0], s->y_length * sizeof(float)) != 0) {
            self->failed = 1;
            return NULL;
        }
        __atomic_fetch_add(&self->products, 1, __ATOMIC_RELAXED);
    }
}

static int freed_under_way(int free_context) {
    enum { USERS = 4 };
    worker workers[USERS];
    setting s;
    int round, i;
    for (round = 0; round < 6; round++) {
        gguffuse_context *context = context_with(2, (uint32_t)round % 3);
        gguffuse_activations *a = NULL;
        struct timespec pause = {0, 200000};
        CHECK(context);
        RUN(make(&s, context, 2, 64, 512, 0));
        CHECK_OK(gguffuse_activations_new(&a));
        CHECK_OK(gguffuse_activations_pack(context, a, s.x, s.x_length, 0, s.m, s.k));
        memset(workers, 0, sizeof workers);
        for (i = 0; i < USERS; i++) {
            workers[i].context = context;
            workers[i].a = a;
            workers[i].s = &s;
            workers[i].own = floats(s.y_length);
            CHECK(pthread_create(&workers[i].thread, NULL, work_until_freed, &workers[i]) == 0);
        }
        for (i = 0; i < USERS; i++) { /* all are at it */
            while (__atomic_load_n(&workers[i].products, __ATOMIC_RELAXED) < 2 && !workers[i].failed) {
                nanosleep(&pause, NULL);
            }
        }
        CHECK_OK(free_context ? gguffuse_context_free(context) : gguffuse_activations_free(a));
        for (i = 0; i < USERS; i++) {
            CHECK(pthread_join(workers[i].thread, NULL) == 0);
            CHECK(!workers[i].failed && workers[i].products >= 2);
            free(workers[i].own);
        }
        CHECK_OK(free_context ? gguffuse_activations_free(a) : gguffuse_context_free(context));
        drop(&s);
    }
    return 0;
}

/* Packing while others multiply: BUSY or done, and a product is the one or the other, never a mixture. */
static void *work_on_either(void *argument) {
    worker *self = (worker *)argument;
    const setting *s = self->s;
    for (;;) {
        /* A pause twice as long as the product, or there would hardly be a moment to pack: builds for tests may be slow. */
        struct timespec begin, end, pause = {0, 20000};
        gguffuse_status status;
        long took;
        clock_gettime(CLOCK_MONOTONIC, &begin);
        status = gguffuse_activations_matmul(self->context, self->a, types[0], s->w[0], s->w_bytes[0], s->n, s->k, self->own,
                                             s->y_length, 0);
        clock_gettime(CLOCK_MONOTONIC, &end);
        took = (end.tv_sec - begin.tv_sec) * 1000000000 + end.tv_nsec - begin.tv_nsec;
        if (status == GGUFFUSE_ERROR_INVALID_HANDLE) {
            return NULL;
        }
        if (status == GGUFFUSE_ERROR_BUSY) {
            continue;
        }
        if (status != GGUFFUSE_OK || (memcmp(self->own, s->expected[0], s->n * sizeof(float)) != 0 &&
                                      memcmp(self->own, s->expected[1], s->n * sizeof(float)) != 0)) {
            self->failed = 1;
            return NULL;
        }
        __atomic_fetch_add(&self->products, 1, __ATOMIC_RELAXED);
        if (took > 10000) {
            pause.tv_nsec = took < 50000000 ? 2 * took : 100000000;
        }
        nanosleep(&pause, NULL);
    }
}

static int packed_under_way(void) {
    enum { USERS = 3 };
    worker workers[USERS];
    gguffuse_context *context = context_with(2, 0);
    gguffuse_activations *a = NULL;
    setting s;
    float *second;
    struct timespec pause = {0, 20000};
    time_t end = time(NULL) + 60;
    long packed = 0, products = 0;
    int i;
    CHECK(context);
    RUN(make(&s, context, 1, 64, 1024, 0));
    second = floats(1024);
    fill_normal(second, 1024, 99);
    /* expected[1]: what the same weights make of the other x */
    CHECK_OK(gguffuse_matmul(context, types[0], s.w[0], s.w_bytes[0], 64, 1024, second, 1024, 0, 1, s.expected[1], 64, 0));
    CHECK_OK(gguffuse_activations_new(&a));
    CHECK_OK(gguffuse_activations_pack(context, a, s.x, 1024, 0, 1, 1024));
    memset(workers, 0, sizeof workers);
    for (i = 0; i < USERS; i++) {
        workers[i].context = context;
        workers[i].a = a;
        workers[i].s = &s;
        workers[i].own = floats(s.y_length);
        CHECK(pthread_create(&workers[i].thread, NULL, work_on_either, &workers[i]) == 0);
    }
    for (i = 0; i < USERS; i++) { /* while each of them makes some products */
        long before = __atomic_load_n(&workers[i].products, __ATOMIC_RELAXED);
        while ((packed == 0 || __atomic_load_n(&workers[i].products, __ATOMIC_RELAXED) < before + 20) && time(NULL) < end) {
            gguffuse_status status = gguffuse_activations_pack(context, a, packed % 2 ? s.x : second, 1024, 0, 1, 1024);
            CHECK(status == GGUFFUSE_OK || status == GGUFFUSE_ERROR_BUSY);
            packed += status == GGUFFUSE_OK;
            nanosleep(&pause, NULL);
        }
    }
    CHECK(packed > 0);
    CHECK_OK(gguffuse_activations_free(a));
    for (i = 0; i < USERS; i++) {
        CHECK(pthread_join(workers[i].thread, NULL) == 0);
        CHECK(!workers[i].failed);
        products += workers[i].products;
        free(workers[i].own);
    }
    CHECK(products >= 20 * USERS);
    CHECK_OK(gguffuse_context_free(context));
    free(second);
    drop(&s);
    return 0;
}

/* A child forked after packing multiplies with what was packed, and packs. */
static int in_the_child(gguffuse_context *context, gguffuse_activations *a, const setting *s) {
    RUN(check_products(context, a, s, 0));
    CHECK_OK(gguffuse_activations_pack(context, a, s->x, s->x_length, 0, s->m, s->k));
    RUN(check_products(context, a, s, 0));
    CHECK_OK(gguffuse_activations_free(a));
    return 0;
}

static int forking(void) {
    gguffuse_context *context = context_with(2, 0);
    gguffuse_activations *a = NULL;
    setting s;
    int i;
    CHECK(context);
    RUN(make(&s, context, 40, 203, 512, 0));
    CHECK_OK(gguffuse_activations_new(&a));
    CHECK_OK(gguffuse_activations_pack(context, a, s.x, s.x_length, 0, s.m, s.k));
    for (i = 0; i < 5; i++) {
        int status = 0;
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            alarm(60);
            _exit(in_the_child(context, a, &s));
        }
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        RUN(check_products(context, a, &s, 0));
    }
    CHECK_OK(gguffuse_activations_free(a));
    CHECK_OK(gguffuse_context_free(context));
    drop(&s);
    return 0;
}

int main(void) {
    RUN(products());
    RUN(special());
    RUN(handles());
    RUN(arguments());
    RUN(many_threads(1));
    RUN(many_threads(33));
    RUN(freed_under_way(0));
    RUN(freed_under_way(1));
    RUN(packed_under_way());
    RUN(forking());
    return 0;
}

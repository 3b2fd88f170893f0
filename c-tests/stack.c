/* How much stack calls take: all that computes, at every level, for every type and precision, and files, errors and writers,
 * on one thread whose stack was painted before. Hosts (musl, Go, JVM) have threads with little. Figures at the end. */
#ifndef _DEFAULT_SOURCE
#define _DEFAULT_SOURCE 1
#endif
#include "common.h"
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

enum { N = 70, K = 512, M = 34, PAINT = 0xa5, STACK = 1 << 20, MOST = 48 << 10 };

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1 /* frames of the sanitizer's */
#endif

/* Not on the stack that is measured. */
static float x[M * K], y[M * N], source[N * K];
static unsigned char w[N * K * 8], blocks[N * K * 8], written[1 << 16];
static char path[4000], output[4096];
static bytes raw;
static long products;
static int failed = 1;

static int products_of(uint32_t type, const char *level, uint32_t precision) {
    gguffuse_context_options options;
    gguffuse_context *context = NULL;
    gguffuse_activations *activations = NULL;
    size_t row, m;
    uint64_t bad;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.threads = 1;
    options.precision = precision;
    options.max_isa = level;
    CHECK_OK(gguffuse_context_new(&options, &context));
    CHECK_OK(gguffuse_row_size(type, K, &row));
    for (m = 1; m <= M; m += M - 1) {
        CHECK_OK(gguffuse_matmul(context, type, w, row * N, N, K, x, M * K, 0, m, y, M * N, 0));
        CHECK_OK(gguffuse_matmul_rows(context, type, w, row * N, N, K, 3, 40, x, M * K, 0, m, y, M * N, 0));
        products += 2;
    }
    CHECK_OK(gguffuse_activations_new(&activations));
    CHECK_OK(gguffuse_activations_pack(context, activations, x, M * K, 0, M, K));
    CHECK_OK(gguffuse_activations_matmul(context, activations, type, w, row * N, N, K, y, M * N, 0));
    CHECK_OK(gguffuse_activations_free(activations));
    CHECK_OK(gguffuse_validate(context, type, w, row * N, &bad));
    if (gguffuse_quantize_with(context, type, source, N, K, source, blocks, row * N) != GGUFFUSE_ERROR_UNSUPPORTED_TYPE) {
        CHECK_OK(gguffuse_quantize(type, source, N, K, blocks, row * N));
    }
    CHECK_OK(gguffuse_dequantize(type, w, row, y, K));
    CHECK_OK(gguffuse_context_free(context));
    return 0;
}

static int files(void) {
    uint32_t copy;
    uint64_t index;
    size_t size;
    for (copy = 0; copy < 2; copy++) {
        gguffuse_file *file = NULL;
        gguffuse_writer *writer = NULL;
        gguffuse_open_options options;
        memset(&options, 0, sizeof options);
        options.struct_size = sizeof options;
        options.copy = copy;
        CHECK_OK(gguffuse_file_open(path, &options, &file));
        CHECK_OK(gguffuse_file_verify(file));
        CHECK_OK(gguffuse_tensor_find(file, "w", &index));
        CHECK_STATUS(gguffuse_tensor_find(file, "none", &index), GGUFFUSE_ERROR_NOT_FOUND);
        CHECK_OK(gguffuse_writer_new(NULL, &writer));
        CHECK_OK(gguffuse_writer_copy_metadata(writer, file, NULL));
        CHECK_OK(gguffuse_writer_write_memory(writer, written, sizeof written, &size));
        CHECK_OK(gguffuse_file_close(file));
        CHECK_OK(gguffuse_writer_write_file(writer, output));
        CHECK_OK(gguffuse_writer_free(writer));
        for (size = 0; size < raw.size; size += 1 + size / 16) {
            CHECK(gguffuse_file_open_memory(raw.data, size, &options, &file) != GGUFFUSE_OK);
        }
        CHECK_STATUS(gguffuse_file_open("/nonexistent/file", &options, &file), GGUFFUSE_ERROR_IO);
    }
    return 0;
}

static int everything(void) {
    struct gguffuse_type_info info;
    uint32_t type, precision;
    size_t level;
    RUN(files());
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    for (type = 0; type < 64; type++) {
        if (gguffuse_type_info(type, &info) != GGUFFUSE_OK || !info.can_matmul) {
            continue;
        }
        for (level = 0; gguffuse_isa_name(level); level++) {
            for (precision = 0; precision < 3; precision++) {
                RUN(products_of(type, gguffuse_isa_name(level), precision));
            }
        }
    }
    return 0;
}

static void *measured(void *argument) {
    (void)argument;
    failed = everything();
    return NULL;
}

int main(int argc, char **argv) {
    builder b = new_builder();
    uint64_t seed = 1, dims[2] = {K, N};
    size_t i, size, used;
    unsigned char *stack, *weights = random_weights(GGUFFUSE_TYPE_Q4_K, N, K, 5, &size);
    pthread_attr_t attributes;
    pthread_t thread;
    FILE *out;
    CHECK(argc >= 2); /* a directory for temporary files */
    add_key(&b, "key", GGUFFUSE_METADATA_STRING);
    put_string(&b.metadata, "text");
    add_tensor(&b, "w", GGUFFUSE_TYPE_Q4_K, 2, dims, weights, size);
    raw = finish(&b, NULL);
    free(weights);
    snprintf(path, sizeof path, "%s/stack.%ld.gguf", argv[1], (long)getpid());
    snprintf(output, sizeof output, "%s.out", path);
    out = fopen(path, "wb");
    CHECK(out && fwrite(raw.data, 1, raw.size, out) == raw.size && fclose(out) == 0);
    fill_normal(x, M * K, 3);
    fill_normal(source, K, 4);
    for (i = 0; i < K; i++) {
        source[i] = fabsf(source[i]); /* it is the importance as well */
    }
    fill_normal(source + K, (N - 1) * K, 5);
    for (i = 0; i < sizeof w; i++) {
        w[i] = (unsigned char)(random_u64(&seed) >> 33); /* any bytes are blocks */
    }
    stack = (unsigned char *)mmap(NULL, STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(stack != (unsigned char *)MAP_FAILED);
    memset(stack, PAINT, STACK);
    CHECK(pthread_attr_init(&attributes) == 0 && pthread_attr_setstack(&attributes, stack, STACK) == 0);
    CHECK(pthread_create(&thread, &attributes, measured, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0 && !failed);
    for (i = 0; i < STACK && stack[i] == PAINT; i++) {
    }
    used = STACK - i;
    printf("stack: %ld products and all else took %lu bytes of stack at most, with the thread's own\n", products,
           (unsigned long)used);
    CHECK(unlink(path) == 0 && unlink(output) == 0);
#ifndef SANITIZED
    CHECK(used <= MOST);
#endif
    CHECK(munmap(stack, STACK) == 0);
    free(raw.data);
    return 0;
}

/* Memory that runs out: the n-th allocation of a call fails, for every n, and every one from the n-th on. The call
 * succeeds or says GGUFFUSE_ERROR_OUT_OF_MEMORY; nothing aborts, and what existed before still works. */
#include "common.h"

#include <errno.h>

#if defined(__GLIBC__)

#ifdef __cplusplus
#define NOTHROW noexcept
extern "C" {
#else
#define NOTHROW
#endif
void *__libc_malloc(size_t size) NOTHROW;
void *__libc_calloc(size_t count, size_t size) NOTHROW;
void *__libc_realloc(void *old, size_t size) NOTHROW;
void *__libc_memalign(size_t alignment, size_t size) NOTHROW;

/* Allocations until the first that fails, -1: none does; and how many fail. Changed by the thread that tests only. */
static long countdown = -1, failures;

static int fails(void) NOTHROW {
    long left = __atomic_load_n(&countdown, __ATOMIC_RELAXED);
    if (left < 0) {
        return 0;
    }
    if (left > 0) {
        __atomic_store_n(&countdown, left - 1, __ATOMIC_RELAXED);
        return 0;
    }
    if (__atomic_fetch_sub(&failures, 1, __ATOMIC_RELAXED) <= 0) {
        return 0;
    }
    errno = ENOMEM; /* glibc's pthread_create asserts that an allocation that fails says so */
    return 1;
}

void *malloc(size_t size) NOTHROW {
    return fails() ? NULL : __libc_malloc(size);
}
void *calloc(size_t count, size_t size) NOTHROW {
    return fails() ? NULL : __libc_calloc(count, size);
}
void *realloc(void *old, size_t size) NOTHROW {
    return fails() ? NULL : __libc_realloc(old, size);
}
int posix_memalign(void **out, size_t alignment, size_t size) NOTHROW {
    void *memory = fails() ? NULL : __libc_memalign(alignment, size);
    if (!memory) {
        return 12;
    }
    *out = memory;
    return 0;
}
void *aligned_alloc(size_t alignment, size_t size) NOTHROW {
    return fails() ? NULL : __libc_memalign(alignment, size);
}
#ifdef __cplusplus
}
#endif

enum { N = 200, K = 512, M = 40 };

typedef struct setting {
    bytes raw;
    uint32_t threads;
    const char *max_isa;
    float *x, *y, *expected;
} setting;

/* What is tested: `count` allocations fail, from number `first` on (-1: none). */
static gguffuse_status everything(const setting *s, long first, long count) {
    gguffuse_file *file = NULL;
    gguffuse_context *context = NULL;
    gguffuse_activations *activations = NULL;
    gguffuse_context_options options;
    gguffuse_status status;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.threads = s->threads;
    options.max_isa = s->max_isa;
    failures = count;
    __atomic_store_n(&countdown, first, __ATOMIC_RELAXED);
    status = gguffuse_file_open_memory(s->raw.data, s->raw.size, NULL, &file);
    if (status == GGUFFUSE_OK) {
        status = gguffuse_context_new(&options, &context);
    }
    if (status == GGUFFUSE_OK) {
        status = gguffuse_matmul_tensor(context, file, 0, s->x, M * K, 0, M, s->y, M * N, 0);
    }
    if (status == GGUFFUSE_OK) {
        status = gguffuse_activations_new(&activations);
    }
    if (status == GGUFFUSE_OK) {
        status = gguffuse_activations_pack(context, activations, s->x, K, 0, 1, K); /* then more of it */
    }
    if (status == GGUFFUSE_OK) {
        status = gguffuse_activations_pack(context, activations, s->x, M * K, 0, M, K);
    }
    if (status == GGUFFUSE_OK) {
        status = gguffuse_activations_matmul_tensor(context, activations, file, 0, s->y, M * N, 0);
    }
    __atomic_store_n(&countdown, -1, __ATOMIC_RELAXED);
    if (context && status == GGUFFUSE_ERROR_OUT_OF_MEMORY) { /* the same objects, with memory */
        gguffuse_status again = gguffuse_matmul_tensor(context, file, 0, s->x, M * K, 0, M, s->y, M * N, 0);
        if (again != GGUFFUSE_OK || memcmp(s->y, s->expected, M * N * sizeof(float)) != 0) {
            return GGUFFUSE_ERROR_INTERNAL;
        }
    }
    if (gguffuse_activations_free(activations) != GGUFFUSE_OK || gguffuse_context_free(context) != GGUFFUSE_OK ||
        gguffuse_file_close(file) != GGUFFUSE_OK) {
        return GGUFFUSE_ERROR_INTERNAL;
    }
    return status;
}

static int run(uint32_t threads, const char *max_isa) {
    setting s;
    builder b = new_builder();
    uint64_t dims[2] = {K, N};
    size_t size, i;
    unsigned char *w = random_weights(GGUFFUSE_TYPE_Q4_K, N, K, 3, &size);
    long first, refused = 0;
    int way;
    for (i = 0; i < 40; i++) {
        char key[32];
        snprintf(key, sizeof key, "key %u", (unsigned)i);
        add_key(&b, key, GGUFFUSE_METADATA_STRING);
        put_string(&b.metadata, "text");
    }
    add_tensor(&b, "w", GGUFFUSE_TYPE_Q4_K, 2, dims, w, size);
    s.raw = finish(&b, NULL);
    s.threads = threads;
    s.max_isa = max_isa;
    s.x = floats(M * K);
    s.y = floats(M * N);
    s.expected = floats(M * N);
    fill_normal(s.x, M * K, 4);
    CHECK_OK(everything(&s, -1, 0));
    memcpy(s.expected, s.y, M * N * sizeof(float));
    for (way = 0; way < 2; way++) { /* one failure; all from here on */
        for (first = 0; first < 200; first++) {
            gguffuse_status status;
            memset(s.y, 0, M * N * sizeof(float));
            status = everything(&s, first, way ? 1000000 : 1);
            CHECK(status == GGUFFUSE_OK || status == GGUFFUSE_ERROR_OUT_OF_MEMORY);
            if (status == GGUFFUSE_OK) {
                CHECK(memcmp(s.y, s.expected, M * N * sizeof(float)) == 0);
            } else {
                CHECK(strstr(last_error_text(), "memory"));
                refused++;
            }
        }
    }
    CHECK(refused > 4);
    free(w);
    free(s.raw.data);
    free(s.x);
    free(s.y);
    free(s.expected);
    return 0;
}

enum { STEPS = 47, LAST_SIZE = 4096 };

/* Step number `n` of making a file; the last two write it. */
static gguffuse_status step(gguffuse_writer *w, gguffuse_file *source, int n, const char *path, unsigned char *out) {
    static const char *const strings[3] = {"a", "bc", "def"}, *const elements[1] = {"array"};
    static const uint64_t dims[1] = {8};
    char name[32];
    size_t written;
    snprintf(name, sizeof name, "number %d", n);
    switch (n) {
    case 0:
        return gguffuse_writer_set_string(w, "string", "text", 4);
    case 1:
        return gguffuse_writer_set_array(w, "array", GGUFFUSE_METADATA_UINT8, "12345678", 8);
    case 2:
        return gguffuse_writer_set_string_array(w, "strings", strings, NULL, 3);
    case 3:
        return gguffuse_writer_set_nested_array(w, "nested", elements, 1);
    case 4:
        return gguffuse_writer_copy_metadata(w, source, NULL);
    case STEPS - 2:
        return gguffuse_writer_write_memory(w, out, LAST_SIZE, &written);
    case STEPS - 1:
        return gguffuse_writer_write_file(w, path);
    default:
        return n % 2 ? gguffuse_writer_set_u32(w, name, (uint32_t)n)
                     : gguffuse_writer_add_tensor(w, name, GGUFFUSE_TYPE_I8, 1, dims, "12345678", 8);
    }
}

/* Makes a file; `count` allocations fail, from number `first` on (-1: none). What fails is done again with memory. */
static int write_everything(gguffuse_file *source, long first, long count, const char *path, unsigned char *out,
                            long *refused) {
    gguffuse_writer *w = NULL;
    gguffuse_status status;
    int n;
    memset(out, 0, LAST_SIZE);
    for (n = -1; n < STEPS; n++) {
        failures = count;
        __atomic_store_n(&countdown, first, __ATOMIC_RELAXED);
        status = n < 0 ? gguffuse_writer_new(NULL, &w) : step(w, source, n, path, out);
        first = __atomic_exchange_n(&countdown, -1, __ATOMIC_RELAXED);
        if (status == GGUFFUSE_ERROR_OUT_OF_MEMORY) {
            CHECK(strstr(last_error_text(), "memory"));
            CHECK_OK(n < 0 ? gguffuse_writer_new(NULL, &w) : step(w, source, n, path, out));
            first = -1;
            ++*refused;
        } else {
            CHECK_STATUS(status, GGUFFUSE_OK);
        }
    }
    CHECK_OK(gguffuse_writer_free(w));
    return 0;
}

static int run_writing(const char *directory) {
    static unsigned char expected[LAST_SIZE], out[LAST_SIZE], again[LAST_SIZE];
    builder b = new_builder();
    bytes raw;
    gguffuse_file *source = NULL;
    char path[300];
    long first, refused = 0;
    FILE *in;
    snprintf(path, sizeof path, "%.250s/memory.gguf", directory);
    add_key(&b, "copied", GGUFFUSE_METADATA_STRING);
    put_string(&b.metadata, "text");
    add_key(&b, "string", GGUFFUSE_METADATA_STRING);
    put_string(&b.metadata, "another");
    raw = finish(&b, NULL);
    CHECK_OK(gguffuse_file_open_memory(raw.data, raw.size, NULL, &source));
    RUN(write_everything(source, -1, 0, path, expected, &refused));
    CHECK(refused == 0);
    for (first = 0; first < 200; first++) {
        RUN(write_everything(source, first, first % 2 ? 1 : 1000000, path, out, &refused));
        CHECK(memcmp(out, expected, LAST_SIZE) == 0);
        memset(again, 0, sizeof again);
        in = fopen(path, "rb");
        CHECK(in && fread(again, 1, LAST_SIZE, in) > 1000 && fclose(in) == 0);
        CHECK(memcmp(again, expected, LAST_SIZE) == 0);
    }
    CHECK(refused > 50 && refused < 200); /* the last ones had all that they asked for */
    CHECK(remove(path) == 0);
    CHECK_OK(gguffuse_file_close(source));
    free(raw.data);
    return 0;
}

/* A second argument: "pool", with a thread pool; "all", with as many threads as the process may use; "environment", with the level capped by the environment variable instead
 * of by the context's option; "writing", files instead of products. */
int main(int argc, char **argv) {
    const char *cap = getenv("GGUFFUSE_MAX_ISA");
    char level[32];
    if (argc > 2 && strcmp(argv[2], "environment") == 0) {
        return run(1, NULL);
    }
    if (argc > 2 && strcmp(argv[2], "writing") == 0) {
        return run_writing(argv[1]);
    }
    if (argc > 2 && strcmp(argv[2], "all") == 0) {
        return run(0, NULL);
    }
    CHECK(argc <= 2 || strcmp(argv[2], "pool") == 0);
    if (cap) {
        snprintf(level, sizeof level, "%s", cap);
        unsetenv("GGUFFUSE_MAX_ISA");
    }
    return run(argc > 2 && strcmp(argv[2], "pool") == 0 ? 3 : 1, cap ? level : NULL);
}

#else

int main(void) {
    return 0; /* only this C library lets a program stand in for malloc by name */
}

#endif

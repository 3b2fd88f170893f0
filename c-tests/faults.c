/* What the library asks the system for is refused: memory, mappings, files, reading, writing, threads. For every scenario
 * and every kind of call, the k-th call fails, alone and with all that follow, for k from 0 until none is left to fail;
 * each in a process of its own that has not used the library before. The scenario ends with a status that its
 * description names, or succeeds with the same results; it leaves no memory, mapping, descriptor or file behind; the same
 * scenario then works. An abort would be a signal of that process. */
#include "faults.h"
#include "threads_alive.h"

#ifdef FAULTS
#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N = 200, K = 512, M = 40, BLOCKS = N * K / Q4K_ELEMENTS, WRITTEN = 8192 };

static const char *work_directory; /* with a path longer than what std keeps on the stack */
static char input_path[2000], output_path[2000];
static bytes small, large; /* the same tensor, with little metadata and with more than a mebibyte */
static float x[M * K], weights_f32[BLOCKS * Q4K_ELEMENTS];
static const unsigned char *w;
static size_t w_bytes;

/* What a scenario gives: compared between runs. */
typedef struct results {
    float y[M * N];
    unsigned char blocks[BLOCKS * Q4K_BYTES], file[WRITTEN];
    uint64_t numbers[4];
} results;

#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        status = (call);                                                                                               \
        if (status != GGUFFUSE_OK) {                                                                                   \
            goto end;                                                                                                  \
        }                                                                                                              \
    } while (0)

static gguffuse_status open_as(const char *path, const bytes *raw, uint32_t copy, results *out) {
    gguffuse_file *file = NULL;
    gguffuse_open_options options;
    struct gguffuse_tensor_info info;
    const char *text;
    size_t length;
    gguffuse_status status;
    memset(&options, 0, sizeof options);
    memset(&info, 0, sizeof info);
    options.struct_size = sizeof options;
    options.copy = copy;
    info.struct_size = sizeof info;
    TRY(path ? gguffuse_file_open(path, &options, &file) : gguffuse_file_open_memory(raw->data, raw->size, &options, &file));
    TRY(gguffuse_tensor_find(file, "w", &out->numbers[0]));
    TRY(gguffuse_tensor_info(file, out->numbers[0], &info));
    TRY(gguffuse_metadata_get_string(file, "key 3", &text, &length));
    memcpy(out->file, text, length);
    memcpy(out->blocks, info.data, w_bytes);
    TRY(gguffuse_file_verify(file));
end:
    gguffuse_file_close(file);
    return status;
}

static gguffuse_status open_mapped(results *out) {
    return open_as(input_path, NULL, 0, out);
}
static gguffuse_status open_copied(results *out) {
    return open_as(input_path, NULL, 1, out);
}
static gguffuse_status open_memory(results *out) {
    return open_as(NULL, &small, 0, out);
}
static gguffuse_status open_memory_copied(results *out) {
    return open_as(NULL, &large, 1, out);
}

static gguffuse_status context_of(uint32_t threads, uint32_t precision, gguffuse_context **context) {
    gguffuse_context_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.threads = threads;
    options.precision = precision;
    return gguffuse_context_new(&options, context);
}

/* Decode and panel, each twice: the second takes memory from the shelf and threads that are there. */
static gguffuse_status multiply(uint32_t threads, results *out) {
    gguffuse_context *context = NULL;
    gguffuse_status status;
    int i;
    TRY(context_of(threads, 0, &context));
    for (i = 0; i < 4; i++) {
        size_t m = i % 2 ? M : 3;
        TRY(gguffuse_matmul(context, GGUFFUSE_TYPE_Q4_K, w, w_bytes, N, K, x, M * K, 0, m, out->y, M * N, 0));
    }
    TRY(gguffuse_matmul_rows(context, GGUFFUSE_TYPE_Q4_K, w, w_bytes, N, K, 3, 70, x, M * K, 0, 2, out->y, M * N, 0));
end:
    gguffuse_context_free(context);
    return status;
}
static gguffuse_status multiply_alone(results *out) {
    return multiply(1, out);
}
static gguffuse_status multiply_with_pool(results *out) {
    return multiply(4, out);
}
static gguffuse_status multiply_with_all(results *out) {
    return multiply(0, out);
}

/* Packed once and again, larger; multiplied with on the pool and alone. */
static gguffuse_status activations_of(results *out) {
    gguffuse_context *context = NULL;
    gguffuse_activations *a = NULL;
    gguffuse_status status;
    TRY(context_of(4, 0, &context));
    TRY(gguffuse_activations_new(&a));
    TRY(gguffuse_activations_pack(context, a, x, M * K, 0, 2, K));
    TRY(gguffuse_activations_matmul(context, a, GGUFFUSE_TYPE_Q4_K, w, w_bytes, N, K, out->y, M * N, 0));
    TRY(gguffuse_activations_pack(context, a, x, M * K, 0, M, K));
    TRY(gguffuse_activations_matmul(context, a, GGUFFUSE_TYPE_Q4_K, w, w_bytes, N, K, out->y, M * N, 0));
    TRY(gguffuse_activations_matmul_rows(context, a, GGUFFUSE_TYPE_Q4_K, w, w_bytes, N, K, 3, 70, out->y, M * N, 0));
end:
    gguffuse_activations_free(a);
    gguffuse_context_free(context);
    return status;
}

static gguffuse_status weights_of(results *out) {
    gguffuse_context *context = NULL;
    gguffuse_status status;
    float importance[K];
    size_t i;
    for (i = 0; i < K; i++) {
        importance[i] = (float)(i % 3);
    }
    TRY(context_of(4, 0, &context));
    TRY(gguffuse_quantize_with(context, GGUFFUSE_TYPE_Q4_K, weights_f32, N, K, importance, out->blocks, sizeof out->blocks));
    TRY(gguffuse_validate(context, GGUFFUSE_TYPE_Q4_K, out->blocks, sizeof out->blocks, &out->numbers[1]));
    TRY(gguffuse_validate(context, GGUFFUSE_TYPE_F32, weights_f32, sizeof weights_f32, &out->numbers[2]));
    TRY(gguffuse_quantize(GGUFFUSE_TYPE_Q6_K, weights_f32, 1, K, out->file, WRITTEN));
    TRY(gguffuse_dequantize(GGUFFUSE_TYPE_Q4_K, out->blocks, Q4K_BYTES, out->y, Q4K_ELEMENTS));
end:
    gguffuse_context_free(context);
    return status;
}

static gguffuse_status make(gguffuse_writer **writer, gguffuse_file **file) {
    static const char *const strings[3] = {"a", "bc", "def"}, *const elements[1] = {"array"};
    static const uint64_t dims[2] = {Q4K_ELEMENTS, 4};
    gguffuse_status status;
    TRY(gguffuse_writer_new(NULL, writer));
    TRY(gguffuse_writer_set_u32(*writer, "number", 7));
    TRY(gguffuse_writer_set_array(*writer, "array", GGUFFUSE_METADATA_UINT8, "12345678", 8));
    TRY(gguffuse_writer_set_string_array(*writer, "strings", strings, NULL, 3));
    TRY(gguffuse_writer_set_nested_array(*writer, "nested", elements, 1));
    TRY(gguffuse_file_open_memory(small.data, small.size, NULL, file));
    TRY(gguffuse_writer_copy_metadata(*writer, *file, NULL));
    TRY(gguffuse_writer_add_tensor(*writer, "w", GGUFFUSE_TYPE_Q4_K, 2, dims, w, 4 * Q4K_BYTES));
end:
    return status;
}
static gguffuse_status write_memory(results *out) {
    gguffuse_writer *writer = NULL;
    gguffuse_file *file = NULL;
    gguffuse_status status;
    size_t written;
    TRY(make(&writer, &file));
    TRY(gguffuse_writer_write_memory(writer, out->file, WRITTEN, &written));
    out->numbers[0] = written;
end:
    gguffuse_writer_free(writer);
    gguffuse_file_close(file);
    return status;
}
static gguffuse_status write_file(results *out) {
    gguffuse_writer *writer = NULL;
    gguffuse_file *file = NULL;
    gguffuse_status status;
    TRY(make(&writer, &file));
    TRY(gguffuse_writer_write_file(writer, output_path));
    TRY(gguffuse_writer_size(writer, &out->numbers[0]));
end:
    gguffuse_writer_free(writer);
    gguffuse_file_close(file);
    return status;
}

/* ---- one process per point ---- */

typedef struct scenario {
    const char *name;
    gguffuse_status (*run)(results *out);
} scenario;

static const scenario SCENARIOS[] = {
    {"open, mapped", open_mapped},       {"open, copied", open_copied},
    {"open from memory", open_memory},   {"open from memory, copied", open_memory_copied},
    {"matmul, 1 thread", multiply_alone}, {"matmul, 4 threads", multiply_with_pool},
    {"matmul, all threads", multiply_with_all}, {"activations", activations_of}, {"quantize, validate, dequantize", weights_of},
    {"write to memory", write_memory},   {"write a file", write_file},
};

static const char *const KINDS[FAULT_KINDS] = {"malloc", "mmap",  "mremap", "mprotect", "madvise",        "open",
                                               "stat",   "read",  "write",  "fsync",    "rename",         "pipe",
                                               "getcwd", "pthread_create", "sched_getaffinity", "futex wait"};

static int allowed(fault_kind kind, gguffuse_status status) {
    switch (kind) {
    case FAULT_MEMORY:
    case FAULT_MREMAP:
    case FAULT_MPROTECT:
        return status == GGUFFUSE_OK || status == GGUFFUSE_ERROR_OUT_OF_MEMORY;
    case FAULT_MMAP:
        return status == GGUFFUSE_OK || status == GGUFFUSE_ERROR_OUT_OF_MEMORY || status == GGUFFUSE_ERROR_IO;
    case FAULT_OPEN:
    case FAULT_STAT:
    case FAULT_READ:
    case FAULT_WRITE:
    case FAULT_FSYNC:
    case FAULT_RENAME:
    case FAULT_PIPE:
        return status == GGUFFUSE_OK || status == GGUFFUSE_ERROR_IO;
    default: /* there is another way to do it */
        return status == GGUFFUSE_OK;
    }
}

static int entries_of(const char *directory) {
    DIR *open = opendir(directory);
    int count = 0;
    while (open && readdir(open)) {
        count++;
    }
    if (open) {
        closedir(open);
    }
    return count;
}

typedef struct balance {
    long allocations, mappings;
    int files, threads, entries;
} balance;

static balance now(void) {
    balance b;
    b.threads = wait_for_one_thread();
    b.files = entries_of("/proc/self/fd");
    b.entries = entries_of(work_directory);
    b.allocations = __atomic_load_n(&live_allocations, __ATOMIC_SEQ_CST);
    b.mappings = __atomic_load_n(&live_mappings, __ATOMIC_SEQ_CST);
    return b;
}

static int same(const char *what, long before, long after) {
    if (before != after) {
        fprintf(stderr, "%s: %ld before, %ld after\n", what, before, after);
        return 1;
    }
    return 0;
}

static int balanced(const balance *before) {
    balance after = now();
    RUN(same("allocations", before->allocations, after.allocations));
    RUN(same("mappings", before->mappings, after.mappings));
    RUN(same("descriptors", before->files, after.files));
    RUN(same("threads", before->threads, after.threads));
    return same("files", before->entries, after.entries);
}

enum { FIRED = 0, FAILED = 1, NOT_FIRED = 10 };

/* In a process of its own: refused, then not; and once more, when all that is kept for ever is there. */
static int point(const scenario *s, fault_kind kind, long first, long count, const results *expected) {
    static results got, mark;
    gguffuse_status status;
    balance before;
    long hit = 0;
    int again;
    memset(&mark, 0x5a, sizeof mark);
    for (again = 0; again < 2; again++) {
        long hit_now;
        if (again) {
            before = now();
        }
        got = mark;
        arm(kind, first, count);
        status = s->run(&got);
        hit_now = disarm();
        hit += hit_now;
        if (!allowed(kind, status)) {
            fprintf(stderr, "gave %s: %s\n", gguffuse_status_name(status), last_error_text());
            return FAILED;
        }
        CHECK(status == GGUFFUSE_OK || strlen(last_error_text()) > 10);
        CHECK(status == GGUFFUSE_OK || hit_now > 0);
        CHECK(status != GGUFFUSE_OK || memcmp(&got, expected, sizeof got) == 0);
        if (again) {
            RUN(balanced(&before));
        }
        got = mark;
        CHECK_OK(s->run(&got));
        CHECK(memcmp(&got, expected, sizeof got) == 0);
        if (again) {
            RUN(balanced(&before));
        }
    }
    return hit ? FIRED : NOT_FIRED;
}

static int in_a_process(const scenario *s, fault_kind kind, long first, long count, const results *expected) {
    int status = 0;
    pid_t child;
    fflush(NULL);
    child = fork();
    if (child == 0) {
        alarm(60);
        _exit(point(s, kind, first, count, expected));
    }
    if (child < 0 || waitpid(child, &status, 0) != child) {
        return FAILED;
    }
    if (!WIFEXITED(status) || WEXITSTATUS(status) == FAILED) {
        fprintf(stderr, "%s: %s number %ld%s: %s %d\n", s->name, KINDS[kind], first, count > 1 ? " and all that follow" : "",
                WIFEXITED(status) ? "exit" : "SIGNAL", WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
        return FAILED;
    }
    return WEXITSTATUS(status);
}

/* The results without faults, by a pipe from another process: this one doesn't use the library. */
static int expect(const scenario *s, results *expected) {
    int ends[2], status = 0;
    size_t got = 0;
    pid_t child;
    CHECK(pipe(ends) == 0);
    fflush(NULL);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        static results out;
        size_t put_bytes = 0;
        memset(&out, 0x5a, sizeof out);
        status = s->run(&out);
        while (status == GGUFFUSE_OK && put_bytes < sizeof out) {
            ssize_t count = write(ends[1], (const char *)&out + put_bytes, sizeof out - put_bytes);
            put_bytes += count > 0 ? (size_t)count : sizeof out;
        }
        if (status != GGUFFUSE_OK) {
            fprintf(stderr, "%s: %s\n", s->name, last_error_text());
        }
        _exit(status != GGUFFUSE_OK);
    }
    close(ends[1]);
    while (got < sizeof *expected) {
        ssize_t count = read(ends[0], (char *)expected + got, sizeof *expected - got);
        if (count <= 0) {
            break;
        }
        got += (size_t)count;
    }
    close(ends[0]);
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK(got == sizeof *expected);
    return 0;
}

static bytes model(size_t more) {
    builder b = new_builder();
    uint64_t dims[2] = {K, N};
    size_t i;
    for (i = 0; i < 40; i++) {
        char key[32];
        snprintf(key, sizeof key, "key %u", (unsigned)i);
        add_key(&b, key, GGUFFUSE_METADATA_STRING);
        put_string(&b.metadata, "text");
    }
    if (more) {
        void *zeros = allocate(more);
        add_key(&b, "more", GGUFFUSE_METADATA_STRING);
        put_string_of(&b.metadata, (const char *)zeros, more);
        free(zeros);
    }
    add_tensor(&b, "w", GGUFFUSE_TYPE_Q4_K, 2, dims, w, w_bytes);
    return finish(&b, NULL);
}

static int prepare(const char *directory) {
    static char deep[1200];
    size_t length;
    FILE *out;
    w = random_weights(GGUFFUSE_TYPE_Q4_K, N, K, 3, &w_bytes);
    CHECK(w_bytes == BLOCKS * Q4K_BYTES);
    fill_normal(x, M * K, 4);
    fill_normal(weights_f32, BLOCKS * Q4K_ELEMENTS, 5);
    small = model(0);
    large = model((1 << 20) + 300000);
    snprintf(deep, sizeof deep, "%.500s/faults.", directory);
    length = strlen(deep);
    memset(deep + length, 'x', 200);
    CHECK(mkdir(deep, 0700) == 0 || errno == EEXIST);
    deep[length + 200] = '/';
    memset(deep + length + 201, 'y', 220);
    CHECK(mkdir(deep, 0700) == 0 || errno == EEXIST);
    work_directory = deep;
    snprintf(input_path, sizeof input_path, "%s/in.gguf", deep);
    snprintf(output_path, sizeof output_path, "%s/out.gguf", deep);
    out = fopen(input_path, "wb");
    CHECK(out && fwrite(large.data, 1, large.size, out) == large.size && fclose(out) == 0);
    out = fopen(output_path, "wb"); /* there is always one to replace */
    CHECK(out && fclose(out) == 0);
    return 0;
}

int main(int argc, char **argv) {
    static results expected;
    long points = 0, of_kind[FAULT_KINDS], most = 60;
    size_t s, kind;
    CHECK(argc >= 2); /* a directory for temporary files; then how many calls of each kind are refused at most */
    if (argc > 2) {
        most = atol(argv[2]);
    }
    memset(of_kind, 0, sizeof of_kind);
    RUN(prepare(argv[1]));
    for (s = 0; s < sizeof SCENARIOS / sizeof *SCENARIOS; s++) {
        RUN(expect(&SCENARIOS[s], &expected));
        for (kind = 0; kind < FAULT_KINDS; kind++) {
            long first, count;
            for (count = 1; count <= 1000000000; count *= 1000000000) {
                for (first = 0; first < most; first++) {
                    int outcome = in_a_process(&SCENARIOS[s], (fault_kind)kind, first, count, &expected);
                    CHECK(outcome != FAILED);
                    if (outcome == NOT_FIRED) {
                        break;
                    }
                    of_kind[kind]++;
                    points++;
                }
            }
        }
    }
    printf("faults: %ld points, 0 aborts, 0 leaks, every next call worked:", points);
    for (kind = 0; kind < FAULT_KINDS; kind++) {
        printf(" %s %ld", KINDS[kind], of_kind[kind]);
        CHECK(of_kind[kind] > 0); /* a name that the library doesn't call tests nothing */
    }
    printf("\n");
    CHECK(most < 60 || points >= 500);
    CHECK(unlink(input_path) == 0 && unlink(output_path) == 0 && rmdir(work_directory) == 0);
    *strrchr(input_path, '/') = 0;
    *strrchr(input_path, '/') = 0;
    CHECK(rmdir(input_path) == 0);
    return 0;
}

#else

int main(void) {
    printf("faults: needs glibc and no sanitizer\n");
    return 0;
}

#endif

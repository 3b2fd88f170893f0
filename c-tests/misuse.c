/* The misuse matrix: what a caller may do wrong, and where it is tested that the promised answer comes. Here are the rows
 * that no other program has.
 *
 *   misuse                                                  answer                        tested in
 *   NULL for any pointer, one at a time                     NULL_ARGUMENT                 nulls, writer_misuse
 *   handle NULL, random, of another kind, from before fork  INVALID_HANDLE; valid         handles, writer_misuse, here
 *   use after close, closing twice                          INVALID_HANDLE                handles, writer_misuse, threads
 *   closing while other threads are in calls                they finish                   handles, threads
 *   tensor pointer used after close                         the caller's error            documented only
 *   writing through a tensor pointer                        SIGSEGV, the file stays       truncation
 *   index past the end, negative, SIZE_MAX                  NOT_FOUND                     here, status
 *   getter of another type                                  TYPE_MISMATCH                 metadata
 *   unknown key or tensor                                   NOT_FOUND                     status, metadata
 *   names that are not UTF-8, or very long                  NOT_FOUND, INVALID_ARGUMENT   here, status, writer_misuse
 *   buffer too small, capacity 0, NULL                      the size needed, no overrun   status, writer
 *   struct of an older or newer header                      works, or INVALID_ARGUMENT    manners
 *   reserved fields set                                     INVALID_ARGUMENT              truncation
 *   another ABI version                                     gguffuse_abi_version tells    status
 *   k no whole blocks or 0; m or n 0; products overflow     SHAPE; nothing to do; SHAPE   here, status, matmul
 *   w, x or y shorter than the shape needs                  BUFFER_TOO_SMALL              status
 *   y overlaps x or w; outputs overlap inputs               ALIASING                      status, validate, writer_misuse
 *   x overlaps w                                            works, both are only read     here
 *   pointers that are not aligned                           MISALIGNED                    status, manners
 *   stride shorter than a row, or too large                 SHAPE                         here, status
 *   NaN, infinities, denormals                              IEEE, in their row only       here, cpu_state (and Rust's tests)
 *   type without a kernel                                   UNSUPPORTED_TYPE              here
 *   lies about lengths                                      undefined                     documented only
 *   one y from two threads                                  its contents race, no more    here
 *   one handle, many threads, any mix                       allowed                       threads
 *   threads 0, too many, not to be had                      fewer, the call succeeds      status, faults
 *   calls from a signal handler                             BUSY inside of a call         manners
 *   calls from the log callback                             BUSY                          log
 *   fork with calls in flight                               the child computes            handles
 *   signals while threads are in calls                      handled on the host's threads signals
 *   pthread_cancel in a call                                after the call                manners
 *   dlclose with workers alive, dlopen again                nothing is unloaded           unload
 *   exit() while threads are in calls                       the process's own status      process
 *   small stack; rounding, flushing, unmasked exceptions    works, state restored         stack, scripts/check_faults.sh; cpu_state
 *   no memory, descriptors or threads                       OUT_OF_MEMORY, IO; usable     memory, faults
 *   a panic inside                                          INTERNAL                      src/ffi/call.rs
 *   file shortened or changed after it was opened           TRUNCATED, CHANGED by verify  truncation
 *   FIFO, device, directory, socket, /proc                  a status, and never waits     here
 *   errno, locale, umask, signal mask, FP state, streams    as before                     manners, cpu_state
 */
#include "common.h"
#include <pthread.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { N = 40, K = 512, M = 5 };

static long cases;

#define GIVES(call, name)                                                                                              \
    do {                                                                                                               \
        CHECK_STATUS(call, GGUFFUSE_ERROR_##name);                                                                     \
        cases++;                                                                                                       \
    } while (0)

static bytes model(const unsigned char *w, size_t w_bytes) {
    builder b = new_builder();
    uint64_t dims[2] = {K, N};
    unsigned char zeros[64];
    uint64_t few[1] = {2};
    memset(zeros, 0, sizeof zeros);
    add_key(&b, "list", GGUFFUSE_METADATA_ARRAY);
    put_int(&b.metadata, GGUFFUSE_METADATA_UINT8, 4);
    put_int(&b.metadata, 1, 8);
    put_int(&b.metadata, 9, 1);
    add_tensor(&b, "w", GGUFFUSE_TYPE_Q4_K, 2, dims, w, w_bytes);
    add_tensor(&b, "integers", GGUFFUSE_TYPE_I64, 1, few, zeros, 16);
    return finish(&b, NULL);
}

/* What handles.c doesn't ask: functions that compute on weights, and the ones that have come since. */
static int handles(gguffuse_file *file, gguffuse_context *context) {
    float x[K];
    unsigned char block[2 * Q4K_BYTES];
    uint64_t bad = 77;
    uintptr_t wrong[5];
    int i;
    memset(x, 0, sizeof x);
    memset(block, 0, sizeof block);
    wrong[0] = 0;
    wrong[1] = (uintptr_t)&bad;
    wrong[2] = (uintptr_t)file ^ 64;
    wrong[3] = (uintptr_t)context ^ 64;
    wrong[4] = UINTPTR_MAX;
    for (i = 0; i < 5; i++) {
        gguffuse_file *not_file = (gguffuse_file *)wrong[i];
        gguffuse_context *not_context = (gguffuse_context *)wrong[i];
        GIVES(gguffuse_file_verify(not_file), INVALID_HANDLE);
        GIVES(gguffuse_tensor_validate(context, not_file, 0, &bad), INVALID_HANDLE);
        GIVES(gguffuse_tensor_validate(not_context, file, 0, &bad), INVALID_HANDLE);
        GIVES(gguffuse_validate(not_context, GGUFFUSE_TYPE_Q4_K, block, sizeof block, &bad), INVALID_HANDLE);
        GIVES(gguffuse_quantize_with(not_context, GGUFFUSE_TYPE_Q4_K, x, 1, K, NULL, block, sizeof block), INVALID_HANDLE);
    }
    GIVES(gguffuse_file_verify((gguffuse_file *)(void *)context), INVALID_HANDLE);
    GIVES(gguffuse_tensor_validate((gguffuse_context *)(void *)file, (gguffuse_file *)(void *)context, 0, &bad), INVALID_HANDLE);
    CHECK(bad == 77);
    return 0;
}

/* NULL where writer_misuse.c has none, for a key and for what lies behind it. */
static int writer_nulls(gguffuse_file *file) {
    gguffuse_writer *w = NULL;
    uint64_t size = 0;
    CHECK_OK(gguffuse_writer_new(NULL, &w));
    GIVES(gguffuse_writer_set_i8(w, NULL, 1), NULL_ARGUMENT);
    GIVES(gguffuse_writer_set_u16(w, NULL, 1), NULL_ARGUMENT);
    GIVES(gguffuse_writer_set_i16(w, NULL, 1), NULL_ARGUMENT);
    GIVES(gguffuse_writer_set_u32(w, NULL, 1), NULL_ARGUMENT);
    GIVES(gguffuse_writer_set_i32(w, NULL, 1), NULL_ARGUMENT);
    GIVES(gguffuse_writer_set_u64(w, NULL, 1), NULL_ARGUMENT);
    GIVES(gguffuse_writer_set_i64(w, NULL, 1), NULL_ARGUMENT);
    GIVES(gguffuse_writer_set_f32(w, NULL, 1), NULL_ARGUMENT);
    GIVES(gguffuse_writer_set_f64(w, NULL, 1), NULL_ARGUMENT);
    GIVES(gguffuse_writer_set_string(w, NULL, "s", 1), NULL_ARGUMENT);
    GIVES(gguffuse_writer_set_array(w, NULL, GGUFFUSE_METADATA_UINT8, "s", 1), NULL_ARGUMENT);
    GIVES(gguffuse_writer_set_string_array(w, NULL, NULL, NULL, 0), NULL_ARGUMENT);
    GIVES(gguffuse_writer_remove_metadata(w, NULL), NULL_ARGUMENT);
    CHECK_OK(gguffuse_writer_size(w, &size));
    CHECK(size == 32); /* nothing came of it */
    CHECK_OK(gguffuse_writer_copy_metadata(w, file, NULL)); /* NULL is all entries */
    CHECK_OK(gguffuse_writer_free(w));
    return 0;
}

static int indices(gguffuse_file *file, gguffuse_context *context) {
    static const uint64_t past[4] = {2, UINT32_MAX, (uint64_t)-1, UINT64_C(1) << 63};
    struct gguffuse_tensor_info info;
    float x[K], y[N];
    uint64_t u64 = 77;
    int64_t i64 = 77;
    double f64 = 77;
    bool boolean = true;
    uint32_t u32 = 77;
    size_t size = 77;
    const char *text = NULL;
    const void *data = NULL;
    int i;
    memset(x, 0, sizeof x);
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    for (i = 0; i < 4; i++) {
        uint64_t index = past[i], zero = 0;
        GIVES(gguffuse_tensor_info(file, index, &info), NOT_FOUND);
        GIVES(gguffuse_matmul_tensor(context, file, index, x, K, 0, 1, y, N, 0), NOT_FOUND);
        GIVES(gguffuse_tensor_validate(context, file, index, &u64), NOT_FOUND);
        GIVES(gguffuse_metadata_key(file, index, &text, &size), NOT_FOUND);
        GIVES(gguffuse_metadata_type(file, index, &u32), NOT_FOUND);
        GIVES(gguffuse_metadata_array_info(file, index, NULL, 0, &u32, &u64), NOT_FOUND);
        GIVES(gguffuse_metadata_array_data(file, index, NULL, 0, &data, &size), NOT_FOUND);
        GIVES(gguffuse_metadata_element_u64(file, index, &zero, 1, &u64), NOT_FOUND);
        GIVES(gguffuse_metadata_element_u64(file, 0, &index, 1, &u64), NOT_FOUND);
        GIVES(gguffuse_metadata_element_i64(file, 0, &index, 1, &i64), NOT_FOUND);
        GIVES(gguffuse_metadata_element_f64(file, 0, &index, 1, &f64), NOT_FOUND);
        GIVES(gguffuse_metadata_element_bool(file, 0, &index, 1, &boolean), NOT_FOUND);
        GIVES(gguffuse_metadata_element_string(file, 0, &index, 1, &text, &size), NOT_FOUND);
        CHECK(gguffuse_isa_name((size_t)index + 8) == NULL);
    }
    CHECK(u64 == 77 && i64 == 77 && f64 == 77 && boolean && u32 == 77 && size == 77 && !text && !data && !info.name);
    return 0;
}

static int names(gguffuse_file *file) {
    size_t length = 1 << 20;
    char *name = (char *)allocate(length + 1);
    uint64_t u64 = 77;
    memset(name, 'w', length);
    GIVES(gguffuse_tensor_find(file, name, &u64), NOT_FOUND);
    GIVES(gguffuse_tensor_absolute_offset(file, name, &u64), NOT_FOUND);
    GIVES(gguffuse_metadata_find(file, name, &u64), NOT_FOUND);
    CHECK(strlen(last_error_text()) < 512);
    memset(name, 0xc3, length);
    GIVES(gguffuse_tensor_find(file, name, &u64), NOT_FOUND);
    GIVES(gguffuse_metadata_get_u64(file, name, &u64), NOT_FOUND);
    CHECK(u64 == 77);
    free(name);
    return 0;
}

static int shapes(gguffuse_context *context, const unsigned char *w, size_t w_bytes) {
    enum { X = M * K, Y = M * N };
    const uint32_t q = GGUFFUSE_TYPE_Q4_K;
    float *x = floats(X), *y = floats(Y);
    size_t i, row = 77;
    static const size_t bad_k[4] = {0, 1, 255, K + 1};
    for (i = 0; i < 4; i++) {
        GIVES(gguffuse_matmul(context, q, w, w_bytes, N, bad_k[i], x, X, 0, M, y, Y, 0), SHAPE);
        GIVES(gguffuse_matmul_rows(context, q, w, w_bytes, N, bad_k[i], 0, 1, x, X, 0, M, y, Y, 0), SHAPE);
    }
    GIVES(gguffuse_matmul(context, q, w, w_bytes, SIZE_MAX, K, x, X, 0, M, y, Y, 0), SHAPE);
    GIVES(gguffuse_matmul(context, q, w, w_bytes, N, K, x, X, 0, SIZE_MAX, y, Y, 0), SHAPE);
    GIVES(gguffuse_matmul(context, q, w, w_bytes, N, K, x, X, 0, SIZE_MAX / K + 2, y, Y, 0), SHAPE);
    GIVES(gguffuse_matmul(context, q, w, w_bytes, N, K, x, X, SIZE_MAX, M, y, Y, 0), SHAPE);
    GIVES(gguffuse_matmul(context, q, w, w_bytes, N, K, x, X, SIZE_MAX - K + 1, 2, y, Y, 0), SHAPE);
    GIVES(gguffuse_matmul(context, q, w, w_bytes, N, K, x, X, 0, M, y, Y, SIZE_MAX - 1), SHAPE);
    GIVES(gguffuse_matmul(context, q, w, w_bytes, N, K, x, X, (size_t)-1 / 2, M, y, Y, 0), SHAPE);
    GIVES(gguffuse_row_size(GGUFFUSE_TYPE_I16, UINT64_MAX, &row), SHAPE);
    CHECK(row == 77);
    for (i = 0; i < Y; i++) {
        CHECK(y[i] == 0);
    }
    CHECK_OK(gguffuse_matmul(context, q, w, w_bytes, N, K, x, 0, SIZE_MAX, 0, y, 0, SIZE_MAX)); /* nothing to do */
    /* an output of the length 0 at the end of its input shares no byte with it */
    CHECK_OK(gguffuse_matmul(context, q, w, w_bytes, N, K, x, X, 0, 0, x, 0, 0));
    /* what is only read may overlap */
    CHECK_OK(gguffuse_matmul(context, GGUFFUSE_TYPE_F32, x, X * sizeof *x, M, K, x, X, 0, M, y, Y, 0));
    free(x);
    free(y);
    return 0;
}

static int types(gguffuse_file *file, gguffuse_context *context) {
    float x[K], y[4] = {5, 5, 5, 5};
    unsigned char w[K * 8];
    struct gguffuse_type_info info;
    struct gguffuse_tensor_info tensor;
    uint32_t type;
    int without = 0;
    memset(x, 0, sizeof x);
    memset(w, 0, sizeof w);
    for (type = 0; type < 300; type++) {
        memset(&info, 0, sizeof info);
        info.struct_size = sizeof info;
        if (gguffuse_type_info(type, &info) != GGUFFUSE_OK || !info.can_matmul) {
            GIVES(gguffuse_matmul(context, type, w, sizeof w, 1, K, x, K, 0, 1, y, 1, 0), UNSUPPORTED_TYPE);
            GIVES(gguffuse_matmul_rows(context, type, w, sizeof w, 1, K, 0, 1, x, K, 0, 1, y, 1, 0), UNSUPPORTED_TYPE);
            without++;
        }
        if (!info.can_quantize) {
            GIVES(gguffuse_quantize(type, x, 1, K, w, sizeof w), UNSUPPORTED_TYPE);
            GIVES(gguffuse_quantize_with(context, type, x, 1, K, NULL, w, sizeof w), UNSUPPORTED_TYPE);
        }
    }
    CHECK(without > 200);
    memset(&tensor, 0, sizeof tensor);
    tensor.struct_size = sizeof tensor;
    CHECK_OK(gguffuse_tensor_info(file, 1, &tensor)); /* place and size are given, products aren't */
    CHECK(tensor.type == GGUFFUSE_TYPE_I64 && tensor.size_bytes == 16 && tensor.data != NULL);
    GIVES(gguffuse_matmul_tensor(context, file, 1, x, 2, 0, 1, y, 1, 0), UNSUPPORTED_TYPE);
    CHECK(y[0] == 5);
    return 0;
}

static int not_finite(gguffuse_context *context, const unsigned char *w, size_t w_bytes) {
    static const float strange[4] = {NAN, INFINITY, -INFINITY, 1e-40f};
    float *x = floats(M * K), *clean = floats(M * N), *y = floats(M * N);
    int i, row, column;
    fill_normal(x, M * K, 3);
    CHECK_OK(gguffuse_matmul(context, GGUFFUSE_TYPE_Q4_K, w, w_bytes, N, K, x, M * K, 0, M, clean, M * N, 0));
    for (i = 0; i < 4; i++) {
        float before = x[2 * K + 77];
        x[2 * K + 77] = strange[i];
        CHECK_OK(gguffuse_matmul(context, GGUFFUSE_TYPE_Q4_K, w, w_bytes, N, K, x, M * K, 0, M, y, M * N, 0));
        x[2 * K + 77] = before;
        for (row = 0; row < M; row++) {
            for (column = 0; column < N; column++) {
                float got = y[row * N + column];
                if (row != 2) {
                    CHECK(memcmp(&got, &clean[row * N + column], sizeof got) == 0);
                } else {
                    double weight_there = weight(GGUFFUSE_TYPE_Q4_K, w, K, (size_t)column, 77, NULL);
                    float ieee = (float)(strange[i] * weight_there);
                    CHECK(i == 3 ? isfinite(got) : isnan(ieee) ? isnan(got) : got == ieee);
                }
            }
        }
        cases++;
    }
    free(x);
    free(clean);
    free(y);
    return 0;
}

/* Two threads write one y: what is in it is theirs to sort out, around it nothing changes. */
typedef struct racer {
    pthread_t thread;
    gguffuse_context *context;
    const unsigned char *w;
    size_t w_bytes;
    float *x, *y;
    int failed;
} racer;

static void *race(void *argument) {
    racer *self = (racer *)argument;
    int i;
    for (i = 0; i < 200; i++) {
        self->failed |= gguffuse_matmul(self->context, GGUFFUSE_TYPE_Q4_K, self->w, self->w_bytes, N, K, self->x, M * K, 0, M,
                                        self->y, M * N, 0) != GGUFFUSE_OK;
    }
    return NULL;
}

static int one_output(gguffuse_context *context, const unsigned char *w, size_t w_bytes) {
    float *x = floats(M * K), *y = floats(M * N + 64), *expected = floats(M * N);
    racer racers[2];
    int i;
    fill_normal(x, M * K, 3);
    for (i = 0; i < M * N + 64; i++) {
        y[i] = 5;
    }
    for (i = 0; i < 2; i++) {
        racers[i].context = context;
        racers[i].w = w;
        racers[i].w_bytes = w_bytes;
        racers[i].x = x;
        racers[i].y = y + 32;
        racers[i].failed = 0;
        CHECK(pthread_create(&racers[i].thread, NULL, race, &racers[i]) == 0);
    }
    for (i = 0; i < 2; i++) {
        CHECK(pthread_join(racers[i].thread, NULL) == 0 && !racers[i].failed);
    }
    CHECK_OK(gguffuse_matmul(context, GGUFFUSE_TYPE_Q4_K, w, w_bytes, N, K, x, M * K, 0, M, expected, M * N, 0));
    CHECK(memcmp(y + 32, expected, M * N * sizeof *y) == 0); /* the same values, here */
    for (i = 0; i < 32; i++) {
        CHECK(y[i] == 5 && y[32 + M * N + i] == 5);
    }
    cases++;
    free(x);
    free(y);
    free(expected);
    return 0;
}

/* What is no file of bytes is refused at once. */
static int special_files(const char *directory) {
    static const char *const there[] = {"/dev/zero", "/dev/null", "/dev/tty", "/proc", "/", "/dev/full"};
    char path[300];
    struct sockaddr_un address;
    gguffuse_file *file = NULL;
    gguffuse_open_options copy;
    size_t i;
    int listener;
    memset(&copy, 0, sizeof copy);
    copy.struct_size = sizeof copy;
    copy.copy = 1;
    alarm(60); /* waiting would be for ever */
    for (i = 0; i < sizeof there / sizeof *there; i++) {
        if (access(there[i], R_OK) == 0) {
            GIVES(gguffuse_file_open(there[i], NULL, &file), INVALID_ARGUMENT);
            GIVES(gguffuse_file_open(there[i], &copy, &file), INVALID_ARGUMENT);
        }
    }
    GIVES(gguffuse_file_open(directory, NULL, &file), INVALID_ARGUMENT);
    GIVES(gguffuse_file_open("/proc/self/maps", NULL, &file), TRUNCATED); /* says that it is of size 0 */
    GIVES(gguffuse_file_open("", NULL, &file), IO);
    snprintf(path, sizeof path, "%.250s/misuse.fifo", directory);
    CHECK(mkfifo(path, 0600) == 0);
    GIVES(gguffuse_file_open(path, NULL, &file), INVALID_ARGUMENT);
    CHECK(unlink(path) == 0);
    memset(&address, 0, sizeof address);
    address.sun_family = AF_UNIX;
    snprintf(address.sun_path, sizeof address.sun_path, "/tmp/gguffuse-misuse.%ld", (long)getpid());
    listener = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(listener >= 0 && bind(listener, (const struct sockaddr *)&address, sizeof address) == 0);
    GIVES(gguffuse_file_open(address.sun_path, NULL, &file), INVALID_ARGUMENT);
    CHECK(close(listener) == 0 && unlink(address.sun_path) == 0);
    alarm(0);
    CHECK(file == NULL);
    return 0;
}

int main(int argc, char **argv) {
    gguffuse_context *context = context_with(2, 0);
    gguffuse_file *file = NULL;
    size_t w_bytes;
    unsigned char *w = random_weights(GGUFFUSE_TYPE_Q4_K, N, K, 1, &w_bytes);
    bytes raw = model(w, w_bytes);
    CHECK(argc == 2 && context); /* a directory for temporary files */
    CHECK_OK(gguffuse_file_open_memory(raw.data, raw.size, NULL, &file));
    RUN(handles(file, context));
    RUN(writer_nulls(file));
    RUN(indices(file, context));
    RUN(names(file));
    RUN(shapes(context, w, w_bytes));
    RUN(types(file, context));
    RUN(not_finite(context, w, w_bytes));
    RUN(one_output(context, w, w_bytes));
    RUN(special_files(argv[1]));
    CHECK_OK(gguffuse_file_close(file));
    CHECK_OK(gguffuse_context_free(context));
    printf("misuse: %ld cases, each with its status\n", cases);
    free(w);
    free(raw.data);
    return 0;
}

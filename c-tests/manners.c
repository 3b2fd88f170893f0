/* The library as a guest: errno, floating-point environment, file descriptors, signals; structs of other versions;
 * what may not be aligned and what may. */
#include "common.h"
#include <errno.h>
#include <fenv.h>
#include <locale.h>
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

enum { N = 37, K = 512, M = 3 };

static bytes model(void) {
    builder b = new_builder();
    uint64_t dims[2] = {K, N};
    size_t size;
    unsigned char *w = random_weights(GGUFFUSE_TYPE_Q4_K, N, K, 5, &size);
    add_key(&b, "key", GGUFFUSE_METADATA_UINT32);
    put_int(&b.metadata, 7, 4);
    add_key(&b, "text", GGUFFUSE_METADATA_STRING);
    put_string(&b.metadata, "text");
    add_tensor(&b, "w", GGUFFUSE_TYPE_Q4_K, 2, dims, w, size);
    free(w);
    return finish(&b, NULL);
}

/* One call of nearly everything, in success and in failure; y receives a product. */
static int use_everything(const char *path, const bytes *raw, const float *x, float *y) {
    gguffuse_file *file = NULL, *memory = NULL;
    gguffuse_context *context = NULL;
    gguffuse_activations *activations = NULL;
    gguffuse_writer *writer = NULL;
    gguffuse_context_options options;
    struct gguffuse_file_info info;
    struct gguffuse_tensor_info tensor;
    struct gguffuse_type_info type;
    uint64_t index, u64;
    double f64;
    const char *text;
    size_t size;
    char message[64];
    float row[K];
    unsigned char block[2 * Q4K_BYTES];
    memset(&options, 0, sizeof options);
    memset(&info, 0, sizeof info);
    memset(&tensor, 0, sizeof tensor);
    memset(&type, 0, sizeof type);
    options.struct_size = sizeof options;
    options.threads = 2;
    info.struct_size = sizeof info;
    tensor.struct_size = sizeof tensor;
    type.struct_size = sizeof type;
    CHECK_OK(gguffuse_file_open(path, NULL, &file));
    CHECK_OK(gguffuse_file_open_memory(raw->data, raw->size, NULL, &memory));
    CHECK_STATUS(gguffuse_file_open("/nonexistent/file", NULL, &memory), GGUFFUSE_ERROR_IO);
    CHECK_STATUS(gguffuse_file_open("/dev/null", NULL, &memory), GGUFFUSE_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(gguffuse_file_open_memory("GGUF", 4, NULL, &memory), GGUFFUSE_ERROR_TRUNCATED);
    CHECK_OK(gguffuse_file_info(file, &info));
    CHECK_OK(gguffuse_tensor_find(file, "w", &index));
    CHECK_OK(gguffuse_tensor_info(file, index, &tensor));
    CHECK_OK(gguffuse_metadata_get_u64(file, "key", &u64));
    CHECK_OK(gguffuse_metadata_get_f64(file, "key", &f64));
    CHECK_OK(gguffuse_metadata_get_string(file, "text", &text, &size));
    CHECK_STATUS(gguffuse_metadata_get_u64(file, "none", &u64), GGUFFUSE_ERROR_NOT_FOUND);
    CHECK_OK(gguffuse_type_info(GGUFFUSE_TYPE_Q4_K, &type));
    CHECK_OK(gguffuse_row_size(GGUFFUSE_TYPE_Q4_K, K, &size));
    CHECK_OK(gguffuse_dequantize(GGUFFUSE_TYPE_Q4_K, tensor.data, size, row, K));
    CHECK_OK(gguffuse_quantize(GGUFFUSE_TYPE_Q4_K, row, 1, K, block, sizeof block));
    CHECK_OK(gguffuse_context_new(&options, &context));
    CHECK(gguffuse_context_isa(context) != NULL && gguffuse_isa_name(0) != NULL && gguffuse_version() != 0);
    CHECK_OK(gguffuse_matmul_tensor(context, file, index, x, M * K, 0, M, y, M * N, 0));
    CHECK_OK(gguffuse_activations_new(&activations));
    CHECK_OK(gguffuse_activations_pack(context, activations, x, M * K, 0, M, K));
    CHECK_OK(gguffuse_activations_matmul_tensor(context, activations, file, index, y, M * N, 0));
    CHECK_STATUS(gguffuse_activations_pack(context, activations, x, M * K - 1, 0, M, K), GGUFFUSE_ERROR_BUFFER_TOO_SMALL);
    CHECK_OK(gguffuse_activations_free(activations));
    CHECK_STATUS(gguffuse_matmul_tensor(context, file, index, x, M * K - 1, 0, M, y, M * N, 0),
                 GGUFFUSE_ERROR_BUFFER_TOO_SMALL);
    CHECK(gguffuse_last_error(message, sizeof message) > 1);
    options.max_isa = "none";
    CHECK_STATUS(gguffuse_context_new(&options, &context), GGUFFUSE_ERROR_UNSUPPORTED_ISA);
    CHECK_OK(gguffuse_context_free(context));
    CHECK_OK(gguffuse_writer_new(NULL, &writer));
    CHECK_OK(gguffuse_writer_copy_metadata(writer, file, NULL));
    CHECK_OK(gguffuse_writer_add_tensor(writer, "w", tensor.type, 2, tensor.dims, tensor.data, (size_t)tensor.size_bytes));
    CHECK_OK(gguffuse_writer_write_file(writer, path)); /* the same bytes, over the mapped file */
    CHECK_STATUS(gguffuse_writer_write_file(writer, "/nonexistent/file"), GGUFFUSE_ERROR_IO);
    CHECK_OK(gguffuse_writer_free(writer));
    CHECK_OK(gguffuse_file_close(memory));
    CHECK_OK(gguffuse_file_close(file));
    CHECK_STATUS(gguffuse_file_close(file), GGUFFUSE_ERROR_INVALID_HANDLE);
    return 0;
}

static int environment(const char *path, const bytes *raw, const float *x) {
    static const int roundings[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};
    float expected[M * N], y[M * N];
    sigset_t before, after;
    size_t i;
    memset(&before, 0, sizeof before); /* the system fills in the signals that there are, not all bits */
    memset(&after, 0, sizeof after);
    RUN(use_everything(path, raw, x, expected));
    for (i = 0; i < 4; i++) {
        int rounding, failed;
        CHECK(fesetround(roundings[i]) == 0);
        feclearexcept(FE_ALL_EXCEPT);
        errno = 4711;
        CHECK(sigprocmask(SIG_SETMASK, NULL, &before) == 0);
        failed = use_everything(path, raw, x, y);
        rounding = fegetround();
        fesetround(FE_TONEAREST);
        CHECK(!failed);
        CHECK(errno == 4711);
        CHECK(rounding == roundings[i]);
        CHECK(fetestexcept(FE_ALL_EXCEPT & ~FE_INEXACT) == 0); /* this program's own arithmetic is inexact at times */
        CHECK(sigprocmask(SIG_SETMASK, NULL, &after) == 0);
        CHECK(memcmp(&before, &after, sizeof before) == 0);
        CHECK(memcmp(y, expected, sizeof y) == 0); /* nor does the caller's rounding change results */
        CHECK(strcmp(setlocale(LC_ALL, NULL), "C") == 0);
    }
#if defined(__x86_64__)
    {
        /* flush to zero, denormals are zero, all traps unmasked */
        unsigned saved = _mm_getcsr(), strange = 0x8040u, got;
        int failed;
        _mm_setcsr(strange);
        failed = use_everything(path, raw, x, y);
        got = _mm_getcsr();
        _mm_setcsr(saved);
        CHECK(!failed);
        CHECK(got == strange);
        CHECK(memcmp(y, expected, sizeof y) == 0);
    }
#endif
    return 0;
}

/* Nothing is written to the standard streams, and no descriptor stays open. */
static int silence(const char *directory, const char *path, const bytes *raw, const float *x) {
    char name[4096];
    float y[M * N];
    int saved[2], sink, i, failed, lowest_before, lowest_after;
    off_t written;
    snprintf(name, sizeof name, "%s/manners.%ld.out", directory, (long)getpid());
    sink = (fflush(NULL), fileno(fopen(name, "w+b")));
    CHECK(sink >= 0);
    for (i = 0; i < 2; i++) {
        saved[i] = dup(i + 1);
        dup2(sink, i + 1);
    }
    lowest_before = dup(0);
    close(lowest_before);
    failed = use_everything(path, raw, x, y);
    lowest_after = dup(0);
    close(lowest_after);
    written = lseek(sink, 0, SEEK_END);
    for (i = 0; i < 2; i++) {
        dup2(saved[i], i + 1);
        close(saved[i]);
    }
    unlink(name);
    CHECK(!failed);
    CHECK(written == 0);
    CHECK(lowest_before == lowest_after);
    return 0;
}

/* struct_size: shorter is older, longer is newer if the rest is zero. */
static int structs(const char *path) {
    struct {
        struct gguffuse_tensor_info info;
        uint64_t unknown[2];
    } longer;
    struct gguffuse_file_info info;
    gguffuse_context_options options;
    gguffuse_file *file = NULL;
    gguffuse_context *context = NULL;
    struct {
        gguffuse_open_options options;
        uint64_t unknown;
    } open_options;
    size_t size;

    CHECK_OK(gguffuse_file_open(path, NULL, &file));
    memset(&info, 0x55, sizeof info);
    info.struct_size = offsetof(struct gguffuse_file_info, data_offset); /* a version that ends before data_offset */
    CHECK_OK(gguffuse_file_info(file, &info));
    CHECK(info.struct_size == offsetof(struct gguffuse_file_info, data_offset));
    CHECK(info.version == 3 && info.tensor_count == 1 && info.metadata_count == 2);
    CHECK(info.data_offset == UINT64_C(0x5555555555555555) && info.size_bytes == UINT64_C(0x5555555555555555));
    info.struct_size = sizeof(size_t); /* nothing but the size */
    info.version = 99;
    CHECK_OK(gguffuse_file_info(file, &info));
    CHECK(info.version == 99);
    for (size = 0; size < sizeof(size_t); size++) {
        info.struct_size = size;
        CHECK_STATUS(gguffuse_file_info(file, &info), GGUFFUSE_ERROR_INVALID_ARGUMENT);
    }
    info.struct_size = sizeof info - 1; /* no struct ends inside of a field */
    CHECK_STATUS(gguffuse_file_info(file, &info), GGUFFUSE_ERROR_INVALID_ARGUMENT);
    info.struct_size = SIZE_MAX; /* never set */
    CHECK_STATUS(gguffuse_file_info(file, &info), GGUFFUSE_ERROR_INVALID_ARGUMENT);
    info.struct_size = SIZE_MAX / 2 + 1;
    CHECK_STATUS(gguffuse_file_info(file, &info), GGUFFUSE_ERROR_INVALID_ARGUMENT);
    CHECK(info.version == 99);

    memset(&longer, 0, sizeof longer);
    longer.info.struct_size = sizeof longer;
    CHECK_OK(gguffuse_tensor_info(file, 0, &longer.info));
    CHECK(longer.info.struct_size == sizeof longer && strcmp(longer.info.name, "w") == 0);
    CHECK(longer.unknown[0] == 0 && longer.unknown[1] == 0);
    longer.unknown[1] = UINT64_C(1) << 56;
    longer.info.name = NULL;
    CHECK_STATUS(gguffuse_tensor_info(file, 0, &longer.info), GGUFFUSE_ERROR_INVALID_ARGUMENT);
    CHECK(longer.info.name == NULL);
    CHECK_OK(gguffuse_file_close(file));

    memset(&open_options, 0, sizeof open_options);
    open_options.options.struct_size = sizeof open_options;
    CHECK_OK(gguffuse_file_open(path, &open_options.options, &file));
    CHECK_OK(gguffuse_file_close(file));
    open_options.unknown = 1;
    CHECK_STATUS(gguffuse_file_open(path, &open_options.options, &file), GGUFFUSE_ERROR_INVALID_ARGUMENT);
    open_options.options.struct_size = sizeof(size_t);
    open_options.options.max_metadata_bytes = 1; /* past the end, so not looked at */
    CHECK_OK(gguffuse_file_open(path, &open_options.options, &file));
    CHECK_OK(gguffuse_file_close(file));

    memset(&options, 0, sizeof options);
    CHECK_STATUS(gguffuse_context_new(&options, &context), GGUFFUSE_ERROR_INVALID_ARGUMENT); /* forgot struct_size */
    options.struct_size = offsetof(gguffuse_context_options, max_isa);
    options.max_isa = "no such level";
    CHECK_OK(gguffuse_context_new(&options, &context));
    CHECK_OK(gguffuse_context_free(context));
    return 0;
}

static int alignment(const char *path, const bytes *raw, const float *x) {
    unsigned char space[512];
    gguffuse_file *file = NULL;
    gguffuse_context *context = context_with(1, 0);
    struct gguffuse_tensor_info tensor;
    float y[N], again[N];
    unsigned char *copy;
    int shift;
    memset(space, 0, sizeof space);
    CHECK(context);
#define ODD(type) ((type *)(void *)(space + 1))
#define MISALIGNED(call) CHECK_STATUS(call, GGUFFUSE_ERROR_MISALIGNED)
    CHECK_OK(gguffuse_file_open(path, NULL, &file));
    MISALIGNED(gguffuse_file_open(path, NULL, ODD(gguffuse_file *)));
    MISALIGNED(gguffuse_file_open(path, ODD(const gguffuse_open_options), &file));
    MISALIGNED(gguffuse_file_info(file, ODD(struct gguffuse_file_info)));
    MISALIGNED(gguffuse_tensor_info(file, 0, ODD(struct gguffuse_tensor_info)));
    MISALIGNED(gguffuse_tensor_find(file, "w", ODD(uint64_t)));
    MISALIGNED(gguffuse_tensor_absolute_offset(file, "w", ODD(uint64_t)));
    MISALIGNED(gguffuse_metadata_get_f64(file, "key", ODD(double)));
    MISALIGNED(gguffuse_metadata_element_u64(file, 0, ODD(const uint64_t), 1, (uint64_t *)(void *)space));
    MISALIGNED(gguffuse_context_new(ODD(const gguffuse_context_options), &context));
    MISALIGNED(gguffuse_row_size(0, 1, ODD(size_t)));
    for (shift = 0; shift < 512; shift++) {
        CHECK(space[shift] == 0);
    }
    /* weights, and files in memory, may begin at any address */
    memset(&tensor, 0, sizeof tensor);
    tensor.struct_size = sizeof tensor;
    CHECK_OK(gguffuse_tensor_info(file, 0, &tensor));
    copy = (unsigned char *)allocate(raw->size + 64);
    CHECK_OK(gguffuse_matmul(context, GGUFFUSE_TYPE_Q4_K, tensor.data, (size_t)tensor.size_bytes, N, K, x, K, 0, 1, y, N, 0));
    for (shift = 0; shift < 64; shift++) {
        gguffuse_file *shifted = NULL;
        memcpy(copy + shift, raw->data, raw->size);
        CHECK_OK(gguffuse_file_open_memory(copy + shift, raw->size, NULL, &shifted));
        memset(again, 0, sizeof again);
        CHECK_OK(gguffuse_matmul_tensor(context, shifted, 0, x, K, 0, 1, again, N, 0));
        CHECK(memcmp(y, again, sizeof y) == 0);
        CHECK_OK(gguffuse_file_close(shifted));
    }
    free(copy);
    CHECK_OK(gguffuse_file_close(file));
    CHECK_OK(gguffuse_context_free(context));
    return 0;
}

/* A signal handler that calls the library while its thread is in a call is told so. */
static volatile sig_atomic_t busy, others, signals;

static void interrupt(int signal) {
    size_t bytes_of_row = 0;
    gguffuse_status status = gguffuse_row_size(GGUFFUSE_TYPE_F32, 1, &bytes_of_row);
    (void)signal;
    signals = signals + 1;
    if (status == GGUFFUSE_ERROR_BUSY) {
        busy = busy + 1;
    } else if (status != GGUFFUSE_OK) {
        others = others + 1;
    }
}

static int interrupted(const bytes *raw, const float *x) {
    gguffuse_file *file = NULL;
    gguffuse_context *context = context_with(1, 0);
    struct sigaction action, old;
    struct itimerval timer, off;
    float y[M * N], expected[M * N];
    time_t end = time(NULL) + 20;
    CHECK(context);
    CHECK_OK(gguffuse_file_open_memory(raw->data, raw->size, NULL, &file));
    CHECK_OK(gguffuse_matmul_tensor(context, file, 0, x, M * K, 0, M, expected, M * N, 0));
    memset(&action, 0, sizeof action);
    memset(&timer, 0, sizeof timer);
    memset(&off, 0, sizeof off);
    action.sa_handler = interrupt;
    timer.it_interval.tv_usec = 500;
    timer.it_value.tv_usec = 500;
    CHECK(sigaction(SIGALRM, &action, &old) == 0);
    CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
    while ((busy < 3 || signals < 100) && time(NULL) < end) {
        int i;
        for (i = 0; i < 200; i++) {
            CHECK_OK(gguffuse_matmul_tensor(context, file, 0, x, M * K, 0, M, y, M * N, 0));
            CHECK(memcmp(y, expected, sizeof y) == 0);
        }
    }
    CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0);
    CHECK(sigaction(SIGALRM, &old, NULL) == 0);
    CHECK(busy >= 3 && others == 0);
    printf("manners: interrupted by %d signals, in a call %d times and told so, 0 wrong results\n", (int)signals, (int)busy);
    CHECK_OK(gguffuse_file_close(file));
    CHECK_OK(gguffuse_context_free(context));
    return 0;
}

/* A thread that is cancelled while in calls ends between them, and with little stack. */
typedef struct victim {
    const bytes *raw;
    const float *x;
    int failed;
} victim;

static void *loop_until_cancelled(void *argument) {
    victim *self = (victim *)argument;
    float y[M * N];
    gguffuse_context *context = context_with(1, 0);
    for (;;) {
        gguffuse_file *file = NULL;
        if (gguffuse_file_open_memory(self->raw->data, self->raw->size, NULL, &file) != GGUFFUSE_OK ||
            gguffuse_matmul_tensor(context, file, 0, self->x, M * K, 0, M, y, M * N, 0) != GGUFFUSE_OK ||
            gguffuse_file_close(file) != GGUFFUSE_OK) {
            self->failed = 1;
            return NULL;
        }
        pthread_testcancel();
    }
}

static int cancelled(const bytes *raw, const float *x) {
    victim self;
    pthread_t thread;
    pthread_attr_t attributes;
    struct timespec pause = {0, 5000000};
    void *result = NULL;
    self.raw = raw;
    self.x = x;
    self.failed = 0;
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstacksize(&attributes, 64 * 1024) == 0);
    CHECK(pthread_create(&thread, &attributes, loop_until_cancelled, &self) == 0);
    nanosleep(&pause, NULL);
    CHECK(pthread_cancel(thread) == 0);
    CHECK(pthread_join(thread, &result) == 0);
    CHECK(!self.failed && result == PTHREAD_CANCELED);
    pthread_attr_destroy(&attributes);
    return 0;
}

int main(int argc, char **argv) {
    char path[4096];
    bytes raw = model();
    float x[M * K];
    FILE *out;
    CHECK(argc == 2); /* a directory for temporary files */
    fill_normal(x, M * K, 3);
    snprintf(path, sizeof path, "%s/manners.%ld.gguf", argv[1], (long)getpid());
    out = fopen(path, "wb");
    CHECK(out && fwrite(raw.data, 1, raw.size, out) == raw.size && fclose(out) == 0);
    RUN(silence(argv[1], path, &raw, x));
    RUN(environment(path, &raw, x));
    RUN(structs(path));
    RUN(alignment(path, &raw, x));
    RUN(interrupted(&raw, x));
    RUN(cancelled(&raw, x));
    CHECK(unlink(path) == 0);
    free(raw.data);
    return 0;
}

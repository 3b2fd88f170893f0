/* The state of the CPU and of the thread: results have the same bits whatever rounding mode, flushing of denormals and
 * unmasked exceptions the host has set, on the threads of the pool as well; and after every call all of it is as it was,
 * flags included, with errno, signal mask, locale and umask. Figures at the end. */
#include "common.h"
#include <errno.h>
#include <locale.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <xmmintrin.h>

/* Large enough for the pool to take part: in decoding, in quantising, and for some types in validating. */
enum { N = 180, K = 512, M = 34, STATES = 32, FORMS = 2, SOURCE_ROWS = 32, LARGEST_ROW = K * 8 };

static long calls, states_seen, types_seen, traps;

static void trap(int signal) {
    (void)signal;
    traps++;
    _exit(98);
}

/* State number `i`: 4 rounding modes, flush to zero, denormals are zero, exceptions unmasked; flags raised in half. */
static unsigned state(int i) {
    unsigned masks = i & 16 ? 0 : 0x1f80u, flags = i & 1 ? 0x3f : 0;
    return (unsigned)(i & 3) << 13 | (i & 4 ? 0x8000u : 0) | (i & 8 ? 0x0040u : 0) | masks | flags;
}

static unsigned short x87_control(void) {
    unsigned short control;
    __asm__ volatile("fnstcw %0" : "=m"(control));
    return control;
}

static void set_x87_control(unsigned short control) {
    __asm__ volatile("fldcw %0" : : "m"(control));
}

/* Runs a call in a state, and checks that it left everything as it was. No arithmetic in between. */
#define IN_STATE(state_number, call)                                                                                   \
    do {                                                                                                               \
        unsigned strange_ = state(state_number), saved_ = _mm_getcsr(), got_;                                          \
        unsigned short control_ = x87_control(), strange_control_ = (unsigned short)(0x7f | ((state_number)&3) << 10); \
        sigset_t before_, after_;                                                                                      \
        int32_t given_;                                                                                               \
        mode_t mask_;                                                                                                  \
        int errno_;                                                                                                    \
        memset(&before_, 0, sizeof before_);                                                                           \
        memset(&after_, 0, sizeof after_);                                                                             \
        CHECK(sigprocmask(SIG_SETMASK, NULL, &before_) == 0);                                                          \
        set_x87_control(strange_control_);                                                                             \
        errno = 4711;                                                                                                  \
        _mm_setcsr(strange_);                                                                                          \
        given_ = (int32_t)(call);                                                                                     \
        got_ = _mm_getcsr();                                                                                           \
        _mm_setcsr(saved_);                                                                                            \
        errno_ = errno;                                                                                                \
        CHECK(x87_control() == strange_control_);                                                                      \
        set_x87_control(control_);                                                                                     \
        CHECK_STATUS(given_, GGUFFUSE_OK);                                                                            \
        CHECK(got_ == strange_);                                                                                       \
        CHECK(errno_ == 4711);                                                                                         \
        CHECK(sigprocmask(SIG_SETMASK, NULL, &after_) == 0);                                                           \
        CHECK(memcmp(&before_, &after_, sizeof before_) == 0);                                                         \
        mask_ = umask(027);                                                                                            \
        CHECK(mask_ == 027);                                                                                           \
        CHECK(strcmp(setlocale(LC_ALL, NULL), "C") == 0);                                                              \
        calls++;                                                                                                       \
    } while (0)

/* Everything that computes, for weights of one type; `out` receives all results. */
typedef struct results {
    float whole[FORMS][3][M * N], rows[3][M * N], tensor[M * N], packed[2][M * N], values[K];
    unsigned char blocks[LARGEST_ROW], with[LARGEST_ROW * SOURCE_ROWS], file[LARGEST_ROW * 2];
    uint64_t bad[2];
    double f64;
} results;

typedef struct operands {
    uint32_t type;
    int can_quantize;
    unsigned char *w;
    size_t w_bytes, row_bytes;
    float x[M * K], source[SOURCE_ROWS * K];
    bytes file;
} operands;

static int compute(const operands *o, int state_number, results *out) {
    gguffuse_file *file = NULL;
    gguffuse_writer *writer = NULL;
    gguffuse_activations *a = NULL;
    uint64_t dims[2] = {K, 1};
    uint32_t precision;
    size_t written;
    IN_STATE(state_number, gguffuse_file_open_memory(o->file.data, o->file.size, NULL, &file));
    IN_STATE(state_number, gguffuse_metadata_get_f64(file, "float", &out->f64));
    for (precision = 0; precision < 3; precision++) {
        gguffuse_context *context = NULL;
        gguffuse_context_options options;
        int form;
        memset(&options, 0, sizeof options);
        options.struct_size = sizeof options;
        options.threads = 3;
        options.precision = precision;
        IN_STATE(state_number, gguffuse_context_new(&options, &context)); /* its threads start in this state */
        for (form = 0; form < FORMS; form++) {                            /* decode and panel */
            IN_STATE(state_number, gguffuse_matmul(context, o->type, o->w, o->w_bytes, N, K, o->x, M * K, 0, form ? M : 2,
                                                   out->whole[form][precision], M * N, 0));
        }
        IN_STATE(state_number, gguffuse_matmul_rows(context, o->type, o->w, o->w_bytes, N, K, 5, 30, o->x, M * K, 0, 3,
                                                    out->rows[precision], M * N, 0));
        if (precision == 0) {
            IN_STATE(state_number,
                     gguffuse_matmul_tensor(context, file, 0, o->x, M * K, 0, M, out->tensor, M * N, 0));
            IN_STATE(state_number, gguffuse_activations_new(&a));
            IN_STATE(state_number, gguffuse_activations_pack(context, a, o->x, M * K, 0, M, K));
            IN_STATE(state_number, gguffuse_activations_matmul_tensor(context, a, file, 0, out->packed[0], M * N, 0));
            IN_STATE(state_number, gguffuse_activations_matmul_rows(context, a, o->type, o->w, o->w_bytes, N, K, 5, 30,
                                                                    out->packed[1], M * N, 0));
            IN_STATE(state_number, gguffuse_activations_free(a));
            IN_STATE(state_number, gguffuse_validate(context, o->type, o->w, o->w_bytes, &out->bad[0]));
            IN_STATE(state_number, gguffuse_tensor_validate(context, file, 0, &out->bad[1]));
            if (o->can_quantize) {
                IN_STATE(state_number, gguffuse_quantize_with(context, o->type, o->source, SOURCE_ROWS, K, o->source + 7 * K, out->with,
                                                              sizeof out->with));
            }
        }
        IN_STATE(state_number, gguffuse_context_free(context));
    }
    IN_STATE(state_number, gguffuse_dequantize(o->type, o->w, o->row_bytes, out->values, K));
    if (o->can_quantize) {
        IN_STATE(state_number, gguffuse_quantize(o->type, o->source, 1, K, out->blocks, sizeof out->blocks));
    }
    IN_STATE(state_number, gguffuse_writer_new(NULL, &writer));
    IN_STATE(state_number, gguffuse_writer_set_f32(writer, "float", 0.1f));
    IN_STATE(state_number, gguffuse_writer_add_tensor(writer, "w", o->type, 2, dims, o->w, o->row_bytes));
    IN_STATE(state_number, gguffuse_writer_write_memory(writer, out->file, sizeof out->file, &written));
    IN_STATE(state_number, gguffuse_writer_free(writer));
    IN_STATE(state_number, gguffuse_file_verify(file));
    IN_STATE(state_number, gguffuse_file_close(file));
    return 0;
}

static int check_type(const struct gguffuse_type_info *info, uint32_t type, int all) {
    static results expected, got;
    static operands o;
    uint64_t seed = type, dims[2] = {K, N};
    size_t i;
    int number;
    builder b = new_builder();
    o.type = type;
    o.can_quantize = (int)info->can_quantize;
    CHECK_OK(gguffuse_row_size(type, K, &o.row_bytes));
    o.w_bytes = o.row_bytes * N;
    o.w = (unsigned char *)allocate(o.w_bytes);
    fill_normal(o.x, M * K, 4);
    fill_normal(o.source, SOURCE_ROWS * K, 5);
    for (i = 0; i < M * K; i += 7) {
        o.x[i] = o.x[i] * 1e-39f; /* denormals, which flushing would lose */
    }
    for (i = 0; i < K; i++) {
        o.source[7 * K + i] = fabsf(o.source[7 * K + i]);
    }
    if (o.can_quantize) {
        for (i = 0; i < N; i++) {
            CHECK_OK(gguffuse_quantize(type, o.source + i % 7 * K, 1, K, o.w + i * o.row_bytes, o.row_bytes));
        }
    } else { /* any bytes are blocks */
        for (i = 0; i < o.w_bytes; i++) {
            o.w[i] = (unsigned char)(random_u64(&seed) >> 33);
        }
    }
    add_key(&b, "float", GGUFFUSE_METADATA_FLOAT32);
    put_f32(&b.metadata, 0.1f);
    add_tensor(&b, "w", type, 2, dims, o.w, o.w_bytes);
    o.file = finish(&b, NULL);
    memset(&expected, 0, sizeof expected);
    RUN(compute(&o, 0, &expected)); /* state 0: the default one */
    for (number = 1; number < STATES; number++) {
        /* every state for one type, or for all; else one of each rounding mode, with all else that is strange */
        if (!all && type != GGUFFUSE_TYPE_Q4_K && number < STATES - 4) {
            continue;
        }
        memset(&got, 0, sizeof got);
        RUN(compute(&o, number, &got));
        CHECK(memcmp(&got, &expected, sizeof got) == 0);
        states_seen++;
    }
    types_seen++;
    free(o.w);
    free(o.file.data);
    return 0;
}

/* Arguments: a directory, which is not used; "all": every state for every type. */
int main(int argc, char **argv) {
    int all = argc > 2 && strcmp(argv[2], "all") == 0;
    uint32_t type;
    struct gguffuse_type_info info;
    signal(SIGFPE, trap);
    umask(027);
    for (type = 0; type < 64; type++) {
        memset(&info, 0, sizeof info);
        info.struct_size = sizeof info;
        if (gguffuse_type_info(type, &info) == GGUFFUSE_OK && info.can_matmul) {
            RUN(check_type(&info, type, all));
        }
    }
    CHECK(types_seen >= 26 && states_seen >= 31 + 25 * 4 && traps == 0);
    printf("cpu state: %ld types, %ld combinations of type and state, %ld calls: same bits, all restored, 0 SIGFPE\n",
           types_seen, states_seen, calls);
    return 0;
}

#else

int main(void) {
    printf("cpu state: x86-64 only\n");
    return 0;
}

#endif

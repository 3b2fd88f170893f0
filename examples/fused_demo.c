/* The demonstration in C, through the C interface alone: opens a GGUF file, shows where a tensor lies, and measures the
 * fused product against the naive one, which dequantises all weights first.
 *
 *     cargo build --release
 *     cc -std=c11 -O2 -Iinclude examples/fused_demo.c target/release/libgguffuse.a -o fused_demo -lm -ldl -pthread
 *     ./fused_demo [--quick] [MODEL.gguf [TENSOR]]
 *
 * Without a file it makes one, of TinyLlama's blk.0.ffn_gate.weight in Q4_K, in a temporary folder, and removes it.
 * Without a tensor's name it takes the largest one that can be multiplied. --quick: one repeat of everything.
 *
 * C11 with POSIX threads and clock. Exit code 1 and one line on stderr where anything is wrong. */
#define _POSIX_C_SOURCE 200809L

#include "gguffuse.h"
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define MOST_THREADS 64
#define MOST_ROUNDS 15
#define FUSED_RUNS 9
#define LONGEST_CASE 1.5
#define LONGEST_NAIVE 15.0
#define SAMPLED_ROWS 8

/* ---- errors and memory ---- */

static char made_folder[256]; /* to be removed; empty: none */
static char made_path[300];

static void clean_up(void) {
    if (made_path[0] != '\0') {
        remove(made_path);
        made_path[0] = '\0';
    }
    if (made_folder[0] != '\0') {
        rmdir(made_folder);
        made_folder[0] = '\0';
    }
}

static void fail(const char *what, const char *why) {
    fprintf(stderr, "fused_demo: %s: %s\n", what, why);
    clean_up();
    exit(1);
}

/* Ends the program where a call of the library failed. */
static void check(gguffuse_status status, const char *what) {
    if (status != GGUFFUSE_OK) {
        char text[600];
        gguffuse_last_error(text, sizeof text);
        fail(what, text);
    }
}

static void *allocate(size_t count, size_t size) {
    void *memory = calloc(count > 0 ? count : 1, size);
    if (memory == NULL) {
        fail("memory", "there is not enough");
    }
    return memory;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* ---- normal random numbers: SplitMix64, Box and Muller ---- */

static uint64_t random_state = 20240229;

static double uniform(void) {
    uint64_t z = random_state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return (double)(((z ^ (z >> 31)) >> 11) + 1) / 9007199254740992.0; /* in (0, 1] */
}

static void fill_normal(double sigma, float *out, size_t count) {
    for (size_t i = 0; i < count; i++) {
        double radius = sqrt(-2.0 * log(uniform()));
        out[i] = (float)(sigma * radius * cos(6.283185307179586 * uniform()));
    }
}

/* ---- the file that is made ---- */

static size_t written; /* bytes so far */

static void put(FILE *out, const void *bytes, size_t size) {
    if (fwrite(bytes, 1, size, out) != size) {
        fail(made_path, "cannot write");
    }
    written += size;
}

/* Little-endian, whatever the machine. */
static void put_number(FILE *out, uint64_t number, int bytes) {
    for (int i = 0; i < bytes; i++) {
        unsigned char byte = (unsigned char)(number >> (8 * i));
        put(out, &byte, 1);
    }
}

static void put_string(FILE *out, const char *text) {
    put_number(out, strlen(text), 8);
    put(out, text, strlen(text));
}

/* A GGUF file of version 3 with one metadata entry and one tensor. */
static void write_file(FILE *out, const char *name, uint64_t k, uint64_t n, const void *blocks, size_t size) {
    put(out, "GGUF", 4);
    put_number(out, 3, 4); /* version */
    put_number(out, 1, 8); /* tensors */
    put_number(out, 1, 8); /* metadata entries */
    put_string(out, "general.architecture");
    put_number(out, GGUFFUSE_METADATA_STRING, 4);
    put_string(out, "llama");
    put_string(out, name);
    put_number(out, 2, 4); /* dimensions, the fastest first */
    put_number(out, k, 8);
    put_number(out, n, 8);
    put_number(out, GGUFFUSE_TYPE_Q4_K, 4);
    put_number(out, 0, 8); /* the offset is relative to the data section ... */
    while (written % 32 != 0) {
        put_number(out, 0, 1); /* ... which begins at the next multiple of 32 */
    }
    put(out, blocks, size);
    while (written % 32 != 0) {
        put_number(out, 0, 1);
    }
}

static void make_file(void) {
    const size_t k = 2048, n = 5632;
    size_t row = 0;
    check(gguffuse_row_size(GGUFFUSE_TYPE_Q4_K, k, &row), "quantise");
    float *weights = allocate(k, sizeof *weights);
    unsigned char *blocks = allocate(n, row);
    for (size_t j = 0; j < n; j++) {
        fill_normal(0.02, weights, k);
        check(gguffuse_quantize(GGUFFUSE_TYPE_Q4_K, weights, 1, k, blocks + j * row, row), "quantise");
    }
    const char *temporary = getenv("TMPDIR");
    char folder[sizeof made_folder];
    int length = snprintf(folder, sizeof folder, "%s/gguffuse-demo-XXXXXX", temporary != NULL ? temporary : "/tmp");
    if (length < 0 || (size_t)length >= sizeof folder || mkdtemp(folder) == NULL) {
        fail("temporary folder", "cannot be made");
    }
    strcpy(made_folder, folder);
    snprintf(made_path, sizeof made_path, "%s/demo.gguf", folder);
    FILE *out = fopen(made_path, "wb");
    if (out == NULL) {
        fail(made_path, "cannot be made");
    }
    write_file(out, "blk.0.ffn_gate.weight", k, n, blocks, n * row);
    if (fclose(out) != 0) {
        fail(made_path, "cannot write");
    }
    free(blocks);
    free(weights);
}

/* ---- the products ---- */

typedef struct {
    struct gguffuse_tensor_info info;
    size_t k, n, row_bytes;
} matrix;

/* A share of the weight rows, for one thread. */
typedef struct {
    const matrix *w;
    size_t begin, end, m;
    const float *x;
    float *weights; /* all of them, in f32 */
    float *y;
    gguffuse_status status;
} share;

/* What is compared with fused; nobody should make it clever. */
static void *naive_share(void *argument) {
    share *s = argument;
    size_t k = s->w->k, n = s->w->n, rows = s->end - s->begin;
    const unsigned char *blocks = (const unsigned char *)s->w->info.data + s->begin * s->w->row_bytes;
    s->status = gguffuse_dequantize(s->w->info.type, blocks, rows * s->w->row_bytes, s->weights + s->begin * k, rows * k);
    if (s->status != GGUFFUSE_OK) {
        return NULL;
    }
    for (size_t i = 0; i < s->m; i++) {
        for (size_t j = s->begin; j < s->end; j++) {
            float sum = 0.0f;
            for (size_t c = 0; c < k; c++) {
                sum += s->x[i * k + c] * s->weights[j * k + c];
            }
            s->y[i * n + j] = sum;
        }
    }
    return NULL;
}

/* Returns the bytes that it takes. */
static size_t naive(const matrix *w, const float *x, size_t m, float *y, size_t threads) {
    size_t bytes = w->n * w->k * sizeof(float);
    float *weights = malloc(bytes);
    if (weights == NULL) {
        fail("memory", "there is not enough for all weights in f32");
    }
    pthread_t handles[MOST_THREADS];
    share shares[MOST_THREADS];
    for (size_t t = 0; t < threads; t++) {
        shares[t] = (share){w, w->n * t / threads, w->n * (t + 1) / threads, m, x, weights, y, GGUFFUSE_OK};
    }
    for (size_t t = 1; t < threads; t++) {
        if (pthread_create(&handles[t], NULL, naive_share, &shares[t]) != 0) {
            fail("threads", "cannot start one");
        }
    }
    naive_share(&shares[0]);
    for (size_t t = 1; t < threads; t++) {
        pthread_join(handles[t], NULL);
    }
    for (size_t t = 0; t < threads; t++) {
        if (shares[t].status != GGUFFUSE_OK) {
            fail("dequantise", gguffuse_status_name(shares[t].status));
        }
    }
    free(weights);
    return bytes;
}

/* The products in double of `count` rows of x, evenly spread, with all weight rows: out[count][n]. Returns how many
 * weights are NaN or infinite. */
static size_t reference(const matrix *w, const float *x, size_t m, size_t count, double *out) {
    float *weights = allocate(w->k, sizeof *weights);
    size_t not_finite = 0;
    for (size_t j = 0; j < w->n; j++) {
        const unsigned char *blocks = (const unsigned char *)w->info.data + j * w->row_bytes;
        check(gguffuse_dequantize(w->info.type, blocks, w->row_bytes, weights, w->k), "dequantise");
        for (size_t c = 0; c < w->k; c++) {
            not_finite += !isfinite(weights[c]);
        }
        for (size_t s = 0; s < count; s++) {
            const float *row = x + s * m / count * w->k;
            double sum = 0.0;
            for (size_t c = 0; c < w->k; c++) {
                sum += (double)row[c] * (double)weights[c];
            }
            out[s * w->n + j] = sum;
        }
    }
    free(weights);
    return not_finite;
}

typedef struct {
    double largest;  /* absolute difference */
    double relative; /* root of the normalised mean squared error */
} errors;

static errors errors_of(const float *y, const double *truth, size_t n, size_t m, size_t count) {
    double largest = 0.0, squares = 0.0, all = 0.0;
    for (size_t s = 0; s < count; s++) {
        for (size_t j = 0; j < n; j++) {
            double value = truth[s * n + j];
            double difference = fabs((double)y[s * m / count * n + j] - value);
            largest = difference <= largest ? largest : difference; /* a NaN stays */
            squares += difference * difference;
            all += value * value;
        }
    }
    errors result = {largest, squares == 0.0 ? 0.0 : sqrt(squares / all)};
    return result;
}

/* ---- measuring ---- */

static int ascending(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *times, size_t count) {
    qsort(times, count, sizeof *times, ascending);
    return times[count / 2];
}

typedef struct {
    size_t m, threads;
    double naive_time, fused_time; /* in seconds; naive 0: not run */
    errors naive, fused;
    size_t naive_bytes;
} result;

/* Naive and fused take turns, so that both see the same weather on the machine. */
static result measure(const matrix *w, const float *x, const double *truth, size_t m, size_t threads, int with_naive,
                      size_t rounds) {
    struct gguffuse_context_options options = {.struct_size = sizeof options, .threads = (uint32_t)threads};
    gguffuse_context *context = NULL;
    check(gguffuse_context_new(&options, &context), "context");
    size_t y_length = m * w->n, count = m < SAMPLED_ROWS ? m : SAMPLED_ROWS, size = (size_t)w->info.size_bytes;
    float *y = allocate(y_length, sizeof *y), *naive_y = allocate(y_length, sizeof *naive_y);
    double naive_times[MOST_ROUNDS], fused_times[MOST_ROUNDS * FUSED_RUNS];
    size_t naive_count = 0, fused_count = 0;
    result r = {.m = m, .threads = threads};
    double start = now();
    for (size_t round = 0; round < rounds && (round == 0 || now() - start < LONGEST_CASE); round++) {
        if (with_naive) {
            double before = now();
            r.naive_bytes = naive(w, x, m, naive_y, threads);
            naive_times[naive_count++] = now() - before;
        }
        for (int run = 0; run < FUSED_RUNS; run++) {
            double before = now();
            check(gguffuse_matmul(context, w->info.type, w->info.data, size, w->n, w->k, x, m * w->k, 0, m, y, y_length, 0),
                  "multiply");
            fused_times[fused_count++] = now() - before;
        }
    }
    if (with_naive) {
        r.naive_time = median(naive_times, naive_count);
        r.naive = errors_of(naive_y, truth, w->n, m, count);
    }
    r.fused_time = median(fused_times, fused_count);
    r.fused = errors_of(y, truth, w->n, m, count);
    check(gguffuse_context_free(context), "context");
    free(naive_y);
    free(y);
    return r;
}

/* ---- the output ---- */

static void print_place(const char *path, const struct gguffuse_file_info *file, const matrix *w, size_t not_finite) {
    struct gguffuse_type_info type = {.struct_size = sizeof type};
    check(gguffuse_type_info(w->info.type, &type), "type");
    printf("file                  %s, GGUF v%u, %llu bytes\n", path, (unsigned)file->version,
           (unsigned long long)file->size_bytes);
    printf("data section start    %llu\n", (unsigned long long)file->data_offset);
    printf("tensor                %s, [%zu, %zu] %s\n", w->info.name, w->k, w->n, type.name);
    printf("relative offset       %llu\n", (unsigned long long)w->info.relative_offset);
    printf("absolute offset       %llu\n", (unsigned long long)w->info.absolute_offset);
    printf("blocks                %llu\n", (unsigned long long)(w->info.size_bytes / type.block_bytes));
    printf("quantised / f32       %.2f / %.2f MB\n", (double)w->info.size_bytes / 1e6,
           (double)(w->n * w->k * sizeof(float)) / 1e6);
    printf("NaN or Inf            %zu\n\n", not_finite);
}

static void print_result(const matrix *w, const result *r) {
    double bytes = (double)w->info.size_bytes, flop = 2.0 * (double)r->m * (double)w->n * (double)w->k;
    printf("%4zu %7zu ", r->m, r->threads);
    if (r->naive_time > 0.0) {
        printf("%9.3f %9.3f %8.1fx %6.2f %6.2f %8.1f %8.1f %10.1e %10.1e %10.1e %10.1e %12zu\n", r->naive_time * 1e3,
               r->fused_time * 1e3, r->naive_time / r->fused_time, bytes / r->naive_time / 1e9, bytes / r->fused_time / 1e9,
               flop / r->naive_time / 1e9, flop / r->fused_time / 1e9, r->naive.largest, r->fused.largest,
               r->naive.relative, r->fused.relative, r->naive_bytes);
    } else {
        printf("%9s %9.3f %9s %6s %6.2f %8s %8.1f %10s %10.1e %10s %10.1e %12s\n", "-", r->fused_time * 1e3, "-", "-",
               bytes / r->fused_time / 1e9, "-", flop / r->fused_time / 1e9, "-", r->fused.largest, "-", r->fused.relative,
               "-");
    }
}

/* All of the comparison. */
static void compare(const char *path, const struct gguffuse_file_info *file, const matrix *w, size_t rounds) {
    static const size_t rows[] = {1, 8, 64, 512};
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    size_t all = online < 1 ? 1 : online > MOST_THREADS ? MOST_THREADS : (size_t)online;
    size_t thread_counts[2] = {1, all};
    double last_time[2] = {0.0, 0.0};
    size_t last_m = 1;
    for (size_t r = 0; r < sizeof rows / sizeof *rows; r++) {
        size_t m = rows[r], count = m < SAMPLED_ROWS ? m : SAMPLED_ROWS;
        float *x = allocate(m * w->k, sizeof *x);
        double *truth = allocate(count * w->n, sizeof *truth);
        fill_normal(1.0, x, m * w->k);
        size_t not_finite = reference(w, x, m, count, truth);
        if (r == 0) {
            print_place(path, file, w, not_finite);
            puts("                naive     fused speed-up   naive  fused    naive    fused      naive      fused"
                 "      naive      fused        naive");
            puts("   m threads       ms        ms            GB/s   GB/s  GFLOP/s  GFLOP/s   max diff   max diff"
                 " rel. error rel. error   heap bytes");
        }
        for (size_t t = 0; t < (all > 1 ? 2u : 1u); t++) {
            /* Judged by the time that it took with fewer rows. */
            int with_naive = r == 0 || (last_time[t] > 0.0 && last_time[t] * (double)(m / last_m) <= LONGEST_NAIVE);
            result one = measure(w, x, truth, m, thread_counts[t], with_naive, rounds);
            print_result(w, &one);
            fflush(stdout);
            last_time[t] = one.naive_time;
        }
        last_m = m;
        free(truth);
        free(x);
    }
    puts("\nmax diff: largest absolute difference to the product in double of the dequantised weights; rel. error: root of\n"
         "the normalised mean squared error; both over all weight rows and up to 8 rows of x. GB/s: quantised weights over\n"
         "the time (median). heap bytes: what the naive product allocates; C cannot see what the library takes, the\n"
         "demonstration in Rust counts it. - was not run, as it would take more than 15 s.");
}

/* Whether the tensor can be multiplied by; then `w` is filled in. */
static int usable(const struct gguffuse_tensor_info *info, matrix *w) {
    struct gguffuse_type_info type = {.struct_size = sizeof type};
    check(gguffuse_type_info(info->type, &type), "type");
    if (!type.can_matmul || info->size_bytes == 0) {
        return 0;
    }
    w->info = *info;
    w->k = (size_t)info->dims[0];
    w->n = (size_t)(info->dims[1] * info->dims[2] * info->dims[3]);
    check(gguffuse_row_size(info->type, w->k, &w->row_bytes), "row size");
    return w->n <= ((size_t)2 << 30) / sizeof(float) / w->k; /* 2 GiB in f32 */
}

static matrix choose(gguffuse_file *file, const struct gguffuse_file_info *file_info, const char *name) {
    matrix best = {.k = 0}, candidate = {.k = 0};
    if (name != NULL) {
        uint64_t index = 0;
        struct gguffuse_tensor_info info = {.struct_size = sizeof info};
        check(gguffuse_tensor_find(file, name, &index), "tensor");
        check(gguffuse_tensor_info(file, index, &info), "tensor");
        if (!usable(&info, &best)) {
            fail(name, "cannot be multiplied: its type, or it is empty or too large");
        }
        return best;
    }
    for (uint64_t index = 0; index < file_info->tensor_count; index++) {
        struct gguffuse_tensor_info info = {.struct_size = sizeof info};
        check(gguffuse_tensor_info(file, index, &info), "tensor");
        if (info.n_dims >= 2 && usable(&info, &candidate) && candidate.n * candidate.k > best.n * best.k) {
            best = candidate;
        }
    }
    if (best.k == 0) {
        fail("file", "it has no tensor that can be multiplied");
    }
    return best;
}

int main(int argc, char **argv) {
    size_t rounds = MOST_ROUNDS;
    if (argc > 1 && strcmp(argv[1], "--quick") == 0) {
        rounds = 1;
        argc--;
        argv++;
    }
    if (argc > 3 || (argc > 1 && argv[1][0] == '-')) {
        fail("usage", "fused_demo [--quick] [MODEL.gguf [TENSOR]]");
    }
    const char *path = argc > 1 ? argv[1] : made_path;
    if (argc == 1) {
        make_file();
    }
    gguffuse_file *file = NULL;
    struct gguffuse_file_info info = {.struct_size = sizeof info};
    check(gguffuse_file_open(path, NULL, &file), path);
    check(gguffuse_file_info(file, &info), path);
    clean_up(); /* the mapping outlives the name */
    matrix w = choose(file, &info, argc > 2 ? argv[2] : NULL);
    compare(argc > 1 ? argv[1] : "(made for this run)", &info, &w, rounds);
    check(gguffuse_file_close(file), path);
    return 0;
}

/* Runs the functions of docs/runtime.md, which are linked to it, and compares what they make with one gguffuse_matmul. */
#include <gguffuse.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct matrix {
    uint32_t type;
    void *data;
    size_t bytes, n, k;
};

struct product {
    gguffuse_context *context;
    uint32_t type;
    const void *w;
    size_t w_bytes, n, k, m;
    const float *x;
    float *y;
};

gguffuse_context *runtime_context(uint32_t threads, uint32_t precision);
gguffuse_status load_matrix(const char *path, const char *name, struct matrix *out);
gguffuse_status multiply(gguffuse_context *context, const struct matrix *w, const float *x, size_t m, float *y);
gguffuse_status work(const struct product *p, size_t thread, size_t threads);
gguffuse_status q_k_v(gguffuse_context *context, gguffuse_file *file, const uint64_t tensors[3], size_t n_q, size_t n_kv,
                      const float *x, size_t k, size_t m, float *qkv);
int install_signal_stack(size_t room);

struct feed_forward {
    gguffuse_context *context;
    gguffuse_activations *packed;
    gguffuse_file *file;
    uint64_t gate, up;
};

gguffuse_status gate_and_up(const struct feed_forward *f, const float *x, size_t m, size_t k, float *gate, float *up,
                            size_t n);

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            char why_[512];                                                                                            \
            gguffuse_last_error(why_, sizeof why_);                                                                    \
            fprintf(stderr, "%d: %s; last error: %s\n", __LINE__, #condition, why_);                                   \
            return 1;                                                                                                  \
        }                                                                                                              \
    } while (0)

enum { N = 64, K = 256, M = 3, THREADS = 5 };

struct thread {
    pthread_t id;
    const struct product *product;
    size_t number;
    gguffuse_status status;
};

static void *run(void *argument) {
    struct thread *t = (struct thread *)argument;
    t->status = install_signal_stack(16384) == 0 ? work(t->product, t->number, THREADS) : GGUFFUSE_ERROR_INTERNAL;
    return NULL;
}

static float x[M * K], y[M * N], by_threads[M * N], qkv[M * N * 3];

int main(int argc, char **argv) {
    gguffuse_context *context = runtime_context(2, GGUFFUSE_PRECISION_EXACT), *alone = runtime_context(1, 0);
    struct matrix w;
    struct product product;
    struct thread threads[THREADS];
    struct feed_forward feed_forward;
    gguffuse_file *file = NULL;
    uint64_t same[3] = {0, 0, 0};
    size_t i, j;
    CHECK(argc == 2 && context && alone);
    CHECK(runtime_context(1, 99) == NULL);
    CHECK(load_matrix(argv[1], "blk.0.ffn_gate.weight", &w) == GGUFFUSE_OK);
    CHECK(w.type == GGUFFUSE_TYPE_Q4_K && w.n == N && w.k == K && w.bytes == N * 144);
    for (i = 0; i < M * K; i++) {
        x[i] = (float)((int)(i * 7919 % 2003) - 1001) / 1001.0f;
    }
    CHECK(multiply(context, &w, x, M, y) == GGUFFUSE_OK);
    CHECK(y[0] != 0.0f);

    memset(&product, 0, sizeof product);
    product.context = alone;
    product.type = w.type;
    product.w = w.data;
    product.w_bytes = w.bytes;
    product.n = w.n;
    product.k = w.k;
    product.m = M;
    product.x = x;
    product.y = by_threads;
    for (i = 0; i < THREADS; i++) {
        threads[i].product = &product;
        threads[i].number = i;
        CHECK(pthread_create(&threads[i].id, NULL, run, &threads[i]) == 0);
    }
    for (i = 0; i < THREADS; i++) {
        CHECK(pthread_join(threads[i].id, NULL) == 0);
        CHECK(threads[i].status == GGUFFUSE_OK);
    }
    CHECK(memcmp(by_threads, y, sizeof y) == 0);

    /* One tensor three times: each third of a row is y's row. */
    CHECK(gguffuse_file_open(argv[1], NULL, &file) == GGUFFUSE_OK);
    CHECK(q_k_v(context, file, same, N, N, x, K, M, qkv) == GGUFFUSE_OK);
    for (i = 0; i < M; i++) {
        for (j = 0; j < 3; j++) {
            CHECK(memcmp(qkv + (i * 3 + j) * N, y + i * N, N * sizeof *y) == 0);
        }
    }

    memset(&feed_forward, 0, sizeof feed_forward);
    feed_forward.context = context;
    feed_forward.file = file;
    CHECK(gguffuse_activations_new(&feed_forward.packed) == GGUFFUSE_OK);
    memset(by_threads, 0, sizeof by_threads);
    CHECK(gate_and_up(&feed_forward, x, M, K, by_threads, qkv, N) == GGUFFUSE_OK);
    CHECK(memcmp(by_threads, y, sizeof y) == 0 && memcmp(qkv, y, sizeof y) == 0);
    CHECK(load_matrix(argv[1], "nothing", &w) == GGUFFUSE_ERROR_NOT_FOUND);
    CHECK(load_matrix("nothing", "nothing", &w) == GGUFFUSE_ERROR_IO);
    return 0;
}

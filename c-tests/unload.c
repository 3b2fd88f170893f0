/* The shared library loaded and unloaded while its threads are alive: it stays, with all that is open in it. Not linked
 * with the library. Arguments: a directory, how often, the library's path. */
#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif
#include "threads_alive.h"
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: CHECK(%s) failed\n", __FILE__, __LINE__, #condition);                              \
            return 1;                                                                                                  \
        }                                                                                                              \
    } while (0)

enum { N = 2048, K = 512, M = 4 }; /* enough for the pool to take part */

typedef int32_t (*new_function)(const void *options, void **out);
typedef int32_t (*free_function)(void *context);
typedef int32_t (*matmul_function)(void *context, uint32_t type, const void *w, size_t w_bytes, size_t n, size_t k,
                                   const float *x, size_t x_length, size_t x_stride, size_t m, float *y, size_t y_length,
                                   size_t y_stride);

typedef struct loaded {
    void *library;
    new_function context_new;
    free_function context_free;
    matmul_function matmul;
} loaded;

/* ISO C has no conversion from void * to a function. */
static int find(void *library, const char *name, void *function) {
    void *found = dlsym(library, name);
    memcpy(function, &found, sizeof found);
    return found != NULL;
}

static int load(const char *path, loaded *l) {
    l->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!l->library) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    CHECK(find(l->library, "gguffuse_context_new", &l->context_new));
    CHECK(find(l->library, "gguffuse_context_free", &l->context_free));
    CHECK(find(l->library, "gguffuse_matmul", &l->matmul));
    return 0;
}

/* F32 weights of small integers: the product is exact in any order. */
static float w[N * K], x[M * K], y[M * N], expected[M * N];

static int multiply(const loaded *l, void *context) {
    memset(y, 0, sizeof y);
    CHECK(l->matmul(context, 0, w, sizeof w, N, K, x, M * K, 0, M, y, M * N, 0) == 0);
    CHECK(memcmp(y, expected, sizeof y) == 0);
    return 0;
}

typedef struct options {
    size_t struct_size;
    uint32_t threads, precision;
    const char *max_isa;
} options;

int main(int argc, char **argv) {
    struct timespec pause = {0, 200000};
    options four;
    loaded l;
    void *context, *kept[2] = {NULL, NULL};
    long round, rounds, seen = 0;
    int i, j, c;
    CHECK(argc == 4);
    rounds = atol(argv[2]);
    for (i = 0; i < N * K; i++) {
        w[i] = (float)(i % 7 - 3);
    }
    for (i = 0; i < M * K; i++) {
        x[i] = (float)(i % 5 - 2);
    }
    for (i = 0; i < M; i++) {
        for (j = 0; j < N; j++) {
            for (c = 0; c < K; c++) {
                expected[i * N + j] += x[i * K + c] * w[j * K + c];
            }
        }
    }
    memset(&four, 0, sizeof four);
    four.struct_size = sizeof four;
    four.threads = 4;
    for (round = 0; round < rounds; round++) {
        if (load(argv[3], &l)) {
            return 1;
        }
        if (kept[round % 2]) { /* made before the library was "unloaded", twice */
            if (multiply(&l, kept[round % 2])) {
                return 1;
            }
            CHECK(l.context_free(kept[round % 2]) == 0);
            CHECK(l.context_free(kept[round % 2]) == 2);
        }
        CHECK(l.context_new(&four, &context) == 0);
        if (multiply(&l, context)) {
            return 1;
        }
        seen += threads_alive() > 1;
        if (round % 3 == 0) { /* its threads end while the library is closed */
            CHECK(l.context_free(context) == 0);
            context = NULL;
        }
        kept[round % 2] = context;
        CHECK(dlclose(l.library) == 0);
        if (round % 10 == 0) {
            nanosleep(&pause, NULL); /* to sleep, or spinning still */
        }
        CHECK(dlopen(argv[3], RTLD_NOW | RTLD_NOLOAD) != NULL && dlclose(l.library) == 0);
    }
    CHECK(load(argv[3], &l) == 0);
    for (i = 0; i < 2; i++) {
        CHECK(l.context_free(kept[i]) == 0);
    }
    CHECK(wait_for_one_thread() == 1 && seen > 0);
    CHECK(dlclose(l.library) == 0);
    printf("unload: %ld times, workers alive in %ld, none left at the end\n", rounds, seen);
    return 0;
}

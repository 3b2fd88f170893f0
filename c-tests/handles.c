/* Handles that aren't: none of them may crash. And closing what other threads are using. */
#include "common.h"
#include <pthread.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static bytes model(void) {
    builder b = new_builder();
    uint64_t dims[2] = {512, 64};
    size_t size;
    unsigned char *w = random_weights(GGUFFUSE_TYPE_Q4_K, 64, 512, 5, &size);
    add_key(&b, "key", GGUFFUSE_METADATA_UINT32);
    put_int(&b.metadata, 7, 4);
    add_tensor(&b, "w", GGUFFUSE_TYPE_Q4_K, 2, dims, w, size);
    free(w);
    return finish(&b, NULL);
}

/* Every function that takes a file refuses this one. */
static int not_a_file(gguffuse_file *file) {
    struct gguffuse_file_info info;
    struct gguffuse_tensor_info tensor;
    uint64_t u64;
    int64_t i64;
    uint32_t u32;
    double f64;
    bool boolean;
    size_t size;
    const char *text;
    const void *data;
    float x[512], y[64];
    gguffuse_context *context = context_with(1, 0);
    memset(&info, 0, sizeof info);
    memset(&tensor, 0, sizeof tensor);
    memset(x, 0, sizeof x);
    info.struct_size = sizeof info;
    tensor.struct_size = sizeof tensor;
    CHECK(context);
#define REFUSED(call) CHECK_STATUS(call, GGUFFUSE_ERROR_INVALID_HANDLE)
    if (file) {
        REFUSED(gguffuse_file_close(file));
    }
    REFUSED(gguffuse_file_info(file, &info));
    REFUSED(gguffuse_tensor_find(file, "w", &u64));
    REFUSED(gguffuse_tensor_info(file, 0, &tensor));
    REFUSED(gguffuse_tensor_absolute_offset(file, "w", &u64));
    REFUSED(gguffuse_metadata_find(file, "key", &u64));
    REFUSED(gguffuse_metadata_key(file, 0, &text, &size));
    REFUSED(gguffuse_metadata_type(file, 0, &u32));
    REFUSED(gguffuse_metadata_get_u64(file, "key", &u64));
    REFUSED(gguffuse_metadata_get_i64(file, "key", &i64));
    REFUSED(gguffuse_metadata_get_f64(file, "key", &f64));
    REFUSED(gguffuse_metadata_get_bool(file, "key", &boolean));
    REFUSED(gguffuse_metadata_get_string(file, "key", &text, &size));
    REFUSED(gguffuse_metadata_element_u64(file, 0, NULL, 0, &u64));
    REFUSED(gguffuse_metadata_element_i64(file, 0, NULL, 0, &i64));
    REFUSED(gguffuse_metadata_element_f64(file, 0, NULL, 0, &f64));
    REFUSED(gguffuse_metadata_element_bool(file, 0, NULL, 0, &boolean));
    REFUSED(gguffuse_metadata_element_string(file, 0, NULL, 0, &text, &size));
    REFUSED(gguffuse_metadata_array_info(file, 0, NULL, 0, &u32, &u64));
    REFUSED(gguffuse_metadata_array_data(file, 0, NULL, 0, &data, &size));
    REFUSED(gguffuse_metadata_array_strings(file, 0, NULL, 0, &text, &size, 1));
    REFUSED(gguffuse_matmul_tensor(context, file, 0, x, 512, 0, 1, y, 64, 0));
    CHECK_OK(gguffuse_context_free(context));
    return 0;
}

static int not_a_context(gguffuse_context *context, gguffuse_file *file) {
    unsigned char w[Q4K_BYTES];
    float x[512], y[64];
    memset(w, 0, sizeof w);
    memset(x, 0, sizeof x);
    if (context) {
        REFUSED(gguffuse_context_free(context));
    }
    CHECK(gguffuse_context_isa(context) == NULL);
    REFUSED(gguffuse_matmul(context, GGUFFUSE_TYPE_Q4_K, w, sizeof w, 1, 256, x, 256, 0, 1, y, 1, 0));
    REFUSED(gguffuse_matmul_rows(context, GGUFFUSE_TYPE_Q4_K, w, sizeof w, 1, 256, 0, 1, x, 256, 0, 1, y, 1, 0));
    REFUSED(gguffuse_matmul_tensor(context, file, 0, x, 512, 0, 1, y, 64, 0));
    return 0;
}

static int misuse(void) {
    bytes raw = model();
    gguffuse_file *file = NULL, *next = NULL;
    gguffuse_context *context = context_with(1, 0);
    uint64_t seed = 1, index = 77;
    int i;
    CHECK(context);
    CHECK(gguffuse_context_isa(context) != NULL);
    CHECK_OK(gguffuse_file_open_memory(raw.data, raw.size, NULL, &file));
    CHECK(file != NULL && (void *)file != (void *)context);

    RUN(not_a_file(NULL));
    RUN(not_a_context(NULL, file));
    RUN(not_a_file((gguffuse_file *)(void *)context)); /* of the wrong kind */
    RUN(not_a_context((gguffuse_context *)(void *)file, file));
    RUN(not_a_file((gguffuse_file *)(void *)&raw)); /* an address */
    RUN(not_a_context((gguffuse_context *)(void *)raw.data, file));
    for (i = 0; i < 64; i++) { /* near a real one */
        gguffuse_file *near_file = (gguffuse_file *)((uintptr_t)file ^ (uintptr_t)1 << i % (8 * sizeof(uintptr_t)));
        gguffuse_context *near_context = (gguffuse_context *)((uintptr_t)context ^ (uintptr_t)1 << i % (8 * sizeof(uintptr_t)));
        RUN(not_a_file(near_file));
        RUN(not_a_context(near_context, file));
    }
    for (i = 0; i < 10000; i++) { /* anything */
        uintptr_t any = (uintptr_t)random_u64(&seed) >> random_u64(&seed) % 60;
        if (any != 0 && any != (uintptr_t)file && any != (uintptr_t)context) {
            REFUSED(gguffuse_file_close((gguffuse_file *)any));
            REFUSED(gguffuse_tensor_find((gguffuse_file *)any, "w", &index));
            REFUSED(gguffuse_context_free((gguffuse_context *)any));
        }
    }
    CHECK(index == 77);
    CHECK_OK(gguffuse_tensor_find(file, "w", &index)); /* still open after all that */

    CHECK_OK(gguffuse_file_close(NULL));
    CHECK_OK(gguffuse_context_free(NULL));
    CHECK_OK(gguffuse_file_close(file));
    RUN(not_a_file(file));
    CHECK_OK(gguffuse_file_open_memory(raw.data, raw.size, NULL, &next));
    CHECK(next != file);
    RUN(not_a_file(file)); /* stale, with a new file in its place */
    CHECK_OK(gguffuse_tensor_find(next, "w", &index));
    CHECK_OK(gguffuse_file_close(next));
    CHECK_OK(gguffuse_context_free(context));
    RUN(not_a_context(context, next));
    for (i = 0; i < 1000; i++) { /* many at once, and a slot used many times */
        CHECK_OK(gguffuse_file_open_memory(raw.data, raw.size, NULL, &next));
        CHECK(next != file);
        if (i % 3) {
            CHECK_OK(gguffuse_file_close(next));
        }
    }
    free(raw.data);
    return 0;
}

/* Threads multiply until the file is closed under them. */
typedef struct worker {
    pthread_t thread;
    gguffuse_context *context;
    gguffuse_file *file;
    const float *x, *expected;
    long products;
    int failed;
} worker;

static void *work(void *argument) {
    worker *self = (worker *)argument;
    float y[2 * 64];
    for (;;) {
        gguffuse_status status = gguffuse_matmul_tensor(self->context, self->file, 0, self->x, 1024, 0, 2, y, 128, 0);
        if (status == GGUFFUSE_ERROR_INVALID_HANDLE) {
            return NULL;
        }
        if (status != GGUFFUSE_OK || memcmp(y, self->expected, sizeof y) != 0) {
            self->failed = 1;
            return NULL;
        }
        self->products++;
    }
}

static int closing_under_way(const char *directory, int close_context) {
    enum { THREADS = 4 };
    bytes raw = model();
    worker workers[THREADS];
    char path[4096];
    float x[1024], expected[128];
    int round, i;
    FILE *out;
    snprintf(path, sizeof path, "%s/handles.%ld.gguf", directory, (long)getpid());
    out = fopen(path, "wb");
    CHECK(out && fwrite(raw.data, 1, raw.size, out) == raw.size && fclose(out) == 0);
    fill_normal(x, 1024, 9);
    for (round = 0; round < 20; round++) {
        gguffuse_file *file = NULL;
        gguffuse_context *context = context_with(2, (uint32_t)round % 3);
        struct timespec pause = {0, 2000000};
        long products = 0;
        CHECK(context);
        CHECK_OK(gguffuse_file_open(path, NULL, &file));
        CHECK_OK(gguffuse_matmul_tensor(context, file, 0, x, 1024, 0, 2, expected, 128, 0));
        memset(workers, 0, sizeof workers);
        for (i = 0; i < THREADS; i++) {
            workers[i].context = context;
            workers[i].file = file;
            workers[i].x = x;
            workers[i].expected = expected;
            CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
        }
        nanosleep(&pause, NULL);
        if (close_context) {
            CHECK_OK(gguffuse_context_free(context));
        } else {
            CHECK_OK(gguffuse_file_close(file));
        }
        for (i = 0; i < THREADS; i++) {
            CHECK(pthread_join(workers[i].thread, NULL) == 0);
            CHECK(!workers[i].failed);
            products += workers[i].products;
        }
        CHECK(products >= 0);
        if (close_context) {
            CHECK_OK(gguffuse_file_close(file));
            RUN(not_a_context(context, file));
        } else {
            RUN(not_a_file(file));
            CHECK_OK(gguffuse_context_free(context));
        }
    }
    CHECK(unlink(path) == 0);
    free(raw.data);
    return 0;
}

/* Of many threads that close one handle, one succeeds. */
static gguffuse_file *contested;
static pthread_barrier_t start;

static void *close_it(void *result) {
    pthread_barrier_wait(&start);
    *(gguffuse_status *)result = gguffuse_file_close(contested);
    return NULL;
}

static int closing_contest(void) {
    enum { THREADS = 4 };
    bytes raw = model();
    int round, i;
    for (round = 0; round < 200; round++) {
        pthread_t threads[THREADS];
        gguffuse_status results[THREADS];
        int winners = 0;
        CHECK_OK(gguffuse_file_open_memory(raw.data, raw.size, NULL, &contested));
        CHECK(pthread_barrier_init(&start, NULL, THREADS) == 0);
        for (i = 0; i < THREADS; i++) {
            CHECK(pthread_create(&threads[i], NULL, close_it, &results[i]) == 0);
        }
        for (i = 0; i < THREADS; i++) {
            CHECK(pthread_join(threads[i], NULL) == 0);
            winners += results[i] == GGUFFUSE_OK;
            CHECK(results[i] == GGUFFUSE_OK || results[i] == GGUFFUSE_ERROR_INVALID_HANDLE);
        }
        CHECK(winners == 1);
        pthread_barrier_destroy(&start);
    }
    free(raw.data);
    return 0;
}

/* A child forked while other threads are in calls can use, open and close files, and multiply. */
static int in_the_child(gguffuse_context *context, gguffuse_file *file, const bytes *raw, const float *x,
                        const float *expected) {
    float y[128];
    gguffuse_file *other = NULL;
    CHECK_OK(gguffuse_matmul_tensor(context, file, 0, x, 1024, 0, 2, y, 128, 0));
    CHECK(memcmp(y, expected, sizeof y) == 0);
    CHECK_OK(gguffuse_file_open_memory(raw->data, raw->size, NULL, &other));
    CHECK_OK(gguffuse_file_close(other));
    CHECK_OK(gguffuse_file_close(file));
    CHECK_OK(gguffuse_context_free(context));
    RUN(not_a_file(file));
    return 0;
}

static int forking(long forks) {
    enum { THREADS = 3 };
    bytes raw = model();
    worker workers[THREADS];
    gguffuse_file *file = NULL;
    gguffuse_context *context = context_with(2, 0);
    float x[1024], expected[128];
    long number;
    int i;
    CHECK(context);
    fill_normal(x, 1024, 9);
    CHECK_OK(gguffuse_file_open_memory(raw.data, raw.size, NULL, &file));
    CHECK_OK(gguffuse_matmul_tensor(context, file, 0, x, 1024, 0, 2, expected, 128, 0));
    memset(workers, 0, sizeof workers);
    for (i = 0; i < THREADS; i++) {
        workers[i].context = context;
        workers[i].file = file;
        workers[i].x = x;
        workers[i].expected = expected;
        CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
    for (number = 0; number < forks; number++) {
        int status = 0;
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            alarm(20);
            _exit(in_the_child(context, file, &raw, x, expected));
        }
        CHECK(waitpid(child, &status, 0) == child);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
            fprintf(stderr, "fork number %ld: %s %d\n", number, WIFEXITED(status) ? "exit" : "SIGNAL",
                    WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
            return 1;
        }
    }
    CHECK_OK(gguffuse_file_close(file));
    for (i = 0; i < THREADS; i++) {
        CHECK(pthread_join(workers[i].thread, NULL) == 0);
        CHECK(!workers[i].failed);
    }
    CHECK_OK(gguffuse_context_free(context));
    free(raw.data);
    printf("handles: %ld forks with calls in flight, every child computed the same bits, 0 hangs\n", forks);
    return 0;
}

int main(int argc, char **argv) {
    CHECK(argc >= 2); /* a directory for temporary files; how many forks */
    RUN(misuse());
    RUN(closing_contest());
    RUN(closing_under_way(argv[1], 0));
    RUN(closing_under_way(argv[1], 1));
    RUN(forking(argc > 2 ? atol(argv[2]) : 200));
    return 0;
}

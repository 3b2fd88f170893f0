/* Thousands of signals while threads are in calls: none of them ever runs a handler on a thread of the library, what the
 * interrupted calls compute is right, and a file that is read meanwhile is read. Handlers that call the library are told
 * that it is busy. Arguments: a directory for temporary files, how many signals. Figures at the end. */
#include "common.h"
#include <pthread.h>
#include <signal.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { N = 1000, K = 1024, M = 2, WORKERS = 2, THREADS = 4 }; /* enough for the pool to take part */

static gguffuse_context *context;
static gguffuse_file *file;
static char path[4096];
static float x[M * K], expected[M * N];
static int running = 1;

/* Of each thread of this program; on any other it is 0. */
static __thread int is_ours;
static long handled, foreign, busy, unexpected;

static void handle(int signal) {
    size_t size = 0;
    gguffuse_status status = gguffuse_row_size(GGUFFUSE_TYPE_F32, 1, &size);
    if (signal == SIGALRM) {
        kill(getpid(), SIGPROF);
        kill(getpid(), SIGUSR1);
    }
    if (!is_ours) {
        __atomic_fetch_add(&foreign, 1, __ATOMIC_RELAXED);
    }
    if (status == GGUFFUSE_ERROR_BUSY) {
        __atomic_fetch_add(&busy, 1, __ATOMIC_RELAXED);
    } else if (status != GGUFFUSE_OK || size != 4) {
        __atomic_fetch_add(&unexpected, 1, __ATOMIC_RELAXED);
    }
    __atomic_fetch_add(&handled, 1, __ATOMIC_RELEASE);
}

static long load(const long *value) {
    return __atomic_load_n(value, __ATOMIC_ACQUIRE);
}

typedef struct worker {
    pthread_t thread;
    int number;
    long calls;
    long failed;
} worker;

static void *work(void *argument) {
    worker *self = (worker *)argument;
    float y[M * N];
    gguffuse_open_options options;
    sigset_t none;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.copy = 1; /* reads all of the file */
    is_ours = 1;
    self->failed = sigemptyset(&none) != 0 || pthread_sigmask(SIG_SETMASK, &none, NULL) != 0;
    while (__atomic_load_n(&running, __ATOMIC_RELAXED) && !self->failed) {
        gguffuse_file *again = NULL;
        int failed = gguffuse_matmul_tensor(context, file, 0, x, M * K, 0, M, y, M * N, 0) != GGUFFUSE_OK ||
                     memcmp(y, expected, sizeof y) != 0 || gguffuse_file_open(path, &options, &again) != GGUFFUSE_OK ||
                     gguffuse_file_close(again) != GGUFFUSE_OK;
        __atomic_store_n(&self->failed, failed, __ATOMIC_RELEASE);
        self->calls++;
    }
    return NULL;
}

/* A timer of the process, whose handler sends the other two: each goes to any thread that takes signals. */
static int interrupt(const worker *workers, long count) {
    struct timespec pause = {0, 1000000};
    struct itimerval timer, off;
    time_t end = time(NULL) + 100;
    memset(&timer, 0, sizeof timer);
    memset(&off, 0, sizeof off);
    timer.it_interval.tv_usec = 100;
    timer.it_value.tv_usec = 100;
    CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
    while (load(&handled) < count) {
        CHECK(time(NULL) < end && !load(&workers[0].failed) && !load(&workers[1].failed));
        nanosleep(&pause, NULL);
    }
    CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0);
    return 0;
}

static int prepare(const char *directory) {
    builder b = new_builder();
    uint64_t dims[2] = {K, N};
    size_t size;
    unsigned char *w = random_weights(GGUFFUSE_TYPE_Q4_K, N, K, 5, &size);
    bytes raw;
    FILE *out;
    add_tensor(&b, "w", GGUFFUSE_TYPE_Q4_K, 2, dims, w, size);
    free(w);
    raw = finish(&b, NULL);
    snprintf(path, sizeof path, "%s/signals.%ld.gguf", directory, (long)getpid());
    out = fopen(path, "wb");
    CHECK(out && fwrite(raw.data, 1, raw.size, out) == raw.size && fclose(out) == 0);
    free(raw.data);
    fill_normal(x, M * K, 3);
    context = context_with(THREADS, 0);
    CHECK(context);
    CHECK_OK(gguffuse_file_open(path, NULL, &file));
    CHECK_OK(gguffuse_matmul_tensor(context, file, 0, x, M * K, 0, M, expected, M * N, 0));
    return 0;
}

int main(int argc, char **argv) {
    static worker workers[WORKERS];
    struct sigaction action;
    sigset_t all;
    long count, calls = 0;
    int i;
    CHECK(argc >= 2);
    count = argc > 2 ? atol(argv[2]) : 10000;
    RUN(prepare(argv[1]));
    memset(&action, 0, sizeof action);
    action.sa_handler = handle; /* without SA_RESTART: what can be interrupted is */
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0 && sigaction(SIGPROF, &action, NULL) == 0);
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    /* This thread takes none, so that they reach threads that are in calls; those take them from where they say so. */
    CHECK(sigfillset(&all) == 0 && pthread_sigmask(SIG_SETMASK, &all, NULL) == 0);
    for (i = 0; i < WORKERS; i++) {
        CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
    RUN(interrupt(workers, count));
    __atomic_store_n(&running, 0, __ATOMIC_RELAXED);
    for (i = 0; i < WORKERS; i++) {
        CHECK(pthread_join(workers[i].thread, NULL) == 0);
        CHECK(!workers[i].failed);
        calls += workers[i].calls;
    }
    CHECK_OK(gguffuse_file_close(file));
    CHECK_OK(gguffuse_context_free(context));
    CHECK(unlink(path) == 0);
    printf("signals: %ld handled, %ld of them inside of a call and told so, %ld on a thread of the library; %ld calls, all right\n",
           load(&handled), load(&busy), load(&foreign), calls);
    CHECK(load(&handled) >= count && load(&foreign) == 0 && load(&unexpected) == 0 && load(&busy) > count / 100);
    return 0;
}

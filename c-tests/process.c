/* The library in the life of a process: its first use while another thread forks; opening and closing for days; exit() while
 * threads are in calls. Arguments: a
 * directory for temporary files, how many files are opened, how many processes exit. Figures at the end. */
#include "common.h"
#include "threads_alive.h"
#include <dirent.h>
#include <pthread.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { N = 256, K = 1024, M = 4, WARM = 2000 };

static bytes model(void) {
    builder b = new_builder();
    uint64_t dims[2] = {K, N};
    size_t size;
    unsigned char *w = random_weights(GGUFFUSE_TYPE_Q4_K, N, K, 5, &size);
    add_key(&b, "key", GGUFFUSE_METADATA_UINT32);
    put_int(&b.metadata, 7, 4);
    add_tensor(&b, "w", GGUFFUSE_TYPE_Q4_K, 2, dims, w, size);
    free(w);
    return finish(&b, NULL);
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

typedef struct usage {
    int files, threads;
    long resident_kib;
} usage;

static usage now(void) {
    usage u;
    FILE *statm = fopen("/proc/self/statm", "r");
    memset(&u, 0, sizeof u);
    if (!statm || fscanf(statm, "%*d %ld", &u.resident_kib) != 1) {
        fprintf(stderr, "no /proc/self/statm\n");
        exit(2);
    }
    fclose(statm);
    u.resident_kib *= sysconf(_SC_PAGESIZE) / 1024;
    u.threads = wait_for_one_thread();
    u.files = entries_of("/proc/self/fd");
    return u;
}

/* File number i: every second one is bad; mapped, copied, from memory; now and then a context and a product. */
static int open_and_close(long i, const char *good, const char *bad, const bytes *raw, const float *x, float *y) {
    gguffuse_file *file = NULL;
    gguffuse_open_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.copy = i % 5 == 0;
    switch (i % 4) {
    case 0:
        CHECK_OK(gguffuse_file_open(good, &options, &file));
        break;
    case 1:
        CHECK_STATUS(gguffuse_file_open(bad, &options, &file), GGUFFUSE_ERROR_TRUNCATED);
        break;
    case 2:
        CHECK_OK(gguffuse_file_open_memory(raw->data, raw->size, &options, &file));
        break;
    default:
        CHECK_STATUS(gguffuse_file_open_memory(raw->data, (size_t)i % raw->size, NULL, &file), GGUFFUSE_ERROR_TRUNCATED);
    }
    if (file && i % 50 == 0) {
        gguffuse_context *context = context_with(3, (uint32_t)i % 3);
        CHECK(context);
        CHECK_OK(gguffuse_matmul_tensor(context, file, 0, x, M * K, 0, M, y, M * N, 0));
        CHECK_OK(gguffuse_context_free(context));
    }
    if (file) {
        CHECK_OK(gguffuse_file_close(file));
        CHECK_STATUS(gguffuse_file_close(file), GGUFFUSE_ERROR_INVALID_HANDLE);
    }
    return 0;
}

static int soak(long count, const char *directory, const bytes *raw, const float *x, float *y) {
    char good[4096], bad[4096];
    usage before = {0, 0, 0}, after;
    long i;
    FILE *out;
    snprintf(good, sizeof good, "%s/process.good.%ld", directory, (long)getpid());
    snprintf(bad, sizeof bad, "%s/process.bad.%ld", directory, (long)getpid());
    out = fopen(good, "wb");
    CHECK(out && fwrite(raw->data, 1, raw->size, out) == raw->size && fclose(out) == 0);
    out = fopen(bad, "wb");
    CHECK(out && fwrite(raw->data, 1, raw->size / 2, out) == raw->size / 2 && fclose(out) == 0);
    for (i = 0; i < WARM + count; i++) {
        if (i == WARM) { /* what is kept for ever is there */
            before = now();
        }
        RUN(open_and_close(i, good, bad, raw, x, y));
    }
    after = now();
    CHECK(unlink(good) == 0 && unlink(bad) == 0);
    printf("process: %ld opened and closed, half of them bad: descriptors %+d, threads %+d, memory %+ld KiB\n", count,
           after.files - before.files, after.threads - before.threads, after.resident_kib - before.resident_kib);
    CHECK(after.files == before.files && after.threads == before.threads);
    CHECK(after.resident_kib - before.resident_kib <= 1024);
    return 0;
}

typedef struct worker {
    gguffuse_context *context;
    gguffuse_file *file;
    const float *x;
} worker;

static void *multiply_for_ever(void *argument) {
    worker *self = (worker *)argument;
    float y[M * N];
    while (gguffuse_matmul_tensor(self->context, self->file, 0, self->x, M * K, 0, M, y, M * N, 0) == GGUFFUSE_OK) {
    }
    return NULL;
}

static void at_exit(void) {
    size_t row;
    if (gguffuse_row_size(GGUFFUSE_TYPE_Q4_K, 512, &row) != GGUFFUSE_OK || row != 288) {
        _exit(8);
    }
}

/* A child that is forked while another thread makes its first context makes its own: nothing waits for what was left in the
 * parent. In processes that have not used the library before. */
static void *make_a_context(void *argument) {
    *(gguffuse_context **)argument = context_with(1, 0);
    return NULL;
}

static int forked_at_first_use(int delay) {
    gguffuse_context *context = NULL;
    pthread_t thread;
    struct timespec pause = {0, 0};
    int status = 0;
    pid_t child;
    pause.tv_nsec = delay;
    CHECK(pthread_create(&thread, NULL, make_a_context, &context) == 0);
    nanosleep(&pause, NULL);
    child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(10);
        _exit(context_with(1, 0) == NULL);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    CHECK(pthread_join(thread, NULL) == 0 && context != NULL);
    return 0;
}

static int first_uses(long count) {
    long i;
    for (i = 0; i < count; i++) {
        int status = 0;
        pid_t child;
        fflush(NULL);
        child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            _exit(forked_at_first_use((int)(i % 50) * 2000));
        }
        CHECK(waitpid(child, &status, 0) == child);
        if (status != 0) {
            fprintf(stderr, "first use number %ld: status %#x\n", i, (unsigned)status);
            return 1;
        }
    }
    printf("process: %ld processes forked while the library was used for the first time, 0 hangs\n", count);
    return 0;
}

/* exit() with three threads in calls and a pool at work: the process ends with its own status. */
static int exits(long count, const bytes *raw, const float *x) {
    long i;
    for (i = 0; i < count; i++) {
        int status = 0;
        pid_t child;
        fflush(NULL);
        child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            worker self;
            pthread_t threads[3];
            struct timespec pause = {0, 100000 * (i % 20)};
            int thread;
            alarm(60);
            memset(&self, 0, sizeof self);
            self.context = context_with(3, 0);
            self.x = x;
            if (!self.context || gguffuse_file_open_memory(raw->data, raw->size, NULL, &self.file) != GGUFFUSE_OK ||
                atexit(at_exit) != 0) {
                _exit(1);
            }
            for (thread = 0; thread < 3; thread++) {
                if (pthread_create(&threads[thread], NULL, multiply_for_ever, &self) != 0) {
                    _exit(1);
                }
            }
            nanosleep(&pause, NULL);
            exit(7);
        }
        CHECK(waitpid(child, &status, 0) == child);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 7) {
            fprintf(stderr, "exit number %ld: status %#x\n", i, (unsigned)status);
            return 1;
        }
    }
    printf("process: %ld processes exited with calls in flight, all with their own status\n", count);
    return 0;
}

int main(int argc, char **argv) {
    static float x[M * K], y[M * N];
    bytes raw = model();
    CHECK(argc >= 2);
    fill_normal(x, M * K, 3);
    RUN(first_uses(argc > 3 ? 10 * atol(argv[3]) : 200)); /* before any other use */
    RUN(exits(argc > 3 ? atol(argv[3]) : 20, &raw, x));
    RUN(soak(argc > 2 ? atol(argv[2]) : 5000, argv[1], &raw, x, y));
    free(raw.data);
    return 0;
}

/* How many threads this process has, on Linux. For programs with and without the library. */
#ifndef GGUFFUSE_THREADS_ALIVE_H
#define GGUFFUSE_THREADS_ALIVE_H

#include <sys/stat.h>
#include <time.h>

/* Counted by the kernel: each thread is a link to its directory. Reading that directory would miss some now and then while
 * others end (6 of 4,000 times), which made these tests fail on a busy machine. */
static int threads_alive(void) {
    struct stat task;
    return stat("/proc/self/task", &task) == 0 ? (int)task.st_nlink - 2 : -1;
}

/* Workers end some time after their context is freed; on a busy machine, late. Returns how many threads are left. */
static int wait_for_one_thread(void) {
    struct timespec pause = {0, 200000};
    int i;
    for (i = 0; i < 100000 && threads_alive() > 1; i++) {
        nanosleep(&pause, NULL);
    }
    return threads_alive();
}

#endif

/* How many threads this process has. */
#ifndef THREAD_COUNT_H
#define THREAD_COUNT_H

#include <sys/stat.h>

/* Reading the directory would miss threads: when one ends meanwhile, the kernel ends the list there. Its links are two, and
 * one per thread. */
static int thread_count(void) {
    struct stat task;
    return stat("/proc/self/task", &task) == 0 ? (int)task.st_nlink - 2 : -1;
}

#endif

/* Functions of the C library that fail when told so: this program's own stand in for them, by name, for the library as
 * well. Include it first. Without glibc there is no FAULTS. */
#ifndef GGUFFUSE_FAULTS_H
#define GGUFFUSE_FAULTS_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif
#include "common.h"
#include <errno.h>

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1 /* sanitizers stand in for the same functions */
#endif

#if defined(__GLIBC__) && !defined(SANITIZED)
#define FAULTS 1
#include <dlfcn.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <sys/types.h>

typedef enum fault_kind {
    FAULT_MEMORY, /* malloc and its kin */
    FAULT_MMAP,
    FAULT_MREMAP,
    FAULT_MPROTECT,
    FAULT_MADVISE,
    FAULT_OPEN,
    FAULT_STAT,
    FAULT_READ,
    FAULT_WRITE,
    FAULT_FSYNC,
    FAULT_RENAME,
    FAULT_PIPE,
    FAULT_GETCWD,
    FAULT_THREAD,
    FAULT_AFFINITY,
    FAULT_WAIT, /* futex(2). Waking never fails: the kernel has no reason that it could give. */
    FAULT_KINDS
} fault_kind;

/* What fails: calls of this kind, the first after `countdown` others (-1: none), `failures` of them. */
static int fault_armed = FAULT_MEMORY;
static long countdown = -1, failures, fired;
/* Allocations and mappings that nobody has given back. */
static long live_allocations, live_mappings;

static MAYBE_UNUSED void arm(fault_kind kind, long first, long count) {
    fault_armed = kind;
    failures = count;
    fired = 0;
    __atomic_store_n(&countdown, first, __ATOMIC_SEQ_CST);
}

/* How many calls failed. */
static MAYBE_UNUSED long disarm(void) {
    __atomic_store_n(&countdown, -1, __ATOMIC_SEQ_CST);
    return __atomic_load_n(&fired, __ATOMIC_SEQ_CST);
}

#ifdef __cplusplus
#define NOTHROW noexcept
extern "C" {
#else
#define NOTHROW
#endif

static int fails(fault_kind kind, int error) NOTHROW {
    long left = __atomic_load_n(&countdown, __ATOMIC_SEQ_CST);
    if (left < 0 || fault_armed != (int)kind) {
        return 0;
    }
    if (left > 0) {
        __atomic_store_n(&countdown, left - 1, __ATOMIC_SEQ_CST);
        return 0;
    }
    if (__atomic_fetch_sub(&failures, 1, __ATOMIC_SEQ_CST) <= 0) {
        return 0;
    }
    __atomic_fetch_add(&fired, 1, __ATOMIC_SEQ_CST);
    errno = error;
    return 1;
}

/* ---- memory ---- */

void *__libc_malloc(size_t size) NOTHROW;
void *__libc_calloc(size_t count, size_t size) NOTHROW;
void *__libc_realloc(void *old, size_t size) NOTHROW;
void *__libc_memalign(size_t alignment, size_t size) NOTHROW;
void __libc_free(void *memory) NOTHROW;

static void *counted(void *memory) NOTHROW {
    if (memory) {
        __atomic_fetch_add(&live_allocations, 1, __ATOMIC_RELAXED);
    }
    return memory;
}
void *malloc(size_t size) NOTHROW {
    return fails(FAULT_MEMORY, ENOMEM) ? NULL : counted(__libc_malloc(size));
}
void *calloc(size_t count, size_t size) NOTHROW {
    return fails(FAULT_MEMORY, ENOMEM) ? NULL : counted(__libc_calloc(count, size));
}
void *realloc(void *old, size_t size) NOTHROW {
    void *memory = fails(FAULT_MEMORY, ENOMEM) ? NULL : __libc_realloc(old, size);
    return old ? memory : counted(memory);
}
int posix_memalign(void **out, size_t alignment, size_t size) NOTHROW {
    void *memory = fails(FAULT_MEMORY, ENOMEM) ? NULL : counted(__libc_memalign(alignment, size));
    if (!memory) {
        return ENOMEM;
    }
    *out = memory;
    return 0;
}
void *aligned_alloc(size_t alignment, size_t size) NOTHROW {
    return fails(FAULT_MEMORY, ENOMEM) ? NULL : counted(__libc_memalign(alignment, size));
}
void free(void *memory) NOTHROW {
    if (memory) {
        __atomic_fetch_sub(&live_allocations, 1, __ATOMIC_RELAXED);
        __libc_free(memory);
    }
}

/* ---- the rest: NEXT is the C library's own. NOTHROW in the types as well: C++ would need its runtime library else ---- */

#define NEXT(name, type)                                                                                               \
    static type next;                                                                                                  \
    if (!next) {                                                                                                       \
        void *found = dlsym(RTLD_NEXT, name);                                                                          \
        memcpy(&next, &found, sizeof next);                                                                            \
    }

void *mmap64(void *at, size_t size, int protection, int flags, int file, int64_t offset) NOTHROW {
    typedef void *(*mapper)(void *, size_t, int, int, int, int64_t) NOTHROW;
    void *memory;
    NEXT("mmap64", mapper)
    memory = fails(FAULT_MMAP, ENOMEM) ? (void *)-1 : next(at, size, protection, flags, file, offset);
    if (memory != (void *)-1) {
        __atomic_fetch_add(&live_mappings, 1, __ATOMIC_RELAXED);
    }
    return memory;
}
int munmap(void *at, size_t size) NOTHROW {
    typedef int (*unmapper)(void *, size_t) NOTHROW;
    NEXT("munmap", unmapper)
    __atomic_fetch_sub(&live_mappings, 1, __ATOMIC_RELAXED);
    return next(at, size);
}
void *mremap(void *at, size_t old_size, size_t new_size, int flags, ...) NOTHROW {
    typedef void *(*remapper)(void *, size_t, size_t, int, ...) NOTHROW;
    NEXT("mremap", remapper)
    return fails(FAULT_MREMAP, ENOMEM) ? (void *)-1 : next(at, old_size, new_size, flags);
}
int mprotect(void *at, size_t size, int protection) NOTHROW {
    typedef int (*protector)(void *, size_t, int) NOTHROW;
    NEXT("mprotect", protector)
    return fails(FAULT_MPROTECT, ENOMEM) ? -1 : next(at, size, protection);
}
int madvise(void *at, size_t size, int advice) NOTHROW {
    typedef int (*adviser)(void *, size_t, int) NOTHROW;
    NEXT("madvise", adviser)
    return fails(FAULT_MADVISE, EINVAL) ? -1 : next(at, size, advice);
}
int open(const char *path, int flags, ...) {
    typedef int (*opener)(const char *, int, ...);
    va_list more;
    unsigned mode;
    NEXT("open", opener)
    va_start(more, flags);
    mode = va_arg(more, unsigned);
    va_end(more);
    return fails(FAULT_OPEN, EMFILE) ? -1 : next(path, flags, mode);
}
int open64(const char *path, int flags, ...) {
    typedef int (*opener)(const char *, int, ...);
    va_list more;
    unsigned mode;
    NEXT("open64", opener)
    va_start(more, flags);
    mode = va_arg(more, unsigned);
    va_end(more);
    return fails(FAULT_OPEN, EMFILE) ? -1 : next(path, flags, mode);
}
struct statx;
int statx(int directory, const char *path, int flags, unsigned mask, struct statx *out) NOTHROW {
    typedef int (*stater)(int, const char *, int, unsigned, struct statx *) NOTHROW;
    NEXT("statx", stater)
    return fails(FAULT_STAT, EIO) ? -1 : next(directory, path, flags, mask, out);
}
struct stat64;
int fstat64(int file, struct stat64 *out) NOTHROW {
    typedef int (*stater)(int, struct stat64 *) NOTHROW;
    NEXT("fstat64", stater)
    return fails(FAULT_STAT, EIO) ? -1 : next(file, out);
}
ssize_t pread64(int file, void *to, size_t size, int64_t offset) {
    typedef ssize_t (*reader)(int, void *, size_t, int64_t);
    NEXT("pread64", reader)
    return fails(FAULT_READ, EIO) ? -1 : next(file, to, size, offset);
}
ssize_t read(int file, void *to, size_t size) {
    typedef ssize_t (*reader)(int, void *, size_t);
    NEXT("read", reader)
    return fails(FAULT_READ, EIO) ? -1 : next(file, to, size);
}
ssize_t write(int file, const void *from, size_t size) {
    typedef ssize_t (*writer)(int, const void *, size_t);
    NEXT("write", writer)
    return fails(FAULT_WRITE, ENOSPC) ? -1 : next(file, from, size);
}
struct iovec;
ssize_t writev(int file, const struct iovec *from, int count) {
    typedef ssize_t (*writer)(int, const struct iovec *, int);
    NEXT("writev", writer)
    return fails(FAULT_WRITE, ENOSPC) ? -1 : next(file, from, count);
}
int fsync(int file) {
    typedef int (*syncer)(int);
    NEXT("fsync", syncer)
    return fails(FAULT_FSYNC, EIO) ? -1 : next(file);
}
int rename(const char *from, const char *to) NOTHROW {
    typedef int (*renamer)(const char *, const char *) NOTHROW;
    NEXT("rename", renamer)
    return fails(FAULT_RENAME, EACCES) ? -1 : next(from, to);
}
int pipe2(int *files, int flags) NOTHROW {
    typedef int (*piper)(int *, int) NOTHROW;
    NEXT("pipe2", piper)
    return fails(FAULT_PIPE, EMFILE) ? -1 : next(files, flags);
}
char *getcwd(char *buffer, size_t size) NOTHROW {
    typedef char *(*getter)(char *, size_t) NOTHROW;
    NEXT("getcwd", getter)
    return fails(FAULT_GETCWD, ENOENT) ? NULL : next(buffer, size);
}
int pthread_create(unsigned long *thread, const union pthread_attr_t *attributes, void *(*run)(void *),
                   void *argument) NOTHROW {
    typedef int (*creator)(unsigned long *, const union pthread_attr_t *, void *(*)(void *), void *) NOTHROW;
    NEXT("pthread_create", creator)
    return fails(FAULT_THREAD, EAGAIN) ? EAGAIN : next(thread, attributes, run, argument);
}
int sched_getaffinity(int process, size_t size, void *set) NOTHROW {
    typedef int (*getter)(int, size_t, void *) NOTHROW;
    NEXT("sched_getaffinity", getter)
    return fails(FAULT_AFFINITY, EINVAL) ? -1 : next(process, size, set);
}
long syscall(long number, ...) NOTHROW {
    typedef long (*caller)(long, ...) NOTHROW;
    long a[6];
    int i;
    va_list more;
    NEXT("syscall", caller)
    va_start(more, number);
    for (i = 0; i < 6; i++) {
        a[i] = va_arg(more, long);
    }
    va_end(more);
    if (number == SYS_futex && (a[1] & FUTEX_CMD_MASK) == FUTEX_WAIT && fails(FAULT_WAIT, EINTR)) {
        return -1;
    }
    return next(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

#ifdef __cplusplus
}
#endif
#endif
#endif

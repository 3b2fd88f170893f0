/* Files that change while they are open: what a copy doesn't notice, what gguffuse_file_verify tells, and that neither is
 * a signal. Figures at the end. */
#include "common.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N = 64, K = 512, M = 3, PAGE = 4096 };

static long lengths, immune, reported;

static void killed_by(int signal) {
    (void)signal;
    _exit(99);
}

static bytes model(void) {
    builder b = new_builder();
    uint64_t dims[2] = {K, N};
    size_t size;
    unsigned char *w = random_weights(GGUFFUSE_TYPE_Q4_K, N, K, 5, &size);
    add_key(&b, "text", GGUFFUSE_METADATA_STRING);
    put_string(&b.metadata, "text");
    add_tensor(&b, "w", GGUFFUSE_TYPE_Q4_K, 2, dims, w, size);
    add_tensor(&b, "again", GGUFFUSE_TYPE_Q4_K, 2, dims, w, size);
    free(w);
    return finish(&b, NULL);
}

static int write_file(const char *path, const bytes *raw) {
    FILE *out = fopen(path, "wb");
    CHECK(out && fwrite(raw->data, 1, raw->size, out) == raw->size && fclose(out) == 0);
    return 0;
}

/* Metadata, and both tensors if `whole`. */
static int works(gguffuse_file *file, gguffuse_context *context, const float *x, const float *expected, int whole) {
    float y[M * N];
    const char *text;
    size_t length;
    uint64_t index, bad;
    CHECK_OK(gguffuse_metadata_get_string(file, "text", &text, &length));
    CHECK(length == 4 && strcmp(text, "text") == 0);
    CHECK_OK(gguffuse_tensor_find(file, "again", &index));
    for (index = 0; index < 2 && whole; index++) {
        CHECK_OK(gguffuse_matmul_tensor(context, file, index, x, M * K, 0, M, y, M * N, 0));
        CHECK(memcmp(y, expected, sizeof y) == 0);
        CHECK_OK(gguffuse_tensor_validate(context, file, index, &bad));
        CHECK(bad == UINT64_MAX);
    }
    return 0;
}

static int open_both(const char *path, gguffuse_file **mapped, gguffuse_file **copied) {
    gguffuse_open_options options;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.copy = 1;
    CHECK_OK(gguffuse_file_open(path, NULL, mapped));
    CHECK_OK(gguffuse_file_open(path, &options, copied));
    CHECK_OK(gguffuse_file_verify(*mapped));
    CHECK_OK(gguffuse_file_verify(*copied));
    return 0;
}

/* Shortened to every interesting length: the copy works on, the mapping says so, its metadata still work. */
static int shortened(const char *path, const bytes *raw, gguffuse_context *context, const float *x, const float *expected) {
    size_t step, length;
    for (step = 0; step < 40; step++) {
        gguffuse_file *mapped = NULL, *copied = NULL;
        /* nothing, inside of the header, page ends and beside them, the middle, the last page, the last byte */
        const size_t interesting[12] = {0, 1, 23, 24, 100, PAGE - 1, PAGE, PAGE + 1, raw->size / 2,
                                        (raw->size - 1) / PAGE * PAGE, (raw->size - 1) / PAGE * PAGE + 1, raw->size - 1};
        length = step < 12 ? interesting[step] : raw->size * (step - 12) / 28;
        RUN(write_file(path, raw));
        RUN(open_both(path, &mapped, &copied));
        CHECK(truncate(path, (off_t)length) == 0);
        RUN(works(copied, context, x, expected, 1));
        CHECK_OK(gguffuse_file_verify(copied));
        immune++;
        CHECK_STATUS(gguffuse_file_verify(mapped), GGUFFUSE_ERROR_TRUNCATED);
        CHECK(strstr(last_error_text(), "shortened"));
        reported++;
        RUN(works(mapped, context, x, expected, 0));
        lengths++;
        /* also where the path can't be looked at any more, if whole pages are gone */
        CHECK(unlink(path) == 0);
        CHECK_STATUS(gguffuse_file_verify(mapped), length <= (raw->size - 1) / PAGE * PAGE ? GGUFFUSE_ERROR_TRUNCATED
                                                                                          : GGUFFUSE_ERROR_CHANGED);
        CHECK_OK(gguffuse_file_close(mapped));
        CHECK_OK(gguffuse_file_close(copied));
    }
    return 0;
}

/* Overwritten, made longer, replaced, renamed, removed. */
static int changed(const char *path, const bytes *raw, gguffuse_context *context, const float *x, const float *expected) {
    char other[4200];
    struct timespec times[2];
    int way;
    snprintf(other, sizeof other, "%s.other", path);
    for (way = 0; way < 6; way++) {
        gguffuse_file *mapped = NULL, *copied = NULL;
        struct stat status;
        int descriptor;
        RUN(write_file(path, raw));
        RUN(open_both(path, &mapped, &copied));
        CHECK(stat(path, &status) == 0);
        memset(times, 0, sizeof times);
        times[0].tv_nsec = UTIME_OMIT;
        times[1].tv_sec = status.st_mtime + 1;
        descriptor = open(path, O_WRONLY);
        CHECK(descriptor >= 0);
        switch (way) {
        case 0: /* of the same length, other bytes; the clock may be too coarse to show it */
            CHECK(pwrite(descriptor, "X", 1, (off_t)raw->size - 40) == 1 && futimens(descriptor, times) == 0);
            break;
        case 1:
            CHECK(truncate(path, (off_t)raw->size + 1) == 0);
            break;
        case 2: /* shortened and made as long again */
            CHECK(truncate(path, 0) == 0 && truncate(path, (off_t)raw->size) == 0 && futimens(descriptor, times) == 0);
            break;
        case 3:
            RUN(write_file(other, raw));
            CHECK(rename(other, path) == 0);
            break;
        case 4:
            CHECK(rename(path, other) == 0);
            break;
        default:
            CHECK(unlink(path) == 0);
        }
        CHECK(close(descriptor) == 0);
        CHECK_STATUS(gguffuse_file_verify(mapped), GGUFFUSE_ERROR_CHANGED);
        CHECK_OK(gguffuse_file_verify(copied));
        RUN(works(copied, context, x, expected, 1));
        RUN(works(mapped, context, x, expected, way != 0 && way != 2)); /* nothing of it is gone */
        reported++;
        immune++;
        CHECK_OK(gguffuse_file_close(mapped));
        CHECK_STATUS(gguffuse_file_verify(mapped), GGUFFUSE_ERROR_INVALID_HANDLE);
        CHECK_OK(gguffuse_file_close(copied));
        if (way == 4) {
            CHECK(unlink(other) == 0);
        } else if (way != 5) {
            CHECK(unlink(path) == 0);
        }
    }
    return 0;
}

/* A relative path means the same after chdir. */
static int moved(const char *directory, const bytes *raw) {
    gguffuse_file *file = NULL;
    int here = open(".", O_RDONLY), there = open(directory, O_RDONLY);
    CHECK(here >= 0 && there >= 0 && fchdir(there) == 0);
    RUN(write_file("truncation.relative", raw));
    CHECK_OK(gguffuse_file_open("truncation.relative", NULL, &file));
    CHECK(chdir("/") == 0);
    CHECK_OK(gguffuse_file_verify(file));
    CHECK(fchdir(there) == 0 && truncate("truncation.relative", 5) == 0 && fchdir(here) == 0);
    CHECK_STATUS(gguffuse_file_verify(file), GGUFFUSE_ERROR_TRUNCATED);
    CHECK_OK(gguffuse_file_close(file));
    CHECK(fchdir(there) == 0 && unlink("truncation.relative") == 0 && fchdir(here) == 0);
    CHECK(close(here) == 0 && close(there) == 0);
    return 0;
}

/* What is copied from memory needs the memory no more; options that are none are refused. */
static int from_memory(const bytes *raw, gguffuse_context *context, const float *x, const float *expected) {
    gguffuse_open_options options;
    gguffuse_file *file = NULL;
    unsigned char *copy = (unsigned char *)allocate(raw->size);
    struct gguffuse_tensor_info info;
    memcpy(copy, raw->data, raw->size);
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.copy = 1;
    CHECK_OK(gguffuse_file_open_memory(copy, raw->size, &options, &file));
    memset(copy, 0xff, raw->size);
    free(copy);
    RUN(works(file, context, x, expected, 1));
    CHECK_OK(gguffuse_file_verify(file));
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    CHECK_OK(gguffuse_tensor_info(file, 0, &info));
    CHECK(memcmp(info.data, raw->data + info.absolute_offset, (size_t)info.size_bytes) == 0);
    CHECK_OK(gguffuse_file_close(file));
    CHECK_OK(gguffuse_file_open_memory(raw->data, raw->size, NULL, &file));
    CHECK_OK(gguffuse_file_verify(file));
    CHECK_OK(gguffuse_file_close(file));
    CHECK_STATUS(gguffuse_file_verify(file), GGUFFUSE_ERROR_INVALID_HANDLE);
    CHECK_STATUS(gguffuse_file_verify(NULL), GGUFFUSE_ERROR_INVALID_HANDLE);
    options.copy = 2;
    CHECK_STATUS(gguffuse_file_open_memory(raw->data, raw->size, &options, &file), GGUFFUSE_ERROR_INVALID_ARGUMENT);
    options.copy = 0x80000001u;
    CHECK_STATUS(gguffuse_file_open_memory(raw->data, raw->size, &options, &file), GGUFFUSE_ERROR_INVALID_ARGUMENT);
    options.copy = 0;
    options.reserved = 1;
    CHECK_STATUS(gguffuse_file_open_memory(raw->data, raw->size, &options, &file), GGUFFUSE_ERROR_INVALID_ARGUMENT);
    options.struct_size = offsetof(gguffuse_open_options, copy); /* of an older header: not looked at */
    CHECK_OK(gguffuse_file_open_memory(raw->data, raw->size, &options, &file));
    CHECK_OK(gguffuse_file_close(file));
    return 0;
}

/* Nothing writes through a tensor's pointer: neither into a mapping, nor into a copy. */
static int read_only(const char *path, const bytes *raw) {
    int copied;
    RUN(write_file(path, raw));
    for (copied = 0; copied < 2; copied++) {
        int status = 0;
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            gguffuse_file *files[2] = {NULL, NULL};
            struct gguffuse_tensor_info info;
            memset(&info, 0, sizeof info);
            info.struct_size = sizeof info;
            signal(SIGSEGV, killed_by);
            if (open_both(path, &files[0], &files[1]) || gguffuse_tensor_info(files[copied], 0, &info)) {
                _exit(1);
            }
            *(volatile unsigned char *)(uintptr_t)info.data = 1;
            _exit(2);
        }
        CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 99);
    }
    CHECK(unlink(path) == 0);
    return 0;
}

int main(int argc, char **argv) {
    char path[4096];
    bytes raw = model();
    gguffuse_context *context = context_with(2, 0);
    gguffuse_file *file = NULL;
    float x[M * K], expected[M * N];
    CHECK(argc == 2); /* a directory for temporary files */
    CHECK(context && raw.size > 3 * PAGE && raw.size % PAGE > 1);
    signal(SIGBUS, killed_by);
    fill_normal(x, M * K, 3);
    CHECK_OK(gguffuse_file_open_memory(raw.data, raw.size, NULL, &file));
    CHECK_OK(gguffuse_matmul_tensor(context, file, 0, x, M * K, 0, M, expected, M * N, 0));
    CHECK_OK(gguffuse_file_close(file));
    snprintf(path, sizeof path, "%s/truncation.%ld.gguf", argv[1], (long)getpid());
    RUN(shortened(path, &raw, context, x, expected));
    RUN(changed(path, &raw, context, x, expected));
    RUN(moved(argv[1], &raw));
    RUN(from_memory(&raw, context, x, expected));
    RUN(read_only(path, &raw));
    CHECK_OK(gguffuse_context_free(context));
    printf("truncation: %ld lengths; copies that noticed nothing %ld, reported by verify %ld, signals 0\n", lengths, immune,
           reported);
    free(raw.data);
    return 0;
}

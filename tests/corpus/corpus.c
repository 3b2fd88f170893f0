/* Opens every file of the corpus by path and from memory, reads all of it and asks what the index says. Each must give
 * its status and answer in at most 10 ms of the processor; a second pass must leave the heap as the first did.
 * tests/corpus/main.rs makes the files and runs this: corpus DIRECTORY */
#include "common.h"
#include <time.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

enum { FIELDS = 7 };

static double slowest;
static char slowest_name[256];

static double processor_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static volatile uint64_t sink;

static void touch(const void *data, uint64_t size) {
    const unsigned char *first = (const unsigned char *)data;
    if (size) {
        sink += first[0];
        sink += first[size - 1];
    }
}

/* Reads one value, and in arrays each element. */
static int walk_value(gguffuse_file *file, uint64_t index, uint64_t *path, size_t depth) {
    uint32_t element_type;
    uint64_t count, i, u;
    int64_t s;
    double d;
    bool b;
    const char *text;
    const void *data;
    size_t length;
    int32_t is_array = gguffuse_metadata_array_info(file, index, path, depth, &element_type, &count);
    if (is_array != GGUFFUSE_OK) {
        int readable = 0;
        CHECK_STATUS(is_array, GGUFFUSE_ERROR_TYPE_MISMATCH);
        readable += gguffuse_metadata_element_u64(file, index, path, depth, &u) == GGUFFUSE_OK;
        readable += gguffuse_metadata_element_i64(file, index, path, depth, &s) == GGUFFUSE_OK;
        readable += gguffuse_metadata_element_f64(file, index, path, depth, &d) == GGUFFUSE_OK;
        readable += gguffuse_metadata_element_bool(file, index, path, depth, &b) == GGUFFUSE_OK;
        if (gguffuse_metadata_element_string(file, index, path, depth, &text, &length) == GGUFFUSE_OK) {
            CHECK(text[length] == 0);
            touch(text, length);
            readable++;
        }
        CHECK(readable > 0);
        return 0;
    }
    CHECK(depth < 4);
    if (gguffuse_metadata_array_data(file, index, path, depth, &data, &length) == GGUFFUSE_OK) {
        touch(data, length);
    } else {
        CHECK(element_type == GGUFFUSE_METADATA_STRING || element_type == GGUFFUSE_METADATA_ARRAY);
    }
    for (i = 0; i < count; i++) {
        path[depth] = i;
        RUN(walk_value(file, index, path, depth + 1));
    }
    path[depth] = count;
    CHECK_STATUS(gguffuse_metadata_element_u64(file, index, path, depth + 1, &u), GGUFFUSE_ERROR_NOT_FOUND);
    return 0;
}

static int walk(gguffuse_file *file) {
    struct gguffuse_file_info info;
    struct gguffuse_tensor_info tensor;
    uint64_t i, found, path[5];
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    CHECK_OK(gguffuse_file_info(file, &info));
    for (i = 0; i < info.metadata_count; i++) {
        const char *key;
        size_t length;
        CHECK_OK(gguffuse_metadata_key(file, i, &key, &length));
        CHECK(length > 0 && strlen(key) == length);
        CHECK_OK(gguffuse_metadata_find(file, key, &found));
        CHECK(found == i);
        RUN(walk_value(file, i, path, 0));
    }
    for (i = 0; i < info.tensor_count; i++) {
        memset(&tensor, 0, sizeof tensor);
        tensor.struct_size = sizeof tensor;
        CHECK_OK(gguffuse_tensor_info(file, i, &tensor));
        CHECK(strlen(tensor.name) == tensor.name_length);
        CHECK_OK(gguffuse_tensor_find(file, tensor.name, &found));
        CHECK(found == i);
        CHECK(tensor.absolute_offset == info.data_offset + tensor.relative_offset);
        CHECK(tensor.size_bytes == 0 || tensor.absolute_offset + tensor.size_bytes <= info.size_bytes);
        CHECK((tensor.data == NULL) == (tensor.size_bytes == 0));
        touch(tensor.data, tensor.size_bytes);
    }
    return 0;
}

/* Field 3 is what, 4 the key, 5 the status, 6 the answer. */
static int ask(gguffuse_file *file, char *const *fields) {
    const char *what = fields[3], *key = fields[4], *text;
    uint64_t answer = 0, index;
    int32_t status;
    size_t length;
    bool b;
    if (!strcmp(what, "-")) {
        return 0;
    }
    if (!strcmp(what, "u64")) {
        status = (int32_t)gguffuse_metadata_get_u64(file, key, &answer);
    } else if (!strcmp(what, "bool")) {
        status = (int32_t)gguffuse_metadata_get_bool(file, key, &b);
        answer = status == GGUFFUSE_OK ? b : 0;
    } else if (!strcmp(what, "string")) {
        status = (int32_t)gguffuse_metadata_get_string(file, key, &text, &length);
        answer = status == GGUFFUSE_OK ? length : 0;
    } else if (!strcmp(what, "tensor")) {
        status = (int32_t)gguffuse_tensor_absolute_offset(file, key, &answer);
    } else {
        uint64_t element;
        CHECK(!strncmp(what, "element ", 8));
        element = strtoull(what + 8, NULL, 10);
        CHECK_OK(gguffuse_metadata_find(file, key, &index));
        status = (int32_t)gguffuse_metadata_element_u64(file, index, &element, 1, &answer);
    }
    if (strcmp(gguffuse_status_name(status), fields[5]) != 0 || answer != strtoull(fields[6], NULL, 10)) {
        fprintf(stderr, "%s: %s of %s gave %s, %llu\n", fields[0], what, key, gguffuse_status_name(status),
                (unsigned long long)answer);
        return 1;
    }
    return 0;
}

/* `took`: milliseconds. */
static int judge(gguffuse_file *file, int32_t status, double took, char *const *fields) {
    if (strcmp(gguffuse_status_name(status), fields[1]) != 0) {
        fprintf(stderr, "%s: %s, not %s; %s\n", fields[0], gguffuse_status_name(status), fields[1], last_error_text());
        return 1;
    }
    if (took > slowest) {
        slowest = took;
        snprintf(slowest_name, sizeof slowest_name, "%s", fields[0]);
    }
    if (took > 10.0) {
        fprintf(stderr, "%s took %.1f ms\n", fields[0], took);
        return 1;
    }
    if (status != GGUFFUSE_OK) {
        CHECK(file == NULL);
        CHECK(*last_error_text());
        return 0;
    }
    RUN(walk(file));
    RUN(ask(file, fields));
    CHECK_OK(gguffuse_file_close(file));
    CHECK_STATUS(gguffuse_file_close(file), GGUFFUSE_ERROR_INVALID_HANDLE);
    return 0;
}

static int check_file(const char *directory, char *const *fields) {
    char path[4096];
    gguffuse_file *file = NULL;
    double began;
    int32_t status;
    snprintf(path, sizeof path, "%s/%s", directory, fields[0]);
    began = processor_ms();
    status = (int32_t)gguffuse_file_open(path, NULL, &file);
    RUN(judge(file, status, processor_ms() - began, fields));
    if (!strcmp(fields[2], "1")) {
        FILE *stream = fopen(path, "rb");
        long size;
        unsigned char *data;
        CHECK(stream && fseek(stream, 0, SEEK_END) == 0 && (size = ftell(stream)) >= 0);
        rewind(stream);
        /* Exactly as long as the file, so that a sanitizer sees one byte more. */
        data = (unsigned char *)malloc(size ? (size_t)size : 1);
        CHECK(data && fread(data, 1, (size_t)size, stream) == (size_t)size);
        fclose(stream);
        file = NULL;
        began = processor_ms();
        status = (int32_t)gguffuse_file_open_memory(data, (size_t)size, NULL, &file);
        RUN(judge(file, status, processor_ms() - began, fields));
        free(data);
    }
    return 0;
}

/* Goes over the index; returns the number of files, -1 after an error. */
static int pass(const char *directory) {
    char path[4096], line[4096];
    int files = 0;
    FILE *index;
    snprintf(path, sizeof path, "%s/index", directory);
    index = fopen(path, "r");
    if (!index) {
        perror(path);
        return -1;
    }
    while (fgets(line, sizeof line, index)) {
        char *fields[FIELDS], *at = line;
        int i;
        line[strcspn(line, "\n")] = 0;
        for (i = 0; i < FIELDS; i++) {
            fields[i] = at;
            at += strcspn(at, "\t");
            if (*at) {
                *at++ = 0;
            }
        }
        if (check_file(directory, fields) != 0) {
            fclose(index);
            return -1;
        }
        files++;
    }
    fclose(index);
    return files;
}

static size_t heap_in_use(void) {
#if defined(__GLIBC__) && !SANITIZED
    return mallinfo2().uordblks;
#else
    return 0; /* a sanitizer looks for leaks itself */
#endif
}

int main(int count, char **arguments) {
    size_t before;
    int files;
    CHECK(count == 2);
    CHECK((files = pass(arguments[1])) > 0);
    before = heap_in_use();
    CHECK(pass(arguments[1]) == files);
    CHECK(heap_in_use() == before);
    printf("%d files as promised; slowest %s in %.2f ms of the processor; the heap is as before\n", files, slowest_name,
           slowest);
    return 0;
}

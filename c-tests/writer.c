/* Writing files: everything is read back through the library, memory and file have the same bytes, files are edited
 * under their own name, threads share a writer. Misuse: writer_misuse.c. */
#include "common.h"
#include <pthread.h>
#include <unistd.h>

static const float WEIGHTS[6] = {1, 2, 3, 4, 5, 6};
static const unsigned char BLOCK[2 * Q4K_BYTES] = {1, 2, 3};
static const uint64_t DIMS[2] = {3, 2}, BLOCK_DIMS[2] = {256, 2}, NONE_DIMS[4] = {0, 7, 1, 2}, BYTE_DIM[1] = {5};

static gguffuse_writer *writer_with(uint32_t version, uint32_t alignment) {
    gguffuse_writer_options options;
    gguffuse_writer *writer = NULL;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.version = version;
    options.alignment = alignment;
    return gguffuse_writer_new(&options, &writer) == GGUFFUSE_OK ? writer : NULL;
}

static int add_everything(gguffuse_writer *w) {
    static const int32_t ints[3] = {1, -2, 3};
    static const double doubles[2] = {0.5, -1e300};
    static const uint8_t bools[3] = {1, 0, 1};
    static const char *const strings[3] = {"one", "", "th\0ree"};
    static const char *const nested[2] = {"inner ints", "inner strings"};
    static const size_t lengths[3] = {3, 0, 6};
    CHECK_OK(gguffuse_writer_set_u8(w, "u8", UINT8_MAX));
    CHECK_OK(gguffuse_writer_set_i8(w, "i8", INT8_MIN));
    CHECK_OK(gguffuse_writer_set_u16(w, "u16", UINT16_MAX));
    CHECK_OK(gguffuse_writer_set_i16(w, "i16", INT16_MIN));
    CHECK_OK(gguffuse_writer_set_u32(w, "u32", UINT32_MAX));
    CHECK_OK(gguffuse_writer_set_i32(w, "i32", INT32_MIN));
    CHECK_OK(gguffuse_writer_set_u64(w, "u64", UINT64_MAX));
    CHECK_OK(gguffuse_writer_set_i64(w, "i64", INT64_MIN));
    CHECK_OK(gguffuse_writer_set_f32(w, "f32", -0.25f));
    CHECK_OK(gguffuse_writer_set_f64(w, "f64", 1e-300));
    CHECK_OK(gguffuse_writer_set_bool(w, "true", true));
    CHECK_OK(gguffuse_writer_set_bool(w, "false", false));
    CHECK_OK(gguffuse_writer_set_string(w, "string", "a\0\xff", 3));
    CHECK_OK(gguffuse_writer_set_string(w, "empty", "", 0));
    CHECK_OK(gguffuse_writer_set_array(w, "ints", GGUFFUSE_METADATA_INT32, ints, 3));
    CHECK_OK(gguffuse_writer_set_array(w, "doubles", GGUFFUSE_METADATA_FLOAT64, doubles, 2));
    CHECK_OK(gguffuse_writer_set_array(w, "bools", GGUFFUSE_METADATA_BOOL, bools, 3));
    CHECK_OK(gguffuse_writer_set_array(w, "none", GGUFFUSE_METADATA_UINT16, ints, 0));
    CHECK_OK(gguffuse_writer_set_string_array(w, "strings", strings, lengths, 3));
    CHECK_OK(gguffuse_writer_set_string_array(w, "terminated", strings, NULL, 3));
    CHECK_OK(gguffuse_writer_set_array(w, "inner ints", GGUFFUSE_METADATA_INT32, (const char *)ints + 4, 2));
    CHECK_OK(gguffuse_writer_set_string_array(w, "inner strings", strings, lengths, 2));
    CHECK_OK(gguffuse_writer_set_nested_array(w, "nested", nested, 2));
    CHECK_OK(gguffuse_writer_add_tensor(w, "f32", GGUFFUSE_TYPE_F32, 2, DIMS, WEIGHTS, sizeof WEIGHTS));
    CHECK_OK(gguffuse_writer_add_tensor(w, "q4_k", GGUFFUSE_TYPE_Q4_K, 2, BLOCK_DIMS, BLOCK, sizeof BLOCK));
    CHECK_OK(gguffuse_writer_add_tensor(w, "nothing", GGUFFUSE_TYPE_F32, 4, NONE_DIMS, WEIGHTS, 0));
    CHECK_OK(gguffuse_writer_add_tensor(w, "scalar", GGUFFUSE_TYPE_F32, 0, NULL, (const char *)WEIGHTS + 4, 4));
    CHECK_OK(gguffuse_writer_add_tensor(w, "bytes", GGUFFUSE_TYPE_I8, 1, BYTE_DIM, BLOCK + 1, 5));
    return 0;
}

static int check_type(gguffuse_file *file, const char *key, uint32_t expected, uint64_t *index) {
    uint32_t type = 77;
    CHECK_OK(gguffuse_metadata_find(file, key, index));
    CHECK_OK(gguffuse_metadata_type(file, *index, &type));
    CHECK(type == expected);
    return 0;
}

static int check_array(gguffuse_file *file, const char *key, uint32_t expected, const void *elements, size_t size,
                       uint64_t expected_count) {
    uint64_t index, count;
    uint32_t type;
    const void *data;
    size_t bytes_of_data;
    RUN(check_type(file, key, GGUFFUSE_METADATA_ARRAY, &index));
    CHECK_OK(gguffuse_metadata_array_info(file, index, NULL, 0, &type, &count));
    CHECK(type == expected && count == expected_count);
    CHECK_OK(gguffuse_metadata_array_data(file, index, NULL, 0, &data, &bytes_of_data));
    CHECK(bytes_of_data == size && memcmp(data, elements, size) == 0);
    return 0;
}

static int check_string(gguffuse_file *file, const char *key, const uint64_t *path, size_t depth, const char *expected,
                        size_t expected_length) {
    uint64_t index;
    const char *text;
    size_t length;
    CHECK_OK(gguffuse_metadata_find(file, key, &index));
    CHECK_OK(gguffuse_metadata_element_string(file, index, path, depth, &text, &length));
    CHECK(length == expected_length && memcmp(text, expected, length) == 0);
    return 0;
}

static int check_metadata(gguffuse_file *file) {
    static const struct {
        const char *key;
        uint32_t type;
        double value;
    } numbers[] = {
        {"u8", GGUFFUSE_METADATA_UINT8, 255},        {"i8", GGUFFUSE_METADATA_INT8, -128},
        {"u16", GGUFFUSE_METADATA_UINT16, 65535},    {"i16", GGUFFUSE_METADATA_INT16, -32768},
        {"u32", GGUFFUSE_METADATA_UINT32, 4294967295.0}, {"i32", GGUFFUSE_METADATA_INT32, -2147483648.0},
        {"i64", GGUFFUSE_METADATA_INT64, -9223372036854775808.0}, {"f32", GGUFFUSE_METADATA_FLOAT32, -0.25},
        {"f64", GGUFFUSE_METADATA_FLOAT64, 1e-300},
    };
    static const unsigned char ints[12] = {1, 0, 0, 0, 0xfe, 0xff, 0xff, 0xff, 3, 0, 0, 0}, bools[3] = {1, 0, 1};
    static const double doubles[2] = {0.5, -1e300};
    uint64_t path[2] = {0, 0}, index, u64;
    int64_t i64;
    double f64;
    bool boolean;
    size_t i;
    for (i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        RUN(check_type(file, numbers[i].key, numbers[i].type, &index));
        CHECK(index == i + (i > 5)); /* u64 lies between */
        CHECK_OK(gguffuse_metadata_get_f64(file, numbers[i].key, &f64));
        CHECK(f64 == numbers[i].value);
    }
    RUN(check_type(file, "u64", GGUFFUSE_METADATA_UINT64, &index));
    CHECK_OK(gguffuse_metadata_get_u64(file, "u64", &u64));
    CHECK(u64 == UINT64_MAX);
    CHECK_OK(gguffuse_metadata_get_bool(file, "true", &boolean));
    CHECK(boolean);
    CHECK_OK(gguffuse_metadata_get_bool(file, "false", &boolean));
    CHECK(!boolean);
    RUN(check_string(file, "string", NULL, 0, "a\0\xff", 3));
    RUN(check_string(file, "empty", NULL, 0, "", 0));
    RUN(check_array(file, "ints", GGUFFUSE_METADATA_INT32, ints, sizeof ints, 3));
    RUN(check_array(file, "doubles", GGUFFUSE_METADATA_FLOAT64, doubles, sizeof doubles, 2));
    RUN(check_array(file, "bools", GGUFFUSE_METADATA_BOOL, bools, sizeof bools, 3));
    RUN(check_array(file, "none", GGUFFUSE_METADATA_UINT16, ints, 0, 0));
    RUN(check_string(file, "strings", path, 1, "one", 3));
    path[0] = 2;
    RUN(check_string(file, "strings", path, 1, "th\0ree", 6));
    RUN(check_string(file, "terminated", path, 1, "th", 2));
    path[0] = 1;
    RUN(check_string(file, "nested", path, 2, "one", 3));
    path[0] = 0;
    path[1] = 1;
    CHECK_OK(gguffuse_metadata_find(file, "nested", &index));
    CHECK_OK(gguffuse_metadata_element_i64(file, index, path, 2, &i64));
    CHECK(i64 == 3);
    CHECK_STATUS(gguffuse_metadata_find(file, "inner ints", &index), GGUFFUSE_ERROR_NOT_FOUND);
    return 0;
}

static int check_tensor(gguffuse_file *file, uint64_t index, const char *name, uint32_t type, uint32_t n_dims,
                        const uint64_t *dims, const void *data, size_t size) {
    struct gguffuse_tensor_info info;
    uint32_t i;
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    CHECK_OK(gguffuse_tensor_info(file, index, &info));
    CHECK(strcmp(info.name, name) == 0 && info.type == type && info.n_dims == n_dims && info.size_bytes == size);
    for (i = 0; i < 4; i++) {
        CHECK(info.dims[i] == (i < n_dims ? dims[i] : 1));
    }
    CHECK(size == 0 || memcmp(info.data, data, size) == 0);
    return 0;
}

static int check_everything(gguffuse_file *file, uint32_t version, uint32_t alignment) {
    struct gguffuse_file_info info;
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    CHECK_OK(gguffuse_file_info(file, &info));
    CHECK(info.version == version && info.alignment == alignment && info.tensor_count == 5);
    CHECK(info.data_offset % alignment == 0);
    RUN(check_metadata(file));
    RUN(check_tensor(file, 0, "f32", GGUFFUSE_TYPE_F32, 2, DIMS, WEIGHTS, sizeof WEIGHTS));
    RUN(check_tensor(file, 1, "q4_k", GGUFFUSE_TYPE_Q4_K, 2, BLOCK_DIMS, BLOCK, sizeof BLOCK));
    RUN(check_tensor(file, 2, "nothing", GGUFFUSE_TYPE_F32, 4, NONE_DIMS, WEIGHTS, 0));
    RUN(check_tensor(file, 3, "scalar", GGUFFUSE_TYPE_F32, 0, NULL, WEIGHTS + 1, 4));
    RUN(check_tensor(file, 4, "bytes", GGUFFUSE_TYPE_I8, 1, BYTE_DIM, BLOCK + 1, 5));
    return 0;
}

/* The bytes that the writer gives, into memory of exactly their size and of more. */
static int written(gguffuse_writer *w, bytes *out) {
    uint64_t size = 0;
    size_t count = 77;
    CHECK_OK(gguffuse_writer_size(w, &size));
    memset(out, 0, sizeof *out);
    out->data = (unsigned char *)allocate((size_t)size + 1);
    out->size = (size_t)size;
    out->data[size] = 0x55;
    CHECK_STATUS(gguffuse_writer_write_memory(w, out->data, out->size - 1, &count), GGUFFUSE_ERROR_BUFFER_TOO_SMALL);
    CHECK(count == 77 && out->data[0] == 0);
    CHECK_OK(gguffuse_writer_write_memory(w, out->data, out->size, &count));
    CHECK(count == out->size && out->data[size] == 0x55);
    memset(out->data, 0, out->size);
    CHECK_OK(gguffuse_writer_write_memory(w, out->data, out->size + 1, &count));
    CHECK(count == out->size && out->data[size] == 0x55);
    return 0;
}

static int same_as_file(const char *path, const bytes *expected) {
    FILE *in = fopen(path, "rb");
    unsigned char *all = (unsigned char *)allocate(expected->size + 1);
    CHECK(in && fread(all, 1, expected->size + 1, in) == expected->size);
    CHECK(memcmp(all, expected->data, expected->size) == 0);
    fclose(in);
    free(all);
    return 0;
}

static int round_trip(const char *path, uint32_t version, uint32_t alignment) {
    gguffuse_writer *w = writer_with(version, alignment);
    gguffuse_file *file = NULL;
    bytes memory;
    CHECK(w);
    RUN(add_everything(w));
    if (alignment) { /* the entry of the option is the first: moved behind, so that indices are the same */
        CHECK_OK(gguffuse_writer_remove_metadata(w, "general.alignment"));
        CHECK_OK(gguffuse_writer_set_u32(w, "general.alignment", alignment));
    }
    CHECK_OK(gguffuse_writer_write_file(w, path));
    RUN(written(w, &memory));
    RUN(same_as_file(path, &memory));
    CHECK_OK(gguffuse_writer_free(w));
    CHECK_OK(gguffuse_file_open(path, NULL, &file));
    RUN(check_everything(file, version ? version : 3, alignment ? alignment : 32));
    CHECK_OK(gguffuse_file_close(file));
    CHECK_OK(gguffuse_file_open_memory(memory.data, memory.size, NULL, &file));
    RUN(check_everything(file, version ? version : 3, alignment ? alignment : 32));
    CHECK_OK(gguffuse_file_close(file));
    free(memory.data);
    return 0;
}

/* A file under its own name: one value changed, one entry removed, the tensors from the mapped old one. */
static int edited(const char *path) {
    gguffuse_writer *w = writer_with(0, 0), *one = writer_with(0, 0);
    gguffuse_file *file = NULL, *after = NULL;
    struct gguffuse_tensor_info info;
    bytes before, copied;
    uint64_t index, u64 = 0;
    CHECK(w && one);
    RUN(add_everything(w));
    CHECK_OK(gguffuse_writer_write_file(w, path));
    RUN(written(w, &before));
    CHECK_OK(gguffuse_writer_free(w));
    CHECK_OK(gguffuse_file_open(path, NULL, &file));
    w = writer_with(0, 0);
    CHECK(w);
    CHECK_OK(gguffuse_writer_copy_metadata(w, file, NULL));
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    for (index = 0; gguffuse_tensor_info(file, index, &info) == GGUFFUSE_OK; index++) {
        CHECK_OK(gguffuse_writer_add_tensor(w, info.name, info.type, info.n_dims, info.dims, info.data,
                                            (size_t)info.size_bytes));
    }
    RUN(written(w, &copied));
    CHECK(copied.size == before.size && memcmp(copied.data, before.data, before.size) == 0);
    CHECK_OK(gguffuse_writer_set_u64(w, "u8", 5)); /* another type as well */
    CHECK_OK(gguffuse_writer_remove_metadata(w, "strings"));
    CHECK_OK(gguffuse_writer_write_file(w, path));
    CHECK_OK(gguffuse_file_open(path, NULL, &after));
    RUN(check_everything(file, 3, 32)); /* still the old one */
    RUN(check_type(after, "u8", GGUFFUSE_METADATA_UINT64, &index));
    CHECK_OK(gguffuse_metadata_get_u64(after, "u8", &u64));
    CHECK(index == 0 && u64 == 5);
    CHECK_STATUS(gguffuse_metadata_find(after, "strings", &index), GGUFFUSE_ERROR_NOT_FOUND);
    RUN(check_tensor(after, 1, "q4_k", GGUFFUSE_TYPE_Q4_K, 2, BLOCK_DIMS, BLOCK, sizeof BLOCK));

    CHECK_OK(gguffuse_writer_copy_metadata(one, file, "nested"));
    CHECK_STATUS(gguffuse_writer_copy_metadata(one, file, "not there"), GGUFFUSE_ERROR_NOT_FOUND);
    CHECK_STATUS(gguffuse_writer_copy_metadata(one, NULL, NULL), GGUFFUSE_ERROR_INVALID_HANDLE);
    CHECK_OK(gguffuse_writer_write_file(one, path));
    CHECK_OK(gguffuse_file_close(after));
    CHECK_OK(gguffuse_file_open(path, NULL, &after));
    CHECK_OK(gguffuse_metadata_find(after, "nested", &index));
    CHECK(index == 0);
    CHECK_STATUS(gguffuse_metadata_type(after, 1, (uint32_t *)&index), GGUFFUSE_ERROR_NOT_FOUND);
    CHECK_OK(gguffuse_file_close(after));
    CHECK_OK(gguffuse_file_close(file));
    CHECK_OK(gguffuse_writer_free(w));
    CHECK_OK(gguffuse_writer_free(one));
    free(before.data);
    free(copied.data);
    return 0;
}

/* Threads add to one writer without a lock of theirs: a call is done or says BUSY, and then it is tried again. */
enum { THREADS = 4, EACH = 200 };
typedef struct adder {
    pthread_t thread;
    gguffuse_writer *writer;
    int number, failed;
} adder;

static void *add(void *argument) {
    adder *self = (adder *)argument;
    int i;
    for (i = 0; i < EACH; i++) {
        char name[64];
        gguffuse_status status;
        uint64_t size;
        snprintf(name, sizeof name, "%d.%d", self->number, i);
        do {
            status = gguffuse_writer_set_u32(self->writer, name, (uint32_t)i);
        } while (status == GGUFFUSE_ERROR_BUSY);
        self->failed |= status != GGUFFUSE_OK;
        do {
            status = gguffuse_writer_size(self->writer, &size);
        } while (status == GGUFFUSE_ERROR_BUSY);
        self->failed |= status != GGUFFUSE_OK;
    }
    return NULL;
}

static int threads(const char *path) {
    gguffuse_writer *w = writer_with(0, 0);
    gguffuse_file *file = NULL;
    struct gguffuse_file_info info;
    adder adders[THREADS];
    int i;
    CHECK(w);
    memset(adders, 0, sizeof adders);
    for (i = 0; i < THREADS; i++) {
        adders[i].writer = w;
        adders[i].number = i;
        CHECK(pthread_create(&adders[i].thread, NULL, add, &adders[i]) == 0);
    }
    for (i = 0; i < THREADS; i++) {
        CHECK(pthread_join(adders[i].thread, NULL) == 0);
        CHECK(!adders[i].failed);
    }
    CHECK_OK(gguffuse_writer_write_file(w, path));
    CHECK_OK(gguffuse_writer_free(w));
    CHECK_OK(gguffuse_file_open(path, NULL, &file));
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    CHECK_OK(gguffuse_file_info(file, &info));
    CHECK(info.metadata_count == THREADS * EACH);
    CHECK_OK(gguffuse_file_close(file));
    return 0;
}

int main(int argc, char **argv) {
    static const uint32_t alignments[] = {0, 1, 8, 64, 4096};
    char path[4096];
    size_t i;
    CHECK(argc == 2);
    snprintf(path, sizeof path, "%s/writer.%ld.gguf", argv[1], (long)getpid());
    for (i = 0; i < sizeof alignments / sizeof *alignments; i++) {
        RUN(round_trip(path, 0, alignments[i]));
        RUN(round_trip(path, 2, alignments[i]));
    }
    RUN(edited(path));
    RUN(threads(path));
    CHECK(unlink(path) == 0);
    return 0;
}

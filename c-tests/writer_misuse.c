/* Writing files, wrongly: every function with what it must refuse, by its status; and nothing is left behind. */
#include "common.h"
#include <dirent.h>
#include <sys/stat.h>
#include <unistd.h>

static const unsigned char BLOCK[2 * Q4K_BYTES] = {1, 2, 3};
static const uint64_t BYTE_DIM[1] = {5};

#define WRONG(call, name) CHECK_STATUS(call, GGUFFUSE_ERROR_##name)

static int wrong_options(void) {
    gguffuse_writer_options options;
    gguffuse_writer *w = NULL;
    memset(&options, 0, sizeof options);
    WRONG(gguffuse_writer_new(&options, &w), INVALID_ARGUMENT);
    options.struct_size = sizeof options;
    options.version = 1;
    WRONG(gguffuse_writer_new(&options, &w), UNSUPPORTED_VERSION);
    options.version = 0;
    options.alignment = 24;
    WRONG(gguffuse_writer_new(&options, &w), INVALID_ARGUMENT);
    WRONG(gguffuse_writer_new(NULL, NULL), NULL_ARGUMENT);
    CHECK(w == NULL);
    options.struct_size = sizeof(size_t); /* of an older header: without all else */
    CHECK_OK(gguffuse_writer_new(&options, &w));
    CHECK_OK(gguffuse_writer_free(w));
    CHECK_OK(gguffuse_writer_free(NULL));
    return 0;
}

/* Every function refuses what is no writer. */
static int not_a_writer(gguffuse_writer *w, gguffuse_file *file) {
    static const char *const strings[1] = {"s"};
    uint64_t size = 77;
    size_t count = 77;
    char buffer[64];
    if (w) {
        WRONG(gguffuse_writer_free(w), INVALID_HANDLE);
    }
    WRONG(gguffuse_writer_set_u8(w, "k", 1), INVALID_HANDLE);
    WRONG(gguffuse_writer_set_i8(w, "k", 1), INVALID_HANDLE);
    WRONG(gguffuse_writer_set_u16(w, "k", 1), INVALID_HANDLE);
    WRONG(gguffuse_writer_set_i16(w, "k", 1), INVALID_HANDLE);
    WRONG(gguffuse_writer_set_u32(w, "k", 1), INVALID_HANDLE);
    WRONG(gguffuse_writer_set_i32(w, "k", 1), INVALID_HANDLE);
    WRONG(gguffuse_writer_set_u64(w, "k", 1), INVALID_HANDLE);
    WRONG(gguffuse_writer_set_i64(w, "k", 1), INVALID_HANDLE);
    WRONG(gguffuse_writer_set_f32(w, "k", 1), INVALID_HANDLE);
    WRONG(gguffuse_writer_set_f64(w, "k", 1), INVALID_HANDLE);
    WRONG(gguffuse_writer_set_bool(w, "k", true), INVALID_HANDLE);
    WRONG(gguffuse_writer_set_string(w, "k", "s", 1), INVALID_HANDLE);
    WRONG(gguffuse_writer_set_array(w, "k", GGUFFUSE_METADATA_UINT8, "s", 1), INVALID_HANDLE);
    WRONG(gguffuse_writer_set_string_array(w, "k", strings, NULL, 1), INVALID_HANDLE);
    WRONG(gguffuse_writer_set_nested_array(w, "k", strings, 1), INVALID_HANDLE);
    WRONG(gguffuse_writer_copy_metadata(w, file, NULL), INVALID_HANDLE);
    WRONG(gguffuse_writer_remove_metadata(w, "k"), INVALID_HANDLE);
    WRONG(gguffuse_writer_add_tensor(w, "t", GGUFFUSE_TYPE_I8, 1, BYTE_DIM, BLOCK, 5), INVALID_HANDLE);
    WRONG(gguffuse_writer_size(w, &size), INVALID_HANDLE);
    WRONG(gguffuse_writer_write_memory(w, buffer, sizeof buffer, &count), INVALID_HANDLE);
    WRONG(gguffuse_writer_write_file(w, "/nowhere/file"), INVALID_HANDLE);
    CHECK(size == 77 && count == 77);
    return 0;
}

static int wrong_metadata(gguffuse_writer *w) {
    static const char *const strings[2] = {"s", NULL}, *const keys[2] = {"k", "text"}, *const twice[2] = {"k", "k"},
                      *const missing[1] = {"missing"};
    const char *const *crooked = (const char *const *)((const char *)strings + 1);
    WRONG(gguffuse_writer_set_u8(w, NULL, 1), NULL_ARGUMENT);
    WRONG(gguffuse_writer_set_u8(w, "", 1), INVALID_ARGUMENT);
    WRONG(gguffuse_writer_set_u8(w, "\xff", 1), INVALID_ARGUMENT);
    WRONG(gguffuse_writer_set_u32(w, "general.alignment", 33), INVALID_ARGUMENT);
    WRONG(gguffuse_writer_set_u64(w, "general.alignment", 64), INVALID_ARGUMENT);
    WRONG(gguffuse_writer_set_bool(w, NULL, true), NULL_ARGUMENT);
    WRONG(gguffuse_writer_set_string(w, "k", NULL, 0), NULL_ARGUMENT);
    WRONG(gguffuse_writer_set_string(w, "k", "s", SIZE_MAX), INVALID_ARGUMENT);
    WRONG(gguffuse_writer_set_array(w, "k", GGUFFUSE_METADATA_UINT8, NULL, 0), NULL_ARGUMENT);
    WRONG(gguffuse_writer_set_array(w, "k", GGUFFUSE_METADATA_STRING, "s", 1), INVALID_ARGUMENT);
    WRONG(gguffuse_writer_set_array(w, "k", GGUFFUSE_METADATA_ARRAY, "s", 1), INVALID_ARGUMENT);
    WRONG(gguffuse_writer_set_array(w, "k", 13, "s", 1), INVALID_ARGUMENT);
    WRONG(gguffuse_writer_set_array(w, "k", GGUFFUSE_METADATA_BOOL, "\2", 1), INVALID_ARGUMENT);
    WRONG(gguffuse_writer_set_array(w, "k", GGUFFUSE_METADATA_UINT64, "s", SIZE_MAX / 4), INVALID_ARGUMENT);
    WRONG(gguffuse_writer_set_string_array(w, "k", NULL, NULL, 0), NULL_ARGUMENT);
    WRONG(gguffuse_writer_set_string_array(w, "k", strings, NULL, 2), NULL_ARGUMENT);
    WRONG(gguffuse_writer_set_string_array(w, "k", crooked, NULL, 1), MISALIGNED);
    WRONG(gguffuse_writer_set_string_array(w, "k", strings, NULL, SIZE_MAX), INVALID_ARGUMENT);
    WRONG(gguffuse_writer_remove_metadata(w, "missing"), NOT_FOUND);
    CHECK_OK(gguffuse_writer_set_array(w, "k", GGUFFUSE_METADATA_UINT8, "s", 1));
    CHECK_OK(gguffuse_writer_set_string(w, "text", "s", 1));
    WRONG(gguffuse_writer_set_nested_array(w, "k", NULL, 0), NULL_ARGUMENT);
    WRONG(gguffuse_writer_set_nested_array(w, "k", keys, SIZE_MAX), INVALID_ARGUMENT);
    WRONG(gguffuse_writer_set_nested_array(w, "n", strings, 2), NULL_ARGUMENT);
    WRONG(gguffuse_writer_set_nested_array(w, "n", keys, 2), INVALID_ARGUMENT);
    WRONG(gguffuse_writer_set_nested_array(w, "n", twice, 2), INVALID_ARGUMENT);
    WRONG(gguffuse_writer_set_nested_array(w, "n", missing, 1), NOT_FOUND);
    CHECK_OK(gguffuse_writer_set_nested_array(w, "k", keys, 1)); /* may take the element's place */
    CHECK_OK(gguffuse_writer_set_nested_array(w, "k", keys, 1));
    CHECK_OK(gguffuse_writer_set_nested_array(w, "k", keys, 1));
    WRONG(gguffuse_writer_set_nested_array(w, "k", keys, 1), INVALID_ARGUMENT); /* 5 deep */
    CHECK_OK(gguffuse_writer_remove_metadata(w, "k"));
    CHECK_OK(gguffuse_writer_remove_metadata(w, "text"));
    return 0;
}

static int wrong_tensors(gguffuse_writer *w) {
    static const uint64_t huge[2] = {UINT64_MAX, UINT64_MAX}, odd[1] = {255}, five[5] = {1, 1, 1, 1, 5};
    const uint64_t *crooked = (const uint64_t *)((const char *)huge + 1);
    char name[66];
    memset(name, 'n', sizeof name);
    name[65] = 0;
    WRONG(gguffuse_writer_add_tensor(w, NULL, GGUFFUSE_TYPE_I8, 1, BYTE_DIM, BLOCK, 5), NULL_ARGUMENT);
    WRONG(gguffuse_writer_add_tensor(w, "t", GGUFFUSE_TYPE_I8, 1, NULL, BLOCK, 5), NULL_ARGUMENT);
    WRONG(gguffuse_writer_add_tensor(w, "t", GGUFFUSE_TYPE_I8, 1, BYTE_DIM, NULL, 5), NULL_ARGUMENT);
    WRONG(gguffuse_writer_add_tensor(w, "t", GGUFFUSE_TYPE_I8, 1, crooked, BLOCK, 5), MISALIGNED);
    WRONG(gguffuse_writer_add_tensor(w, "t", GGUFFUSE_TYPE_I8, 5, five, BLOCK, 5), INVALID_ARGUMENT);
    WRONG(gguffuse_writer_add_tensor(w, "t", GGUFFUSE_TYPE_I8, UINT32_MAX, five, BLOCK, 5), INVALID_ARGUMENT);
    WRONG(gguffuse_writer_add_tensor(w, "t", 4, 1, BYTE_DIM, BLOCK, 5), UNSUPPORTED_TYPE);
    WRONG(gguffuse_writer_add_tensor(w, "t", GGUFFUSE_TYPE_I8, 1, BYTE_DIM, BLOCK, 4), SHAPE);
    WRONG(gguffuse_writer_add_tensor(w, "t", GGUFFUSE_TYPE_I8, 1, BYTE_DIM, BLOCK, 6), SHAPE);
    WRONG(gguffuse_writer_add_tensor(w, "t", GGUFFUSE_TYPE_I8, 2, huge, BLOCK, 5), SHAPE);
    WRONG(gguffuse_writer_add_tensor(w, "t", GGUFFUSE_TYPE_Q4_K, 1, odd, BLOCK, Q4K_BYTES), SHAPE);
    WRONG(gguffuse_writer_add_tensor(w, "t", GGUFFUSE_TYPE_I8, 1, huge, BLOCK, SIZE_MAX), INVALID_ARGUMENT);
    WRONG(gguffuse_writer_add_tensor(w, name, GGUFFUSE_TYPE_I8, 1, BYTE_DIM, BLOCK, 5), INVALID_ARGUMENT);
    WRONG(gguffuse_writer_add_tensor(w, "\xc3", GGUFFUSE_TYPE_I8, 1, BYTE_DIM, BLOCK, 5), INVALID_ARGUMENT);
    name[64] = 0;
    CHECK_OK(gguffuse_writer_add_tensor(w, name, GGUFFUSE_TYPE_I8, 1, BYTE_DIM, BLOCK, 5));
    WRONG(gguffuse_writer_add_tensor(w, name, GGUFFUSE_TYPE_I8, 1, BYTE_DIM, BLOCK, 5), INVALID_ARGUMENT);
    return 0;
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

static int wrong_targets(const char *directory, gguffuse_writer *w) {
    char path[4096], link[4096];
    struct stat there;
    unsigned char *own = (unsigned char *)allocate(4096);
    uint64_t dims[1] = {16}, size = 77;
    size_t count = 77;
    int before;
    WRONG(gguffuse_writer_size(w, NULL), NULL_ARGUMENT);
    WRONG(gguffuse_writer_size(w, (uint64_t *)(own + 1)), MISALIGNED);
    WRONG(gguffuse_writer_write_memory(w, NULL, 4096, &count), NULL_ARGUMENT);
    WRONG(gguffuse_writer_write_memory(w, own, 4096, NULL), NULL_ARGUMENT);
    WRONG(gguffuse_writer_write_memory(w, own, SIZE_MAX, &count), INVALID_ARGUMENT);
    CHECK_OK(gguffuse_writer_add_tensor(w, "own", GGUFFUSE_TYPE_I8, 1, dims, own + 4000, 16));
    WRONG(gguffuse_writer_write_memory(w, own, 4096, &count), ALIASING);
    CHECK_OK(gguffuse_writer_write_memory(w, own, 4000, &count)); /* right before it */
    CHECK_OK(gguffuse_writer_size(w, &size));
    CHECK(count == size);

    before = entries_of(directory);
    CHECK(before > 2);
    WRONG(gguffuse_writer_write_file(w, NULL), NULL_ARGUMENT);
    WRONG(gguffuse_writer_write_file(w, ""), INVALID_ARGUMENT);
    WRONG(gguffuse_writer_write_file(w, "/"), INVALID_ARGUMENT);
    WRONG(gguffuse_writer_write_file(w, ".."), INVALID_ARGUMENT);
    WRONG(gguffuse_writer_write_file(w, directory), INVALID_ARGUMENT);
    WRONG(gguffuse_writer_write_file(w, "/dev/null"), INVALID_ARGUMENT);
    CHECK(stat("/dev/null", &there) == 0 && S_ISCHR(there.st_mode));
    snprintf(path, sizeof path, "%s/missing/file.gguf", directory);
    WRONG(gguffuse_writer_write_file(w, path), IO);
    snprintf(link, sizeof link, "%s/writer.link", directory);
    CHECK(symlink("elsewhere", link) == 0);
    WRONG(gguffuse_writer_write_file(w, link), INVALID_ARGUMENT);
    CHECK(unlink(link) == 0);
    CHECK(entries_of(directory) == before); /* nothing was left behind */
    CHECK_OK(gguffuse_writer_free(w));
    free(own);
    return 0;
}

static int misuse(const char *directory, const char *path) {
    gguffuse_writer *w = NULL;
    gguffuse_context *context = context_with(1, 0);
    gguffuse_file *file = NULL;
    uint64_t size = 0;
    CHECK(context);
    CHECK_OK(gguffuse_writer_new(NULL, &w));
    RUN(wrong_options());
    RUN(wrong_metadata(w));
    CHECK_OK(gguffuse_writer_size(w, &size));
    CHECK(size == 32); /* no failure left anything behind */
    CHECK_OK(gguffuse_writer_write_file(w, path));
    CHECK_OK(gguffuse_file_open(path, NULL, &file));
    RUN(not_a_writer(NULL, file));
    RUN(not_a_writer((gguffuse_writer *)(void *)file, file));
    RUN(not_a_writer((gguffuse_writer *)(void *)context, file));
    RUN(not_a_writer((gguffuse_writer *)(void *)&w, file));
    CHECK_STATUS(gguffuse_file_close((gguffuse_file *)(void *)w), GGUFFUSE_ERROR_INVALID_HANDLE);
    WRONG(gguffuse_writer_copy_metadata(w, (gguffuse_file *)(void *)w, NULL), INVALID_HANDLE);
    RUN(wrong_tensors(w));
    RUN(wrong_targets(directory, w));
    RUN(not_a_writer(w, file));
    CHECK_OK(gguffuse_file_close(file));
    CHECK_OK(gguffuse_context_free(context));
    return 0;
}

int main(int argc, char **argv) {
    char path[4096];
    CHECK(argc == 2);
    snprintf(path, sizeof path, "%s/writer_misuse.%ld.gguf", argv[1], (long)getpid());
    RUN(misuse(argv[1], path));
    CHECK(unlink(path) == 0);
    return 0;
}

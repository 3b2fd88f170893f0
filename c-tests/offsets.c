/* Where tensors lie. The mistake that started this project: a tensor's offset in a GGUF file counts from the start of
 * the data section, and programs that take it as a position in the file read the wrong weights, without noticing. */
#include "common.h"
#include <unistd.h>

typedef struct expected {
    const char *name;
    uint32_t type, n_dims;
    uint64_t dims[4], relative;
    const unsigned char *bytes;
    size_t size;
} expected;

static int check_tensor(gguffuse_file *file, uint64_t index, const expected *e, size_t data_offset, const bytes *raw) {
    struct gguffuse_tensor_info info;
    uint64_t found = 77, offset = 77;
    int i;
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    CHECK_OK(gguffuse_tensor_find(file, e->name, &found));
    CHECK(found == index);
    CHECK_OK(gguffuse_tensor_info(file, index, &info));
    CHECK(info.struct_size == sizeof info);
    CHECK(strcmp(info.name, e->name) == 0 && info.name_length == strlen(e->name));
    CHECK(info.type == e->type && info.n_dims == e->n_dims);
    for (i = 0; i < 4; i++) {
        CHECK(info.dims[i] == (i < (int)e->n_dims ? e->dims[i] : 1));
    }
    CHECK(info.relative_offset == e->relative);
    CHECK(info.absolute_offset == data_offset + e->relative);
    CHECK(info.size_bytes == e->size);
    CHECK_OK(gguffuse_tensor_absolute_offset(file, e->name, &offset));
    CHECK(offset == info.absolute_offset);
    if (e->size == 0) {
        CHECK(info.data == NULL);
    } else {
        CHECK(memcmp(info.data, e->bytes, e->size) == 0);
        CHECK(memcmp(raw->data + offset, e->bytes, e->size) == 0);
    }
    return 0;
}

/* The file with the largest alignment pad differs most between right and wrong. */
static int run(uint32_t version, uint32_t alignment, const char *path) {
    expected e[5];
    size_t sizes[3], data_offset = 0, i;
    builder b = new_builder();
    bytes raw;
    gguffuse_file *files[2] = {NULL, NULL};
    struct gguffuse_file_info info;
    FILE *out;

    memset(e, 0, sizeof e);
    e[0].name = "blk.0.attn_q.weight";
    e[0].type = GGUFFUSE_TYPE_Q4_K;
    e[0].n_dims = 2;
    e[0].dims[0] = 512;
    e[0].dims[1] = 3;
    e[0].bytes = random_weights(e[0].type, 3, 512, 1, &sizes[0]);
    e[0].size = 3 * 2 * Q4K_BYTES;
    CHECK(sizes[0] == e[0].size);
    e[1].name = "norm";
    e[1].type = GGUFFUSE_TYPE_F32;
    e[1].n_dims = 1;
    e[1].dims[0] = 5;
    e[1].bytes = random_weights(e[1].type, 1, 5, 2, &sizes[1]);
    e[1].size = 20;
    e[2].name = "\xc3\xa9"; /* a name of two bytes of UTF-8 */
    e[2].type = GGUFFUSE_TYPE_F16;
    e[2].n_dims = 4;
    e[2].dims[0] = 7;
    e[2].dims[1] = 2;
    e[2].dims[2] = 1;
    e[2].dims[3] = 3;
    e[2].bytes = random_weights(e[2].type, 6, 7, 3, &sizes[2]);
    e[2].size = 84;
    e[3].name = "nothing";
    e[3].type = GGUFFUSE_TYPE_F32;
    e[3].n_dims = 2;
    e[3].dims[0] = 4;
    e[3].dims[1] = 0;
    e[4].name = "again";
    e[4].type = GGUFFUSE_TYPE_Q4_K;
    e[4].n_dims = 2;
    e[4].dims[0] = 256;
    e[4].dims[1] = 6;
    e[4].bytes = e[0].bytes;
    e[4].size = e[0].size;

    b.version = version;
    if (alignment) {
        set_alignment(&b, alignment);
    }
    for (i = 0; i < 5; i++) {
        e[i].relative = add_tensor(&b, e[i].name, e[i].type, e[i].n_dims, e[i].dims, e[i].bytes, e[i].size);
    }
    raw = finish(&b, &data_offset);
    out = fopen(path, "wb");
    CHECK(out && fwrite(raw.data, 1, raw.size, out) == raw.size && fclose(out) == 0);

    CHECK_OK(gguffuse_file_open(path, NULL, &files[0]));
    CHECK_OK(gguffuse_file_open_memory(raw.data, raw.size, NULL, &files[1]));
    for (i = 0; i < 2; i++) {
        size_t t;
        memset(&info, 0, sizeof info);
        info.struct_size = sizeof info;
        CHECK_OK(gguffuse_file_info(files[i], &info));
        CHECK(info.version == version && info.alignment == (alignment ? alignment : 32));
        CHECK(info.tensor_count == 5 && info.metadata_count == (alignment ? 1 : 0));
        CHECK(info.data_offset == data_offset && info.size_bytes == raw.size);
        for (t = 0; t < 5; t++) {
            RUN(check_tensor(files[i], t, &e[t], data_offset, &raw));
        }
    }

    /* The original bug: the same decoder at the relative offset gives other weights, at the absolute one the right ones. */
    {
        float right[256], wrong[256];
        uint64_t absolute = 0;
        int same = 0, j;
        CHECK_OK(gguffuse_tensor_absolute_offset(files[0], e[4].name, &absolute));
        CHECK(absolute != e[4].relative);
        CHECK_OK(gguffuse_dequantize(GGUFFUSE_TYPE_Q4_K, raw.data + absolute, Q4K_BYTES, right, 256));
        CHECK_OK(gguffuse_dequantize(GGUFFUSE_TYPE_Q4_K, raw.data + e[4].relative, Q4K_BYTES, wrong, 256));
        for (j = 0; j < 256; j++) {
            double terms, value = q4k_weight(e[4].bytes, j, &terms);
            CHECK(fabs((double)right[j] - value) <= 3 * terms * 5.97e-8); /* two products and a difference in f32 */
            same += right[j] == wrong[j];
        }
        CHECK(same < 64);
    }
    CHECK_OK(gguffuse_file_close(files[0]));
    CHECK_OK(gguffuse_file_close(files[1]));
    for (i = 0; i < 3; i++) {
        free((void *)(uintptr_t)e[i].bytes);
    }
    free(raw.data);
    CHECK(unlink(path) == 0);
    return 0;
}

int main(int argc, char **argv) {
    char path[4096];
    CHECK(argc == 2); /* a directory for temporary files */
    snprintf(path, sizeof path, "%s/offsets.%ld.gguf", argv[1], (long)getpid());
    RUN(run(3, 0, path));
    RUN(run(2, 0, path));
    RUN(run(3, 64, path));
    RUN(run(3, 4096, path));
    return 0;
}

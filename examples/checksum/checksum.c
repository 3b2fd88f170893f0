/* Opens checksum.gguf, shows what is in it, multiplies, and prints the checksum of y: see README.md beside this file.
 *
 *     cc -std=c99 checksum.c $(pkg-config --cflags --libs gguffuse) -o checksum && ./checksum checksum.gguf
 *
 * C99. Exit code 1 and one line on stderr where anything is wrong. */
#include <gguffuse.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define M 1

/* Ends the program where a call of the library failed. */
static void check(gguffuse_status status, const char *what) {
    if (status != GGUFFUSE_OK) {
        char why[512];
        gguffuse_last_error(why, sizeof why);
        fprintf(stderr, "checksum: %s: %s\n", what, why);
        exit(1);
    }
}

static void show_metadata(gguffuse_file *file) {
    const char *text;
    size_t length;
    uint64_t index, count, i;
    uint32_t type;
    check(gguffuse_metadata_get_string(file, "general.name", &text, &length), "general.name");
    printf("name %.*s\n", (int)length, text);
    check(gguffuse_metadata_find(file, "tokenizer.ggml.tokens", &index), "tokens");
    check(gguffuse_metadata_array_info(file, index, NULL, 0, &type, &count), "tokens");
    printf("tokens");
    for (i = 0; i < count; i++) {
        check(gguffuse_metadata_element_string(file, index, &i, 1, &text, &length), "token");
        printf(" \"%.*s\"", (int)length, text);
    }
    printf("\n");
}

/* FNV-1a over the floats' bytes, little-endian whatever the machine is. */
static uint64_t checksum(const float *y, size_t length) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    size_t i;
    int shift;
    for (i = 0; i < length; i++) {
        uint32_t bits;
        memcpy(&bits, &y[i], sizeof bits);
        for (shift = 0; shift < 32; shift += 8) {
            hash = (hash ^ ((bits >> shift) & 0xff)) * UINT64_C(0x100000001b3);
        }
    }
    return hash;
}

int main(int argc, char **argv) {
    gguffuse_file *file = NULL;
    gguffuse_context *context = NULL;
    struct gguffuse_tensor_info t;
    uint64_t index;
    size_t n, k, i;
    float *x, *y;
    if (argc != 2) {
        fprintf(stderr, "usage: checksum FILE\n");
        return 1;
    }
    check(gguffuse_file_open(argv[1], NULL, &file), argv[1]);
    show_metadata(file);

    memset(&t, 0, sizeof t);
    t.struct_size = sizeof t;
    check(gguffuse_tensor_find(file, "blk.0.ffn_gate.weight", &index), "tensor");
    check(gguffuse_tensor_info(file, index, &t), "tensor");
    printf("tensor %s type %" PRIu32 " at byte %" PRIu64 "\n", t.name, t.type, t.absolute_offset);

    k = (size_t)t.dims[0];
    n = (size_t)t.dims[1];
    x = (float *)malloc(M * k * sizeof *x);
    y = (float *)malloc(M * n * sizeof *y);
    if (!x || !y) {
        fprintf(stderr, "checksum: out of memory\n");
        return 1;
    }
    for (i = 0; i < M * k; i++) {
        x[i] = (float)((long)(i * 7919 % 2003) - 1001) / 1001.0f;
    }
    check(gguffuse_context_new(NULL, &context), "context");
    check(gguffuse_matmul_tensor(context, file, index, x, M * k, 0, M, y, M * n, 0), "product");
    printf("checksum %016" PRIx64 "\n", checksum(y, M * n));

    free(x);
    free(y);
    check(gguffuse_context_free(context), "context");
    check(gguffuse_file_close(file), "file");
    return 0;
}

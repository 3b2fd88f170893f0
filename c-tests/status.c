/* Every status that a caller can provoke, its name, its text; outputs stay as they were. GGUFFUSE_ERROR_INTERNAL is a bug
 * and can't be provoked; _OUT_OF_MEMORY needs a machine without memory; _BUSY is in manners.c. */
#include "common.h"
#include <unistd.h>

static const char *const NAMES[] = {
    "OK",          "NULL_ARGUMENT", "INVALID_HANDLE",      "INVALID_ARGUMENT", "IO",       "BAD_FORMAT", "TRUNCATED",
    "LIMIT",       "UNSUPPORTED_VERSION", "UNSUPPORTED_TYPE", "NOT_FOUND",     "TYPE_MISMATCH", "SHAPE", "BUFFER_TOO_SMALL",
    "ALIASING",    "MISALIGNED",    "OUT_OF_MEMORY",       "BUSY",             "INTERNAL", "UNSUPPORTED_ISA",
    "CHANGED"};

static int names(void) {
    int32_t i;
    for (i = 0; i < 21; i++) {
        CHECK(strcmp(gguffuse_status_name(i), NAMES[i]) == 0);
    }
    CHECK(strcmp(gguffuse_status_name(21), "UNKNOWN") == 0 && strcmp(gguffuse_status_name(-1), "UNKNOWN") == 0);
    CHECK(strcmp(gguffuse_status_name(INT32_MIN), "UNKNOWN") == 0);
    CHECK(GGUFFUSE_OK == 0 && GGUFFUSE_ERROR_UNSUPPORTED_ISA == 19);
    CHECK(gguffuse_abi_version() == GGUFFUSE_ABI_VERSION);
    {
        char text[32];
        uint32_t v = gguffuse_version();
        snprintf(text, sizeof text, "%u.%u.%u", (unsigned)(v >> 16), (unsigned)(v >> 8 & 255), (unsigned)(v & 255));
        CHECK(strncmp(gguffuse_version_string(), text, strlen(text)) == 0);
    }
    return 0;
}

/* Opening `raw` gives `expected` and leaves the output alone. */
static int opens_as(const bytes *raw, int32_t expected) {
    gguffuse_file *const mark = (gguffuse_file *)(void *)&expected;
    gguffuse_file *file = mark;
    CHECK_STATUS(gguffuse_file_open_memory(raw->data, raw->size, NULL, &file), expected);
    CHECK((file == mark) == (expected != GGUFFUSE_OK));
    if (expected == GGUFFUSE_OK) {
        CHECK_OK(gguffuse_file_close(file));
    } else {
        CHECK(strlen(last_error_text()) > 10);
    }
    return 0;
}

static bytes small_file(uint32_t version, uint32_t type) {
    builder b = new_builder();
    uint64_t dims[2] = {256, 2};
    unsigned char data[4 * 256 * 2];
    memset(data, 0, sizeof data);
    b.version = version;
    add_key(&b, "key", GGUFFUSE_METADATA_UINT32);
    put_int(&b.metadata, 7, 4);
    add_tensor(&b, "tensor", type, 2, dims, data, sizeof data);
    return finish(&b, NULL);
}

static int files(const char *directory) {
    bytes raw = small_file(3, GGUFFUSE_TYPE_F32);
    size_t size = raw.size;
    gguffuse_file *file = NULL;
    gguffuse_open_options options;
    char path[4096];
    static const uint32_t removed[] = {4, 5, 31, 32, 33, 36, 37, 38, 43, 1000, UINT32_MAX};
    size_t i;

    RUN(opens_as(&raw, GGUFFUSE_OK));
    raw.data[0] = 'g';
    RUN(opens_as(&raw, GGUFFUSE_ERROR_BAD_FORMAT));
    raw.data[0] = 'G';
    for (raw.size = 0; raw.size < 100; raw.size++) {
        RUN(opens_as(&raw, GGUFFUSE_ERROR_TRUNCATED));
    }
    raw.size = size - 1;
    RUN(opens_as(&raw, GGUFFUSE_ERROR_TRUNCATED));
    raw.size = size;

    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.max_metadata_bytes = 40;
    CHECK_STATUS(gguffuse_file_open_memory(raw.data, raw.size, &options, &file), GGUFFUSE_ERROR_LIMIT);
    options.max_metadata_bytes = 4096;
    CHECK_OK(gguffuse_file_open_memory(raw.data, raw.size, &options, &file));
    CHECK_OK(gguffuse_file_close(file));
    free(raw.data);

    raw = small_file(1, GGUFFUSE_TYPE_F32);
    RUN(opens_as(&raw, GGUFFUSE_ERROR_UNSUPPORTED_VERSION));
    free(raw.data);
    raw = small_file(UINT32_C(3) << 24, GGUFFUSE_TYPE_F32);
    RUN(opens_as(&raw, GGUFFUSE_ERROR_UNSUPPORTED_VERSION));
    CHECK(strstr(last_error_text(), "big-endian"));
    free(raw.data);
    for (i = 0; i < sizeof removed / sizeof *removed; i++) {
        raw = small_file(3, removed[i]);
        RUN(opens_as(&raw, GGUFFUSE_ERROR_UNSUPPORTED_TYPE));
        CHECK(strstr(last_error_text(), "tensor"));
        free(raw.data);
    }

    snprintf(path, sizeof path, "%s/there is no such file", directory);
    CHECK_STATUS(gguffuse_file_open(path, NULL, &file), GGUFFUSE_ERROR_IO);
    CHECK(strstr(last_error_text(), "No such file"));
    CHECK(gguffuse_file_open(directory, NULL, &file) != GGUFFUSE_OK); /* a directory */
    return 0;
}

static int tensors(void) {
    bytes raw = small_file(3, GGUFFUSE_TYPE_F32);
    gguffuse_file *file = NULL;
    struct gguffuse_tensor_info info;
    unsigned char before[sizeof info];
    uint64_t out = 77;
    CHECK_OK(gguffuse_file_open_memory(raw.data, raw.size, NULL, &file));
    memset(&info, 0x55, sizeof info);
    info.struct_size = sizeof info;
    memcpy(before, &info, sizeof info);
    CHECK_STATUS(gguffuse_tensor_info(file, 1, &info), GGUFFUSE_ERROR_NOT_FOUND);
    CHECK_STATUS(gguffuse_tensor_info(file, UINT64_MAX, &info), GGUFFUSE_ERROR_NOT_FOUND);
    CHECK_STATUS(gguffuse_tensor_info(NULL, 0, &info), GGUFFUSE_ERROR_INVALID_HANDLE);
    CHECK(memcmp(before, &info, sizeof info) == 0);
    CHECK_STATUS(gguffuse_tensor_find(file, "tensor ", &out), GGUFFUSE_ERROR_NOT_FOUND);
    CHECK_STATUS(gguffuse_tensor_find(file, "\x80", &out), GGUFFUSE_ERROR_NOT_FOUND);
    CHECK_STATUS(gguffuse_tensor_absolute_offset(file, "", &out), GGUFFUSE_ERROR_NOT_FOUND);
    CHECK_STATUS(gguffuse_tensor_find(file, NULL, &out), GGUFFUSE_ERROR_NULL_ARGUMENT);
    CHECK(strcmp(last_error_text(), "name is NULL") == 0);
    CHECK_STATUS(gguffuse_tensor_find(file, "tensor", NULL), GGUFFUSE_ERROR_NULL_ARGUMENT);
    CHECK(strcmp(last_error_text(), "index is NULL") == 0);
    CHECK(out == 77);
    CHECK_OK(gguffuse_file_close(file));
    free(raw.data);
    return 0;
}

static int types(void) {
    struct gguffuse_type_info info;
    size_t bytes_of_row = 77;
    unsigned char source[2 * Q4K_BYTES];
    float out[512];
    memset(source, 0, sizeof source);
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    CHECK_OK(gguffuse_type_info(GGUFFUSE_TYPE_Q4_K, &info));
    CHECK(strcmp(info.name, "q4_k") == 0 && info.block_elements == 256 && info.block_bytes == 144);
    CHECK(info.can_matmul == 1 && info.can_quantize == 1);
    CHECK_OK(gguffuse_type_info(GGUFFUSE_TYPE_I64, &info));
    CHECK(strcmp(info.name, "i64") == 0 && info.block_elements == 1 && info.block_bytes == 8);
    CHECK(info.can_matmul == 0 && info.can_quantize == 0);
    CHECK_STATUS(gguffuse_type_info(4, &info), GGUFFUSE_ERROR_UNSUPPORTED_TYPE);
    CHECK_STATUS(gguffuse_row_size(43, 256, &bytes_of_row), GGUFFUSE_ERROR_UNSUPPORTED_TYPE);
    CHECK_STATUS(gguffuse_row_size(GGUFFUSE_TYPE_Q4_K, 255, &bytes_of_row), GGUFFUSE_ERROR_SHAPE);
    CHECK_STATUS(gguffuse_row_size(GGUFFUSE_TYPE_F64, UINT64_MAX, &bytes_of_row), GGUFFUSE_ERROR_SHAPE);
    CHECK_STATUS(gguffuse_row_size(GGUFFUSE_TYPE_F64, 1, NULL), GGUFFUSE_ERROR_NULL_ARGUMENT);
    CHECK(bytes_of_row == 77);
    CHECK_OK(gguffuse_row_size(GGUFFUSE_TYPE_Q4_K, 512, &bytes_of_row));
    CHECK(bytes_of_row == 288);
    CHECK_OK(gguffuse_row_size(GGUFFUSE_TYPE_Q4_K, 0, &bytes_of_row));
    CHECK(bytes_of_row == 0);

    out[0] = 5;
    CHECK_STATUS(gguffuse_dequantize(4, source, 4, out, 512), GGUFFUSE_ERROR_UNSUPPORTED_TYPE);
    CHECK_STATUS(gguffuse_dequantize(GGUFFUSE_TYPE_Q4_K, source, 143, out, 512), GGUFFUSE_ERROR_SHAPE);
    CHECK_STATUS(gguffuse_dequantize(GGUFFUSE_TYPE_Q4_K, source, 288, out, 511), GGUFFUSE_ERROR_BUFFER_TOO_SMALL);
    CHECK_STATUS(gguffuse_dequantize(GGUFFUSE_TYPE_Q4_K, NULL, 288, out, 512), GGUFFUSE_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(gguffuse_dequantize(GGUFFUSE_TYPE_Q4_K, source, 288, NULL, 512), GGUFFUSE_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(gguffuse_dequantize(GGUFFUSE_TYPE_F32, out, 1024, out + 255, 256), GGUFFUSE_ERROR_ALIASING);
    CHECK_STATUS(gguffuse_dequantize(GGUFFUSE_TYPE_Q4_K, source, SIZE_MAX, out, 512), GGUFFUSE_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(gguffuse_dequantize(GGUFFUSE_TYPE_Q4_K, source, 288, (float *)(void *)((char *)out + 2), 511),
                 GGUFFUSE_ERROR_MISALIGNED);
    CHECK(out[0] == 5);
    source[0] = 5;
    CHECK_STATUS(gguffuse_quantize(GGUFFUSE_TYPE_IQ2_S, out, 1, 256, source, 288), GGUFFUSE_ERROR_UNSUPPORTED_TYPE);
    CHECK_STATUS(gguffuse_quantize(GGUFFUSE_TYPE_Q4_K, out, 1, 255, source, 288), GGUFFUSE_ERROR_SHAPE);
    CHECK_STATUS(gguffuse_quantize(GGUFFUSE_TYPE_Q4_K, out, SIZE_MAX / 2, 256, source, 288), GGUFFUSE_ERROR_SHAPE);
    CHECK_STATUS(gguffuse_quantize(GGUFFUSE_TYPE_Q4_K, out, 2, 256, source, 287), GGUFFUSE_ERROR_BUFFER_TOO_SMALL);
    CHECK_STATUS(gguffuse_quantize(GGUFFUSE_TYPE_F32, out, 1, 256, out + 8, 1024), GGUFFUSE_ERROR_ALIASING);
    CHECK_STATUS(gguffuse_quantize(GGUFFUSE_TYPE_Q4_K, NULL, 2, 256, source, 288), GGUFFUSE_ERROR_NULL_ARGUMENT);
    CHECK(source[0] == 5);
    return 0;
}

static int contexts(void) {
    gguffuse_context_options options;
    gguffuse_context *context = NULL;
    size_t i;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.precision = 3;
    CHECK_STATUS(gguffuse_context_new(&options, &context), GGUFFUSE_ERROR_INVALID_ARGUMENT);
    options.precision = UINT32_MAX;
    CHECK_STATUS(gguffuse_context_new(&options, &context), GGUFFUSE_ERROR_INVALID_ARGUMENT);
    options.precision = GGUFFUSE_PRECISION_FAST;
    options.max_isa = "no such level";
    CHECK_STATUS(gguffuse_context_new(&options, &context), GGUFFUSE_ERROR_UNSUPPORTED_ISA);
    CHECK(strstr(last_error_text(), "no such level"));
    options.max_isa = "";
    CHECK_STATUS(gguffuse_context_new(&options, &context), GGUFFUSE_ERROR_UNSUPPORTED_ISA);
    options.max_isa = "\xff";
    CHECK_STATUS(gguffuse_context_new(&options, &context), GGUFFUSE_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(gguffuse_context_new(NULL, NULL), GGUFFUSE_ERROR_NULL_ARGUMENT);
    CHECK(context == NULL);
    CHECK(strcmp(gguffuse_isa_name(0), "scalar") == 0);
    for (i = 0; gguffuse_isa_name(i); i++) {
        const char *cap = getenv("GGUFFUSE_MAX_ISA");
        options.max_isa = gguffuse_isa_name(i);
        CHECK_OK(gguffuse_context_new(&options, &context));
        if (!cap) {
            CHECK(strcmp(gguffuse_context_isa(context), options.max_isa) == 0);
        } else if (i == 0 || strcmp(cap, "scalar") == 0) {
            CHECK(strcmp(gguffuse_context_isa(context), "scalar") == 0);
        }
        CHECK_OK(gguffuse_context_free(context));
    }
    CHECK(gguffuse_isa_name(SIZE_MAX) == NULL);
    options.max_isa = NULL;
    options.threads = UINT32_MAX; /* more than anybody has: fewer are used */
    CHECK_OK(gguffuse_context_new(&options, &context));
    CHECK_OK(gguffuse_context_free(context));
    return 0;
}

/* Every product that must be refused, and y as before. */
static int products(void) {
    enum { N = 3, K = 512, M = 2, X = M * K, Y = M * N };
    gguffuse_context *context = context_with(1, 0);
    size_t w_bytes, i;
    unsigned char *w = random_weights(GGUFFUSE_TYPE_Q4_K, N, K, 1, &w_bytes);
    float *x = floats(X + 1), *y = floats(Y + 1);
    const uint32_t q = GGUFFUSE_TYPE_Q4_K;
    float *odd_y = (float *)(void *)((char *)y + 1);
    const float *odd_x = (const float *)(const void *)((const char *)x + 2);
    CHECK(context);
    for (i = 0; i <= Y; i++) {
        y[i] = 5;
    }
    CHECK_STATUS(gguffuse_matmul(NULL, q, w, w_bytes, N, K, x, X, 0, M, y, Y, 0), GGUFFUSE_ERROR_INVALID_HANDLE);
    CHECK_STATUS(gguffuse_matmul(context, q, NULL, w_bytes, N, K, x, X, 0, M, y, Y, 0), GGUFFUSE_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(gguffuse_matmul(context, q, w, w_bytes, N, K, NULL, X, 0, M, y, Y, 0), GGUFFUSE_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(gguffuse_matmul(context, q, w, w_bytes, N, K, x, X, 0, M, NULL, Y, 0), GGUFFUSE_ERROR_NULL_ARGUMENT);
    CHECK_STATUS(gguffuse_matmul(context, 4, w, w_bytes, N, K, x, X, 0, M, y, Y, 0), GGUFFUSE_ERROR_UNSUPPORTED_TYPE);
    CHECK_STATUS(gguffuse_matmul(context, GGUFFUSE_TYPE_I64, w, w_bytes, 1, 8, x, X, 0, M, y, Y, 0),
                 GGUFFUSE_ERROR_UNSUPPORTED_TYPE);
    CHECK_STATUS(gguffuse_matmul(context, q, w, w_bytes, N, K - 1, x, X, 0, M, y, Y, 0), GGUFFUSE_ERROR_SHAPE);
    CHECK_STATUS(gguffuse_matmul(context, q, w, w_bytes - 1, N, K, x, X, 0, M, y, Y, 0), GGUFFUSE_ERROR_BUFFER_TOO_SMALL);
    CHECK_STATUS(gguffuse_matmul(context, q, w, w_bytes, N + 1, K, x, X, 0, M, y, Y, 0), GGUFFUSE_ERROR_BUFFER_TOO_SMALL);
    CHECK_STATUS(gguffuse_matmul(context, q, w, w_bytes, N, K, x, X - 1, 0, M, y, Y, 0), GGUFFUSE_ERROR_BUFFER_TOO_SMALL);
    CHECK_STATUS(gguffuse_matmul(context, q, w, w_bytes, N, K, x, X, 0, M, y, Y - 1, 0), GGUFFUSE_ERROR_BUFFER_TOO_SMALL);
    CHECK_STATUS(gguffuse_matmul(context, q, w, w_bytes, N, K, x, X, K + 1, M, y, Y, 0), GGUFFUSE_ERROR_BUFFER_TOO_SMALL);
    CHECK_STATUS(gguffuse_matmul(context, q, w, w_bytes, N, K, x, X, K - 1, M, y, Y, 0), GGUFFUSE_ERROR_SHAPE);
    CHECK_STATUS(gguffuse_matmul(context, q, w, w_bytes, N, K, x, X, 0, M, y, Y, N - 1), GGUFFUSE_ERROR_SHAPE);
    /* sizes whose products overflow must be refused, whatever the status */
    CHECK(gguffuse_matmul(context, q, w, w_bytes, SIZE_MAX, K, x, X, 0, M, y, Y, 0) != GGUFFUSE_OK);
    CHECK(gguffuse_matmul(context, q, w, w_bytes, N, K, x, X, 0, SIZE_MAX, y, Y, 0) != GGUFFUSE_OK);
    CHECK(gguffuse_matmul(context, q, w, w_bytes, N, SIZE_MAX / 512 * 256, x, X, 0, M, y, Y, 0) != GGUFFUSE_OK);
    CHECK(gguffuse_matmul(context, q, w, w_bytes, N, K, x, X, SIZE_MAX, M, y, Y, 0) != GGUFFUSE_OK);
    CHECK(gguffuse_matmul(context, q, w, w_bytes, N, K, x, X, 0, M, y, Y, SIZE_MAX - 1) != GGUFFUSE_OK);
    CHECK_STATUS(gguffuse_matmul(context, q, w, w_bytes, N, K, x, SIZE_MAX, 0, M, y, Y, 0), GGUFFUSE_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(gguffuse_matmul(context, q, w, w_bytes, N, K, x, X, 0, M, y, SIZE_MAX / 4, 0),
                 GGUFFUSE_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(gguffuse_matmul(context, q, w, SIZE_MAX, N, K, x, X, 0, M, y, Y, 0), GGUFFUSE_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(gguffuse_matmul(context, q, w, w_bytes, N, K, odd_x, X, 0, M, y, Y, 0), GGUFFUSE_ERROR_MISALIGNED);
    CHECK_STATUS(gguffuse_matmul(context, q, w, w_bytes, N, K, x, X, 0, M, odd_y, Y, 0), GGUFFUSE_ERROR_MISALIGNED);
    CHECK_STATUS(gguffuse_matmul_rows(context, q, w, w_bytes, N, K, 2, 1, x, X, 0, M, y, Y, 0), GGUFFUSE_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(gguffuse_matmul_rows(context, q, w, w_bytes, N, K, 0, N + 1, x, X, 0, M, y, Y, 0), GGUFFUSE_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(gguffuse_matmul_tensor(context, NULL, 0, x, X, 0, M, y, Y, 0), GGUFFUSE_ERROR_INVALID_HANDLE);
    for (i = 0; i <= Y; i++) {
        CHECK(y[i] == 5);
    }
    /* y in x, y in w */
    CHECK_STATUS(gguffuse_matmul(context, q, w, w_bytes, N, K, x, X, 0, M, x, Y, 0), GGUFFUSE_ERROR_ALIASING);
    CHECK_STATUS(gguffuse_matmul(context, q, w, w_bytes, N, K, x, X, 0, M, x + X - 1, Y, 0), GGUFFUSE_ERROR_ALIASING);
    CHECK_STATUS(gguffuse_matmul(context, q, w, w_bytes, N, K, x, X, 0, M, (float *)(void *)w, Y, 0),
                 GGUFFUSE_ERROR_ALIASING);
    CHECK_STATUS(gguffuse_matmul_rows(context, q, w, w_bytes, N, K, 0, 1, x, X, 0, M, x, Y, 0), GGUFFUSE_ERROR_ALIASING);
    /* x in w only reads */
    CHECK_OK(gguffuse_matmul(context, GGUFFUSE_TYPE_F32, x, 4 * X, M, K, x, X, 0, M, y, Y, 0));
    CHECK_OK(gguffuse_matmul(context, q, w, w_bytes, N, K, x, X, 0, M, y, Y, 0));
    CHECK(y[Y] == 5);
    CHECK_OK(gguffuse_context_free(context));
    free(w);
    free(x);
    free(y);
    return 0;
}

static int last_error(void) {
    char text[64];
    size_t needed, i;
    gguffuse_file *file = NULL;
    CHECK_STATUS(gguffuse_file_open(NULL, NULL, &file), GGUFFUSE_ERROR_NULL_ARGUMENT);
    needed = gguffuse_last_error(NULL, 0);
    CHECK(needed == sizeof "path is NULL");
    CHECK(gguffuse_last_error(NULL, 100) == needed);
    for (i = 0; i < 20; i++) {
        memset(text, 0x55, sizeof text);
        CHECK(gguffuse_last_error(text, i) == needed);
        CHECK(text[i] == 0x55);
        if (i > 0) {
            size_t length = i < needed ? i - 1 : needed - 1;
            CHECK(memcmp(text, "path is NULL", length) == 0 && text[length] == 0);
        }
    }
    CHECK(gguffuse_last_error(text, SIZE_MAX) == needed);
    CHECK_OK(gguffuse_file_close(NULL)); /* success leaves it */
    CHECK(gguffuse_last_error(text, sizeof text) == needed);
    return 0;
}

int main(int argc, char **argv) {
    CHECK(argc == 2); /* a directory for temporary files */
    CHECK(gguffuse_last_error(NULL, 0) == 1);
    RUN(names());
    RUN(last_error());
    RUN(files(argv[1]));
    RUN(tensors());
    RUN(types());
    RUN(contexts());
    RUN(products());
    return 0;
}

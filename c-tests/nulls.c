/* NULL for every pointer of every function, one at a time; the outputs beside it stay as they were. */
#include "common.h"

#define IS_NULL(call) CHECK_STATUS(call, GGUFFUSE_ERROR_NULL_ARGUMENT)

int main(void) {
    builder b = new_builder();
    uint64_t dims[2] = {256, 1}, path[1] = {0}, u64 = 77, entry = 0;
    unsigned char block[Q4K_BYTES];
    bytes raw;
    gguffuse_file *file = NULL, *other = NULL;
    gguffuse_context *context = context_with(1, 0);
    uint32_t u32 = 77;
    int64_t i64 = 77;
    double f64 = 77;
    bool boolean = true;
    const char *text = NULL;
    const void *data = NULL;
    size_t size = 77;
    float x[256], y[1] = {77};
    memset(block, 0, sizeof block);
    memset(x, 0, sizeof x);
    add_key(&b, "list", GGUFFUSE_METADATA_ARRAY);
    put_int(&b.metadata, GGUFFUSE_METADATA_UINT8, 4);
    put_int(&b.metadata, 1, 8);
    put_int(&b.metadata, 9, 1);
    add_key(&b, "text", GGUFFUSE_METADATA_STRING);
    put_string(&b.metadata, "text");
    add_tensor(&b, "w", GGUFFUSE_TYPE_Q4_K, 2, dims, block, sizeof block);
    raw = finish(&b, NULL);
    CHECK(context);
    CHECK_OK(gguffuse_file_open_memory(raw.data, raw.size, NULL, &file));

    IS_NULL(gguffuse_file_open(NULL, NULL, &other));
    IS_NULL(gguffuse_file_open("/dev/null", NULL, NULL));
    IS_NULL(gguffuse_file_open_memory(NULL, raw.size, NULL, &other));
    IS_NULL(gguffuse_file_open_memory(NULL, 0, NULL, &other));
    IS_NULL(gguffuse_file_open_memory(raw.data, raw.size, NULL, NULL));
    IS_NULL(gguffuse_file_info(file, NULL));
    IS_NULL(gguffuse_tensor_find(file, NULL, &u64));
    IS_NULL(gguffuse_tensor_find(file, "w", NULL));
    IS_NULL(gguffuse_tensor_info(file, 0, NULL));
    IS_NULL(gguffuse_tensor_absolute_offset(file, NULL, &u64));
    IS_NULL(gguffuse_tensor_absolute_offset(file, "w", NULL));
    IS_NULL(gguffuse_metadata_find(file, NULL, &u64));
    IS_NULL(gguffuse_metadata_find(file, "list", NULL));
    IS_NULL(gguffuse_metadata_key(file, 0, NULL, &size));
    IS_NULL(gguffuse_metadata_key(file, 0, &text, NULL));
    IS_NULL(gguffuse_metadata_type(file, 0, NULL));
    IS_NULL(gguffuse_metadata_get_u64(file, NULL, &u64));
    IS_NULL(gguffuse_metadata_get_u64(file, "list", NULL));
    IS_NULL(gguffuse_metadata_get_i64(file, NULL, &i64));
    IS_NULL(gguffuse_metadata_get_i64(file, "list", NULL));
    IS_NULL(gguffuse_metadata_get_f64(file, NULL, &f64));
    IS_NULL(gguffuse_metadata_get_f64(file, "list", NULL));
    IS_NULL(gguffuse_metadata_get_bool(file, NULL, &boolean));
    IS_NULL(gguffuse_metadata_get_bool(file, "list", NULL));
    IS_NULL(gguffuse_metadata_get_string(file, NULL, &text, &size));
    IS_NULL(gguffuse_metadata_get_string(file, "text", NULL, &size));
    IS_NULL(gguffuse_metadata_get_string(file, "text", &text, NULL));
    IS_NULL(gguffuse_metadata_array_info(file, 0, NULL, 1, &u32, &u64));
    IS_NULL(gguffuse_metadata_array_info(file, 0, NULL, 0, NULL, &u64));
    IS_NULL(gguffuse_metadata_array_info(file, 0, NULL, 0, &u32, NULL));
    IS_NULL(gguffuse_metadata_array_data(file, 0, NULL, 1, &data, &size));
    IS_NULL(gguffuse_metadata_array_data(file, 0, NULL, 0, NULL, &size));
    IS_NULL(gguffuse_metadata_array_data(file, 0, NULL, 0, &data, NULL));
    IS_NULL(gguffuse_metadata_element_u64(file, entry, NULL, 1, &u64));
    IS_NULL(gguffuse_metadata_element_u64(file, entry, path, 1, NULL));
    IS_NULL(gguffuse_metadata_element_i64(file, entry, NULL, 1, &i64));
    IS_NULL(gguffuse_metadata_element_i64(file, entry, path, 1, NULL));
    IS_NULL(gguffuse_metadata_element_f64(file, entry, NULL, 1, &f64));
    IS_NULL(gguffuse_metadata_element_f64(file, entry, path, 1, NULL));
    IS_NULL(gguffuse_metadata_element_bool(file, entry, NULL, 1, &boolean));
    IS_NULL(gguffuse_metadata_element_bool(file, entry, path, 1, NULL));
    IS_NULL(gguffuse_metadata_element_string(file, 1, NULL, 1, &text, &size));
    IS_NULL(gguffuse_metadata_element_string(file, 1, NULL, 0, NULL, &size));
    IS_NULL(gguffuse_metadata_element_string(file, 1, NULL, 0, &text, NULL));
    IS_NULL(gguffuse_type_info(GGUFFUSE_TYPE_F32, NULL));
    IS_NULL(gguffuse_row_size(GGUFFUSE_TYPE_F32, 1, NULL));
    IS_NULL(gguffuse_dequantize(GGUFFUSE_TYPE_Q4_K, NULL, 0, x, 256));
    IS_NULL(gguffuse_dequantize(GGUFFUSE_TYPE_Q4_K, block, 0, NULL, 0));
    IS_NULL(gguffuse_quantize(GGUFFUSE_TYPE_Q4_K, NULL, 0, 256, block, 0));
    IS_NULL(gguffuse_quantize(GGUFFUSE_TYPE_Q4_K, x, 0, 256, NULL, 0));
    IS_NULL(gguffuse_context_new(NULL, NULL));
    IS_NULL(gguffuse_matmul(context, GGUFFUSE_TYPE_Q4_K, NULL, 0, 0, 256, x, 256, 0, 1, y, 1, 0));
    IS_NULL(gguffuse_matmul(context, GGUFFUSE_TYPE_Q4_K, block, Q4K_BYTES, 1, 256, NULL, 0, 0, 0, y, 1, 0));
    IS_NULL(gguffuse_matmul(context, GGUFFUSE_TYPE_Q4_K, block, Q4K_BYTES, 1, 256, x, 256, 0, 0, NULL, 0, 0));
    IS_NULL(gguffuse_matmul_tensor(context, file, 0, NULL, 256, 0, 1, y, 1, 0));
    IS_NULL(gguffuse_matmul_tensor(context, file, 0, x, 256, 0, 1, NULL, 1, 0));
    IS_NULL(gguffuse_matmul_rows(context, GGUFFUSE_TYPE_Q4_K, NULL, 0, 1, 256, 0, 1, x, 256, 0, 1, y, 1, 0));
    IS_NULL(gguffuse_matmul_rows(context, GGUFFUSE_TYPE_Q4_K, block, Q4K_BYTES, 1, 256, 0, 1, NULL, 256, 0, 1, y, 1, 0));
    IS_NULL(gguffuse_matmul_rows(context, GGUFFUSE_TYPE_Q4_K, block, Q4K_BYTES, 1, 256, 0, 1, x, 256, 0, 1, NULL, 1, 0));

    CHECK(other == NULL && u64 == 77 && u32 == 77 && i64 == 77 && f64 == 77 && boolean && y[0] == 77);
    CHECK(text == NULL && data == NULL && size == 77);
    /* where NULL is allowed */
    CHECK(gguffuse_last_error(NULL, 0) > 1);
    CHECK_OK(gguffuse_file_close(NULL));
    CHECK_OK(gguffuse_context_free(NULL));
    CHECK_OK(gguffuse_metadata_array_info(file, 0, NULL, 0, &u32, &u64));
    CHECK_OK(gguffuse_context_free(context));
    CHECK_OK(gguffuse_context_new(NULL, &context));
    CHECK_OK(gguffuse_context_free(context));
    CHECK_OK(gguffuse_file_close(file));
    free(raw.data);
    return 0;
}

/* Metadata: every value type, arrays of any nesting, strings with NUL, and which getter takes what. */
#include "common.h"

static const uint64_t NONE[1] = {0};

static uint64_t index_of(gguffuse_file *file, const char *key) {
    uint64_t index = UINT64_MAX;
    return gguffuse_metadata_find(file, key, &index) == GGUFFUSE_OK ? index : UINT64_MAX;
}

/* What every getter says about one value. */
typedef struct answers {
    const char *key;
    uint32_t type;
    int is_u64, is_i64, is_f64, is_bool;
    uint64_t u64;
    int64_t i64;
    double f64;
    bool boolean;
} answers;

static int check_number(gguffuse_file *file, const answers *a) {
    uint64_t u64 = 77, index = index_of(file, a->key);
    int64_t i64 = 77;
    double f64 = 77;
    bool boolean = true;
    const char *text = "untouched", *const before = text;
    size_t length = 77;
    uint32_t type = 77;
    int way;
    CHECK(index != UINT64_MAX);
    CHECK_OK(gguffuse_metadata_type(file, index, &type));
    CHECK(type == a->type);
    for (way = 0; way < 2; way++) { /* by key, by index */
        u64 = 77;
        i64 = 77;
        f64 = 77;
        boolean = !a->boolean;
        CHECK_STATUS(way ? gguffuse_metadata_element_u64(file, index, NULL, 0, &u64)
                         : gguffuse_metadata_get_u64(file, a->key, &u64),
                     a->is_u64 ? GGUFFUSE_OK : GGUFFUSE_ERROR_TYPE_MISMATCH);
        CHECK(u64 == (a->is_u64 ? a->u64 : 77));
        CHECK_STATUS(way ? gguffuse_metadata_element_i64(file, index, NULL, 0, &i64)
                         : gguffuse_metadata_get_i64(file, a->key, &i64),
                     a->is_i64 ? GGUFFUSE_OK : GGUFFUSE_ERROR_TYPE_MISMATCH);
        CHECK(i64 == (a->is_i64 ? a->i64 : 77));
        CHECK_STATUS(way ? gguffuse_metadata_element_f64(file, index, NULL, 0, &f64)
                         : gguffuse_metadata_get_f64(file, a->key, &f64),
                     a->is_f64 ? GGUFFUSE_OK : GGUFFUSE_ERROR_TYPE_MISMATCH);
        CHECK(f64 == (a->is_f64 ? a->f64 : 77));
        CHECK_STATUS(way ? gguffuse_metadata_element_bool(file, index, NONE, 0, &boolean)
                         : gguffuse_metadata_get_bool(file, a->key, &boolean),
                     a->is_bool ? GGUFFUSE_OK : GGUFFUSE_ERROR_TYPE_MISMATCH);
        CHECK(boolean == (a->is_bool ? a->boolean : !a->boolean));
        CHECK_STATUS(way ? gguffuse_metadata_element_string(file, index, NULL, 0, &text, &length)
                         : gguffuse_metadata_get_string(file, a->key, &text, &length),
                     GGUFFUSE_ERROR_TYPE_MISMATCH);
        CHECK(text == before && length == 77);
    }
    return 0;
}

static int numbers(void) {
    static const answers all[] = {
        {"u8", GGUFFUSE_METADATA_UINT8, 1, 1, 1, 0, 255, 255, 255, false},
        {"i8", GGUFFUSE_METADATA_INT8, 0, 1, 1, 0, 0, -128, -128, false},
        {"u16", GGUFFUSE_METADATA_UINT16, 1, 1, 1, 0, 65535, 65535, 65535, false},
        {"i16", GGUFFUSE_METADATA_INT16, 0, 1, 1, 0, 0, -32768, -32768, false},
        {"u32", GGUFFUSE_METADATA_UINT32, 1, 1, 1, 0, UINT32_MAX, UINT32_MAX, 4294967295.0, false},
        {"i32", GGUFFUSE_METADATA_INT32, 0, 1, 1, 0, 0, INT32_MIN, -2147483648.0, false},
        {"f32", GGUFFUSE_METADATA_FLOAT32, 0, 0, 1, 0, 0, 0, 0.15625, false},
        {"true", GGUFFUSE_METADATA_BOOL, 0, 0, 0, 1, 0, 0, 0, true},
        {"false", GGUFFUSE_METADATA_BOOL, 0, 0, 0, 1, 0, 0, 0, false},
        {"u64", GGUFFUSE_METADATA_UINT64, 1, 0, 0, 0, UINT64_MAX, 0, 0, false},
        {"u64.even", GGUFFUSE_METADATA_UINT64, 1, 0, 1, 0, UINT64_C(1) << 63, 0, 9223372036854775808.0, false},
        {"i64", GGUFFUSE_METADATA_INT64, 0, 1, 1, 0, 0, INT64_MIN, -9223372036854775808.0, false},
        {"i64.odd", GGUFFUSE_METADATA_INT64, 1, 1, 0, 0, INT64_MAX, INT64_MAX, 0, false},
        {"f64", GGUFFUSE_METADATA_FLOAT64, 0, 0, 1, 0, 0, 0, 1e300, false},
    };
    builder b = new_builder();
    bytes raw;
    gguffuse_file *file = NULL;
    size_t i, count = sizeof all / sizeof *all, length;
    uint64_t index;
    const char *key;
    for (i = 0; i < count; i++) {
        const answers *a = &all[i];
        uint64_t integer = a->is_u64 ? a->u64 : (uint64_t)a->i64;
        add_key(&b, a->key, a->type);
        switch (a->type) {
        case GGUFFUSE_METADATA_FLOAT32: put_f32(&b.metadata, (float)a->f64); break;
        case GGUFFUSE_METADATA_FLOAT64: put_f64(&b.metadata, a->f64); break;
        case GGUFFUSE_METADATA_BOOL: put_int(&b.metadata, a->boolean, 1); break;
        case GGUFFUSE_METADATA_UINT8:
        case GGUFFUSE_METADATA_INT8: put_int(&b.metadata, integer, 1); break;
        case GGUFFUSE_METADATA_UINT16:
        case GGUFFUSE_METADATA_INT16: put_int(&b.metadata, integer, 2); break;
        case GGUFFUSE_METADATA_UINT32:
        case GGUFFUSE_METADATA_INT32: put_int(&b.metadata, integer, 4); break;
        default: put_int(&b.metadata, integer, 8); break;
        }
    }
    raw = finish(&b, NULL);
    CHECK_OK(gguffuse_file_open_memory(raw.data, raw.size, NULL, &file));
    for (i = 0; i < count; i++) {
        RUN(check_number(file, &all[i]));
        CHECK_OK(gguffuse_metadata_key(file, i, &key, &length));
        CHECK(strcmp(key, all[i].key) == 0 && length == strlen(all[i].key));
        CHECK(index_of(file, key) == i);
    }
    key = "untouched";
    length = 77;
    index = 77;
    CHECK_STATUS(gguffuse_metadata_key(file, count, &key, &length), GGUFFUSE_ERROR_NOT_FOUND);
    CHECK_STATUS(gguffuse_metadata_key(file, UINT64_MAX, &key, &length), GGUFFUSE_ERROR_NOT_FOUND);
    CHECK_STATUS(gguffuse_metadata_find(file, "u8 ", &index), GGUFFUSE_ERROR_NOT_FOUND);
    CHECK_STATUS(gguffuse_metadata_find(file, "", &index), GGUFFUSE_ERROR_NOT_FOUND);
    CHECK_STATUS(gguffuse_metadata_find(file, "\xff\xfe", &index), GGUFFUSE_ERROR_NOT_FOUND);
    CHECK(strcmp(key, "untouched") == 0 && length == 77 && index == 77);
    CHECK_OK(gguffuse_file_close(file));
    free(raw.data);
    return 0;
}

/* "word 0" to "word 299", at once and one by one; and what is refused leaves the buffers alone */
static int all_strings(gguffuse_file *file, uint64_t index) {
    static const char *texts[301];
    static size_t lengths[301];
    const char *text = NULL;
    size_t length = 0, i;
    uint64_t element;
    texts[0] = texts[300] = "untouched";
    lengths[0] = lengths[300] = 77;
    CHECK_STATUS(gguffuse_metadata_array_strings(file, index, NULL, 0, texts, lengths, 299),
                 GGUFFUSE_ERROR_BUFFER_TOO_SMALL);
    CHECK_STATUS(gguffuse_metadata_array_strings(file, index, NULL, 0, texts, (size_t *)texts, 300),
                 GGUFFUSE_ERROR_ALIASING);
    CHECK_STATUS(gguffuse_metadata_array_strings(file, index, NULL, 0, texts, lengths, SIZE_MAX),
                 GGUFFUSE_ERROR_INVALID_ARGUMENT);
    CHECK_STATUS(gguffuse_metadata_array_strings(file, index_of(file, "plain"), NULL, 0, texts, lengths, 301),
                 GGUFFUSE_ERROR_TYPE_MISMATCH);
    CHECK_STATUS(gguffuse_metadata_array_strings(file, UINT64_MAX, NULL, 0, texts, lengths, 301),
                 GGUFFUSE_ERROR_NOT_FOUND);
    CHECK(strcmp(texts[0], "untouched") == 0 && lengths[0] == 77);
    CHECK_OK(gguffuse_metadata_array_strings(file, index, NULL, 0, texts, lengths, 301));
    for (i = 0; i < 300; i++) {
        element = i;
        CHECK_OK(gguffuse_metadata_element_string(file, index, &element, 1, &text, &length));
        CHECK(texts[i] == text && lengths[i] == length);
    }
    CHECK(strcmp(texts[300], "untouched") == 0 && lengths[300] == 77);
    return 0;
}

static int strings(void) {
    static const char holes[] = "a\0b\0\0c"; /* and the NUL that C adds */
    builder b = new_builder();
    bytes raw;
    gguffuse_file *file = NULL;
    const char *text = NULL;
    size_t length = 0;
    uint64_t index, element, u64 = 77, count = 77;
    uint32_t type = 77;
    const void *data = &index;
    add_key(&b, "plain", GGUFFUSE_METADATA_STRING);
    put_string(&b.metadata, "plain text");
    add_key(&b, "empty", GGUFFUSE_METADATA_STRING);
    put_string(&b.metadata, "");
    add_key(&b, "holes", GGUFFUSE_METADATA_STRING);
    put_string_of(&b.metadata, holes, 6);
    add_key(&b, "latin", GGUFFUSE_METADATA_STRING);
    put_string(&b.metadata, "caf\xe9");
    add_key(&b, "words", GGUFFUSE_METADATA_ARRAY);
    put_int(&b.metadata, GGUFFUSE_METADATA_STRING, 4);
    put_int(&b.metadata, 300, 8);
    for (element = 0; element < 300; element++) {
        char word[32];
        snprintf(word, sizeof word, "word %u", (unsigned)element);
        put_string(&b.metadata, word);
    }
    raw = finish(&b, NULL);
    CHECK_OK(gguffuse_file_open_memory(raw.data, raw.size, NULL, &file));
    CHECK_OK(gguffuse_metadata_get_string(file, "plain", &text, &length));
    CHECK(length == 10 && memcmp(text, "plain text", 11) == 0);
    CHECK_OK(gguffuse_metadata_get_string(file, "empty", &text, &length));
    CHECK(length == 0 && text[0] == 0);
    CHECK_OK(gguffuse_metadata_get_string(file, "holes", &text, &length));
    CHECK(length == 6 && memcmp(text, holes, 7) == 0);
    CHECK_OK(gguffuse_metadata_get_string(file, "latin", &text, &length));
    CHECK(length == 4 && memcmp(text, "caf\xe9", 5) == 0);
    CHECK_STATUS(gguffuse_metadata_get_u64(file, "plain", &u64), GGUFFUSE_ERROR_TYPE_MISMATCH);
    CHECK_STATUS(gguffuse_metadata_get_u64(file, "words", &u64), GGUFFUSE_ERROR_TYPE_MISMATCH);
    CHECK_STATUS(gguffuse_metadata_get_string(file, "words", &text, &length), GGUFFUSE_ERROR_TYPE_MISMATCH);
    CHECK(u64 == 77);
    index = index_of(file, "words");
    CHECK_OK(gguffuse_metadata_array_info(file, index, NULL, 0, &type, &count));
    CHECK(type == GGUFFUSE_METADATA_STRING && count == 300);
    for (element = 0; element < 300; element++) {
        char word[32];
        snprintf(word, sizeof word, "word %u", (unsigned)element);
        CHECK_OK(gguffuse_metadata_element_string(file, index, &element, 1, &text, &length));
        CHECK(strcmp(text, word) == 0 && length == strlen(word));
    }
    CHECK_STATUS(gguffuse_metadata_element_string(file, index, &element, 1, &text, &length), GGUFFUSE_ERROR_NOT_FOUND);
    element = UINT64_MAX;
    CHECK_STATUS(gguffuse_metadata_element_string(file, index, &element, 1, &text, &length), GGUFFUSE_ERROR_NOT_FOUND);
    length = 77;
    CHECK_STATUS(gguffuse_metadata_array_data(file, index, NULL, 0, &data, &length), GGUFFUSE_ERROR_TYPE_MISMATCH);
    CHECK(data == &index && length == 77);
    CHECK(all_strings(file, index) == 0);
    /* a path into a string */
    element = 0;
    CHECK_STATUS(gguffuse_metadata_element_u64(file, index_of(file, "plain"), &element, 1, &u64),
                 GGUFFUSE_ERROR_TYPE_MISMATCH);
    CHECK_OK(gguffuse_file_close(file));
    free(raw.data);
    return 0;
}

static int arrays(void) {
    builder b = new_builder();
    bytes raw;
    gguffuse_file *file = NULL;
    uint64_t path[4] = {0, 0, 0, 0}, index, count = 0, u64 = 0, i;
    int64_t i64 = 0;
    double f64 = 0;
    bool boolean = false;
    uint32_t type = 0;
    const void *data = NULL;
    size_t size = 0, length = 0;
    const char *text = NULL, *texts[2];
    size_t lengths[2];

    add_key(&b, "i16s", GGUFFUSE_METADATA_ARRAY);
    put_int(&b.metadata, GGUFFUSE_METADATA_INT16, 4);
    put_int(&b.metadata, 3, 8);
    put_int(&b.metadata, 1, 2);
    put_int(&b.metadata, (uint64_t)-2, 2);
    put_int(&b.metadata, 3, 2);
    add_key(&b, "none", GGUFFUSE_METADATA_ARRAY);
    put_int(&b.metadata, GGUFFUSE_METADATA_FLOAT64, 4);
    put_int(&b.metadata, 0, 8);
    add_key(&b, "bools", GGUFFUSE_METADATA_ARRAY);
    put_int(&b.metadata, GGUFFUSE_METADATA_BOOL, 4);
    put_int(&b.metadata, 2, 8);
    put_int(&b.metadata, 0x0001, 2);
    add_key(&b, "floats", GGUFFUSE_METADATA_ARRAY);
    put_int(&b.metadata, GGUFFUSE_METADATA_FLOAT32, 4);
    put_int(&b.metadata, 2, 8);
    put_f32(&b.metadata, 1.5f);
    put_f32(&b.metadata, -0.25f);
    /* [[[7, 8], []], [[9]]], and beside it an array of arrays of strings */
    add_key(&b, "deep", GGUFFUSE_METADATA_ARRAY);
    put_int(&b.metadata, GGUFFUSE_METADATA_ARRAY, 4);
    put_int(&b.metadata, 2, 8);
    put_int(&b.metadata, GGUFFUSE_METADATA_ARRAY, 4);
    put_int(&b.metadata, 2, 8);
    put_int(&b.metadata, GGUFFUSE_METADATA_UINT32, 4);
    put_int(&b.metadata, 2, 8);
    put_int(&b.metadata, 7, 4);
    put_int(&b.metadata, 8, 4);
    put_int(&b.metadata, GGUFFUSE_METADATA_UINT8, 4);
    put_int(&b.metadata, 0, 8);
    put_int(&b.metadata, GGUFFUSE_METADATA_ARRAY, 4);
    put_int(&b.metadata, 1, 8);
    put_int(&b.metadata, GGUFFUSE_METADATA_UINT64, 4);
    put_int(&b.metadata, 1, 8);
    put_int(&b.metadata, 9, 8);
    add_key(&b, "texts", GGUFFUSE_METADATA_ARRAY);
    put_int(&b.metadata, GGUFFUSE_METADATA_ARRAY, 4);
    put_int(&b.metadata, 1, 8);
    put_int(&b.metadata, GGUFFUSE_METADATA_STRING, 4);
    put_int(&b.metadata, 2, 8);
    put_string(&b.metadata, "x");
    put_string(&b.metadata, "yz");
    add_key(&b, "after", GGUFFUSE_METADATA_UINT8);
    put_int(&b.metadata, 5, 1);
    raw = finish(&b, NULL);
    CHECK_OK(gguffuse_file_open_memory(raw.data, raw.size, NULL, &file));

    index = index_of(file, "i16s");
    CHECK_OK(gguffuse_metadata_array_info(file, index, NULL, 0, &type, &count));
    CHECK(type == GGUFFUSE_METADATA_INT16 && count == 3);
    for (i = 0; i < 3; i++) {
        CHECK_OK(gguffuse_metadata_element_i64(file, index, &i, 1, &i64));
        CHECK(i64 == (i == 1 ? -2 : (int64_t)i + 1));
    }
    CHECK_STATUS(gguffuse_metadata_element_i64(file, index, &i, 1, &i64), GGUFFUSE_ERROR_NOT_FOUND);
    i = 1;
    CHECK_STATUS(gguffuse_metadata_element_u64(file, index, &i, 1, &u64), GGUFFUSE_ERROR_TYPE_MISMATCH);
    CHECK_STATUS(gguffuse_metadata_element_i64(file, index, path, 2, &i64), GGUFFUSE_ERROR_TYPE_MISMATCH);
    CHECK_STATUS(gguffuse_metadata_element_i64(file, index, NULL, 1, &i64), GGUFFUSE_ERROR_NULL_ARGUMENT);
    CHECK_OK(gguffuse_metadata_array_data(file, index, NULL, 0, &data, &size));
    CHECK(size == 6 && memcmp(data, "\1\0\xfe\xff\3\0", 6) == 0);

    index = index_of(file, "none");
    CHECK_OK(gguffuse_metadata_array_info(file, index, NULL, 0, &type, &count));
    CHECK(type == GGUFFUSE_METADATA_FLOAT64 && count == 0);
    CHECK_OK(gguffuse_metadata_array_data(file, index, NULL, 0, &data, &size));
    CHECK(size == 0);

    index = index_of(file, "bools");
    i = 0;
    CHECK_OK(gguffuse_metadata_element_bool(file, index, &i, 1, &boolean));
    CHECK(boolean);
    i = 1;
    CHECK_OK(gguffuse_metadata_element_bool(file, index, &i, 1, &boolean));
    CHECK(!boolean);

    index = index_of(file, "floats");
    CHECK_OK(gguffuse_metadata_element_f64(file, index, &i, 1, &f64));
    CHECK(f64 == -0.25);

    index = index_of(file, "deep");
    CHECK_OK(gguffuse_metadata_array_info(file, index, path, 0, &type, &count));
    CHECK(type == GGUFFUSE_METADATA_ARRAY && count == 2);
    CHECK_OK(gguffuse_metadata_array_info(file, index, path, 2, &type, &count));
    CHECK(type == GGUFFUSE_METADATA_UINT32 && count == 2);
    path[2] = 1;
    CHECK_OK(gguffuse_metadata_element_u64(file, index, path, 3, &u64));
    CHECK(u64 == 8);
    CHECK_STATUS(gguffuse_metadata_element_u64(file, index, path, 4, &u64), GGUFFUSE_ERROR_TYPE_MISMATCH);
    path[1] = 1;
    CHECK_OK(gguffuse_metadata_array_info(file, index, path, 2, &type, &count));
    CHECK(type == GGUFFUSE_METADATA_UINT8 && count == 0);
    CHECK_STATUS(gguffuse_metadata_element_u64(file, index, path, 3, &u64), GGUFFUSE_ERROR_NOT_FOUND);
    path[0] = 1;
    path[1] = path[2] = 0;
    CHECK_OK(gguffuse_metadata_element_u64(file, index, path, 3, &u64));
    CHECK(u64 == 9);
    CHECK_OK(gguffuse_metadata_array_data(file, index, path, 2, &data, &size));
    CHECK(size == 8 && memcmp(data, "\11\0\0\0\0\0\0\0", 8) == 0);
    CHECK_STATUS(gguffuse_metadata_array_data(file, index, path, 1, &data, &size), GGUFFUSE_ERROR_TYPE_MISMATCH);

    index = index_of(file, "texts");
    path[0] = 0;
    path[1] = 1;
    CHECK_OK(gguffuse_metadata_element_string(file, index, path, 2, &text, &length));
    CHECK(length == 2 && strcmp(text, "yz") == 0);
    CHECK_OK(gguffuse_metadata_array_strings(file, index, path, 1, texts, lengths, 2));
    CHECK(texts[1] == text && lengths[1] == 2);
    CHECK_STATUS(gguffuse_metadata_array_strings(file, index, path, 0, texts, lengths, 2), GGUFFUSE_ERROR_TYPE_MISMATCH);
    CHECK_STATUS(gguffuse_metadata_array_strings(file, index, path, 2, texts, lengths, 2), GGUFFUSE_ERROR_TYPE_MISMATCH);
    CHECK_OK(gguffuse_metadata_get_u64(file, "after", &u64));
    CHECK(u64 == 5);
    CHECK_STATUS(gguffuse_metadata_array_info(file, index_of(file, "after"), NULL, 0, &type, &count),
                 GGUFFUSE_ERROR_TYPE_MISMATCH);
    CHECK_OK(gguffuse_file_close(file));
    free(raw.data);
    return 0;
}

int main(void) {
    RUN(numbers());
    RUN(strings());
    RUN(arrays());
    return 0;
}

/* Steps that read open files. */
#include "state.h"

static void touch_string(gguffuse_status status, const output *pointer, const output *length) {
    const char *text;
    size_t bytes;
    if (status == GGUFFUSE_OK) {
        memcpy(&text, pointer->pointer, sizeof text);
        memcpy(&bytes, length->pointer, sizeof bytes);
        touch(text, bytes);
        if (text[bytes] != 0) {
            fail("a string without NUL", status);
        }
    }
}

void read_file(state *s) {
    gguffuse_file *file = (gguffuse_file *)handle_of(s, s->files);
    output out = output_of(s, 8);
    uint8_t what = byte_of(&s->in) % 9;
    switch (what) {
    case 0:
        out = struct_of(s, sizeof(struct gguffuse_file_info));
        CALL1(out, gguffuse_file_info(file, (struct gguffuse_file_info *)out.pointer));
        break;
    case 1: {
        struct gguffuse_tensor_info *info;
        gguffuse_status status;
        size_t told = 0;
        out = struct_of(s, sizeof *info);
        info = (struct gguffuse_tensor_info *)out.pointer;
        status = CALL1(out, gguffuse_tensor_info(file, number_of(&s->in), info));
        if (status == GGUFFUSE_OK) {
            memcpy(&told, out.pointer, sizeof told);
        }
        if (told >= sizeof *info) {
            touch(info->data, info->data ? (size_t)info->size_bytes : 0);
            touch(info->name, info->name_length + 1);
        }
        break;
    }
    case 2:
        CALL1(out, gguffuse_tensor_find(file, string_of(s), (uint64_t *)out.pointer));
        break;
    case 3:
        CALL1(out, gguffuse_tensor_absolute_offset(file, string_of(s), (uint64_t *)out.pointer));
        break;
    case 4:
        CALL1(out, gguffuse_metadata_find(file, string_of(s), (uint64_t *)out.pointer));
        break;
    case 5: {
        output length = output_of(s, sizeof(size_t));
        touch_string(CALL2(out, length, gguffuse_metadata_key(file, number_of(&s->in), (const char **)out.pointer,
                                                              (size_t *)length.pointer)),
                     &out, &length);
        break;
    }
    case 6:
        out = output_of(s, 4);
        CALL1(out, gguffuse_metadata_type(file, number_of(&s->in), (uint32_t *)out.pointer));
        break;
    case 7:
        switch (byte_of(&s->in) % 3) {
        case 0:
            CALL1(out, gguffuse_metadata_get_u64(file, string_of(s), (uint64_t *)out.pointer));
            break;
        case 1:
            CALL1(out, gguffuse_metadata_get_i64(file, string_of(s), (int64_t *)out.pointer));
            break;
        default:
            CALL1(out, gguffuse_metadata_get_f64(file, string_of(s), (double *)out.pointer));
        }
        break;
    default:
        if (byte_of(&s->in) & 1) {
            out = output_of(s, sizeof(bool));
            CALL1(out, gguffuse_metadata_get_bool(file, string_of(s), (bool *)out.pointer));
        } else {
            output length = output_of(s, sizeof(size_t));
            touch_string(CALL2(out, length, gguffuse_metadata_get_string(file, string_of(s), (const char **)out.pointer,
                                                                         (size_t *)length.pointer)),
                         &out, &length);
        }
    }
}

void read_element(state *s) {
    gguffuse_file *file = (gguffuse_file *)handle_of(s, s->files);
    uint64_t index = number_of(&s->in);
    size_t steps = byte_of(&s->in) % 6u, i;
    uint64_t *path = (uint64_t *)exactly(steps * sizeof *path);
    const uint64_t *given = path;
    output out = output_of(s, 8), other = output_of(s, 8);
    for (i = 0; i < steps; i++) {
        path[i] = number_of(&s->in);
    }
    if (byte_of(&s->in) == 255) {
        given = NULL;
    }
    switch (byte_of(&s->in) % 7) {
    case 0:
        out = output_of(s, 4);
        CALL2(out, other,
              gguffuse_metadata_array_info(file, index, given, steps, (uint32_t *)out.pointer, (uint64_t *)other.pointer));
        break;
    case 1: {
        const void *data;
        size_t bytes;
        if (CALL2(out, other, gguffuse_metadata_array_data(file, index, given, steps, (const void **)out.pointer,
                                                           (size_t *)other.pointer)) == GGUFFUSE_OK) {
            memcpy(&data, out.pointer, sizeof data);
            memcpy(&bytes, other.pointer, sizeof bytes);
            touch(data, bytes);
        }
        break;
    }
    case 2:
        CALL1(out, gguffuse_metadata_element_u64(file, index, given, steps, (uint64_t *)out.pointer));
        break;
    case 3:
        CALL1(out, gguffuse_metadata_element_i64(file, index, given, steps, (int64_t *)out.pointer));
        break;
    case 4:
        CALL1(out, gguffuse_metadata_element_f64(file, index, given, steps, (double *)out.pointer));
        break;
    case 5:
        out = output_of(s, sizeof(bool));
        CALL1(out, gguffuse_metadata_element_bool(file, index, given, steps, (bool *)out.pointer));
        break;
    default:
        touch_string(CALL2(out, other, gguffuse_metadata_element_string(file, index, given, steps,
                                                                        (const char **)out.pointer,
                                                                        (size_t *)other.pointer)),
                     &out, &other);
    }
    free(path);
}

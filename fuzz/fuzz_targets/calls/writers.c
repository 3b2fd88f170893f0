/* Steps that make files. */
#include "state.h"

static void set_scalar(state *s, gguffuse_writer *writer, const char *key) {
    uint64_t value = number_of(&s->in);
    float single;
    double whole;
    memcpy(&single, &value, sizeof single);
    memcpy(&whole, &value, sizeof whole);
    switch (byte_of(&s->in) % 11) {
    case 0:
        check(gguffuse_writer_set_u8(writer, key, (uint8_t)value));
        break;
    case 1:
        check(gguffuse_writer_set_i8(writer, key, (int8_t)value));
        break;
    case 2:
        check(gguffuse_writer_set_u16(writer, key, (uint16_t)value));
        break;
    case 3:
        check(gguffuse_writer_set_i16(writer, key, (int16_t)value));
        break;
    case 4:
        check(gguffuse_writer_set_u32(writer, key, (uint32_t)value));
        break;
    case 5:
        check(gguffuse_writer_set_i32(writer, key, (int32_t)value));
        break;
    case 6:
        check(gguffuse_writer_set_u64(writer, key, value));
        break;
    case 7:
        check(gguffuse_writer_set_i64(writer, key, (int64_t)value));
        break;
    case 8:
        check(gguffuse_writer_set_f32(writer, key, single));
        break;
    case 9:
        check(gguffuse_writer_set_f64(writer, key, whole));
        break;
    default:
        check(gguffuse_writer_set_bool(writer, key, value & 1));
    }
}

static void set_array(state *s, gguffuse_writer *writer, const char *key) {
    static const uint8_t sizes[13] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    uint32_t type = byte_of(&s->in) % 14u;
    buffer data = part_of(s, 1);
    size_t count = (size_t)number_of(&s->in) % 5, i;
    const char **strings = (const char **)exactly(count * sizeof *strings);
    size_t *lengths = (size_t *)exactly(count * sizeof *lengths);
    int with_lengths = byte_of(&s->in) & 1;
    for (i = 0; i < count; i++) {
        strings[i] = string_of(s);
        lengths[i] = strings[i] ? strlen(strings[i]) : (size_t)number_of(&s->in);
    }
    switch (byte_of(&s->in) % 3) {
    case 0:
        if (type < 13 && sizes[type] && data.data && count > data.size / sizes[type]) {
            count = data.size / sizes[type];
        }
        check(gguffuse_writer_set_array(writer, key, type, data.data, count));
        break;
    case 1:
        check(gguffuse_writer_set_string_array(writer, key, strings, with_lengths ? lengths : NULL, count));
        break;
    default:
        check(gguffuse_writer_set_nested_array(writer, key, strings, count));
    }
    free(strings);
    free(lengths);
}

static void write_memory(state *s, gguffuse_writer *writer) {
    buffer to = part_of(s, 1);
    output size = output_of(s, 8), written = output_of(s, sizeof(size_t));
    uint64_t needed;
    size_t bytes;
    gguffuse_status measured = CALL1(size, gguffuse_writer_size(writer, (uint64_t *)size.pointer));
    gguffuse_status status =
        CALL1(written, gguffuse_writer_write_memory(writer, to.data, to.size, (size_t *)written.pointer));
    if (measured == GGUFFUSE_OK && status == GGUFFUSE_OK && s->image_count < IMAGES) {
        buffer *image = &s->images[s->image_count];
        memcpy(&needed, size.pointer, sizeof needed);
        memcpy(&bytes, written.pointer, sizeof bytes);
        if (needed != bytes) {
            fail("the size of a file is another", status);
        }
        /* What the library writes, it reads. */
        image->size = bytes;
        image->data = (uint8_t *)exactly(bytes);
        memcpy(image->data, to.data, bytes);
        s->image_count++;
        {
            gguffuse_file *file = NULL;
            status = gguffuse_file_open_memory(image->data, bytes, NULL, &file);
            if (status != GGUFFUSE_OK) {
                fail("a file that the library wrote is refused", status);
            }
            gguffuse_file_close(file);
        }
    }
}

void write_file(state *s) {
    gguffuse_writer *writer = (gguffuse_writer *)handle_of(s, s->writers);
    const char *key = string_of(s);
    switch (byte_of(&s->in) % 8) {
    case 0:
        set_scalar(s, writer, key);
        break;
    case 1:
        set_array(s, writer, key);
        break;
    case 2: {
        const char *text = string_of(s);
        check(gguffuse_writer_set_string(writer, key, text, text ? strlen(text) : (size_t)number_of(&s->in)));
        break;
    }
    case 3:
        check(gguffuse_writer_copy_metadata(writer, (gguffuse_file *)handle_of(s, s->files), key));
        break;
    case 4:
        check(gguffuse_writer_remove_metadata(writer, key));
        break;
    case 5: {
        uint64_t dims[4];
        uint32_t type = type_of(&s->in), n_dims = (uint32_t)number_of(&s->in), i;
        buffer data = {NULL, 0};
        struct gguffuse_type_info info;
        for (i = 0; i < 4; i++) {
            dims[i] = number_of(&s->in);
        }
        memset(&info, 0, sizeof info);
        info.struct_size = sizeof info;
        if (gguffuse_type_info(type, &info) == GGUFFUSE_OK && s->image_count && s->images[0].size >= info.block_bytes) {
            /* One block of an image, which stays. */
            data.data = s->images[0].data;
            data.size = info.block_bytes;
            dims[0] = info.block_elements;
            dims[1] = dims[2] = dims[3] = 1;
            n_dims %= 6;
        }
        check(gguffuse_writer_add_tensor(writer, key, type, n_dims, byte_of(&s->in) == 255 ? NULL : dims, data.data,
                                         data.data ? data.size : (size_t)number_of(&s->in)));
        break;
    }
    case 6:
        write_memory(s, writer);
        break;
    default:
        check(gguffuse_writer_write_file(writer, PATHS[byte_of(&s->in) % PATH_COUNT]));
    }
}

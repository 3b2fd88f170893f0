/* Takes bytes as a program of C calls: any function, any order, any arguments. Handles come from slots that hold open,
 * closed and made-up ones of every kind; buffers have exactly the lengths that are told, so that the address sanitizer
 * sees every byte too many; every other number is any number. Only what the header calls the caller's word is kept.
 *
 * Aborts where a call gives GGUFFUSE_ERROR_INTERNAL (a panic that was caught) or a number that is no status, where an
 * output changed although the call failed, and where a closed handle is not refused. */
#include "gguffuse.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the program's bytes ---- */

typedef struct input {
    const uint8_t *bytes;
    size_t left;
} input;

static uint8_t byte_of(input *in) {
    uint8_t byte = 0;
    if (in->left) {
        byte = *in->bytes++;
        in->left--;
    }
    return byte;
}

static uint64_t integer_of(input *in, unsigned bytes) {
    uint64_t value = 0;
    while (bytes--) {
        value = value << 8 | byte_of(in);
    }
    return value;
}

/* Small mostly, else around a power of two, else anything. */
static uint64_t number_of(input *in) {
    uint8_t how = byte_of(in);
    if (how < 160) {
        return how & 31;
    }
    if (how < 192) {
        return (uint64_t)(how & 31) * 32;
    }
    if (how < 250) {
        return ((uint64_t)1 << (byte_of(in) & 63)) + (uint64_t)(how & 3) - 1;
    }
    return integer_of(in, 8);
}

/* ---- what lives while a program runs ---- */

enum { SLOTS = 6, IMAGES = 6, BUFFERS = 5, STRINGS = 12 };

typedef struct slot {
    void *handle;
    int open;
} slot;

typedef struct buffer {
    uint8_t *data;
    size_t size;
} buffer;

typedef struct state {
    input in;
    slot files[SLOTS], contexts[SLOTS], writers[SLOTS];
    /* Never written once a file or a writer may read them. */
    buffer images[IMAGES];
    size_t image_count;
    /* Written and read by calls. */
    buffer buffers[BUFFERS];
    char *strings[STRINGS];
} state;

static void fail(const char *what, int32_t status) {
    char text[600];
    gguffuse_last_error(text, sizeof text);
    fprintf(stderr, "calls: %s, status %d, last error: %s\n", what, (int)status, text);
    abort();
}

static gguffuse_status check(gguffuse_status status) {
    if (status < 0 || status > GGUFFUSE_ERROR_UNSUPPORTED_ISA || status == GGUFFUSE_ERROR_INTERNAL) {
        fail("a status that must not be", status);
    }
    return status;
}

static void *exactly(size_t size) {
    void *memory = malloc(size ? size : 1);
    if (!memory) {
        abort();
    }
    return memory;
}

static buffer filled(input *in, size_t size) {
    buffer made;
    size_t i;
    uint8_t last = 1;
    made.size = size;
    made.data = (uint8_t *)exactly(size);
    for (i = 0; i < size; i++) {
        /* The program's bytes as far as they go, at most 64: the rest is for its other instructions. */
        last = i < 64 && in->left ? byte_of(in) : (uint8_t)(last * 7 + 13);
        made.data[i] = last;
    }
    return made;
}

/* ---- arguments ---- */

static void *handle_of(state *s, slot *kind) {
    uint8_t which = byte_of(&s->in);
    if (which < 200) {
        return kind[which % SLOTS].handle;
    }
    if (which < 215) {
        return s->files[which % SLOTS].handle;
    }
    if (which < 230) {
        return s->contexts[which % SLOTS].handle;
    }
    if (which < 245) {
        return s->writers[which % SLOTS].handle;
    }
    return (void *)(uintptr_t)integer_of(&s->in, 8);
}

static const char *string_of(state *s) {
    uint8_t which = byte_of(&s->in);
    return which == 255 ? NULL : s->strings[which % STRINGS];
}

/* A part of a buffer: its true length, or less, from any byte on; now and then NULL with any length. */
static buffer part_of(state *s, size_t unit) {
    buffer part = s->buffers[byte_of(&s->in) % BUFFERS];
    uint8_t how = byte_of(&s->in);
    size_t skipped;
    if (how == 255) {
        part.data = NULL;
        part.size = (size_t)number_of(&s->in);
        return part;
    }
    /* From a multiple of the element mostly, else misaligned. */
    skipped = how < 128 ? 0 : how < 240 ? (how & 31u) * unit : how & 31u;
    if (skipped > part.size) {
        skipped = part.size;
    }
    part.data += skipped;
    part.size = (part.size - skipped) / unit;
    return part;
}

static uint32_t type_of(input *in) {
    uint8_t which = byte_of(in);
    return which < 250 ? which % 43u : (uint32_t)integer_of(in, 4);
}

/* An output of `size` bytes: a fresh piece of memory of a pattern, NULL or misaligned now and then. */
typedef struct output {
    uint8_t *memory, *pointer;
    size_t size;
} output;

enum { PATTERN = 0xa5, OUTPUT_ROOM = 512 };

static output output_of(state *s, size_t size) {
    static uint8_t *memory[4];
    static unsigned next;
    output out;
    uint8_t how = byte_of(&s->in);
    unsigned turn = next++ & 3;
    if (!memory[turn]) {
        memory[turn] = (uint8_t *)exactly(OUTPUT_ROOM);
    }
    memset(memory[turn], PATTERN, OUTPUT_ROOM);
    out.memory = memory[turn];
    out.size = size;
    /* At the end of the memory, so that one byte more is one too many. */
    out.pointer = how == 255 ? NULL : memory[turn] + OUTPUT_ROOM - size - (how == 254 ? 1 : 0);
    return out;
}

/* The same for a struct that begins with its size. */
static output struct_of(state *s, size_t size) {
    output out = output_of(s, OUTPUT_ROOM / 2);
    uint8_t how = byte_of(&s->in);
    size_t told = how < 180 ? size : how < 220 ? (how & 31u) * 8 : (size_t)number_of(&s->in);
    if (told > OUTPUT_ROOM / 2 && told <= 4096) {
        /* Believed: its bytes would have to be there. */
        told = OUTPUT_ROOM / 2;
    }
    if (out.pointer) {
        memset(out.pointer, 0, OUTPUT_ROOM / 2);
        memcpy(out.pointer, &told, sizeof told);
        if (how & 1) {
            /* Something that this version does not know. */
            out.pointer[OUTPUT_ROOM / 2 - 1] = byte_of(&s->in);
        }
        /* For options: any values. */
        if (how & 2) {
            size_t i;
            for (i = 8; i < size; i++) {
                out.pointer[i] = byte_of(&s->in);
            }
        }
    }
    return out;
}

static uint8_t snapshot[2][OUTPUT_ROOM];

static void remember(const output *out, unsigned which) {
    memcpy(snapshot[which], out->memory, OUTPUT_ROOM);
}

static void unchanged(gguffuse_status status, const output *out, unsigned which) {
    if (check(status) != GGUFFUSE_OK && memcmp(snapshot[which], out->memory, OUTPUT_ROOM) != 0) {
        fail("an output was written although the call failed", status);
    }
}

/* CALL(outputs..., call): all outputs are as before if the call fails. */
#define CALL1(out, call) (remember(&(out), 0), check_outputs(s, (call), &(out), NULL))
#define CALL2(a, b, call) (remember(&(a), 0), remember(&(b), 1), check_outputs(s, (call), &(a), &(b)))

static gguffuse_status check_outputs(state *s, gguffuse_status status, const output *a, const output *b) {
    (void)s;
    unchanged(status, a, 0);
    if (b) {
        unchanged(status, b, 1);
    }
    return status;
}

/* ---- opening and closing ---- */

static void put_handle(slot *kind, state *s, gguffuse_status status, const output *out) {
    slot *place = &kind[byte_of(&s->in) % SLOTS];
    if (status != GGUFFUSE_OK) {
        return;
    }
    if (place->open) {
        /* The one that was there is closed by the end of the program: look for a free place. */
        unsigned i;
        for (i = 0; i < SLOTS && kind[i].open; i++) {
        }
        if (i == SLOTS) {
            void *handle;
            memcpy(&handle, out->pointer, sizeof handle);
            if (kind == s->files) {
                gguffuse_file_close((gguffuse_file *)handle);
            } else if (kind == s->contexts) {
                gguffuse_context_free((gguffuse_context *)handle);
            } else {
                gguffuse_writer_free((gguffuse_writer *)handle);
            }
            return;
        }
        place = &kind[i];
    }
    memcpy(&place->handle, out->pointer, sizeof place->handle);
    place->open = 1;
}

static void closed(slot *kind, const void *handle, gguffuse_status status) {
    unsigned i;
    int was_open = 0;
    for (i = 0; i < SLOTS; i++) {
        if (kind[i].open && kind[i].handle == handle) {
            kind[i].open = 0;
            was_open = 1;
        }
    }
    if (handle && status != (was_open ? GGUFFUSE_OK : GGUFFUSE_ERROR_INVALID_HANDLE)) {
        fail(was_open ? "an open handle was not closed" : "a handle that is not open was accepted", status);
    }
}

static void open_image(state *s, size_t image) {
    output options = struct_of(s, sizeof(gguffuse_open_options)), out = output_of(s, sizeof(void *));
    int defaults = byte_of(&s->in) < 200;
    remember(&options, 1);
    put_handle(s->files, s,
               CALL1(out, gguffuse_file_open_memory(s->images[image].data, s->images[image].size,
                                                    defaults ? NULL : (const gguffuse_open_options *)options.pointer,
                                                    (gguffuse_file **)out.pointer)),
               &out);
}

/* A small file of all value types and some tensors, the seed of what is opened. */
static size_t make_file(uint8_t *to) {
    static const uint8_t lead[24] = {'G', 'G', 'U', 'F', 3, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 4};
    static const uint8_t entries[] = {
        1, 0, 0, 0, 0, 0, 0, 0, 'a', 4, 0, 0, 0, 7, 0, 0, 0,                                   /* a: u32 7 */
        1, 0, 0, 0, 0, 0, 0, 0, 'b', 8, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 'h', 'i',             /* b: "hi" */
        1, 0, 0, 0, 0, 0, 0, 0, 'c', 9, 0, 0, 0, 8, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0,           /* c: two strings */
        1, 0, 0, 0, 0, 0, 0, 0, 'x', 0, 0, 0, 0, 0, 0, 0, 0,
        1, 0, 0, 0, 0, 0, 0, 0, 'd', 9, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0,           /* d: [[1.0f]] */
        6, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0x3f,
        1, 0, 0, 0, 0, 0, 0, 0, 't', 2, 0, 0, 0, 32, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, /* t: [32, 3] Q8_0 */
        8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        1, 0, 0, 0, 0, 0, 0, 0, 'u', 1, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,           /* u: [4] F32 */
        128, 0, 0, 0, 0, 0, 0, 0,
    };
    size_t size = sizeof lead + sizeof entries, data;
    memcpy(to, lead, sizeof lead);
    memcpy(to + sizeof lead, entries, sizeof entries);
    for (data = (size + 31) / 32 * 32 + 144; size < data; size++) {
        to[size] = (uint8_t)size;
    }
    return size;
}

static void open_memory(state *s) {
    uint8_t how = byte_of(&s->in);
    size_t i;
    buffer *image;
    if (s->image_count == IMAGES || how >= 200) {
        if (s->image_count) {
            open_image(s, how % s->image_count);
        }
        return;
    }
    image = &s->images[s->image_count++];
    if (how < 120) {
        /* A valid file, and changes. */
        uint8_t bytes[1024];
        image->size = make_file(bytes);
        for (i = 0; i < (how & 3u); i++) {
            bytes[byte_of(&s->in)] = byte_of(&s->in);
        }
        image->size -= how & 4 ? byte_of(&s->in) : 0;
        image->data = (uint8_t *)exactly(image->size);
        memcpy(image->data, bytes, image->size);
    } else {
        *image = filled(&s->in, how % 128u);
    }
    open_image(s, s->image_count - 1);
}

static const char *const PATHS[] = {"", "/", "/nonexistent/file", "/dev/null", "/proc/self/maps", "/dev/full"};

static void open_or_close(state *s) {
    output options = struct_of(s, sizeof(gguffuse_context_options)), out;
    void *handle;
    switch (byte_of(&s->in) % 8) {
    case 0:
        out = output_of(s, sizeof(void *));
        put_handle(s->files, s,
                   CALL1(out, gguffuse_file_open(PATHS[byte_of(&s->in) % 6], NULL, (gguffuse_file **)out.pointer)),
                   &out);
        break;
    case 1:
    case 2:
        if (options.pointer) {
            /* Few threads; and a level's name that is a string. */
            const char *name = byte_of(&s->in) < 128 ? NULL : gguffuse_isa_name(byte_of(&s->in) % 8);
            uint32_t threads = byte_of(&s->in) % 4u;
            if (byte_of(&s->in) == 0) {
                name = string_of(s);
            }
            memcpy(options.pointer + offsetof(gguffuse_context_options, threads), &threads, sizeof threads);
            memcpy(options.pointer + offsetof(gguffuse_context_options, max_isa), &name, sizeof name);
        }
        out = output_of(s, sizeof(void *));
        put_handle(s->contexts, s,
                   CALL1(out, gguffuse_context_new((const gguffuse_context_options *)options.pointer,
                                                   (gguffuse_context **)out.pointer)),
                   &out);
        break;
    case 3:
    case 4:
        out = output_of(s, sizeof(void *));
        put_handle(s->writers, s,
                   CALL1(out, gguffuse_writer_new((const gguffuse_writer_options *)options.pointer,
                                                  (gguffuse_writer **)out.pointer)),
                   &out);
        break;
    case 5:
        handle = handle_of(s, s->files);
        closed(s->files, handle, gguffuse_file_close((gguffuse_file *)handle));
        break;
    case 6:
        handle = handle_of(s, s->contexts);
        closed(s->contexts, handle, gguffuse_context_free((gguffuse_context *)handle));
        break;
    default:
        handle = handle_of(s, s->writers);
        closed(s->writers, handle, gguffuse_writer_free((gguffuse_writer *)handle));
        break;
    }
}

/* ---- reading files ---- */

static uint64_t touch(const void *data, size_t size) {
    static volatile uint64_t sink;
    const uint8_t *bytes = (const uint8_t *)data;
    uint64_t sum = 0;
    size_t i;
    for (i = 0; i < size; i++) {
        sum += bytes[i];
    }
    sink = sum;
    return sink;
}

/* Reads a string that the library gave, and its NUL. */
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

static void read_file(state *s) {
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

static void read_element(state *s) {
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

/* ---- computing ---- */

static void multiply(state *s) {
    gguffuse_context *context = (gguffuse_context *)handle_of(s, s->contexts);
    uint8_t what = byte_of(&s->in) % 4;
    uint32_t type = type_of(&s->in);
    buffer w = part_of(s, 1), x = part_of(s, 4), y = part_of(s, 4);
    size_t m = (size_t)number_of(&s->in), n = (size_t)number_of(&s->in), k = (size_t)number_of(&s->in);
    size_t x_stride = 0, y_stride = 0;
    struct gguffuse_type_info info;
    if (byte_of(&s->in) < 64) {
        x_stride = (size_t)number_of(&s->in);
        y_stride = (size_t)number_of(&s->in);
    }
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    if (gguffuse_type_info(type, &info) == GGUFFUSE_OK && byte_of(&s->in) < 200) {
        /* Mostly a shape that fits. */
        k = info.block_elements * (1 + k % 3);
        n %= 8;
        m %= 4;
    }
    if (what == 0) {
        gguffuse_file *file = (gguffuse_file *)handle_of(s, s->files);
        check(gguffuse_matmul_tensor(context, file, number_of(&s->in), (const float *)(void *)x.data, x.size, x_stride, m,
                                     (float *)(void *)y.data, y.size, y_stride));
    } else if (what == 1) {
        size_t begin = (size_t)number_of(&s->in), end = (size_t)number_of(&s->in);
        check(gguffuse_matmul_rows(context, type, w.data, w.size, n, k, begin, end, (const float *)(void *)x.data, x.size,
                                   x_stride, m, (float *)(void *)y.data, y.size, y_stride));
    } else {
        check(gguffuse_matmul(context, type, w.data, w.size, n, k, (const float *)(void *)x.data, x.size, x_stride, m,
                              (float *)(void *)y.data, y.size, y_stride));
    }
}

static void convert(state *s) {
    uint32_t type = type_of(&s->in);
    gguffuse_context *context = (gguffuse_context *)handle_of(s, s->contexts);
    buffer from = part_of(s, 1), to = part_of(s, 1);
    output out = output_of(s, 8);
    size_t rows = (size_t)number_of(&s->in), k = (size_t)number_of(&s->in), elements = rows * k;
    const float *source = (const float *)(void *)from.data, *importance = NULL;
    buffer weights = part_of(s, 4);
    switch (byte_of(&s->in) % 8) {
    case 0:
        check(gguffuse_dequantize(type, from.data, from.size, (float *)(void *)to.data, to.size / 4));
        return;
    case 1:
        CALL1(out, gguffuse_validate(context, type, from.data, from.size, (uint64_t *)out.pointer));
        return;
    case 2: {
        gguffuse_file *file = (gguffuse_file *)handle_of(s, s->files);
        CALL1(out, gguffuse_tensor_validate(context, file, number_of(&s->in), (uint64_t *)out.pointer));
        return;
    }
    case 3:
        CALL1(out, gguffuse_row_size(type, number_of(&s->in), (size_t *)out.pointer));
        return;
    case 4:
        out = struct_of(s, sizeof(struct gguffuse_type_info));
        CALL1(out, gguffuse_type_info(type, (struct gguffuse_type_info *)out.pointer));
        return;
    default:
        break;
    }
    if (byte_of(&s->in) < 200) {
        /* Mostly rows of whole blocks of any type. */
        k = k % 2 ? 256 : 32;
        rows %= 4;
        elements = rows * k;
    }
    /* The source is as long as rows and k say: the one length that is not told. */
    if (rows && elements / rows == k && elements > from.size / 4) {
        source = NULL;
    }
    if (byte_of(&s->in) & 1) {
        check(gguffuse_quantize(type, source, rows, k, to.data, to.size));
        return;
    }
    if (byte_of(&s->in) & 1 && k <= weights.size) {
        importance = (const float *)(void *)weights.data;
    }
    check(gguffuse_quantize_with(context, type, source, rows, k, importance, to.data, to.size));
}

static void tell(state *s) {
    uint8_t what = byte_of(&s->in) % 4;
    buffer text = part_of(s, 1);
    if (what == 0) {
        const char *name = gguffuse_status_name((int32_t)integer_of(&s->in, 4));
        touch(name, strlen(name));
    } else if (what == 1) {
        gguffuse_last_error((char *)text.data, text.data ? text.size : 0);
    } else if (what == 2) {
        const char *name = gguffuse_isa_name((size_t)number_of(&s->in));
        touch(name, name ? strlen(name) : 0);
    } else {
        const char *name = gguffuse_context_isa((gguffuse_context *)handle_of(s, s->contexts));
        touch(name, name ? strlen(name) : 0);
        touch(gguffuse_version_string(), 1);
        if (gguffuse_abi_version() != GGUFFUSE_ABI_VERSION || !gguffuse_version()) {
            abort();
        }
    }
}

/* ---- writing ---- */

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

static void write_file(state *s) {
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
        check(gguffuse_writer_write_file(writer, PATHS[byte_of(&s->in) % 6]));
    }
}

/* ---- the program ---- */

static void begin(state *s) {
    static const char *const names[] = {"a", "b", "c", "d", "t", "u", "general.alignment", "", "\xff"};
    size_t i;
    for (i = 0; i < STRINGS; i++) {
        char text[20];
        size_t length = 0;
        if (i < sizeof names / sizeof *names) {
            length = strlen(names[i]);
            memcpy(text, names[i], length);
        } else {
            for (; length < i; length++) {
                text[length] = (char)byte_of(&s->in);
                if (!text[length]) {
                    break;
                }
            }
        }
        s->strings[i] = (char *)exactly(length + 1);
        memcpy(s->strings[i], text, length);
        s->strings[i][length] = 0;
    }
    for (i = 0; i < BUFFERS; i++) {
        static const size_t sizes[BUFFERS] = {1024, 2112, 2112, 72, 4096};
        s->buffers[i] = filled(&s->in, sizes[i] - byte_of(&s->in) % 8u);
    }
}

static void end(state *s) {
    size_t i;
    for (i = 0; i < SLOTS; i++) {
        if (s->writers[i].open) {
            closed(s->writers, s->writers[i].handle, gguffuse_writer_free((gguffuse_writer *)s->writers[i].handle));
        }
    }
    for (i = 0; i < SLOTS; i++) {
        if (s->files[i].open) {
            closed(s->files, s->files[i].handle, gguffuse_file_close((gguffuse_file *)s->files[i].handle));
        }
        if (s->contexts[i].open) {
            closed(s->contexts, s->contexts[i].handle,
                   gguffuse_context_free((gguffuse_context *)s->contexts[i].handle));
        }
        if (s->files[i].handle && gguffuse_file_close((gguffuse_file *)s->files[i].handle) == GGUFFUSE_OK) {
            fail("a file was closed twice", 0);
        }
    }
    for (i = 0; i < s->image_count; i++) {
        free(s->images[i].data);
    }
    for (i = 0; i < BUFFERS; i++) {
        free(s->buffers[i].data);
    }
    for (i = 0; i < STRINGS; i++) {
        free(s->strings[i]);
    }
}

void run_calls(const uint8_t *bytes, size_t size);

void run_calls(const uint8_t *bytes, size_t size) {
    unsigned calls;
    state s;
    memset(&s, 0, sizeof s);
    s.in.bytes = bytes;
    s.in.left = size;
    begin(&s);
    for (calls = 0; calls < 64 && s.in.left; calls++) {
        uint8_t what = byte_of(&s.in);
        switch (what % 12) {
        case 0:
        case 1:
            open_memory(&s);
            break;
        case 2:
        case 3:
            open_or_close(&s);
            break;
        case 4:
        case 5:
            read_file(&s);
            break;
        case 6:
            read_element(&s);
            break;
        case 7:
            multiply(&s);
            break;
        case 8:
            convert(&s);
            break;
        case 9:
            tell(&s);
            break;
        default:
            write_file(&s);
        }
    }
    end(&s);
}

/* Steps that open and close files, contexts and writers. */
#include "state.h"

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
            } else if (kind == s->activations) {
                gguffuse_activations_free((gguffuse_activations *)handle);
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

void closed(slot *kind, const void *handle, gguffuse_status status) {
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

void open_memory(state *s) {
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

const char *const PATHS[PATH_COUNT] = {"", "/", "/nonexistent/file", "/dev/null", "/proc/self/maps", "/dev/full"};

void open_or_close(state *s) {
    output options = struct_of(s, sizeof(gguffuse_context_options)), out;
    void *handle;
    switch (byte_of(&s->in) % 10) {
    case 0:
        out = output_of(s, sizeof(void *));
        put_handle(s->files, s,
                   CALL1(out, gguffuse_file_open(PATHS[byte_of(&s->in) % PATH_COUNT], NULL, (gguffuse_file **)out.pointer)),
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
    case 7:
        out = output_of(s, sizeof(void *));
        put_handle(s->activations, s, CALL1(out, gguffuse_activations_new((gguffuse_activations **)out.pointer)), &out);
        break;
    case 8:
        handle = handle_of(s, s->activations);
        closed(s->activations, handle, gguffuse_activations_free((gguffuse_activations *)handle));
        break;
    default:
        handle = handle_of(s, s->writers);
        closed(s->writers, handle, gguffuse_writer_free((gguffuse_writer *)handle));
        break;
    }
}

/* Takes bytes as a program of C calls: any function, any order, any arguments. Handles come from slots that hold open,
 * closed and made-up ones of every kind; buffers have exactly the lengths that are told, so that the address sanitizer
 * sees every byte too many; every other number is any number. Only what the header calls the caller's word is kept.
 *
 * Aborts where a call gives GGUFFUSE_ERROR_INTERNAL (a panic that was caught) or a number that is no status, where an
 * output changed although the call failed, and where a closed handle is not refused. The one function that is not called is
 * gguffuse_log_set: it keeps some bytes at every call, by its contract. */
#include "state.h"

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
        if (s->activations[i].open) {
            closed(s->activations, s->activations[i].handle,
                   gguffuse_activations_free((gguffuse_activations *)s->activations[i].handle));
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
        switch (what % 13) {
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
        case 12:
            multiply_packed(&s);
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

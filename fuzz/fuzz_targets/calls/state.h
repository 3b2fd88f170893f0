/* What the parts of the target share: the program's bytes, what lives while a program runs, and how arguments are made. */
#ifndef CALLS_STATE_H
#define CALLS_STATE_H

#include "gguffuse.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the program's bytes ---- */

typedef struct input {
    const uint8_t *bytes;
    size_t left;
} input;

static inline uint8_t byte_of(input *in) {
    uint8_t byte = 0;
    if (in->left) {
        byte = *in->bytes++;
        in->left--;
    }
    return byte;
}

static inline uint64_t integer_of(input *in, unsigned bytes) {
    uint64_t value = 0;
    while (bytes--) {
        value = value << 8 | byte_of(in);
    }
    return value;
}

/* Small mostly, else around a power of two, else anything. */
static inline uint64_t number_of(input *in) {
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
    slot files[SLOTS], contexts[SLOTS], writers[SLOTS], activations[SLOTS];
    /* Never written once a file or a writer may read them. */
    buffer images[IMAGES];
    size_t image_count;
    /* Written and read by calls. */
    buffer buffers[BUFFERS];
    char *strings[STRINGS];
} state;

static inline void fail(const char *what, int32_t status) {
    char text[600];
    gguffuse_last_error(text, sizeof text);
    fprintf(stderr, "calls: %s, status %d, last error: %s\n", what, (int)status, text);
    abort();
}

static inline gguffuse_status check(gguffuse_status status) {
    if (status < 0 || status > GGUFFUSE_ERROR_UNSUPPORTED_ISA || status == GGUFFUSE_ERROR_INTERNAL) {
        fail("a status that must not be", status);
    }
    return status;
}

static inline void *exactly(size_t size) {
    void *memory = malloc(size ? size : 1);
    if (!memory) {
        abort();
    }
    return memory;
}

static inline buffer filled(input *in, size_t size) {
    buffer made;
    size_t i;
    uint8_t last = 1;
    made.size = size;
    made.data = (uint8_t *)exactly(size);
    /* The program's bytes as far as they go, at most 64: the rest is for its other instructions. */
    for (i = 0; i < size && i < 64 + 256; i++) {
        last = i < 64 && in->left ? byte_of(in) : (uint8_t)(last * 7 + 13);
        made.data[i] = last;
    }
    /* From here on it repeats. */
    for (; i < size; i += 256) {
        memcpy(made.data + i, made.data + i - 256, size - i < 256 ? size - i : 256);
    }
    return made;
}

/* ---- arguments ---- */

static inline void *handle_of(state *s, slot *kind) {
    uint8_t which = byte_of(&s->in);
    if (which < 190) {
        return kind[which % SLOTS].handle;
    }
    if (which < 200) {
        return s->activations[which % SLOTS].handle;
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

static inline const char *string_of(state *s) {
    uint8_t which = byte_of(&s->in);
    return which == 255 ? NULL : s->strings[which % STRINGS];
}

/* A part of a buffer: its true length, or less, from any byte on; now and then NULL with any length. */
static inline buffer part_of(state *s, size_t unit) {
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

static inline uint32_t type_of(input *in) {
    uint8_t which = byte_of(in);
    return which < 250 ? which % 43u : (uint32_t)integer_of(in, 4);
}

/* An output of `size` bytes: a fresh piece of memory of a pattern, NULL or misaligned now and then. */
typedef struct output {
    uint8_t *memory, *pointer;
    size_t size;
} output;

enum { PATTERN = 0xa5, OUTPUT_ROOM = 512 };

static inline output output_of(state *s, size_t size) {
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
static inline output struct_of(state *s, size_t size) {
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

static inline void remember(const output *out, unsigned which) {
    memcpy(snapshot[which], out->memory, OUTPUT_ROOM);
}

static inline void unchanged(gguffuse_status status, const output *out, unsigned which) {
    if (check(status) != GGUFFUSE_OK && memcmp(snapshot[which], out->memory, OUTPUT_ROOM) != 0) {
        fail("an output was written although the call failed", status);
    }
}

/* CALL(outputs..., call): all outputs are as before if the call fails. */
#define CALL1(out, call) (remember(&(out), 0), check_outputs(s, (call), &(out), NULL))
#define CALL2(a, b, call) (remember(&(a), 0), remember(&(b), 1), check_outputs(s, (call), &(a), &(b)))

static inline gguffuse_status check_outputs(state *s, gguffuse_status status, const output *a, const output *b) {
    (void)s;
    unchanged(status, a, 0);
    if (b) {
        unchanged(status, b, 1);
    }
    return status;
}

static inline uint64_t touch(const void *data, size_t size) {
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

/* ---- the parts: each takes one step of the program ---- */

void open_memory(state *s);
void open_or_close(state *s);
void closed(slot *kind, const void *handle, gguffuse_status status);
void read_file(state *s);
void read_element(state *s);
void multiply(state *s);
void multiply_packed(state *s);
void convert(state *s);
void tell(state *s);
void write_file(state *s);

/* Nothing can be written at any of them, and only files that do not change be read. */
#define PATH_COUNT 6
extern const char *const PATHS[PATH_COUNT];

#endif

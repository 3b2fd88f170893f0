/* What the C tests share, all of it independent of the library: checks, random numbers, a GGUF builder, decoders of
 * F16 and Q4_K, a naive matrix product. Valid as C11 and as C++17. */
#ifndef GGUFFUSE_COMMON_H
#define GGUFFUSE_COMMON_H

#ifndef _POSIX_C_SOURCE
#define _POSIX_C_SOURCE 200809L
#endif

#include "gguffuse.h"
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(__GNUC__)
#define MAYBE_UNUSED __attribute__((unused))
#else
#define MAYBE_UNUSED
#endif

/* A failed check ends the function with 1; main passes it on. */
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: CHECK(%s) failed; last error: %s\n", __FILE__, __LINE__, #condition,               \
                    last_error_text());                                                                                \
            return 1;                                                                                                  \
        }                                                                                                              \
    } while (0)

#define CHECK_STATUS(call, expected)                                                                                   \
    do {                                                                                                               \
        int32_t status_ = (int32_t)(call);                                                                             \
        if (status_ != (int32_t)(expected)) {                                                                          \
            fprintf(stderr, "%s:%d: %s gave %s, not %s; last error: %s\n", __FILE__, __LINE__, #call,                  \
                    gguffuse_status_name(status_), gguffuse_status_name((int32_t)(expected)), last_error_text());      \
            return 1;                                                                                                  \
        }                                                                                                              \
    } while (0)

#define CHECK_OK(call) CHECK_STATUS(call, GGUFFUSE_OK)

/* Runs a part of a test. */
#define RUN(part)                                                                                                      \
    do {                                                                                                               \
        if ((part) != 0) {                                                                                             \
            return 1;                                                                                                  \
        }                                                                                                              \
    } while (0)

static MAYBE_UNUSED const char *last_error_text(void) {
    static char text[600];
    gguffuse_last_error(text, sizeof text);
    return text;
}

/* ---- memory and random numbers ---- */

static MAYBE_UNUSED void *allocate(size_t bytes) {
    void *memory = calloc(bytes ? bytes : 1, 1);
    if (!memory) {
        fprintf(stderr, "no memory for the test\n");
        exit(2);
    }
    return memory;
}

static MAYBE_UNUSED float *floats(size_t count) {
    return (float *)allocate(count * sizeof(float));
}

/* splitmix64 */
static MAYBE_UNUSED uint64_t random_u64(uint64_t *state) {
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

/* Near normal, mean 0, variance 1. */
static MAYBE_UNUSED float random_normal(uint64_t *state) {
    double sum = 0;
    int i;
    for (i = 0; i < 12; i++) {
        sum += (double)(random_u64(state) >> 11) / 9007199254740992.0;
    }
    return (float)(sum - 6.0);
}

static MAYBE_UNUSED void fill_normal(float *out, size_t count, uint64_t seed) {
    size_t i;
    for (i = 0; i < count; i++) {
        out[i] = random_normal(&seed);
    }
}

/* ---- bytes, and a GGUF builder ---- */

typedef struct bytes {
    unsigned char *data;
    size_t size, room;
} bytes;

static MAYBE_UNUSED void put(bytes *to, const void *data, size_t size) {
    if (to->size + size > to->room) {
        unsigned char *larger = (unsigned char *)allocate((to->size + size) * 2);
        if (to->size) {
            memcpy(larger, to->data, to->size);
        }
        free(to->data);
        to->data = larger;
        to->room = (to->size + size) * 2;
    }
    if (size) {
        memcpy(to->data + to->size, data, size);
    }
    to->size += size;
}

/* The lowest `size` bytes of value, little-endian. */
static MAYBE_UNUSED void put_int(bytes *to, uint64_t value, size_t size) {
    unsigned char little[8];
    size_t i;
    for (i = 0; i < 8; i++) {
        little[i] = (unsigned char)(value >> (8 * i));
    }
    put(to, little, size);
}

static MAYBE_UNUSED void put_f32(bytes *to, float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    put_int(to, bits, 4);
}

static MAYBE_UNUSED void put_f64(bytes *to, double value) {
    uint64_t bits;
    memcpy(&bits, &value, 8);
    put_int(to, bits, 8);
}

static MAYBE_UNUSED void put_string_of(bytes *to, const char *text, size_t length) {
    put_int(to, length, 8);
    put(to, text, length);
}

static MAYBE_UNUSED void put_string(bytes *to, const char *text) {
    put_string_of(to, text, strlen(text));
}

static MAYBE_UNUSED void put_padding(bytes *to, size_t alignment) {
    while (to->size % alignment) {
        put_int(to, 0, 1);
    }
}

/* A file being built: its parts are put together by finish(). */
typedef struct builder {
    bytes metadata, tensors, data;
    uint64_t metadata_count, tensor_count;
    uint32_t version;
    size_t alignment;
} builder;

static MAYBE_UNUSED builder new_builder(void) {
    builder b;
    memset(&b, 0, sizeof b);
    b.version = 3;
    b.alignment = 32;
    return b;
}

/* Begins a metadata entry; the caller puts the value into b->metadata. */
static MAYBE_UNUSED void add_key(builder *b, const char *key, uint32_t value_type) {
    put_string(&b->metadata, key);
    put_int(&b->metadata, value_type, 4);
    b->metadata_count++;
}

static MAYBE_UNUSED void set_alignment(builder *b, uint32_t alignment) {
    add_key(b, "general.alignment", GGUFFUSE_METADATA_UINT32);
    put_int(&b->metadata, alignment, 4);
    b->alignment = alignment;
}

/* Adds a tensor and returns its offset relative to the data section. */
static MAYBE_UNUSED uint64_t add_tensor(builder *b, const char *name, uint32_t type, uint32_t n_dims, const uint64_t *dims,
                                        const void *data, size_t size) {
    uint64_t offset;
    uint32_t i;
    put_padding(&b->data, b->alignment);
    offset = b->data.size;
    put_string(&b->tensors, name);
    put_int(&b->tensors, n_dims, 4);
    for (i = 0; i < n_dims; i++) {
        put_int(&b->tensors, dims[i], 8);
    }
    put_int(&b->tensors, type, 4);
    put_int(&b->tensors, offset, 8);
    put(&b->data, data, size);
    b->tensor_count++;
    return offset;
}

/* The file's bytes, and where the data section begins (NULL: not asked for). Frees the parts. */
static MAYBE_UNUSED bytes finish(builder *b, size_t *data_offset) {
    bytes file;
    memset(&file, 0, sizeof file);
    put(&file, "GGUF", 4);
    put_int(&file, b->version, 4);
    put_int(&file, b->tensor_count, 8);
    put_int(&file, b->metadata_count, 8);
    put(&file, b->metadata.data, b->metadata.size);
    put(&file, b->tensors.data, b->tensors.size);
    put_padding(&file, b->alignment);
    if (data_offset) {
        *data_offset = file.size;
    }
    put(&file, b->data.data, b->data.size);
    put_padding(&file, b->alignment);
    free(b->metadata.data);
    free(b->tensors.data);
    free(b->data.data);
    return file;
}

/* ---- F16 and Q4_K, from their descriptions ---- */

static MAYBE_UNUSED double half_value(unsigned bits) {
    unsigned exponent = (bits >> 10) & 31, fraction = bits & 1023;
    double magnitude;
    if (exponent == 0) {
        magnitude = ldexp((double)fraction, -24);
    } else if (exponent == 31) {
        magnitude = fraction ? (double)NAN : (double)INFINITY;
    } else {
        magnitude = ldexp((double)(1024 + fraction), (int)exponent - 25);
    }
    return bits >> 15 ? -magnitude : magnitude;
}

#define Q4K_BYTES 144
#define Q4K_ELEMENTS 256

/* One weight of a block, and the sum of the magnitudes of the two terms that it is the difference of. */
static MAYBE_UNUSED double q4k_weight(const unsigned char *block, int i, double *terms) {
    double d = half_value((unsigned)(block[0] | block[1] << 8)), dmin = half_value((unsigned)(block[2] | block[3] << 8));
    const unsigned char *packed = block + 4;
    int group = i / 32, scale, min, code;
    if (group < 4) {
        scale = packed[group] & 63;
        min = packed[group + 4] & 63;
    } else {
        scale = (packed[group + 4] & 15) | (packed[group - 4] >> 6 << 4);
        min = (packed[group + 4] >> 4) | (packed[group] >> 6 << 4);
    }
    code = block[16 + 32 * (i / 64) + i % 32];
    code = i % 64 < 32 ? code & 15 : code >> 4;
    if (terms) {
        *terms = fabs(d * scale * code) + fabs(dmin * min);
    }
    return d * scale * code - dmin * min;
}

/* A random row-major matrix n x k of F32, F16 or Q4_K. */
static MAYBE_UNUSED unsigned char *random_weights(uint32_t type, size_t n, size_t k, uint64_t seed, size_t *size) {
    size_t i, count;
    unsigned char *w;
    if (type == GGUFFUSE_TYPE_F32) {
        *size = n * k * 4;
        w = (unsigned char *)allocate(*size);
        for (i = 0; i < n * k; i++) {
            float value = random_normal(&seed) * 0.05f;
            memcpy(w + 4 * i, &value, 4);
        }
    } else if (type == GGUFFUSE_TYPE_F16) {
        *size = n * k * 2;
        w = (unsigned char *)allocate(*size);
        for (i = 0; i < n * k; i++) {
            /* signs and fractions at random, exponents of 2^-8 to 2^-5, now and then a subnormal or a zero */
            uint64_t r = random_u64(&seed);
            unsigned bits = (unsigned)((r & 0x83ff) | (7 + (r >> 20) % 4) << 10);
            if ((r >> 40) % 64 == 0) {
                bits &= (r >> 50) & 1 ? 0x83ffu : 0x8000u;
            }
            w[2 * i] = (unsigned char)bits;
            w[2 * i + 1] = (unsigned char)(bits >> 8);
        }
    } else {
        count = n * (k / Q4K_ELEMENTS);
        *size = count * Q4K_BYTES;
        w = (unsigned char *)allocate(*size);
        for (i = 0; i < *size; i++) {
            w[i] = (unsigned char)(random_u64(&seed) >> 33);
        }
        for (i = 0; i < count; i++) {
            /* d about 2^-11, dmin about 2^-8, so that weights are about +-0.3 */
            unsigned d = (4u << 10) | (unsigned)(random_u64(&seed) & 1023);
            unsigned dmin = (6u << 10) | (unsigned)(random_u64(&seed) & 1023);
            unsigned char *block = w + i * Q4K_BYTES;
            block[0] = (unsigned char)d;
            block[1] = (unsigned char)(d >> 8);
            block[2] = (unsigned char)dmin;
            block[3] = (unsigned char)(dmin >> 8);
        }
    }
    return w;
}

/* Element [row][column] of a matrix, and the magnitude of its terms. */
static MAYBE_UNUSED double weight(uint32_t type, const unsigned char *w, size_t k, size_t row, size_t column,
                                  double *terms) {
    double value;
    if (type == GGUFFUSE_TYPE_Q4_K) {
        size_t block = row * (k / Q4K_ELEMENTS) + column / Q4K_ELEMENTS;
        return q4k_weight(w + block * Q4K_BYTES, (int)(column % Q4K_ELEMENTS), terms);
    }
    if (type == GGUFFUSE_TYPE_F16) {
        const unsigned char *half = w + 2 * (row * k + column);
        value = half_value((unsigned)(half[0] | half[1] << 8));
    } else {
        float single;
        memcpy(&single, w + 4 * (row * k + column), 4);
        value = (double)single;
    }
    if (terms) {
        *terms = fabs(value);
    }
    return value;
}

static MAYBE_UNUSED gguffuse_context *context_with(uint32_t threads, uint32_t precision) {
    gguffuse_context_options options;
    gguffuse_context *context = NULL;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.threads = threads;
    options.precision = precision;
    if (gguffuse_context_new(&options, &context) != GGUFFUSE_OK) {
        fprintf(stderr, "gguffuse_context_new: %s\n", last_error_text());
        return NULL;
    }
    return context;
}

#endif

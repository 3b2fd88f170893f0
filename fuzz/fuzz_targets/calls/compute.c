/* Steps that compute, and those that tell something. */
#include "state.h"

void multiply(state *s) {
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

void multiply_packed(state *s) {
    gguffuse_context *context = (gguffuse_context *)handle_of(s, s->contexts);
    gguffuse_activations *activations = (gguffuse_activations *)handle_of(s, s->activations);
    uint8_t what = byte_of(&s->in) % 6;
    uint32_t type = type_of(&s->in);
    buffer w = part_of(s, 1), x = part_of(s, 4), y = part_of(s, 4);
    size_t m = (size_t)number_of(&s->in), n = (size_t)number_of(&s->in), k = (size_t)number_of(&s->in), stride = 0;
    if (byte_of(&s->in) < 200) {
        /* Mostly shapes that fit, the same k in most calls. */
        k = byte_of(&s->in) < 200 ? 256 : k % 3 * 32;
        n %= 8;
        m %= 3;
    }
    if (byte_of(&s->in) < 64) {
        stride = (size_t)number_of(&s->in);
    }
    if (what < 3) {
        check(gguffuse_activations_pack(context, activations, (const float *)(void *)x.data, x.size, stride, m, k));
    } else if (what == 3) {
        check(gguffuse_activations_matmul(context, activations, type, w.data, w.size, n, k, (float *)(void *)y.data, y.size,
                                          stride));
    } else if (what == 4) {
        gguffuse_file *file = (gguffuse_file *)handle_of(s, s->files);
        check(gguffuse_activations_matmul_tensor(context, activations, file, number_of(&s->in), (float *)(void *)y.data,
                                                 y.size, stride));
    } else {
        size_t begin = (size_t)number_of(&s->in), end = (size_t)number_of(&s->in);
        check(gguffuse_activations_matmul_rows(context, activations, type, w.data, w.size, n, k, begin, end,
                                               (float *)(void *)y.data, y.size, stride));
    }
}

void convert(state *s) {
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

void tell(state *s) {
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

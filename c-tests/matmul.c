/* Products against plain loops in double over an own decoder.
 *
 * The bound. Weights are not rounded; activations are, to a step below the largest of their block of 256 columns. With
 * the weights' terms a (for Q4_K the two terms of d*s*q - dmin*m, before they cancel) that costs a block at most
 * step * max |x| * sum of a. EXACT keeps 21 bits at least, HIGH 13, FAST 7. The f32 arithmetic adds at most
 * (k + 16) * 2^-23 * sum of a * |x|. Errors have either sign, so a sum of many stays far below: a second check holds
 * the root mean square of all errors to what DESIGN says. */
#include "common.h"

static const double PRECISION_STEP[3] = {1.0 / 2097152, 1.0 / 8192, 1.0 / 128};
/* Root mean square of the errors over that of the results: DESIGN's figures for activations with outliers (3e-6, 3e-4,
 * 3e-2) and a third more, as the samples here are small. */
static const double PRECISION_RMS[3] = {4e-6, 4e-4, 4e-2};

typedef struct product {
    uint32_t type;
    size_t m, n, k, x_stride, y_stride; /* strides are never 0 here */
    unsigned char *w;
    size_t w_bytes;
    float *x;
    size_t x_length, y_length;
    double *reference, *bound[3];
} product;

static void make_product(product *p, uint32_t type, size_t m, size_t n, size_t k, size_t x_gap, size_t y_gap) {
    size_t i, j, c, precision;
    double *decoded = (double *)allocate(n * k * sizeof(double)), *terms = (double *)allocate(n * k * sizeof(double));
    p->type = type;
    p->m = m;
    p->n = n;
    p->k = k;
    p->x_stride = k + x_gap;
    p->y_stride = n + y_gap;
    p->w = random_weights(type, n, k, 7 * m + 11 * n + 13 * k, &p->w_bytes);
    p->x_length = (m - 1) * p->x_stride + k; /* to the last element, not to the end of the last row */
    p->y_length = (m - 1) * p->y_stride + n;
    p->x = floats(p->x_length);
    fill_normal(p->x, p->x_length, 17 * m + 19 * n + 23 * k);
    for (i = 0; i < p->x_length; i += 701) {
        p->x[i] *= 30; /* outliers, as activations have */
    }
    p->reference = (double *)allocate(m * n * sizeof(double));
    for (precision = 0; precision < 3; precision++) {
        p->bound[precision] = (double *)allocate(m * n * sizeof(double));
    }
    for (j = 0; j < n; j++) {
        for (c = 0; c < k; c++) {
            decoded[j * k + c] = weight(type, p->w, k, j, c, &terms[j * k + c]);
        }
    }
    for (i = 0; i < m; i++) {
        for (j = 0; j < n; j++) {
            double sum = 0, all_terms = 0, blocks = 0, block_a = 0, largest_x = 0;
            for (c = 0; c < k; c++) {
                double x = (double)p->x[i * p->x_stride + c], a = terms[j * k + c];
                sum += x * decoded[j * k + c];
                all_terms += a * fabs(x);
                block_a += a;
                largest_x = fmax(largest_x, fabs(x));
                if (c % 256 == 255 || c + 1 == k) {
                    blocks += block_a * largest_x;
                    block_a = largest_x = 0;
                }
            }
            p->reference[i * n + j] = sum;
            for (precision = 0; precision < 3; precision++) {
                p->bound[precision][i * n + j] =
                    PRECISION_STEP[precision] * blocks + (double)(k + 16) * 1.2e-7 * all_terms + 1e-30;
            }
        }
    }
    free(decoded);
    free(terms);
}

static void free_product(product *p) {
    int precision;
    free(p->w);
    free(p->x);
    free(p->reference);
    for (precision = 0; precision < 3; precision++) {
        free(p->bound[precision]);
    }
}

/* y is new, filled with a mark: every product is written, no gap is. */
static float *marked(const product *p) {
    float *y = floats(p->y_length);
    size_t i;
    for (i = 0; i < p->y_length; i++) {
        y[i] = -12345.0f;
    }
    return y;
}

static int check_result(const product *p, const float *y, int precision) {
    double errors = 0, squares = 0;
    size_t i, j;
    for (i = 0; i < p->m; i++) {
        for (j = 0; j < p->n; j++) {
            double expected = p->reference[i * p->n + j], got = (double)y[i * p->y_stride + j];
            if (!(fabs(got - expected) <= p->bound[precision][i * p->n + j])) {
                fprintf(stderr, "type %u m %zu n %zu k %zu precision %d: y[%zu][%zu] is %.9g, not %.9g (bound %.3g)\n",
                        (unsigned)p->type, p->m, p->n, p->k, precision, i, j, got, expected,
                        p->bound[precision][i * p->n + j]);
                return 1;
            }
            errors += (got - expected) * (got - expected);
            squares += expected * expected;
        }
        for (j = p->n; j < p->y_stride && i + 1 < p->m; j++) {
            CHECK(y[i * p->y_stride + j] == -12345.0f);
        }
    }
    if (p->m * p->n >= 16 && !(sqrt(errors / squares) <= PRECISION_RMS[precision])) {
        fprintf(stderr, "type %u m %zu n %zu k %zu precision %d: relative error %.3g\n", (unsigned)p->type, p->m, p->n,
                p->k, precision, sqrt(errors / squares));
        return 1;
    }
    return 0;
}

static gguffuse_status multiply(gguffuse_context *context, const product *p, float *y) {
    /* Contiguous ones are told as 0 now and then. */
    size_t x_stride = p->x_stride == p->k && p->n % 2 ? 0 : p->x_stride;
    size_t y_stride = p->y_stride == p->n && p->n % 2 ? 0 : p->y_stride;
    return gguffuse_matmul(context, p->type, p->w, p->w_bytes, p->n, p->k, p->x, p->x_length, x_stride, p->m, y,
                           p->y_length, y_stride);
}

/* The rows in pieces, in odd order, must give the bits of the whole. */
static int check_rows(gguffuse_context *context, const product *p, const float *whole) {
    float *y = marked(p);
    size_t pieces[5], i;
    pieces[0] = 0;
    pieces[1] = p->n / 3;
    pieces[2] = pieces[1];
    pieces[3] = p->n - p->n / 4;
    pieces[4] = p->n;
    for (i = 4; i-- > 0;) {
        CHECK_OK(gguffuse_matmul_rows(context, p->type, p->w, p->w_bytes, p->n, p->k, pieces[i], pieces[i + 1], p->x,
                                      p->x_length, p->x_stride, p->m, y, p->y_length, p->y_stride));
        if (i == 3) { /* the columns before it are untouched so far */
            size_t j;
            for (j = 0; j < pieces[3]; j++) {
                CHECK(y[j] == -12345.0f);
            }
        }
    }
    CHECK(memcmp(y, whole, p->y_length * sizeof *y) == 0);
    free(y);
    return 0;
}

/* W as a tensor of a file; the last two dimensions fold into n. */
static int check_tensor(gguffuse_context *context, const product *p, const float *whole) {
    builder b = new_builder();
    uint64_t dims[3];
    bytes raw;
    gguffuse_file *file = NULL;
    float *y = marked(p);
    dims[0] = p->k;
    dims[1] = p->n % 2 ? p->n : p->n / 2;
    dims[2] = p->n % 2 ? 1 : 2;
    put_int(&b.data, 0, 8); /* a gap, so that the tensor's offset isn't 0 */
    add_tensor(&b, "w", p->type, 3, dims, p->w, p->w_bytes);
    raw = finish(&b, NULL);
    CHECK_OK(gguffuse_file_open_memory(raw.data, raw.size, NULL, &file));
    CHECK_OK(gguffuse_matmul_tensor(context, file, 0, p->x, p->x_length, p->x_stride, p->m, y, p->y_length, p->y_stride));
    CHECK(memcmp(y, whole, p->y_length * sizeof *y) == 0);
    CHECK_STATUS(gguffuse_matmul_tensor(context, file, 1, p->x, p->x_length, p->x_stride, p->m, y, p->y_length, 0),
                 GGUFFUSE_ERROR_NOT_FOUND);
    CHECK_OK(gguffuse_file_close(file));
    free(y);
    free(raw.data);
    return 0;
}

static int run(uint32_t type, size_t m, size_t n, size_t k, size_t x_gap, size_t y_gap) {
    product p;
    uint32_t precision;
    make_product(&p, type, m, n, k, x_gap, y_gap);
    for (precision = 0; precision < 3; precision++) {
        gguffuse_context *context = context_with(2, precision);
        float *y = marked(&p), *again = marked(&p);
        CHECK(context);
        CHECK_OK(multiply(context, &p, y));
        RUN(check_result(&p, y, (int)precision));
        CHECK_OK(multiply(context, &p, again));
        CHECK(memcmp(y, again, p.y_length * sizeof *y) == 0);
        RUN(check_rows(context, &p, y));
        RUN(check_tensor(context, &p, y));
        CHECK_OK(gguffuse_context_free(context));
        free(y);
        free(again);
    }
    free_product(&p);
    return 0;
}

static int check_threads(uint32_t type, size_t m, size_t n, size_t k) {
    product p;
    uint32_t precision, threads;
    make_product(&p, type, m, n, k, 3, 5);
    for (precision = 0; precision < 3; precision++) {
        float *first = marked(&p);
        for (threads = 1; threads <= 8; threads++) {
            gguffuse_context *context = context_with(threads, precision);
            float *y = marked(&p);
            CHECK(context);
            CHECK_OK(multiply(context, &p, y));
            if (threads == 1) {
                memcpy(first, y, p.y_length * sizeof *y);
                RUN(check_result(&p, y, (int)precision));
            }
            CHECK(memcmp(first, y, p.y_length * sizeof *y) == 0);
            CHECK_OK(gguffuse_context_free(context));
            free(y);
        }
        free(first);
    }
    free_product(&p);
    return 0;
}

/* No rows of either kind: nothing to do, nothing written. */
static int check_empty(void) {
    gguffuse_context *context = context_with(0, 0);
    float x[256], y[4] = {1, 2, 3, 4};
    unsigned char w[2 * Q4K_BYTES];
    memset(x, 0, sizeof x);
    memset(w, 0, sizeof w);
    CHECK(context);
    CHECK_OK(gguffuse_matmul(context, GGUFFUSE_TYPE_Q4_K, w, sizeof w, 2, 256, x, 0, 0, 0, y, 0, 0));
    CHECK_OK(gguffuse_matmul(context, GGUFFUSE_TYPE_Q4_K, w, 0, 0, 256, x, 256, 0, 1, y, 0, 0));
    CHECK_OK(gguffuse_matmul_rows(context, GGUFFUSE_TYPE_Q4_K, w, sizeof w, 2, 256, 1, 1, x, 256, 0, 1, y, 2, 0));
    CHECK(y[0] == 1 && y[1] == 2 && y[2] == 3 && y[3] == 4);
    CHECK_OK(gguffuse_context_free(context));
    return 0;
}

int main(void) {
    static const uint32_t types[3] = {GGUFFUSE_TYPE_Q4_K, GGUFFUSE_TYPE_F16, GGUFFUSE_TYPE_F32};
    int t;
    RUN(check_empty());
    for (t = 0; t < 3; t++) {
        RUN(run(types[t], 1, 1, 256, 0, 0));
        RUN(run(types[t], 1, 67, 2048, 0, 0));
        RUN(run(types[t], 2, 33, 512, 1, 0));
        RUN(run(types[t], 5, 16, 768, 0, 3));
        RUN(run(types[t], 9, 50, 1024, 7, 1));
        RUN(run(types[t], 33, 41, 512, 0, 0));
        RUN(run(types[t], 70, 130, 1280, 2, 9));
        RUN(check_threads(types[t], 1, 301, 512));
        RUN(check_threads(types[t], 40, 203, 512));
    }
    RUN(run(GGUFFUSE_TYPE_F32, 3, 17, 1, 0, 0)); /* k need not be a multiple of anything here */
    RUN(run(GGUFFUSE_TYPE_F32, 4, 9, 300, 1, 1));
    RUN(run(GGUFFUSE_TYPE_F16, 4, 9, 77, 1, 1));
    return 0;
}

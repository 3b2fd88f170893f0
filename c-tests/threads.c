/* Sixteen threads, any mix of calls, one file, one context, one writer and one set of activations, which are closed and
 * replaced under load. Every call succeeds with the right bits or says INVALID_HANDLE; writers and activations may say BUSY. Made to run under ThreadSanitizer.
 * Arguments: a directory for temporary files, rounds per thread. Figures at the end. */
#include "common.h"
#include <pthread.h>
#include <unistd.h>

enum { THREADS = 16, N = 96, K = 512, M = 20, PIECES = 4 };

typedef struct shared {
    /* Handles that others may close at any time. */
    gguffuse_file *file;
    gguffuse_context *context;
    gguffuse_writer *writer;
    gguffuse_activations *activations;
    bytes raw;
    char path[4096];
    const unsigned char *w;
    size_t w_bytes;
    float x[M * K], expected[M * N], expected_one[N], values[K], pieces[M * N];
    unsigned char blocks[4 * Q4K_BYTES];
    long rounds;
} shared;

static shared s;

typedef struct worker {
    pthread_t thread;
    int number;
    long done, invalid, busy, failed;
    char failure[600];
} worker;

#define READ(handle) __atomic_load_n(&(handle), __ATOMIC_ACQUIRE)

/* OK: 1, refused in a way that others explain: 0; anything else is a failure. */
static int outcome(worker *self, gguffuse_status status, int may_be_busy) {
    if (status == GGUFFUSE_OK) {
        self->done++;
        return 1;
    }
    if (status == GGUFFUSE_ERROR_INVALID_HANDLE) {
        self->invalid++;
    } else if (status == GGUFFUSE_ERROR_BUSY && may_be_busy) {
        self->busy++;
    } else {
        self->failed++;
        gguffuse_last_error(self->failure, sizeof self->failure);
    }
    return 0;
}

static void expect(worker *self, int right) {
    if (!right) {
        self->failed++;
        snprintf(self->failure, sizeof self->failure, "a wrong result");
    }
}

/* Closes what is shared, and puts a new one there. */
static void replace(worker *self, long round) {
    gguffuse_file *file = NULL;
    gguffuse_context *context = NULL;
    gguffuse_writer *writer = NULL;
    gguffuse_activations *activations = NULL;
    gguffuse_status status;
    switch (round % 4) {
    case 0:
        status = round % 2 ? gguffuse_file_open(s.path, NULL, &file)
                           : gguffuse_file_open_memory(s.raw.data, s.raw.size, NULL, &file);
        expect(self, status == GGUFFUSE_OK);
        file = __atomic_exchange_n(&s.file, file, __ATOMIC_ACQ_REL);
        expect(self, gguffuse_file_close(file) == GGUFFUSE_OK);
        expect(self, gguffuse_file_close(file) == GGUFFUSE_ERROR_INVALID_HANDLE);
        break;
    case 1:
        context = context_with(3, 0);
        expect(self, context != NULL);
        context = __atomic_exchange_n(&s.context, context, __ATOMIC_ACQ_REL);
        expect(self, gguffuse_context_free(context) == GGUFFUSE_OK);
        expect(self, gguffuse_context_free(context) == GGUFFUSE_ERROR_INVALID_HANDLE);
        break;
    case 2:
        expect(self, gguffuse_activations_new(&activations) == GGUFFUSE_OK);
        activations = __atomic_exchange_n(&s.activations, activations, __ATOMIC_ACQ_REL);
        expect(self, gguffuse_activations_free(activations) == GGUFFUSE_OK);
        expect(self, gguffuse_activations_free(activations) == GGUFFUSE_ERROR_INVALID_HANDLE);
        break;
    default:
        expect(self, gguffuse_writer_new(NULL, &writer) == GGUFFUSE_OK);
        writer = __atomic_exchange_n(&s.writer, writer, __ATOMIC_ACQ_REL);
        expect(self, gguffuse_writer_free(writer) == GGUFFUSE_OK);
    }
}

static void one_call(worker *self, uint64_t random) {
    static const uint64_t dims[2] = {K, N};
    gguffuse_file *file = READ(s.file), *own = NULL;
    gguffuse_context *context = READ(s.context);
    gguffuse_writer *writer = READ(s.writer);
    gguffuse_activations *activations = READ(s.activations);
    gguffuse_status status;
    struct gguffuse_tensor_info info;
    float y[M * N];
    unsigned char out[4 * Q4K_BYTES];
    uint64_t u64 = 0;
    size_t begin;
    memset(&info, 0, sizeof info);
    info.struct_size = sizeof info;
    switch (random % 16) {
    case 0:
        if (outcome(self, gguffuse_tensor_find(file, "w", &u64), 0)) {
            expect(self, u64 == 0);
        }
        break;
    case 1:
        if (outcome(self, gguffuse_tensor_info(file, 0, &info), 0)) {
            expect(self, info.size_bytes == s.w_bytes && info.dims[1] == N);
        }
        break;
    case 2:
        if (outcome(self, gguffuse_metadata_get_u64(file, "key", &u64), 0)) {
            expect(self, u64 == 7);
        }
        break;
    case 3:
    case 4:
        if (outcome(self, gguffuse_matmul_tensor(context, file, 0, s.x, M * K, 0, M, y, M * N, 0), 0)) {
            expect(self, memcmp(y, s.expected, sizeof y) == 0);
        }
        break;
    case 5:
        if (outcome(self, gguffuse_matmul(context, GGUFFUSE_TYPE_Q4_K, s.w, s.w_bytes, N, K, s.x, M * K, 0, 1, y, N, 0), 0)) {
            expect(self, memcmp(y, s.expected_one, sizeof s.expected_one) == 0);
        }
        break;
    case 6: /* one y, each thread its own columns */
        if (self->number < PIECES) {
            begin = N / PIECES * (size_t)self->number;
            outcome(self,
                    gguffuse_matmul_rows(context, GGUFFUSE_TYPE_Q4_K, s.w, s.w_bytes, N, K, begin, begin + N / PIECES, s.x,
                                         M * K, 0, M, s.pieces, M * N, 0),
                    0);
        }
        break;
    case 7:
        if (outcome(self, gguffuse_validate(context, GGUFFUSE_TYPE_Q4_K, s.w, s.w_bytes, &u64), 0)) {
            expect(self, u64 == UINT64_MAX);
        }
        break;
    case 8:
        if (outcome(self, gguffuse_quantize_with(context, GGUFFUSE_TYPE_Q4_K, s.x, 2, K, NULL, out, sizeof out), 0)) {
            expect(self, memcmp(out, s.blocks, sizeof out) == 0);
        }
        break;
    case 9:
        if (outcome(self, gguffuse_dequantize(GGUFFUSE_TYPE_Q4_K, s.w, 2 * Q4K_BYTES, y, K), 0)) {
            expect(self, memcmp(y, s.values, sizeof s.values) == 0);
        }
        break;
    case 10:
        outcome(self, gguffuse_file_verify(file), 0);
        break;
    case 11:
        if (outcome(self, gguffuse_file_open(s.path, NULL, &own), 0)) {
            expect(self, own != READ(s.file) && gguffuse_file_close(own) == GGUFFUSE_OK);
        }
        break;
    case 12:
        outcome(self, gguffuse_writer_set_u32(writer, "key", (uint32_t)random), 1);
        if (gguffuse_writer_add_tensor(writer, "w", GGUFFUSE_TYPE_Q4_K, 2, dims, s.w, s.w_bytes) == GGUFFUSE_OK) {
            self->done++;
        }
        break;
    case 13:
        outcome(self, gguffuse_activations_pack(context, activations, s.x, M * K, 0, M, K), 1);
        break;
    case 14: /* others may have packed nothing yet, or with another context */
        status = gguffuse_activations_matmul_tensor(context, activations, file, 0, y, M * N, 0);
        if (status != GGUFFUSE_ERROR_INVALID_ARGUMENT && outcome(self, status, 1)) {
            expect(self, memcmp(y, s.expected, sizeof y) == 0);
        }
        break;
    default:
        outcome(self, gguffuse_writer_size(writer, &u64), 1);
    }
}

static void *work(void *argument) {
    worker *self = (worker *)argument;
    uint64_t seed = (uint64_t)self->number;
    long round;
    for (round = 0; round < s.rounds && !self->failed; round++) {
        one_call(self, random_u64(&seed));
        if (round % THREADS == self->number) {
            replace(self, round / THREADS);
        }
    }
    return NULL;
}

static int prepare(const char *directory) {
    builder b = new_builder();
    uint64_t dims[2] = {K, N};
    FILE *out;
    s.w = random_weights(GGUFFUSE_TYPE_Q4_K, N, K, 5, &s.w_bytes);
    add_key(&b, "key", GGUFFUSE_METADATA_UINT32);
    put_int(&b.metadata, 7, 4);
    add_tensor(&b, "w", GGUFFUSE_TYPE_Q4_K, 2, dims, s.w, s.w_bytes);
    s.raw = finish(&b, NULL);
    snprintf(s.path, sizeof s.path, "%s/threads.%ld.gguf", directory, (long)getpid());
    out = fopen(s.path, "wb");
    CHECK(out && fwrite(s.raw.data, 1, s.raw.size, out) == s.raw.size && fclose(out) == 0);
    fill_normal(s.x, M * K, 9);
    s.context = context_with(3, 0);
    CHECK(s.context);
    CHECK_OK(gguffuse_activations_new(&s.activations));
    CHECK_OK(gguffuse_file_open(s.path, NULL, &s.file));
    CHECK_OK(gguffuse_writer_new(NULL, &s.writer));
    CHECK_OK(gguffuse_matmul_tensor(s.context, s.file, 0, s.x, M * K, 0, M, s.expected, M * N, 0));
    /* one row takes another path than many */
    CHECK_OK(gguffuse_matmul_tensor(s.context, s.file, 0, s.x, M * K, 0, 1, s.expected_one, N, 0));
    CHECK_OK(gguffuse_quantize(GGUFFUSE_TYPE_Q4_K, s.x, 2, K, s.blocks, sizeof s.blocks));
    CHECK_OK(gguffuse_dequantize(GGUFFUSE_TYPE_Q4_K, s.w, 2 * Q4K_BYTES, s.values, K));
    return 0;
}

int main(int argc, char **argv) {
    static worker workers[THREADS];
    long done = 0, invalid = 0, busy = 0;
    int i;
    CHECK(argc >= 2);
    s.rounds = argc > 2 ? atol(argv[2]) : 1000;
    RUN(prepare(argv[1]));
    for (i = 0; i < THREADS; i++) {
        workers[i].number = i;
        CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
    }
    for (i = 0; i < THREADS; i++) {
        CHECK(pthread_join(workers[i].thread, NULL) == 0);
        done += workers[i].done;
        invalid += workers[i].invalid;
        busy += workers[i].busy;
        if (workers[i].failed) {
            fprintf(stderr, "thread %d: %s\n", i, workers[i].failure);
            return 1;
        }
    }
    CHECK_OK(gguffuse_matmul_tensor(s.context, s.file, 0, s.x, M * K, 0, M, s.pieces, M * N, 0)); /* all usable still */
    CHECK_OK(gguffuse_file_close(s.file));
    CHECK_OK(gguffuse_context_free(s.context));
    CHECK_OK(gguffuse_writer_free(s.writer));
    CHECK_OK(gguffuse_activations_free(s.activations));
    CHECK(unlink(s.path) == 0);
    CHECK(done > s.rounds);
    printf("threads: 16 threads, %ld calls done, %ld met a closed handle, %ld a busy one, 0 wrong results\n", done, invalid,
           busy);
    return 0;
}

/* The log callback: silent until it is set and after it is taken away; what it is told, on which thread, and that it may
 * not call back. */
#include "common.h"

typedef struct heard {
    int calls;
    uint32_t level;
    char text[300];
    gguffuse_status inner;
} heard;

static void listen(uint32_t level, const char *message, void *user_data) {
    heard *h = (heard *)user_data;
    gguffuse_context *context = NULL;
    h->calls++;
    h->level = level;
    snprintf(h->text, sizeof h->text, "%s", message);
    h->inner = gguffuse_context_new(NULL, &context);
}

static int make_context(const char *max_isa) {
    gguffuse_context_options options;
    gguffuse_context *context = NULL;
    memset(&options, 0, sizeof options);
    options.struct_size = sizeof options;
    options.threads = 3;
    options.precision = GGUFFUSE_PRECISION_HIGH;
    options.max_isa = max_isa;
    CHECK_OK(gguffuse_context_new(&options, &context));
    CHECK_OK(gguffuse_context_free(context));
    return 0;
}

int main(void) {
    heard first, second;
    memset(&first, 0, sizeof first);
    memset(&second, 0, sizeof second);

    RUN(make_context(NULL));
    CHECK(first.calls == 0);

    CHECK_OK(gguffuse_log_set(listen, &first));
    RUN(make_context("scalar"));
    CHECK(first.calls == 1 && first.level == GGUFFUSE_LOG_INFO);
    CHECK(strcmp(first.text, "new context: scalar, precision High, up to 3 threads") == 0);
    CHECK_STATUS(first.inner, GGUFFUSE_ERROR_BUSY);

    CHECK_OK(gguffuse_log_set(listen, &second));
    RUN(make_context(NULL));
    CHECK(first.calls == 1 && second.calls == 1);
    CHECK(strstr(second.text, "up to 3 threads") != NULL);

    CHECK_OK(gguffuse_log_set(NULL, &second));
    RUN(make_context(NULL));
    CHECK(first.calls == 1 && second.calls == 1);
    return 0;
}

/* An engine whose ggml is laid out in another way than the plugin knows: some of ggml's functions are replaced here by ones
 * that lie. The plugin has to stand aside each time, and the engine has to work as before.
 *
 *     strange_host PLUGIN
 *
 * Linked with a ggml; exports its own functions (-rdynamic), which the plugin then finds first. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct init_params {
    size_t bytes;
    void *memory;
    bool no_alloc;
};

typedef void *(*backend_init)(void);

void *ggml_init(struct init_params params);
void ggml_free(void *context);
void *ggml_new_tensor_4d(void *context, int type, int64_t a, int64_t b, int64_t c, int64_t d);
void *ggml_get_data(void *tensor);
void *ggml_new_graph(void *context);
void ggml_build_forward_expand(void *graph, void *tensor);
void *ggml_mul_mat_id(void *context, void *a, void *b, void *ids);
void ggml_backend_free(void *backend);
void *ggml_backend_dev_by_type(int type);
void ggml_log_set(void (*log)(int, const char *, void *), void *user);

/* What is strange just now. */
static const char *strange = "";
static char said[1000];

static bool is(const char *what) { return strcmp(strange, what) == 0; }

/* ggml's own function of the name of the caller. */
#define REAL(type, name) ((type)dlsym(RTLD_NEXT, #name))

size_t ggml_tensor_overhead(void) {
    return REAL(size_t(*)(void), ggml_tensor_overhead)() + (is("size") ? 8 : 0);
}

void *ggml_mul_mat(void *context, void *a, void *b) {
    char *y = REAL(void *(*)(void *, void *, void *), ggml_mul_mat)(context, a, b);
    if (is("dimensions"))
        memmove(y + 24, y + 16, 32);
    if (is("strides"))
        *(size_t *)(y + 56) += 4;
    if (is("operation"))
        *(int *)(y + 80) = 0;
    if (is("sources"))
        memmove(y + 160, y + 152, 16);
    return y;
}

void *ggml_view_1d(void *context, void *a, int64_t n, size_t offset) {
    char *view = REAL(void *(*)(void *, void *, int64_t, size_t), ggml_view_1d)(context, a, n, offset);
    if (is("view"))
        *(size_t *)(view + 240) = 0;
    return view;
}

const char *ggml_get_name(void *tensor) {
    return REAL(const char *(*)(void *), ggml_get_name)(tensor) + (is("name") ? 8 : 0);
}

void *ggml_custom_4d(void *context, int type, int64_t a, int64_t b, int64_t c, int64_t d, void **args, int n_args,
                     void *function, int n_tasks, void *user) {
    typedef void *custom(void *, int, int64_t, int64_t, int64_t, int64_t, void **, int, void *, int, void *);
    char *node = REAL(custom *, ggml_custom_4d)(context, type, a, b, c, d, args, n_args, function, n_tasks, user);
    if (is("custom"))
        memmove(node + 92, node + 84, 24);
    return node;
}

const char *ggml_op_name(int op) {
    const char *name = REAL(const char *(*)(int), ggml_op_name)(op);
    return is("no custom") && strcmp(name, "CUSTOM") == 0 ? "OTHER" : name;
}

void *ggml_backend_dev_backend_reg(void *device) {
    char *registration = REAL(void *(*)(void *), ggml_backend_dev_backend_reg)(device);
    static char copy[48];
    if (is("another registration"))
        return memcpy(copy, registration, sizeof copy);
    return registration;
}

/* Not through the device. */
static void *own_init;

void *ggml_backend_dev_init(void *device, const char *params) {
    void **backend = is("device") ? ((void *(*)(void *, const char *))own_init)(device, params)
                                  : REAL(void *(*)(void *, const char *), ggml_backend_dev_init)(device, params);
    return backend;
}

/* Not through the device either. */
bool ggml_backend_dev_supports_op(void *device, void *op) {
    return is("support") || REAL(bool (*)(void *, void *), ggml_backend_dev_supports_op)(device, op);
}

void *ggml_backend_reg_get_proc_address(void *registration, const char *name) {
    if (is("registration"))
        return NULL;
    return REAL(void *(*)(void *, const char *), ggml_backend_reg_get_proc_address)(registration, name);
}

int ggml_backend_graph_compute(void *backend, void *graph) {
    if (is("failing"))
        return -1;
    int status = REAL(int (*)(void *, void *), ggml_backend_graph_compute)(backend, graph);
    if (is("wrong")) {
        void **nodes = REAL(void **(*)(void *), ggml_graph_nodes)(graph);
        ((float *)ggml_get_data(nodes[0]))[5] += 1;
    }
    return status;
}

static void listen(int level, const char *text, void *user) {
    (void)level, (void)user;
    if (strncmp(text, "gguffuse", 8) == 0)
        snprintf(said, sizeof said, "%s", text);
}

/* One product as the engine does it, of numbers that its rounding to 8 bits leaves as they are. */
static float product(void *device) {
    struct init_params params = {1 << 20, NULL, false};
    void *context = ggml_init(params);
    void *a = ggml_new_tensor_4d(context, 8, 256, 8, 1, 1), *b = ggml_new_tensor_4d(context, 0, 256, 2, 1, 1);
    unsigned char *blocks = ggml_get_data(a);
    for (int i = 0; i < 64; i++) {
        blocks[i * 34] = 0, blocks[i * 34 + 1] = 0x3c;
        memset(blocks + i * 34 + 2, 1, 32);
    }
    for (int i = 0; i < 512; i++)
        ((float *)ggml_get_data(b))[i] = 127;
    void *y = ggml_mul_mat(context, a, b), *graph = ggml_new_graph(context);
    ggml_build_forward_expand(graph, y);
    void *backend = ggml_backend_dev_init(device, NULL);
    float result = ggml_backend_graph_compute(backend, graph) == 0 ? ((float *)ggml_get_data(y))[0] : -1;
    ggml_backend_free(backend);
    ggml_free(context);
    return result;
}

/* Experts, of whom one is chosen that does not exist: the engine's own code would end the process. Its status. */
static int wrong_expert(void *device) {
    struct init_params params = {1 << 20, NULL, false};
    void *context = ggml_init(params);
    void *a = ggml_new_tensor_4d(context, 8, 256, 8, 4, 1), *b = ggml_new_tensor_4d(context, 0, 256, 1, 2, 1);
    void *ids = ggml_new_tensor_4d(context, 26, 2, 2, 1, 1);
    memset(ggml_get_data(a), 0, 4 * 64 * 34);
    memset(ggml_get_data(b), 0, 512 * 4);
    for (int i = 0; i < 4; i++)
        ((int *)ggml_get_data(ids))[i] = i + 1;
    char *y = ggml_mul_mat_id(context, a, b, ids);
    int op = *(int *)(y + 80);
    void *graph = ggml_new_graph(context);
    ggml_build_forward_expand(graph, y);
    void *backend = ggml_backend_dev_init(device, NULL);
    int status = ggml_backend_graph_compute(backend, graph);
    if (*(int *)(y + 80) != op)
        status = 99;
    ggml_backend_free(backend);
    ggml_free(context);
    return status;
}

int main(int count, char **arguments) {
    if (count != 2)
        return 2;
    void *plugin = dlopen(arguments[1], RTLD_NOW | RTLD_LOCAL);
    if (!plugin) {
        printf("%s\n", dlerror());
        return 1;
    }
    backend_init init = (backend_init)dlsym(plugin, "ggml_backend_init");
    void (*counts)(uint64_t *) = (void (*)(uint64_t *))dlsym(plugin, "gguffuse_plugin_counts");
    ggml_log_set(listen, NULL);
    void **device = ggml_backend_dev_by_type(0);
    int *registration = ggml_backend_dev_backend_reg(device);
    own_init = device[5];
    const char *strangers[] = {"size",    "dimensions", "strides", "operation", "sources",      "view",
                               "name",    "custom",     "no custom", "another registration", "version", "device", "support",
                               "registration", "failing", "wrong", ""};
    for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++) {
        uint64_t before[3], after[3];
        strange = strangers[i];
        int version = *registration;
        if (is("version"))
            *registration = 99;
        said[0] = 0;
        void *returned = init();
        bool aside = strstr(said, "stands aside") != NULL, last = is("");
        if (is("version"))
            *registration = version;
        printf("%-22s %s", last ? "(nothing)" : strange, said);
        bool same = returned == registration || is("another registration");
        strange = "";
        counts(before);
        float result = product(device);
        counts(after);
        bool ours = after[1] > before[1];
        if (aside == last || !same || result != 256 * 127 || ours != last) {
            printf("aside %d, same %d, result %g, ours %d\n", aside, same, result, ours);
            return 1;
        }
    }
    /* A failure in the middle of a graph: told, the graph as it was, and from then on the engine is alone. */
    said[0] = 0;
    int status = wrong_expert(device);
    uint64_t before[3], after[3];
    counts(before);
    float result = product(device);
    counts(after);
    printf("a product that fails:  %s", said);
    return !(status == -1 && strstr(said, "a product failed") && result == 256 * 127 && after[1] == before[1]);
}

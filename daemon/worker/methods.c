/*
 * methods: see methods.h.
 */
#include "daemon/worker/methods.h"

#include <inttypes.h>

static const struct method {
    struct slice name;
    unsigned least, most; /* parameters */
    int (*run)(struct call *call);
} methods[N_METHODS] = {
#define X(name, least, most, result) \
    {{(const uint8_t *)#name, sizeof #name - 1}, least, most, method_##name},
    METHODS(X)
#undef X
};

int method_find(struct slice name)
{
    for (int i = 0; i < N_METHODS; i++)
        if (slice_equal(name, methods[i].name))
            return i;
    return -1;
}

static int refuse_count(struct call *call, const struct method *method)
{
    char most[32];
    snprintf(most, sizeof most, "%u parameter%s", method->most, method->most == 1 ? "" : "s");
    if (method->most == 0)
        return bad_params(call, "%s takes no parameters, and not %" PRIu32, method->name.p,
                          call->request->n_params);
    if (method->least == method->most)
        return bad_params(call, "%s takes exactly %s, and not %" PRIu32, method->name.p, most,
                          call->request->n_params);
    if (method->least == 0)
        return bad_params(call, "%s takes at most %s, and not %" PRIu32, method->name.p, most,
                          call->request->n_params);
    return bad_params(call, "%s takes %u or %s, and not %" PRIu32, method->name.p, method->least,
                      most, call->request->n_params);
}

int method_run(enum method_id id, struct call *call)
{
    const struct method *method = &methods[id];
    uint32_t n = call->request->n_params;
    if (n < method->least || n > method->most)
        return refuse_count(call, method);
    return method->run(call);
}

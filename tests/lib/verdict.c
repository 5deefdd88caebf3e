/*
 * verdict: see verdict.h.
 */
#include "verdict.h"

#include "unit.h"

#include <string.h>

static void on_finding(void *context, const struct act_finding *finding)
{
    struct verdict *v = context;
    *(finding->is_note ? &v->n_notes : &v->n_faults) += 1;
    assert_non_null(finding->reason);
    assert_true(finding->n >= 1);
    assert_true(finding->has_path || finding->path_len == 0);
    if (v->n == VERDICT_MAX)
        return;
    v->findings[v->n++] = (struct verdict_finding){
        .is_note = finding->is_note,
        .offset = finding->offset,
        .n = finding->n,
        .reason = finding->reason,
        .has_path = finding->has_path,
        .is_path_cut = finding->is_path_cut,
        .path = bytes_copy(finding->path, finding->path_len),
    };
}

static void on_progress(void *context, uint64_t done, uint64_t total)
{
    struct verdict *v = context;
    assert_true(done >= v->last_done);
    assert_true(done <= total);
    v->last_done = done;
    v->total = total;
}

/* What was found out agrees with itself. */
static void check(const struct verdict *v, const struct act *tree)
{
    struct act_info info;
    uint64_t bytes = 0;
    const struct act_survey *s = &v->survey;
    act_info(tree, &info);
    for (unsigned i = 0; i < ACT_N_OBJECTS; i++)
        bytes += s->bytes[i];
    assert_int_equal(bytes, info.size_bytes);
    if (v->result < 0)
        return;
    assert_int_equal(v->result, s->n_faults > 0 ? ACT_CORRUPT : 0);
    assert_int_equal(v->last_done, v->result == 0 ? info.size_bytes : v->last_done);
    uint64_t branches = 0, values = 0;
    for (unsigned i = 0; i <= 256; i++)
        branches += s->fan_out[i];
    for (unsigned i = 0; i <= 64; i++)
        values += s->depth[i];
    assert_int_equal(values, s->n_values);
    if (v->result == 0)
        assert_int_equal(branches, s->n_objects[ACT_OBJECT_BRANCH] + s->n_objects[ACT_OBJECT_LEAF]);
}

void verdict_take(struct verdict *v, const struct act *tree,
                  const struct act_verify_options *options)
{
    struct act_verify_options all = {.is_all = true};
    if (options)
        all = *options;
    *v = (struct verdict){0};
    all.context = v;
    all.on_finding = on_finding;
    all.on_progress = on_progress;
    v->result = act_verify(tree, &all, &v->survey);
    check(v, tree);
    if (!all.is_survey) {
        assert_int_equal(v->survey.n_faults, v->n_faults);
        assert_int_equal(v->survey.n_notes, v->n_notes);
    }
}

void verdict_free(struct verdict *v)
{
    for (size_t i = 0; i < v->n; i++)
        bytes_free(&v->findings[i].path);
}

static bool is_same(const struct verdict_finding *a, const struct verdict_finding *b)
{
    return a->is_note == b->is_note && a->offset == b->offset && a->n == b->n &&
           strcmp(a->reason, b->reason) == 0 && a->has_path == b->has_path &&
           a->is_path_cut == b->is_path_cut && a->path.len == b->path.len &&
           (a->path.len == 0 || memcmp(a->path.p, b->path.p, a->path.len) == 0);
}

void verdict_check_same(const struct verdict *a, const struct verdict *b, const char *name)
{
    if (a->result != b->result)
        fail_msg("%s: results %d and %d", name, a->result, b->result);
    if (memcmp(&a->survey, &b->survey, sizeof a->survey) != 0)
        fail_msg("%s: surveys differ", name);
    if (a->n != b->n || a->n_faults != b->n_faults || a->n_notes != b->n_notes)
        fail_msg("%s: %zu findings and %zu", name, a->n, b->n);
    for (size_t i = 0; i < a->n; i++)
        if (!is_same(&a->findings[i], &b->findings[i]))
            fail_msg("%s: finding %zu differs: %s, and %s", name, i, a->findings[i].reason,
                     b->findings[i].reason);
}

const struct verdict_finding *verdict_find(const struct verdict *v, const char *reason)
{
    for (size_t i = 0; i < v->n; i++)
        if (strncmp(v->findings[i].reason, reason, strlen(reason)) == 0)
            return &v->findings[i];
    return NULL;
}

const struct verdict_finding *verdict_first_fault(const struct verdict *v)
{
    for (size_t i = 0; i < v->n; i++)
        if (!v->findings[i].is_note)
            return &v->findings[i];
    return NULL;
}

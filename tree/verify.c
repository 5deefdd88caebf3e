/*
 * verify: see verify.h and act/verify.h.
 */
#include "tree/verify.h"

static int run(struct verify *v)
{
    int r = coverage_init(&v->coverage, v->map->size, &v->scratch);
    if (r != 0)
        return r;
    coverage_populate(&v->coverage);
    r = verify_tick(v);
    if (r == 0)
        r = verify_metadata(v);
    if (r == 0)
        r = verify_walk(v);
    if (r == 0)
        r = verify_end(v);
    if (r == 0)
        r = verify_contents(v);
    return r;
}

static void survey_finish(struct verify *v)
{
    uint64_t known = 0;
    for (unsigned i = 0; i < ACT_N_OBJECTS; i++)
        known += v->survey->bytes[i];
    v->survey->bytes[ACT_OBJECT_UNREACHED] = v->map->size - known;
}

int act_verify(const struct act *tree, const struct act_verify_options *options,
               struct act_survey *ret_survey)
{
    struct verify v = {
        .tree = tree,
        .map = &tree->map,
        .options = options ? *options : (struct act_verify_options){0},
        .survey = ret_survey,
        .tick_bytes = VERIFY_TICK_BYTES,
    };
    uint64_t memory_bytes = v.options.memory_bytes;
    *ret_survey = (struct act_survey){0};
    scratch_init(&v.scratch, memory_bytes > 0 ? memory_bytes : ACT_VERIFY_MEMORY_BYTES,
                 v.options.temporary_directory);
    frames_init(&v.frames, &v.scratch);
    int r = run(&v);
    verify_report_notes(&v);
    survey_finish(&v);
    if (v.options.on_progress && r == 0)
        v.options.on_progress(v.options.context, v.map->size, v.map->size);
    verify_file_deinit(&v);
    verify_report_deinit(&v);
    frames_deinit(&v.frames);
    coverage_deinit(&v.coverage);
    scratch_deinit(&v.scratch);
    return r < 0 ? r : ret_survey->n_faults > 0 ? ACT_CORRUPT : 0;
}

/*
 * engine: see engine.h.
 */
#include "tree/engine.h"

static const struct engine portable = {"portable", get_portable, get_batch_portable};
static const struct engine *const without_avx2[] = {&portable, NULL};

#ifdef ACT_HAS_AVX2

static const struct engine avx2 = {"AVX2", get_avx2, get_batch_avx2};
static const struct engine *const with_avx2[] = {&portable, &avx2, NULL};

const struct engine *const *engine_list(void)
{
    bool has_all = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") &&
                   __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("popcnt");
    return has_all ? with_avx2 : without_avx2;
}

#else

const struct engine *const *engine_list(void)
{
    return without_avx2;
}

#endif

const struct engine *engine_best(void)
{
    const struct engine *const *engine = engine_list();
    while (engine[1])
        engine++;
    return *engine;
}

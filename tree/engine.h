/*
 * engine: the lookup of one key and of many, compiled for what the machine can do.
 *
 * get.c and batch.c are compiled once for every machine of the architecture and, on x86-64, once
 * more for those that have AVX2 and what came with it (BMI, POPCNT): there a byte is found in a set
 * of children by one comparison. The functions are the same in everything else.
 */
#pragma once

#include "act/act.h"
#include "base/slice.h"

struct engine {
    const char *name;
    /* As act_get and act_get_batch. */
    int (*get)(const struct act *tree, struct slice key, uint64_t *ret_value,
               struct act_fault *ret_fault);
    void (*get_batch)(const struct act *tree, const struct act_key *keys, size_t n,
                      struct act_result *ret_results);
};

/* Those that this machine can run, the best one last; NULL ends the list. */
const struct engine *const *engine_list(void);

const struct engine *engine_best(void);

#ifdef ACT_AVX2
#    define ENGINE_NAME(name) name##_avx2
#else
#    define ENGINE_NAME(name) name##_portable
#endif

int get_portable(const struct act *tree, struct slice key, uint64_t *ret_value,
                 struct act_fault *ret_fault);
int get_avx2(const struct act *tree, struct slice key, uint64_t *ret_value,
             struct act_fault *ret_fault);
void get_batch_portable(const struct act *tree, const struct act_key *keys, size_t n,
                        struct act_result *ret_results);
void get_batch_avx2(const struct act *tree, const struct act_key *keys, size_t n,
                    struct act_result *ret_results);

/*
 * verdict: what act_verify says of a tree, kept for a test to look at.
 */
#pragma once

#include "act/verify.h"
#include "bytes.h"

#define VERDICT_MAX 64 /* findings that are kept; all are counted */

struct verdict_finding {
    bool is_note;
    uint64_t offset, n;
    const char *reason;
    bool has_path, is_path_cut;
    struct bytes path; /* owned */
};

struct verdict {
    int result; /* of act_verify */
    struct act_survey survey;
    struct verdict_finding findings[VERDICT_MAX];
    size_t n; /* kept */
    size_t n_faults, n_notes;
    uint64_t last_done, total; /* of on_progress */
};

/* options: its callbacks and context are replaced; NULL: all faults, else the defaults. What holds
 * of any verdict is checked, and ends the test if it does not. */
void verdict_take(struct verdict *verdict, const struct act *tree,
                  const struct act_verify_options *options);
void verdict_free(struct verdict *verdict);

/* Both say the same: survey, findings and their order. If not, the test fails and tells the name.
 */
void verdict_check_same(const struct verdict *a, const struct verdict *b, const char *name);

/* The first finding whose reason begins with these words, or NULL. */
const struct verdict_finding *verdict_find(const struct verdict *verdict, const char *reason);
/* The first fault, or NULL. */
const struct verdict_finding *verdict_first_fault(const struct verdict *verdict);

/*
 * status: the sentence that tells a person how the service is doing; the service manager shows it.
 *
 *     generation 3, 7.3 M keys, 61 % resident, warming 41 % (12 s): /var/lib/actd/tree.act
 *
 * Only what is known is in it, and what is as it should be is not worth a word.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define STATUS_BYTES   2048
#define STATUS_UNKNOWN UINT64_MAX

enum status_round {
    STATUS_NO_ROUND, /* of a reload */
    STATUS_CHECKING,
    STATUS_TAKING, /* workers map it, or switch to it */
};

struct status {
    const char *path;    /* borrowed, as are all texts */
    uint64_t generation; /* that is served: its number; 0: none yet */
    uint64_t n_keys;
    unsigned resident_percent; /* of the file; more than 100: unknown */
    unsigned mapped_percent;   /* what is known instead: what the workers have mapped; likewise */
    unsigned n_serving, n_workers;
    enum status_round round;
    uint64_t checked_bytes, to_check_bytes; /* 0: it does not tell */
    uint64_t warming;                       /* the number of the generation; 0: none */
    uint64_t warm_bytes, to_warm_bytes, eta_ms;
    const char *damage;  /* "", or why queries are refused */
    const char *refusal; /* "", or why the last file was */
};

/* In text, as fits for a line of the manager's protocol: no control bytes, and UTF-8. */
const char *status_format(const struct status *status, char *text, size_t size);
/* Makes it so. */
void status_clean(char *text);

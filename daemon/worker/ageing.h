/*
 * ageing: which pages are in memory is known from looks in the past (act/residency.h), and the
 * kernel takes pages back without a word. So the loop looks again, a bounded number at a time.
 */
#pragma once

#include <stdint.h>

struct worker;

struct ageing {
    struct worker *worker; /* borrowed */
    uint64_t aged_ms;      /* when ageing_run last looked */
    uint64_t doubted;      /* pages that are looked at in a hurry */
    uint64_t doubted_ms;   /* when a fault of the loop last made it doubt all */
    uint64_t seen_faults;  /* of the loop, then */
    uint64_t past_probes;  /* of generations before */
};

/*
 * Looks at some of the pages that are known to be in memory whether they still are: to be called
 * now and then. Some 16 MiB in a quarter of a second; four times as many after a page was found
 * gone, until all were looked at.
 */
void ageing_run(struct ageing *ageing, uint64_t now_ms);

/* After each turn of the loop: if it has had to wait for the disk, nothing is held to be known any
 * more. */
void ageing_after_turn(struct ageing *ageing);

/* Nobody has looked for a while. */
void ageing_doubt(struct ageing *ageing);

/* Before the worker answers from another generation. */
void ageing_switch(struct ageing *ageing);

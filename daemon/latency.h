/*
 * latency: how long requests took, as counts in buckets whose bounds double: written by one
 * process, read by others while it goes on.
 */
#pragma once

#include <stdint.h>

/* Bucket i holds times below 256 ns << i, and not those of the one before it; the last one also all
 * longer ones. */
#define LATENCY_BUCKETS  32
#define LATENCY_LEAST_NS UINT64_C(256)

struct latency {
    uint64_t counts[LATENCY_BUCKETS];
    uint64_t sum_ns;
};

/* n: requests that this one stands for. */
static inline void latency_note(struct latency *latency, uint64_t ns, unsigned n)
{
    uint64_t units = ns / LATENCY_LEAST_NS;
    unsigned bucket = units == 0 ? 0 : 64 - (unsigned)__builtin_clzll(units);
    latency->counts[bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1] += n;
    latency->sum_ns += n * ns;
}

static inline void latency_add(struct latency *sum, const struct latency *other)
{
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
        sum->counts[i] += other->counts[i];
    sum->sum_ns += other->sum_ns;
}

/* The bound of the bucket in which the slowest of that many hundredths lies; 0: nothing was noted.
 */
static inline uint64_t latency_percentile_ns(const struct latency *latency, unsigned percent)
{
    uint64_t n = 0, seen = 0;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
        n += latency->counts[i];
    if (n == 0)
        return 0;
    uint64_t wanted = (n * percent + 99) / 100;
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++)
        if ((seen += latency->counts[i]) >= wanted)
            return LATENCY_LEAST_NS << i;
    return LATENCY_LEAST_NS << (LATENCY_BUCKETS - 1); /* counted meanwhile */
}

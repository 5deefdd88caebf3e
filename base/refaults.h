/*
 * refaults: how often pages of files were read again that the kernel had taken back. Where that
 * goes on, what is used does not fit into memory.
 */
#pragma once

#include <stdint.h>

#define REFAULTS_UNKNOWN UINT64_MAX

/* Where the kernel tells of it. */
struct refaults_places {
    const char *own_cgroups; /* which cgroups we are in */
    const char *cgroups;     /* where they are mounted */
    const char *vmstat;      /* of the whole system */
};
extern const struct refaults_places refaults_kernel;

/*
 * Of our cgroup, with all in it; where none counts memory, of the whole system; REFAULTS_UNKNOWN
 * where the kernel does not tell. The kernel's own count, which began before us. Reads two small
 * files, and the kernel may take a millisecond to add up.
 */
uint64_t refaults_read(const struct refaults_places *places);

/*
 * faults: the nth call of a kind fails. For programs that are linked with fault_wrap_args (see
 * tests/unit/meson.build), which lead the calls of what is linked statically here.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

enum fault {
    FAULT_MEMORY, /* malloc and all that take memory as it does: ENOMEM */
    FAULT_MAP,    /* mmap: ENOMEM */
    FAULT_OPEN,   /* open, openat, mkostemp: EMFILE */
    FAULT_STAT,   /* fstat: EIO */
    FAULT_READ,   /* pread: EIO */
    FAULT_WRITE,  /* pwrite, ftruncate: ENOSPC */
    FAULT_SYNC,   /* fsync: EIO */
    FAULT_NAME,   /* linkat, renameat: EACCES */
    FAULT_MODE,   /* fchmod: EPERM */
    FAULT_KINDS
};

/* Begins counting; the nth call of that kind (from 1 on) fails. */
void faults_arm(enum fault kind, uint64_t nth);

/* Ends counting. Has a call failed? */
bool faults_disarm(void);

/* The errno that calls of that kind fail with. */
int fault_error(enum fault kind);

/* From now on a file without a name cannot be had, as on many a file system. */
void faults_set_named(bool is_named);

/* From now on reads and writes end after at most so many bytes, every second one with EINTR first.
 * 0: as usual. */
void faults_set_short(unsigned bytes);

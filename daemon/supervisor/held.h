/*
 * held: a generation's file, kept open for workers that start later, and for a warm-up.
 */
#pragma once

#include "daemon/generation.h"

struct held {
    struct generation generation; /* number 0: none */
    int fd;                       /* owned; -1: none */
};

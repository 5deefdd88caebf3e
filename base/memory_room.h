/*
 * memory_room: how much more this process may have the kernel keep in memory, without anybody
 * having to swap or die.
 */
#pragma once

#include <stdint.h>

/*
 * What the machine has available, or what the cgroup of this process, or one above it, has
 * left of its limits, whichever is less. Pages of files count as room: the kernel gives them back
 * first. UINT64_MAX: not known.
 */
uint64_t memory_room_bytes(void);

/* The same for tests, with that path before /proc and /sys. */
uint64_t memory_room_below(const char *root);

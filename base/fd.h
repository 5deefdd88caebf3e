/*
 * fd: descriptors that close themselves at the end of a scope, and small-file reading.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/* Closes *fd if it is one and sets it to -1; errno stays as it was. */
void fd_closep(int *fd);

/* int with_close fd = -1; take it out with fd_take() before the scope ends to keep it open. */
#define with_close __attribute__((cleanup(fd_closep)))

static inline int fd_take(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

/* Reads at most size - 1 bytes of the file at path and ends them with NUL. For files in /proc:
 * one open, one read, no allocation. Result: bytes read, or -errno. */
ssize_t fd_read_file(const char *path, char *text, size_t size);

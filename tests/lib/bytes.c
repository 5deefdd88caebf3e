/*
 * bytes: see bytes.h.
 */
#include "bytes.h"

#include <ctype.h>
#include <err.h>
#include <stdio.h>
#include <stdlib.h>

#define PATH_MAX_BYTES 4096

struct bytes bytes_copy(const void *p, size_t len)
{
    struct bytes bytes = {.p = malloc(len ? len : 1), .len = len};
    if (!bytes.p)
        err(2, "malloc");
    if (len > 0)
        memcpy(bytes.p, p, len);
    return bytes;
}

static unsigned hex_digit(char c)
{
    if (!isxdigit((unsigned char)c))
        errx(2, "not a hex digit: %c", c);
    return c <= '9' ? (unsigned)c - '0' : ((unsigned)c | 0x20) - 'a' + 10;
}

struct bytes bytes_from_hex(const char *hex)
{
    uint8_t *p = malloc(strlen(hex) / 2 + 1);
    size_t len = 0;
    if (!p)
        err(2, "malloc");
    while (*(hex += strspn(hex, " |\n"))) {
        p[len++] = (uint8_t)(hex_digit(hex[0]) << 4 | hex_digit(hex[1]));
        hex += 2;
    }
    struct bytes bytes = bytes_copy(p, len);
    free(p);
    return bytes;
}

struct bytes bytes_read_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) < 0)
        err(2, "%s", path);
    long size = ftell(f);
    rewind(f);
    struct bytes bytes = {.p = malloc(size > 0 ? (size_t)size : 1), .len = (size_t)size};
    if (!bytes.p || fread(bytes.p, 1, bytes.len, f) != bytes.len)
        err(2, "%s", path);
    fclose(f);
    return bytes;
}

void bytes_free(struct bytes *bytes)
{
    free(bytes->p);
    *bytes = (struct bytes){0};
}

const char *test_data_path(const char *name)
{
    static char path[PATH_MAX_BYTES];
    const char *dir = getenv("ACTD_TEST_DATA");
    if (!dir)
        errx(2, "ACTD_TEST_DATA does not name the directory tests/data");
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

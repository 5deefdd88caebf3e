/*
 * probe: see probe.h.
 */
#include "probe.h"

#include <err.h>
#include <stdlib.h>

static const uint8_t appended[] = {0x00, 0x01, 0x20, 'a', 0xff};
static const uint8_t flipped[] = {0x01, 0x80};

static struct bytes extend(struct slice key, uint8_t byte)
{
    struct bytes longer = {.p = malloc(key.len + 1), .len = key.len + 1};
    if (!longer.p)
        err(2, "malloc");
    if (key.len > 0)
        memcpy(longer.p, key.p, key.len);
    longer.p[key.len] = byte;
    return longer;
}

/* i: 0 to 5, two changes at each of the three places. */
static struct bytes change(struct slice key, unsigned i)
{
    struct bytes changed = bytes_copy(key.p, key.len);
    const size_t places[] = {0, key.len / 2, key.len - 1};
    if (key.len > 0)
        changed.p[places[i / 2]] ^= flipped[i % 2];
    return changed;
}

struct bytes probe_of(struct slice key, unsigned i)
{
    if (i == 0)
        return bytes_copy(key.p, key.len);
    if (i == 1)
        return bytes_copy(key.p, key.len > 0 ? key.len - 1 : 0);
    if (i < 2 + sizeof appended)
        return extend(key, appended[i - 2]);
    return change(key, i - 2 - (unsigned)sizeof appended);
}

/*
 * dispatch_input: see dispatch_input.h.
 */
#include "dispatch_input.h"

#define KEPT_MAX ((size_t)4 << 20)

static struct {
    uint8_t bytes[KEPT_MAX];
    size_t used;
} kept;

void input_forget(void)
{
    kept.used = 0;
}

/* Room for len bytes at least; with none left, for none. */
static uint8_t *keep_room(size_t *len)
{
    if (*len > KEPT_MAX - kept.used)
        *len = 0;
    uint8_t *p = kept.bytes + kept.used;
    kept.used += *len;
    return p;
}

struct slice input_keep(struct slice bytes)
{
    uint8_t *p = keep_room(&bytes.len);
    if (bytes.len > 0)
        memcpy(p, bytes.p, bytes.len);
    return slice_of(p, bytes.len);
}

uint8_t input_byte(struct input *input)
{
    if (input->rest.len == 0)
        return 0;
    uint8_t byte = input->rest.p[0];
    input->rest = slice_of(input->rest.p + 1, input->rest.len - 1);
    return byte;
}

unsigned input_u16(struct input *input)
{
    unsigned low = input_byte(input);
    return low | (unsigned)input_byte(input) << 8;
}

struct slice input_bytes(struct input *input, size_t len)
{
    if (len > input->rest.len)
        len = input->rest.len;
    struct slice bytes = slice_of(input->rest.p, len);
    input->rest = slice_of(input->rest.p + len, input->rest.len - len);
    return bytes;
}

/*
 * Keys.
 */

/* The first len bytes of key and then more. */
static struct slice join(struct slice key, size_t len, struct slice more)
{
    size_t room = len + more.len;
    uint8_t *p = keep_room(&room);
    if (room < len + more.len)
        return slice_of(p, 0);
    if (len > 0)
        memcpy(p, key.p, len);
    if (more.len > 0)
        memcpy(p + len, more.p, more.len);
    return slice_of(p, room);
}

static struct slice tree_key(struct input *input)
{
    unsigned index = input_u16(input);
    const struct oracle *oracle = &input->tree->oracle;
    return oracle->n > 0 ? oracle->entries[index % oracle->n].key : slice_of("k", 1);
}

/* So many times a byte: about as long as a key may be. */
static struct slice long_key(struct input *input, unsigned which)
{
    size_t len = which < 3 ? input->max_key_bytes - 1 + which : (size_t)which * which;
    uint8_t byte = input_byte(input);
    uint8_t *p = keep_room(&len);
    if (len > 0)
        memset(p, byte, len);
    return slice_of(p, len);
}

static struct slice input_key(struct input *input)
{
    uint8_t kind = input_byte(input);
    struct slice key, none = slice_of(NULL, 0);
    uint8_t byte;
    switch (kind & 7) {
    case 0:
    case 1:
        return tree_key(input);
    case 2: /* its beginning */
        key = tree_key(input);
        return join(key, input_byte(input) % (key.len + 1), none);
    case 3: /* another end */
        key = tree_key(input);
        byte = input_byte(input);
        return join(key, key.len > 0 ? key.len - 1 : 0, slice_of(&byte, 1));
    case 4: /* something behind it */
        key = tree_key(input);
        return join(key, key.len, input_bytes(input, (kind >> 3) % 4));
    case 5: /* its beginning, and something else */
        key = tree_key(input);
        byte = input_byte(input);
        return join(key, byte % (key.len + 1), input_bytes(input, (kind >> 3) % 4));
    case 6:
        return input_keep(input_bytes(input, kind >> 3));
    default:
        return kind >> 3 < 16 ? join(none, 0, none) : long_key(input, (kind >> 3) - 16);
    }
}

/*
 * Options.
 */

static uint64_t input_number(struct input *input)
{
    uint8_t byte = input_byte(input);
    if (byte < 100)
        return (uint64_t)byte + 1;
    if (byte < 150)
        return (uint64_t)(byte - 99) * 100;
    if (byte < 200)
        return UINT64_C(1) << (byte - 150);
    return byte == 200 ? 0 : byte == 201 ? UINT64_MAX : (uint64_t)(byte - 200);
}

/* Nobody has given it: a direction, an identity, a position. */
static struct slice made_cursor(struct input *input)
{
    uint8_t head[9] = {0};
    head[0] = input_byte(input) % 4;
    memset(head + 1, input_byte(input), 8);
    struct slice position = input_key(input);
    return join(slice_of(head, 9), 9, position);
}

static struct slice changed_cursor(struct input *input, struct slice cursor, unsigned how)
{
    uint8_t at = input_byte(input), byte;
    if (how == 0)
        return join(cursor, at % (cursor.len + 1), slice_of(NULL, 0));
    byte = input_byte(input);
    if (how == 1 || cursor.len == 0)
        return join(cursor, cursor.len, slice_of(&byte, 1));
    struct slice changed = join(cursor, cursor.len, slice_of(NULL, 0));
    if (changed.len > 0)
        kept.bytes[(size_t)(changed.p - kept.bytes) + at % changed.len] ^= byte;
    return changed;
}

static const struct seen_cursor *pick_cursor(struct input *input, unsigned which)
{
    unsigned n = input->n_seen < CURSORS_MAX ? input->n_seen : CURSORS_MAX;
    return n > 0 ? &input->cursors[which % n] : NULL;
}

static struct slice input_cursor(struct input *input)
{
    uint8_t byte = input_byte(input);
    const struct seen_cursor *seen = pick_cursor(input, byte & 7);
    unsigned how = byte >> 3 & 7;
    if (how == 7)
        return slice_of(NULL, 0);
    if (!seen || how == 6)
        return made_cursor(input);
    return how < 3 ? seen->cursor : changed_cursor(input, seen->cursor, how - 3);
}

static void input_options(struct input *input, struct query *query)
{
    query->options = input_byte(input);
    query->options &= query_allowed(query);
    if (query->options & QUERY_BIT(LIMIT))
        query->limit = input_number(input);
    if (query->options & QUERY_BIT(MAX_BYTES))
        query->max_bytes = input_number(input);
    if (query->options & QUERY_BIT(MAX_VISITED_NODES))
        query->max_visited = input_number(input);
    unsigned flags = query->options ? input_byte(input) : 0;
    query->reverse = flags & 1;
    query->keys_only = flags & 2;
    query->errors = !(flags & 4);
    if (query->options & QUERY_BIT(CURSOR))
        query->cursor = input_cursor(input);
    if (!(query->options & QUERY_BIT(CURSORS)))
        return;
    query->n_cursors = flags >> 5 == 7 ? (flags >> 3) % QUERY_KEYS_MAX : query->n_keys;
    for (size_t i = 0; i < query->n_cursors; i++)
        query->cursors[i] = input_cursor(input);
}

/* Of a generation that there is, as a rule. */
static void input_identity(struct input *input, struct query *query)
{
    uint8_t which = input_byte(input);
    query->is_identity_text = which & 4;
    query->identity = input->identities[which & 1];
    if (which >= 240)
        query->identity += (uint64_t)which - 247;
}

void input_query(struct input *input, enum method_id method, struct query *ret)
{
    uint8_t flags = input_byte(input);
    *ret = (struct query){.method = method, .is_list = flags & 1, .is_text = flags & 2};
    query_settle(ret);
    if (ret->is_list)
        ret->n_keys = input_byte(input) % (QUERY_KEYS_MAX + 1);
    for (size_t i = 0; i < ret->n_keys; i++)
        ret->keys[i] = input_key(input);
    if (method == METHOD_range && flags & 4)
        ret->keys[0] = slice_of(NULL, 0);
    if (method == METHOD_range && flags & 8)
        ret->keys[1] = slice_of(NULL, 0);
    if (method == METHOD_hello && flags & 4) {
        ret->has_hello_options = true;
        ret->errors_as_string = flags & 8;
        ret->u64_as_string = flags & 16;
    }
    if (query_allowed(ret) != 0)
        input_options(input, ret);
    if (flags & 16 && query_allowed(ret) & QUERY_BIT(PIN))
        ret->options |= QUERY_BIT(PIN);
    if (ret->options & QUERY_BIT(PIN) || method == METHOD_wait_generation)
        input_identity(input, ret);
    if (method == METHOD_wait_generation)
        ret->timeout_ms = flags & 4 ? input_number(input) : 0;
    if (flags >> 5 == 7) {
        ret->flaw = input_byte(input) % QUERY_FLAWS;
        ret->flaw_at = input_byte(input);
    }
    query_settle(ret);
}

bool input_next_page(struct input *input, struct query *ret)
{
    uint8_t byte = input_byte(input);
    const struct seen_cursor *seen = pick_cursor(input, byte & 7);
    if (!seen)
        return false;
    *ret = seen->query;
    if (ret->method == METHOD_mscan) {
        ret->options |= QUERY_BIT(CURSORS);
        ret->n_cursors = ret->n_keys;
        memset(ret->cursors, 0, sizeof ret->cursors);
        ret->cursors[seen->index] = seen->cursor;
    } else {
        ret->options |= QUERY_BIT(CURSOR);
        ret->cursor = seen->cursor;
    }
    if (byte & 8) {
        ret->options |= QUERY_BIT(LIMIT);
        ret->limit = input_number(input);
    }
    if (byte & 16)
        ret->options &= ~QUERY_BIT(MAX_BYTES);
    return true;
}

void input_see_cursor(struct input *input, const struct query *query, size_t index,
                      struct slice cursor)
{
    struct seen_cursor *seen = &input->cursors[input->n_seen++ % CURSORS_MAX];
    *seen = (struct seen_cursor){.cursor = input_keep(cursor), .query = *query, .index = index};
}

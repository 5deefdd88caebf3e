/*
 * answer: what a server says of keys, whatever kind its values are. (The library's typed calls take
 * numbers only.)
 */
#pragma once

#include "actc/actc.h"

#include <stdbool.h>

struct answer {
    const msgpack_object *value; /* of the reply; NULL: the key could not be looked up */
    uint32_t error_number;       /* then: the server's, 0 if it gave none */
};

/* What an answer is that actd does not give: fills *ret_error. ACTC_BAD_REPLY. */
int answer_bad(const struct actc *client, const char *method, struct actc_error *ret_error);

/* Of mget with {"errors": true}, n of them. false: not what actd answers. */
bool answer_read_list(const msgpack_object *result, size_t n, struct answer *ret_answers);

/* Of node; *ret_node and *ret_value (nil if it has none) only if it exists. false: likewise. */
bool answer_read_node(const msgpack_object *result, bool *ret_exists, struct actc_node *ret_node,
                      const msgpack_object **ret_value);

/*
 * errors: see errors.h.
 */
#include "proto/errors.h"

#include <assert.h>

const char *proto_error_name(enum proto_error error)
{
    switch (error) {
#define X(name, number, meaning) \
    case PROTO_##name:           \
        return #name;
        PROTO_ERRORS(X)
#undef X
    case PROTO_OK:
        break;
    }
    assert(0 && "not an error");
    return "";
}

/*
 * pin: see pin.h.
 */
#include "client/actctl/pin.h"

#include "proto/errors.h"
#include "proto/request.h"

#include <errno.h>
#include <stdio.h>

static int pack_text(msgpack_packer *packer, const char *text)
{
    return msgpack_pack_str_with_body(packer, text, strlen(text));
}

/* [key, {"pin": N}], or [[key], {"errors": true, "pin": N}] */
static int pack(msgpack_packer *packer, struct slice key, bool is_list, uint64_t pin)
{
    int r = msgpack_pack_array(packer, 2);
    if (r == 0 && is_list)
        r = msgpack_pack_array(packer, 1);
    if (r == 0)
        r = msgpack_pack_bin_with_body(packer, key.p, key.len);
    if (r == 0)
        r = msgpack_pack_map(packer, is_list ? 2 : 1);
    if (r == 0 && is_list)
        r = pack_text(packer, "errors");
    if (r == 0 && is_list)
        r = msgpack_pack_true(packer);
    if (r == 0)
        r = pack_text(packer, "pin");
    return r != 0 ? r : msgpack_pack_uint64(packer, pin);
}

static int send_pinned(const struct actctl *ctl, const char *method, struct slice key, bool is_list,
                       uint32_t *ret_call, struct actc_error *ret_error)
{
    msgpack_sbuffer params;
    msgpack_packer packer;
    msgpack_sbuffer_init(&params);
    msgpack_packer_init(&packer, &params, msgpack_sbuffer_write);
    int r = pack(&packer, key, is_list, ctl->pin) == 0 ? 0 : -ENOMEM;
    if (r == 0)
        r = actc_send(ctl->client, method, params.data, params.size, ret_call, ret_error);
    else
        snprintf(ret_error->message, sizeof ret_error->message, "out of memory");
    msgpack_sbuffer_destroy(&params);
    return r;
}

/* {"values": [X], "errors": []}: X; NULL: it is none of that. */
static const msgpack_object *only_value(const msgpack_object *result, bool *ret_has_error)
{
    if (result->type != MSGPACK_OBJECT_MAP)
        return NULL;
    const msgpack_object *values = param_option(result, "values");
    const msgpack_object *errors = param_option(result, "errors");
    if (!values || values->type != MSGPACK_OBJECT_ARRAY || values->via.array.size != 1 || !errors ||
        errors->type != MSGPACK_OBJECT_ARRAY)
        return NULL;
    *ret_has_error = errors->via.array.size > 0;
    return values->via.array.ptr;
}

int pin_send_prefix(const struct actctl *ctl, const char *method, struct slice prefix,
                    uint32_t *ret_call, struct actc_error *ret_error)
{
    if (ctl->is_pinned)
        return send_pinned(ctl, method, prefix, false, ret_call, ret_error);
    return actc_send_key(ctl->client, method, prefix.p, prefix.len, ret_call, ret_error);
}

int pin_send_key(const struct actctl *ctl, const char *method, struct slice key, uint32_t *ret_call,
                 struct actc_error *ret_error)
{
    if (ctl->is_pinned)
        return send_pinned(ctl, method, key, true, ret_call, ret_error);
    return actc_send_key(ctl->client, method, key.p, key.len, ret_call, ret_error);
}

int pin_wait_key(const struct actctl *ctl, const char *method, uint32_t call,
                 struct actc_reply **ret_reply, const msgpack_object **ret_result,
                 struct actc_error *ret_error)
{
    struct actc_reply *reply;
    bool has_error = false;
    int r = actc_wait(ctl->client, call, &reply, ret_error);
    if (r != 0)
        return r;
    const msgpack_object *result = actc_reply_result(reply);
    if (ctl->is_pinned)
        result = only_value(result, &has_error);
    if (result && !has_error) {
        *ret_reply = reply;
        *ret_result = result;
        return 0;
    }
    /* What a list tells of one of its keys is that the tree is damaged there. */
    ret_error->number = has_error ? PROTO_CORRUPT : 0;
    snprintf(ret_error->message, sizeof ret_error->message, "%s: %s: %s", actc_address(ctl->client),
             method,
             has_error ? "CORRUPT: the tree is damaged on this key's path"
                       : "the result is not of the type that actd gives: is this server actd, "
                         "and not newer than this client?");
    actc_reply_free(reply);
    return has_error ? ACTC_ERROR : ACTC_BAD_REPLY;
}

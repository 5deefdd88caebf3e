/*
 * params: see params.h.
 */
#include "client/params.h"

#include "client/error.h"

#include <errno.h>

static int on_bytes(void *context, const char *p, size_t len)
{
    return buf_append(context, p, len);
}

int params_check(const struct actc *client, const struct actc_bytes *bytes, size_t n,
                 struct actc_error *ret_error)
{
    bool is_fine = n <= UINT32_MAX;
    for (size_t i = 0; i < n && is_fine; i++)
        is_fine = bytes[i].len <= UINT32_MAX;
    return is_fine ? 0 : error_set(ret_error, -EMSGSIZE, client->server.text, "a key is too long");
}

void params_begin(struct actc *client, msgpack_packer *ret_packer)
{
    msgpack_packer_init(ret_packer, &client->scratch, on_bytes);
}

int params_pack_bytes(msgpack_packer *packer, struct actc_bytes bytes)
{
    return msgpack_pack_bin_with_body(packer, bytes.p, bytes.len);
}

int params_pack_text(msgpack_packer *packer, const char *text)
{
    return msgpack_pack_str_with_body(packer, text, strlen(text));
}

int params_pack_pin(msgpack_packer *packer, const uint64_t *pin)
{
    int r = params_pack_text(packer, "pin");
    return r != 0 ? r : msgpack_pack_uint64(packer, *pin);
}

int params_send(struct actc *client, const char *method, int failure, uint32_t *ret_call,
                struct actc_error *ret_error)
{
    struct slice params = buf_content(&client->scratch);
    int r = failure != 0 ? error_set(ret_error, -ENOMEM, client->server.text, "out of memory")
                         : actc_send(client, method, params.p, params.len, ret_call, ret_error);
    buf_release(&client->scratch);
    return r;
}

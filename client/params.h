/*
 * params: the parameters of a call, packed into the client's scratch buffer.
 *
 * params_begin, the packer's calls or-ed or in turn, params_send.
 */
#pragma once

#include "client/client.h"

/* Can n byte strings be packed? Their lengths take 32 bits. 0, or -EMSGSIZE with *ret_error. */
int params_check(const struct actc *client, const struct actc_bytes *bytes, size_t n,
                 struct actc_error *ret_error);

/* A packer into the scratch buffer, which is empty. */
void params_begin(struct actc *client, msgpack_packer *ret_packer);

/* Packs what its name says. 0, or what the packer gave. */
int params_pack_bytes(msgpack_packer *packer, struct actc_bytes bytes);
int params_pack_text(msgpack_packer *packer, const char *text);

/* Packs a member "pin" of a map of options. pin: not NULL. 0, or what the packer gave. */
int params_pack_pin(msgpack_packer *packer, const uint64_t *pin);

/* actc_send with what was packed, if that did not fail (failure is 0); the buffer is empty then. */
int params_send(struct actc *client, const char *method, int failure, uint32_t *ret_call,
                struct actc_error *ret_error);

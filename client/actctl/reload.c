/*
 * reload: has actd serve the file that is now at its path, and tells what became of it.
 *
 * actd answers when all of its workers serve the file, or when it has refused it. With --wait the
 * same is then seen from the side of its clients.
 */
#include "base/clock.h"
#include "client/actctl/admin.h"
#include "client/actctl/output.h"
#include "client/actctl/text.h"
#include "proto/request.h"

#include <inttypes.h>

/* The server waits so long at a time, if it does not allow less: in between is seen whether what is
 * waited for has been replaced, and will never come. */
#define WAIT_MS 10000

static uint64_t left_ms(uint64_t deadline_ms)
{
    uint64_t now_ms = clock_ms();
    return deadline_ms > now_ms ? deadline_ms - now_ms : 0;
}

/* A number of 0 to 2^64-1. */
static bool read_u64(struct json_object *json, const char *name, uint64_t *ret_number)
{
    struct json_object *member = json_object_object_get(json, name);
    if (!json_object_is_type(member, json_type_int))
        return false;
    *ret_number = json_object_get_uint64(member);
    return *ret_number != 0 || json_object_get_int64(member) == 0; /* of a negative one it is 0 */
}

static const char *read_text(struct json_object *json, const char *name)
{
    struct json_object *member = json_object_object_get(json, name);
    return json_object_is_type(member, json_type_string) ? json_object_get_string(member) : NULL;
}

/* json: may be NULL. */
static bool read_generation(struct json_object *json, struct actc_generation *ret_generation)
{
    return json_object_is_type(json, json_type_object) &&
           read_u64(json, "number", &ret_generation->number) &&
           read_u64(json, "identity", &ret_generation->identity);
}

static int fail_reply(const struct actctl *ctl, long status)
{
    return session_error(ctl, STATUS_FAILED,
                         "%s: HTTP %ld, and nothing that actd would say: is this actd's admin "
                         "endpoint, and not older or newer than this actctl?",
                         ctl->admin, status);
}

static int print_done(const struct actctl *ctl, struct json_object *json,
                      struct actc_generation *ret_generation)
{
    uint64_t size_bytes;
    const char *path = read_text(json, "path");
    if (!read_generation(json_object_object_get(json, "generation"), ret_generation) || !path ||
        !read_u64(json, "size_bytes", &size_bytes))
        return fail_reply(ctl, 200);
    if (!ctl->is_json) {
        printf("generation %" PRIu64 " (identity %" PRIu64 "): ", ret_generation->number,
               ret_generation->identity);
        text_write(stdout, slice_of_str(path), ctl->text_flags);
        printf(", %" PRIu64 " bytes\n", size_bytes);
    }
    return STATUS_FOUND;
}

static int tell_refusal(const struct actctl *ctl, struct json_object *json)
{
    struct json_object *serving = json_object_object_get(json, "serving");
    struct actc_generation generation;
    const char *reason = read_text(json, "error");
    const char *damage = serving ? read_text(serving, "damage") : NULL;
    if (!reason)
        return fail_reply(ctl, 409);
    if (!read_generation(serving, &generation))
        return session_error(ctl, STATUS_FAULTS, "refused: %s; nothing is served", reason);
    return session_error(
        ctl, STATUS_FAULTS, "refused: %s; generation %" PRIu64 " (identity %" PRIu64 ") %s%s",
        reason, generation.number, generation.identity,
        damage ? "stays, and is damaged itself: " : "is still served", damage ? damage : "");
}

static int tell_failure(const struct actctl *ctl, const struct admin_reply *reply)
{
    const char *reason = reply->json ? read_text(reply->json, "error") : NULL;
    if (reply->status == 404 || reply->status == 405)
        return session_error(ctl, STATUS_FAILED, "%s: HTTP %ld: is actd older than this actctl?",
                             ctl->admin, reply->status);
    if (!reason)
        return fail_reply(ctl, reply->status);
    return session_error(ctl, STATUS_FAILED, "%s: HTTP %ld: %s", ctl->admin, reply->status, reason);
}

static int tell(const struct actctl *ctl, const struct admin_reply *reply,
                struct actc_generation *ret_generation)
{
    int status;
    if (reply->status == 200 && reply->json)
        status = print_done(ctl, reply->json, ret_generation);
    else if (reply->status == 409 && reply->json)
        status = tell_refusal(ctl, reply->json);
    else
        status = tell_failure(ctl, reply);
    if (ctl->is_json && reply->json)
        output_json(json_object_get(reply->json));
    fflush(stdout); /* --wait may take its time; main tells if it failed */
    return status;
}

/* How long the server may be asked to wait at a time. */
static int ask_max_wait(const struct actctl *ctl, uint64_t *ret_ms)
{
    struct actc_reply *reply;
    struct actc_error error;
    int r = actc_call(ctl->client, "hello", NULL, 0, &reply, &error);
    if (r != 0)
        return session_fail(ctl, NULL, r, &error);
    const msgpack_object *hello = actc_reply_result(reply);
    const msgpack_object *limits =
        hello->type == MSGPACK_OBJECT_MAP ? param_option(hello, "limits") : NULL;
    const msgpack_object *max =
        limits && limits->type == MSGPACK_OBJECT_MAP ? param_option(limits, "max_wait_ms") : NULL;
    bool has_max = max && max->type == MSGPACK_OBJECT_POSITIVE_INTEGER && max->via.u64 < WAIT_MS;
    *ret_ms = has_max ? max->via.u64 : WAIT_MS;
    actc_reply_free(reply);
    return STATUS_FOUND;
}

/* After the server has not served it in time: STATUS_FOUND if it still may. */
static int see_what_is_served(const struct actctl *ctl, const struct actc_generation *wanted,
                              uint64_t deadline_ms)
{
    struct actc_error error;
    struct actc_generation served;
    int r = actc_generation(ctl->client, &served, &error);
    if (r != 0)
        return session_fail(ctl, NULL, r, &error);
    if (served.number > wanted->number && served.identity != wanted->identity)
        return session_error(ctl, STATUS_FAULTS,
                             "%s: not generation %" PRIu64 " is served, but %" PRIu64
                             " (identity %" PRIu64 "): was it replaced meanwhile, or is this "
                             "another server's address?",
                             ctl->address, wanted->number, served.number, served.identity);
    if (left_ms(deadline_ms) == 0)
        return session_error(ctl, STATUS_FAILED,
                             "%s: generation %" PRIu64 " is not served everywhere yet, but %" PRIu64
                             ": is this the same server's address? --timeout allows more",
                             ctl->address, wanted->number, served.number);
    return STATUS_FOUND;
}

static int wait_served(const struct actctl *ctl, const struct actc_generation *wanted,
                       uint64_t deadline_ms)
{
    struct actc_error error;
    uint64_t max_ms = 0;
    int status = ask_max_wait(ctl, &max_ms);
    while (status == STATUS_FOUND) {
        uint64_t left = left_ms(deadline_ms);
        int r = actc_wait_generation(ctl->client, wanted->identity,
                                     (uint32_t)(left < max_ms ? left : max_ms), &error);
        if (r == 0)
            return STATUS_FOUND;
        if (r != ACTC_MISS)
            return session_fail(ctl, NULL, r, &error);
        status = see_what_is_served(ctl, wanted, deadline_ms);
    }
    return status;
}

/* Connects anew: actd may have taken its time, and close what is idle. */
static int reopen(struct actctl *ctl)
{
    actc_close(ctl->client);
    ctl->client = NULL;
    return session_open(ctl);
}

int command_reload(struct actctl *ctl, char **args, size_t n_args)
{
    (void)args;
    (void)n_args;
    struct admin_reply reply = {0};
    struct actc_generation generation = {0};
    uint64_t deadline_ms = ctl->timeout_s ? clock_ms() + ctl->timeout_s * 1000 : UINT64_MAX;
    /* An address that is wrong is found before anything is done. */
    int status = ctl->is_waiting ? session_open(ctl) : STATUS_FOUND;
    if (status == STATUS_FOUND)
        status = admin_post(ctl, "/reload", ctl->timeout_s * 1000, "actd is looking at the file",
                            &reply);
    if (status == STATUS_FOUND)
        status = tell(ctl, &reply, &generation);
    if (status == STATUS_FOUND && ctl->is_waiting)
        status = reopen(ctl);
    if (status == STATUS_FOUND && ctl->is_waiting)
        status = wait_served(ctl, &generation, deadline_ms);
    json_object_put(reply.json);
    return status;
}

/*
 * watch: a line for each generation that the server serves, as it comes.
 */
#include "client/actctl/output.h"

#include <errno.h>
#include <inttypes.h>

/* A server that vanished is noticed within this and --timeout-ms; and the connection is not idle.
 */
#define PING_INTERVAL_MS 30000

static int print(struct actctl *ctl, const struct actc_generation *generation)
{
    if (ctl->is_json) {
        struct json_object *json = json_object_new_object();
        json_object_object_add(json, "number", output_json_u64(generation->number));
        json_object_object_add(json, "identity", output_json_u64(generation->identity));
        output_json(json);
    } else {
        printf("generation %" PRIu64 " identity %" PRIu64 "\n", generation->number,
               generation->identity);
    }
    if (fflush(stdout) == 0)
        return STATUS_FOUND;
    ctl->output_error = -errno; /* main tells */
    return STATUS_FAILED;
}

int command_watch(struct actctl *ctl, char **args, size_t n_args)
{
    (void)args;
    (void)n_args;
    struct actc_error error;
    int status = session_open(ctl);
    if (status != STATUS_FOUND)
        return status;
    int r = actc_watch(ctl->client, &error);
    for (uint64_t n = 0; r == 0 && status == STATUS_FOUND && (ctl->limit == 0 || n < ctl->limit);) {
        struct actc_generation generation;
        r = actc_next_generation(ctl->client, PING_INTERVAL_MS, &generation, &error);
        if (r == 0) {
            status = print(ctl, &generation);
            n++;
        } else if (r == ACTC_TIMEOUT) {
            r = actc_ping(ctl->client, &error);
        }
    }
    return r == 0 ? status : session_fail(ctl, NULL, r, &error);
}

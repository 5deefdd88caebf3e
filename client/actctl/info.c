/*
 * info, stats, ping: questions about the server. (info about a file: survey.c.)
 */
#include "client/actctl/output.h"
#include "client/actctl/survey.h"

static int ask(struct actctl *ctl, const char *method)
{
    struct actc_reply *reply;
    struct actc_error error;
    int status = session_open(ctl);
    if (status != STATUS_FOUND)
        return status;
    int r = actc_call(ctl->client, method, NULL, 0, &reply, &error);
    if (r != 0)
        return session_fail(ctl, NULL, r, &error);
    const msgpack_object *result = actc_reply_result(reply);
    if (ctl->is_json) {
        output_json(output_json_result(result));
    } else if (result->type == MSGPACK_OBJECT_MAP) {
        output_map(ctl, result);
    } else {
        output_result(ctl, stdout, result);
        putchar('\n');
    }
    actc_reply_free(reply);
    return STATUS_FOUND;
}

int command_info(struct actctl *ctl, char **args, size_t n_args)
{
    return n_args > 0 ? survey_print(ctl, args[0]) : ask(ctl, "info");
}

int command_stats(struct actctl *ctl, char **args, size_t n_args)
{
    (void)args;
    (void)n_args;
    return ask(ctl, "stats");
}

int command_ping(struct actctl *ctl, char **args, size_t n_args)
{
    (void)args;
    (void)n_args;
    return ask(ctl, "ping");
}

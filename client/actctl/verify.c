/*
 * verify: is every byte of a file as the format wants it?
 *
 * What is found is printed as it comes: a damaged file may have millions of faults.
 */
#include "client/actctl/output.h"
#include "client/actctl/progress.h"
#include "client/actctl/text.h"

#include <act/verify.h>

#include <inttypes.h>

struct verify {
    struct actctl *ctl;
    const char *path;
    struct progress progress;
    uint64_t n_printed; /* findings */
};

static void write_path(const struct actctl *ctl, const struct act_finding *finding)
{
    fputs(finding->path_len > 0 ? "" : "the root", stdout);
    output_key(ctl, stdout, slice_of(finding->path, finding->path_len));
    fputs(finding->is_path_cut ? "...: " : ": ", stdout);
}

static void print_text(const struct verify *verify, const struct act_finding *finding)
{
    char n[TEXT_GROUPED_SIZE];
    text_write(stdout, slice_of_str(verify->path), verify->ctl->text_flags);
    printf(": %soffset %" PRIu64 ": ", finding->is_note ? "note: " : "", finding->offset);
    if (finding->has_path)
        write_path(verify->ctl, finding);
    fputs(finding->reason, stdout);
    if (finding->n > 1)
        printf(" (the first of %s)", text_grouped(finding->n, n));
    putchar('\n');
}

/* The object of --json is printed in parts: this is one of its list. */
static void print_json(const struct verify *verify, const struct act_finding *finding)
{
    struct json_object *json = json_object_new_object();
    json_object_object_add(json, "kind", output_json_text(finding->is_note ? "note" : "fault"));
    json_object_object_add(json, "offset", output_json_u64(finding->offset));
    json_object_object_add(
        json, "path",
        finding->has_path ? output_json_key(verify->ctl, slice_of(finding->path, finding->path_len))
                          : NULL);
    json_object_object_add(json, "path_is_cut", output_json_bool(finding->is_path_cut));
    json_object_object_add(json, "reason", output_json_text(finding->reason));
    json_object_object_add(json, "count", output_json_u64(finding->n));
    putchar(verify->n_printed > 0 ? ',' : '[');
    output_json_part(json);
}

static void on_finding(void *context, const struct act_finding *finding)
{
    struct verify *verify = context;
    progress_clear(&verify->progress);
    if (verify->ctl->is_json)
        print_json(verify, finding);
    else
        print_text(verify, finding);
    verify->n_printed++;
}

static void on_progress(void *context, uint64_t done, uint64_t total)
{
    struct verify *verify = context;
    if (progress_is_due(&verify->progress))
        progress_show(&verify->progress, done, total, "checking");
}

static uint64_t size_of(const struct act *tree)
{
    struct act_info info;
    act_info(tree, &info);
    return info.size_bytes;
}

static void end_text(const struct verify *verify, const struct act_survey *survey)
{
    char text[TEXT_GROUPED_SIZE];
    uint64_t bytes = size_of(verify->ctl->tree);
    double seconds = progress_seconds(&verify->progress);
    text_write(stdout, slice_of_str(verify->path), verify->ctl->text_flags);
    if (survey->n_faults == 0)
        fputs(": no faults", stdout);
    else if (verify->ctl->is_all)
        printf(": %s faults", text_grouped(survey->n_faults, text));
    else
        fputs(": damaged (this is the first fault: --all goes on)", stdout);
    if (survey->n_faults == 0 || verify->ctl->is_all) {
        printf(", %s values", text_grouped(survey->n_values, text));
        printf(", %s bytes, %.2f s", text_grouped(bytes, text), seconds);
        if (seconds > 0)
            printf(", %.0f MB/s", (double)bytes / 1e6 / seconds);
    }
    putchar('\n');
}

/* why: it came to no end; NULL: it did. */
static void end_json(const struct verify *verify, const struct act_survey *survey, const char *why)
{
    bool is_all = !why && (survey->n_faults == 0 || verify->ctl->is_all);
    fputs(verify->n_printed > 0 ? "]" : "[]", stdout);
    if (why) {
        fputs(",\"error\":", stdout);
        output_json_part(output_json_bytes(slice_of_str(why)));
    }
    printf(",\"faults\":%" PRIu64 ",\"notes\":%" PRIu64 ",\"values\":%" PRIu64, survey->n_faults,
           survey->n_notes, survey->n_values);
    printf(",\"bytes\":%" PRIu64 ",\"is_all\":%s,\"seconds\":%.3f}\n", size_of(verify->ctl->tree),
           is_all ? "true" : "false", progress_seconds(&verify->progress));
}

/* {"file": path for more to be added to. */
static void begin_json(const struct verify *verify)
{
    fputs("{\"file\":", stdout);
    output_json_part(output_json_bytes(slice_of_str(verify->path)));
}

/* The message begins with the path, which the object has already. */
static void refuse_json(const struct verify *verify, const struct act_error *error)
{
    size_t len = strlen(verify->path);
    const char *why = error->message;
    if (strncmp(why, verify->path, len) == 0 && strncmp(why + len, ": ", 2) == 0)
        why += len + 2;
    begin_json(verify);
    fputs(",\"error\":", stdout);
    output_json_part(output_json_bytes(slice_of_str(why)));
    puts("}");
}

static int run(struct verify *verify)
{
    struct actctl *ctl = verify->ctl;
    char text[SESSION_WHY_SIZE];
    const char *why = NULL;
    const struct act_verify_options options = {
        .memory_bytes = ctl->memory_bytes,
        .is_all = ctl->is_all,
        .context = verify,
        .on_finding = on_finding,
        .on_progress = on_progress,
    };
    struct act_survey survey;
    if (ctl->is_json) {
        begin_json(verify);
        fputs(",\"findings\":", stdout);
    }
    int r = act_verify(ctl->tree, &options, &survey);
    progress_clear(&verify->progress);
    if (r < 0)
        why = session_why_unfinished(r, text);
    if (ctl->is_json)
        end_json(verify, &survey, why);
    else if (!why)
        end_text(verify, &survey);
    if (why)
        return session_error(ctl, STATUS_FAILED, "%s: not checked to the end: %s", verify->path,
                             why);
    return r == 0 ? STATUS_FOUND : STATUS_FAULTS;
}

int command_verify(struct actctl *ctl, char **args, size_t n_args)
{
    (void)n_args;
    struct verify verify = {.ctl = ctl, .path = args[0]};
    struct act_error error;
    int status = session_open_file(ctl, args[0], &error);
    if (status != STATUS_FOUND) {
        if (ctl->is_json)
            refuse_json(&verify, &error);
        return status;
    }
    progress_init(&verify.progress, args[0]);
    return run(&verify);
}

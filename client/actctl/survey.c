/*
 * survey: see survey.h.
 */
#include "client/actctl/survey.h"

#include "client/actctl/output.h"
#include "client/actctl/progress.h"
#include "client/actctl/text.h"

#include <act/verify.h>

#include <inttypes.h>
#include <time.h>

#define MAX_ROOTS 1000

static const char *const values_names[] = {
    [ACT_VALUES_U64] = "u64", [ACT_VALUES_BYTES] = "bytes", [ACT_VALUES_MIXED] = "mixed"};

static const char *const metadata_states[] = {
    [ACT_METADATA_NONE] = "none",       [ACT_METADATA_DAMAGED] = "damaged",
    [ACT_METADATA_FOREIGN] = "foreign", [ACT_METADATA_TABLES] = "tables",
    [ACT_METADATA_FULL] = "full",
};

static const char *const object_names[ACT_N_OBJECTS] = {
    [ACT_OBJECT_BRANCH] = "branches",      [ACT_OBJECT_LEAF] = "leaves",
    [ACT_OBJECT_LINE] = "line_nodes",      [ACT_OBJECT_LINE_DATA] = "distinct_lines",
    [ACT_OBJECT_TABLE] = "sibling_tables", [ACT_OBJECT_BYTES] = "byte_values",
    [ACT_OBJECT_METADATA] = "metadata",    [ACT_OBJECT_OTHER] = "header_and_end",
    [ACT_OBJECT_UNREACHED] = "unreached",
};

static void add_u64(struct json_object *json, const char *name, uint64_t value)
{
    json_object_object_add(json, name, output_json_u64(value));
}

static void add_text(struct json_object *json, const char *name, const char *text)
{
    json_object_object_add(json, name, output_json_text(text));
}

static struct json_object *file_facts(const char *path, const struct act_info *info)
{
    struct json_object *json = json_object_new_object();
    json_object_object_add(json, "path", output_json_bytes(slice_of_str(path)));
    add_text(json, "format", info->version);
    add_u64(json, "size_bytes", info->size_bytes);
    add_u64(json, "root_offset", info->root_offset);
    add_text(json, "values", values_names[info->values]);
    return json;
}

static void add_time(struct json_object *json, const char *name, uint64_t unix_s)
{
    char text[40] = "";
    time_t t = (time_t)unix_s;
    struct tm tm;
    if (unix_s == 0 || !gmtime_r(&t, &tm) ||
        strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        json_object_object_add(json, name, NULL);
    else
        add_text(json, name, text);
}

static struct json_object *metadata_facts(const struct act_info *info)
{
    const struct act_metadata *metadata = &info->metadata;
    struct json_object *json = json_object_new_object();
    char digest[2 * sizeof metadata->digest + 1] = "";
    add_text(json, "state", metadata_states[info->metadata_state]);
    if (info->metadata_state < ACT_METADATA_FOREIGN)
        return json;
    text_put_hex((uint8_t *)digest, slice_of(metadata->digest, sizeof metadata->digest));
    add_u64(json, "version", metadata->version);
    add_u64(json, "flags", metadata->flags);
    add_u64(json, "root_offset", metadata->root_offset);
    add_u64(json, "objects_end", metadata->objects_end);
    add_u64(json, "keys", metadata->n_keys);
    add_u64(json, "longest_key_bytes", metadata->longest_key_bytes);
    add_u64(json, "table_min_children", metadata->table_min_children);
    add_time(json, "created", metadata->created_s);
    add_text(json, "xxh3_128", digest);
    return json;
}

static struct json_object *root_facts(const struct act *tree)
{
    uint64_t roots[MAX_ROOTS];
    size_t n = act_root_history(tree, roots, MAX_ROOTS);
    struct json_object *json = json_object_new_object(), *history = json_object_new_array();
    for (size_t i = 0; i < n && i < MAX_ROOTS; i++)
        json_object_array_add(history, output_json_u64(roots[i]));
    add_u64(json, "count", n);
    json_object_object_add(json, "history", history);
    return json;
}

/* Where runs are shared, positions have several keys each. */
static struct json_object *tree_facts(const struct act_info *info, const struct act_survey *survey)
{
    struct json_object *json = json_object_new_object();
    bool is_full = info->metadata_state == ACT_METADATA_FULL;
    if (is_full || survey->n_shared == 0)
        add_u64(json, "keys", is_full ? info->metadata.n_keys : survey->n_values);
    else
        json_object_object_add(json, "keys", NULL);
    add_u64(json, "nodes_with_value", survey->n_values);
    add_u64(json, "shared_runs", survey->n_shared);
    add_u64(json, "line_references", survey->n_line_references);
    add_u64(json, "distinct_lines", survey->n_objects[ACT_OBJECT_LINE_DATA]);
    add_u64(json, "deepest_path_bytes", survey->deepest_bytes);
    add_u64(json, "deepest_path_nodes", survey->deepest_nodes);
    return json;
}

static struct json_object *by_object(const uint64_t numbers[ACT_N_OBJECTS])
{
    struct json_object *json = json_object_new_object();
    for (unsigned i = 0; i < ACT_N_OBJECTS; i++)
        add_u64(json, object_names[i], numbers[i]);
    return json;
}

static struct json_object *fan_out(const struct act_survey *survey)
{
    struct json_object *json = json_object_new_object();
    for (unsigned i = 0; i < 257; i++) {
        char name[16];
        snprintf(name, sizeof name, "%u", i);
        if (survey->fan_out[i] > 0)
            add_u64(json, name, survey->fan_out[i]);
    }
    return json;
}

static struct json_object *depths(const struct act_survey *survey)
{
    struct json_object *json = json_object_new_object();
    for (unsigned i = 0; i < 65; i++) {
        char name[48];
        uint64_t least = i > 0 ? (uint64_t)1 << (i - 1) : 0;
        if (i < 2)
            snprintf(name, sizeof name, "%u", i);
        else
            snprintf(name, sizeof name, "%" PRIu64 "-%" PRIu64, least, 2 * least - 1);
        if (survey->depth[i] > 0)
            add_u64(json, name, survey->depth[i]);
    }
    return json;
}

static void print(const struct actctl *ctl, const char *path, const struct act_survey *survey)
{
    struct json_object *json = json_object_new_object();
    struct act_info info;
    act_info(ctl->tree, &info);
    json_object_object_add(json, "file", file_facts(path, &info));
    json_object_object_add(json, "metadata", metadata_facts(&info));
    json_object_object_add(json, "roots", root_facts(ctl->tree));
    json_object_object_add(json, "tree", tree_facts(&info, survey));
    json_object_object_add(json, "objects", by_object(survey->n_objects));
    json_object_object_add(json, "bytes", by_object(survey->bytes));
    json_object_object_add(json, "branches_with_children", fan_out(survey));
    json_object_object_add(json, "values_at_depth", depths(survey));
    output_facts(ctl, json);
}

static void on_progress(void *context, uint64_t done, uint64_t total)
{
    struct progress *progress = context;
    if (progress_is_due(progress))
        progress_show(progress, done, total, "reading");
}

int survey_print(struct actctl *ctl, const char *path)
{
    struct progress progress;
    struct act_survey survey;
    char why[SESSION_WHY_SIZE];
    int status = session_open_file(ctl, path, NULL);
    if (status != STATUS_FOUND)
        return status;
    progress_init(&progress, path);
    const struct act_verify_options options = {
        .memory_bytes = ctl->memory_bytes,
        .is_survey = true,
        .context = &progress,
        .on_progress = on_progress,
    };
    int r = act_verify(ctl->tree, &options, &survey);
    progress_clear(&progress);
    if (r < 0)
        return session_error(ctl, STATUS_FAILED, "%s: not read to the end: %s", path,
                             session_why_unfinished(r, why));
    print(ctl, path, &survey);
    if (r == 0)
        return STATUS_FOUND;
    return session_error(ctl, STATUS_FAULTS,
                         "%s: damaged: the numbers are of what could be reached; actctl verify "
                         "tells where",
                         path);
}

/*
 * verify_report: findings, and the key bytes that lead to them.
 *
 * A path is put together only when something is found. What of it is in the buffer already is kept
 * with the frames, so that a million findings along one deep path do not take a million times its
 * length.
 */
#include "tree/verify.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

static const char *const note_reasons[N_NOTES] = {
    [NOTE_SHARED] = "a run that another branch has too: counted once",
    [NOTE_DANGLING] = "a leaf without a value",
    [NOTE_REMAINS] = "bytes that this root does not reach: remains of merges",
    [NOTE_UNFINISHED] = "bytes behind the end: what is left of a merge that was not finished",
    [NOTE_CHAIN] = "a merge trailer that leads to something that is none: the chain ends here",
    [NOTE_FOREIGN] =
        "metadata of another root, to which no chain of merges leads: it does not count",
    [NOTE_FLAGS] = "metadata with flags that are not known: they are ignored",
};

static_assert(VERIFY_PATH_BYTES < FRAME_PATH_MAX, "path_end is one more");

/* What the step from the frame's parent to its current sibling adds to a key. */
static struct slice step_bytes(const struct verify *v, const struct frame *frame, uint8_t *byte)
{
    struct strict parent;
    struct strict_string line;
    if (frame->parent == 0 || strict_read(v->map, frame->parent, v->map->size, &parent) != NULL)
        return slice_of(NULL, 0);
    if (!parent.is_line) {
        *byte = strict_child_byte(&parent, frame->index);
        return slice_of(byte, 1);
    }
    if (!strict_read_string(v->map, parent.offset - parent.line, parent.offset, &line))
        return slice_of(NULL, 0);
    return slice_of(map_at(v->map, line.begin, line.end - line.begin), line.end - line.begin);
}

static uint32_t path_append(struct verify *v, uint32_t at, struct slice bytes)
{
    uint64_t left = VERIFY_PATH_BYTES - at;
    uint64_t n = bytes.len < left ? bytes.len : left;
    if (n > 0)
        memcpy(v->path + at, bytes.p, n);
    return at + (uint32_t)n;
}

/* The key bytes up to the top frame's current sibling. 0 or -ENOMEM. */
static int path_make(struct verify *v, struct slice *ret_path, bool *ret_is_cut)
{
    uint64_t i = v->frames.depth;
    if (!v->path && !(v->path = malloc(VERIFY_PATH_BYTES)))
        return -ENOMEM;
    while (i > 0 && frames_at(&v->frames, i - 1)->path_end == 0)
        i--;
    uint32_t len = i > 0 ? frames_at(&v->frames, i - 1)->path_end - 1 : 0;
    for (; i < v->frames.depth; i++) {
        uint8_t byte;
        struct frame *frame = frames_at(&v->frames, i);
        len = path_append(v, len, step_bytes(v, frame, &byte));
        frame->path_end = (len + 1) & FRAME_PATH_MAX;
    }
    *ret_path = slice_of(v->path, len);
    *ret_is_cut = v->frames.top->key_len > len;
    return 0;
}

int verify_fault(struct verify *v, enum verify_place place, uint64_t offset, const char *reason)
{
    struct slice path = {0};
    struct act_finding finding = {.offset = offset, .reason = reason, .n = 1};
    if (v->member)
        return -ECANCELED;
    v->survey->n_faults++;
    if (v->options.is_survey)
        return 0;
    if (v->options.on_finding) {
        if (place == PLACE_WALK) {
            int r = path_make(v, &path, &finding.is_path_cut);
            if (r != 0)
                return r;
            finding.has_path = true;
            finding.path = path.p;
            finding.path_len = path.len;
        }
        v->options.on_finding(v->options.context, &finding);
    }
    return v->options.is_all ? 0 : ACT_CORRUPT;
}

int verify_note(struct verify *v, enum verify_place place, uint64_t offset, enum note_kind kind)
{
    struct slice path;
    struct note *note = &v->notes[kind];
    if (v->member)
        return -ECANCELED;
    if (note->n++ > 0 || v->options.is_survey)
        return 0;
    note->offset = offset;
    if (place == PLACE_NONE || !v->options.on_finding)
        return 0;
    int r = path_make(v, &path, &note->is_path_cut);
    if (r != 0)
        return r;
    uint8_t *copy = malloc(path.len + 1);
    if (!copy)
        return -ENOMEM;
    if (path.len > 0)
        memcpy(copy, path.p, path.len);
    note->path = slice_of(copy, path.len);
    note->has_path = true;
    return 0;
}

void verify_report_notes(struct verify *v)
{
    if (v->options.is_survey)
        return;
    for (unsigned i = 0; i < N_NOTES; i++) {
        const struct note *note = &v->notes[i];
        struct act_finding finding = {
            .is_note = true,
            .offset = note->offset,
            .reason = note_reasons[i],
            .n = note->n,
            .has_path = note->has_path,
            .path = note->path.p,
            .path_len = note->path.len,
            .is_path_cut = note->is_path_cut,
        };
        if (note->n == 0)
            continue;
        v->survey->n_notes++;
        if (v->options.on_finding)
            v->options.on_finding(v->options.context, &finding);
    }
}

void verify_report_deinit(struct verify *v)
{
    for (unsigned i = 0; i < N_NOTES; i++)
        free((void *)(uintptr_t)v->notes[i].path.p);
    free(v->path);
}

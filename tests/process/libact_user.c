/*
 * libact_user: somebody else's program. Builds the tree named by its argument, reads it back by
 * every part of libact's public interface, and prints what it found.
 */
#include <act/act.h>
#include <act/builder.h>
#include <act/verify.h>

#include <stdio.h>
#include <string.h>

static const char *const keys[] = {"bar", "barrel", "dog", "elog", "fog"};

static int build(const char *path)
{
    struct act_builder *builder;
    struct act_builder_summary summary;
    struct act_error error;
    if (act_builder_new(path, NULL, &builder, &error) != 0) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    int r = 0;
    for (unsigned i = 0; r == 0 && i < sizeof keys / sizeof *keys; i++)
        r = act_builder_add(builder, keys[i], strlen(keys[i]), i, i + 1);
    if (r == 0)
        r = act_builder_finish(builder, &summary);
    if (r != 0)
        fprintf(stderr, "%s\n", act_builder_error(builder));
    else
        printf("built %llu\n", (unsigned long long)summary.n_keys);
    act_builder_free(builder);
    return r;
}

static int walk(const struct act *tree)
{
    struct act_cursor *cursor;
    if (act_cursor_new(tree, 0, &cursor) != 0)
        return 1;
    int r = act_cursor_first(cursor);
    for (; r == 0; r = act_cursor_next(cursor)) {
        size_t len;
        uint64_t value = 0;
        const uint8_t *key = act_cursor_key(cursor, &len);
        act_cursor_value(cursor, &value);
        printf("%.*s=%llu\n", (int)len, (const char *)key, (unsigned long long)value);
    }
    act_cursor_free(cursor);
    return r != ACT_MISS;
}

int main(int argc, char **argv)
{
    struct act *tree;
    struct act_error error;
    struct act_survey survey;
    uint64_t value;
    size_t len;
    if (argc != 2 || build(argv[1]) != 0)
        return 1;
    if (act_open_path(argv[1], &tree, &error) != 0) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    int r = walk(tree);
    if (r == 0 && act_get(tree, "dog", 3, &value, NULL) == 0)
        printf("dog is %llu\n", (unsigned long long)value);
    if (r == 0 && act_longest_prefix(tree, "barrels", 7, &len, &value, NULL) == 0)
        printf("longest prefix %zu\n", len);
    if (r == 0)
        r = act_verify(tree, NULL, &survey);
    printf("verified %llu: %d\n", (unsigned long long)survey.n_values, r);
    act_close(tree);
    return r;
}

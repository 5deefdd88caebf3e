/*
 * libactc_user: somebody else's program. Asks the server at its first argument by each of libactc's
 * typed calls, and prints the answers; to its further arguments, keys, by actc_mget.
 */
#include <actc/actc.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct actc *client;
static struct actc_error error;

/* Is it 0? ACTC_MISS is told, anything else is the end. */
static bool is_there(const char *what, int r)
{
    printf("%s", what);
    if (r == 0)
        return true;
    if (r != ACTC_MISS) {
        printf(": %s\n", error.message);
        exit(1);
    }
    printf(" nothing\n");
    return false;
}

static void print_value(const struct actc_value *value)
{
    if (value->is_bytes)
        printf(" \"%.*s\"\n", (int)value->bytes.len, (const char *)value->bytes.p);
    else
        printf(" %" PRIu64 "\n", value->number);
}

static void print_entry(const char *what, int r, const struct actc_entry *entry)
{
    if (!is_there(what, r))
        return;
    printf(" %.*s", (int)entry->key.len, (const char *)entry->key.p);
    print_value(&entry->value);
}

static void ask_keys(const char *key, size_t len)
{
    struct actc_value value;
    struct actc_node node;
    struct actc_entry entry;
    uint64_t count;
    bool is_exact;
    if (is_there("get", actc_get(client, key, len, &value, &error)))
        print_value(&value);
    if (is_there("exists", actc_exists(client, key, len, &error)))
        printf("\n");
    if (is_there("node", actc_node(client, key, len, &node, &error)))
        printf(" %d\n", node.has_value);
    print_entry("longest prefix", actc_longest_prefix(client, key, len, &entry, &error), &entry);
    print_entry("next", actc_next(client, key, len, &entry, &error), &entry);
    print_entry("prev", actc_prev(client, key, len, &entry, &error), &entry);
    if (is_there("count", actc_count(client, key, len, &count, &is_exact, &error)))
        printf(" %" PRIu64 " %d\n", count, is_exact);
}

static void scan(const struct actc_scan_options *options)
{
    struct actc_scan *scan;
    struct actc_entry entry;
    uint64_t n = 0, length = 0;
    int r = actc_scan_new(client, options, &scan, &error);
    while (r == 0 && (r = actc_scan_next(scan, &entry, &error)) == 0) {
        n++;
        length += entry.key.len;
    }
    if (!is_there("scan", r == ACTC_MISS && n > 0 ? 0 : r))
        n = length = 0;
    else
        printf(" %" PRIu64 " keys, %" PRIu64 " bytes\n", n, length);
    actc_scan_free(scan);
}

static void ask_many(char **keys, size_t n)
{
    struct actc_bytes *list = calloc(n, sizeof *list);
    struct actc_result *results = calloc(n, sizeof *results);
    for (size_t i = 0; i < n; i++)
        list[i] = (struct actc_bytes){keys[i], strlen(keys[i])};
    is_there("mget", actc_mget(client, list, n, results, &error));
    printf("\n");
    for (size_t i = 0; i < n; i++)
        if (is_there(keys[i], results[i].outcome))
            print_value(&results[i].value);
    free(list);
    free(results);
}

int main(int argc, char **argv)
{
    if (argc < 3 || actc_connect(argv[1], NULL, &client, &error) != 0) {
        fprintf(stderr, "%s\n", error.message);
        return 1;
    }
    const struct actc_bytes key = {argv[2], strlen(argv[2])};
    is_there("ping", actc_ping(client, &error));
    printf("\n");
    struct actc_generation generation;
    if (is_there("generation", actc_generation(client, &generation, &error)))
        printf(" %" PRIu64 "\n", generation.number);
    ask_keys(key.p, key.len);
    scan(NULL);
    scan(&(struct actc_scan_options){.prefix = key, .page_entries = 3});
    scan(&(struct actc_scan_options){.from = &key, .is_reverse = true, .is_keys_only = true});
    scan(&(struct actc_scan_options){.to = &key, .page_bytes = 1000});
    ask_many(argv + 2, (size_t)argc - 2);
    actc_close(client);
    return 0;
}

/*
 * config_options: see config_options.h.
 */
#include "daemon/config_options.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#define FIELD(name) offsetof(struct config, name)
#define KIB         UINT64_C(1024)
#define MIB         (1024 * KIB)
#define GIB         (1024 * MIB)
#define HOUR_MS     UINT64_C(3600000)

static const char *const log_levels[] = {"error", "warning", "info", "debug", NULL};
static const char *const tree_verifies[] = {"header", "structure", "digest", NULL};
static const char *const tree_advices[] = {"random", "normal", "sequential", NULL};
static const char *const tree_mlocks[] = {"no", "top", "yes", "onfault", NULL};
static const char *const tree_hugepages[] = {"no", "copy", NULL};
static const char *const no_yes[] = {"no", "yes", NULL};
static const char *const cold_modes[] = {"offload", "inline", NULL};
static const char *const cold_probes[] = {"auto", "mincore", "nowait", "none", NULL};
const char *const warmup_mode_names[] = {"none", "willneed", "read", "traverse", "restore", NULL};
static const char *const warmup_readies[] = {"before", "after", NULL};

/* A table is read by its columns. */
/* clang-format off */
const struct config_option config_options[] = {
    {"tree", "path", CONFIG_PATH, FIELD(tree_path), "/var/lib/actd/tree.act", 0, 0, NULL,
     "The ACT file to serve. Replace it by rename, never in place; then reload."},
    {"tree", "table_cache_bytes", CONFIG_NUMBER, FIELD(tree_table_cache_bytes), "4M", 0, 4 * GIB,
     NULL,
     "Memory for a cache of where the children of wide branches begin: lookups in files without\n"
     "tables of their own get several times faster. Filled as it is used. 0: none."},
    {"tree", "verify", CONFIG_CHOICE, FIELD(tree_verify), "header", 0, 0, tree_verifies,
     "How a file is checked before it is served, by a process of its own. header: what opening\n"
     "looks at, at once whatever the size. structure: every object (reads the whole file);\n"
     "lookups are safe without. digest: the same, and the file must have a digest."},
    {"tree", "check_timeout_ms", CONFIG_NUMBER, FIELD(tree_check_timeout_ms), "600000", 100,
     24 * HOUR_MS, NULL,
     "How long checking and mapping a new file may take; then it is refused."},
    {"tree", "watch", CONFIG_CHOICE, FIELD(tree_watch), "no", 0, 0, no_yes,
     "yes: reload by itself when path is another file or has changed (touch will do), also where\n"
     "a symbolic link on the way to it was switched. no: on SIGHUP and actctl reload only; and\n"
     "when the served file was damaged in place, until a good one is there."},
    {"tree", "settle_ms", CONFIG_NUMBER, FIELD(tree_settle_ms), "500", 10, HOUR_MS, NULL,
     "How long the size and the time of change of a new file must rest before watch takes it."},
    {"tree", "advice", CONFIG_CHOICE, FIELD(tree_advice), "random", 0, 0, tree_advices,
     "How the kernel reads what is not in memory. random: one page at a time, right for lookups;\n"
     "with read-ahead, a file larger than memory was 170 times slower. normal, sequential: with\n"
     "some and with much read-ahead, where most requests are long scans."},
    {"tree", "mlock", CONFIG_CHOICE, FIELD(tree_mlock), "no", 0, 0, tree_mlocks,
     "What the kernel must not take back from memory. top: up to 1 MiB around the root, which all\n"
     "lookups pass; where the file does not fit. yes: all of it, read before it is served.\n"
     "onfault: all of it, as it is touched. Needs LimitMEMLOCK=, ulimit -l."},
    {"tree", "max_resident_bytes", CONFIG_NUMBER, FIELD(tree_max_resident_bytes), "0", 0,
     1024 * 1024 * GIB, NULL,
     "How much of a mapped file a worker may have in its resident set: beyond it pages are\n"
     "unmapped, those first that were not needed lately. They stay in the kernel's cache while\n"
     "it has room. For a host that others need, too. 0: no limit. Locked pages stay."},
    {"tree", "map_min_bytes", CONFIG_NUMBER, FIELD(tree_map_min_bytes), "0", 0, 1024 * GIB, NULL,
     "A smaller file is not mapped but copied to memory, which the workers share: what happens to\n"
     "the file on its disk then does not matter. 0: none is."},
    {"tree", "hugepages", CONFIG_CHOICE, FIELD(tree_hugepages), "no", 0, 0, tree_hugepages,
     "copy: the file, whatever its size, is copied to huge pages (vm.nr_hugepages), so that fewer\n"
     "lookups wait for the page table. For large files that fit twice, since a reload makes a\n"
     "second copy. Where there are too few of them the file is served as without."},

    {"listen", "tcp", CONFIG_TCP, FIELD(listen_tcp), NULL, 0, 0, NULL,
     "HOST:PORT to serve on; [ADDRESS]:PORT for IPv6; PORT alone is on 127.0.0.1; port 0 takes a\n"
     "free one and logs it. May be repeated; an empty value forgets those before it. There is no\n"
     "authentication: whoever can connect can read every key."},
    {"listen", "unix", CONFIG_UNIX, FIELD(listen_unix), "/run/actd/actd.sock", 0, 0, NULL,
     "Path of a Unix socket to serve on. May be repeated. The default holds only where neither\n"
     "tcp nor unix is set, and the service manager passes no such socket. A stale socket file is\n"
     "replaced, a live one is left alone."},
    {"listen", "unix_mode", CONFIG_MODE, FIELD(listen_unix_mode), "0660", 0, 0, NULL,
     "Permissions of the Unix sockets: who may connect."},
    {"listen", "backlog", CONFIG_NUMBER, FIELD(listen_backlog), "4096", 1, 65535, NULL,
     "Connections that the kernel queues until they are accepted (it caps this at\n"
     "net.core.somaxconn)."},

    {"daemon", "workers", CONFIG_NUMBER, FIELD(daemon_workers), "auto", 1, CONFIG_MAX_WORKERS, NULL,
     "Worker processes, which answer requests. auto: one for each CPU that actd may use. They\n"
     "share one copy of the file in memory."},

    {"daemon", "heartbeat_timeout_ms", CONFIG_NUMBER, FIELD(daemon_heartbeat_timeout_ms), "10000",
     500, HOUR_MS, NULL,
     "A worker that gives no sign of life for so long is killed and replaced. A disk that does\n"
     "not answer can hold a worker up as well."},

    {"daemon", "busy_poll_us", CONFIG_NUMBER, FIELD(daemon_busy_poll_us), "0", 0, 1000000, NULL,
     "How long a worker goes on looking for the next request before it sleeps. Sleeping and being\n"
     "woken costs more than most lookups; 50 takes it out of the way of clients that ask again at\n"
     "once, at the price of up to so much CPU time after each burst. For a worker that has a CPU\n"
     "of its own."},

    {"cold", "mode", CONFIG_CHOICE, FIELD(cold_mode), "offload", 0, 0, cold_modes,
     "What happens to a request that needs a page which is not in memory. offload: threads read\n"
     "the page, meanwhile others are answered. inline: everybody waits for the disk; for files\n"
     "that are wholly in memory, where it saves a look at a bitmap."},
    {"cold", "probe", CONFIG_CHOICE, FIELD(cold_probe), "auto", 0, 0, cold_probes,
     "How the kernel is asked whether a page is in memory. mincore: it tells the truth to the\n"
     "file's owner and to who may write the file. nowait: preadv2 with RWF_NOWAIT, which not all\n"
     "file systems have. none: a page that was not used before goes to the threads. auto: the\n"
     "first of these that works on the file."},
    {"cold", "threads", CONFIG_NUMBER, FIELD(cold_threads), "32", 1, 256, NULL,
     "Threads of a worker that read pages, at most: so many requests that come one by one can\n"
     "each have a page read at the same time; of one that wants many, each thread reads up to 32\n"
     "side by side. They exist only while there is something to read."},
    {"cold", "queue", CONFIG_NUMBER, FIELD(cold_queue), "4096", 1, 1000000, NULL,
     "Pages of a worker that may be waiting to be read. While there are so many, requests that\n"
     "need another one get BUSY."},
    {"cold", "timeout_ms", CONFIG_NUMBER, FIELD(cold_timeout_ms), "30000", 100, HOUR_MS, NULL,
     "How long a request may wait for one page; then it gets IO_ERROR."},

    {"limits", "max_connections", CONFIG_NUMBER, FIELD(limits_max_connections), "10000", 1, 1000000,
     NULL,
     "Open client connections; beyond it new ones wait in the kernel's queue. Held below the\n"
     "limit of open files (LimitNOFILE=)."},
    {"limits", "max_request_bytes", CONFIG_NUMBER, FIELD(limits_max_request_bytes), "1M", 64,
     64 * MIB, NULL,
     "Largest request. A larger one is answered with TOO_LARGE and the connection closes."},
    {"limits", "max_reply_bytes", CONFIG_NUMBER, FIELD(limits_max_reply_bytes), "16M", KIB, GIB,
     NULL, "Largest reply. Where a reply would be larger the request gets TOO_LARGE."},
    {"limits", "max_keys", CONFIG_NUMBER, FIELD(limits_max_keys), "10000", 1, 1000000, NULL,
     "Keys or prefixes in one request that takes a list. One that has more gets TOO_LARGE."},
    {"limits", "max_key_bytes", CONFIG_NUMBER, FIELD(limits_max_key_bytes), "1M", 1, 64 * MIB,
     NULL,
     "Longest key or prefix that a request may have, and longest key that a scan can come to.\n"
     "Beyond it: TOO_LARGE. A walk takes up to 120 bytes of memory for each level of the tree."},
    {"limits", "max_visited_nodes", CONFIG_NUMBER, FIELD(limits_max_visited_nodes), "10000000", 1,
     UINT64_C(1000000000000000), NULL,
     "Work budget: nodes of the tree that one scan, count, next, prev or explore may visit.\n"
     "Beyond it a scan's page ends, a count is not exact, and the others get LIMIT. Requests can\n"
     "ask for less. Ten million take some tenths of a second where the tree is in memory."},
    {"limits", "max_sliced_requests", CONFIG_NUMBER, FIELD(limits_max_sliced_requests), "16", 1,
     10000, NULL,
     "Requests of one connection that are worked on at the same time, slice by slice, because\n"
     "they take longer than a turn. While there are so many, further ones of it wait."},
    {"limits", "max_buffer_bytes", CONFIG_NUMBER, FIELD(limits_max_buffer_bytes), "256M", MIB,
     1024 * GIB, NULL,
     "Memory for input and output of all connections of a worker together. Beyond it requests\n"
     "get BUSY and reading waits."},
    {"limits", "high_water_bytes", CONFIG_NUMBER, FIELD(limits_high_water_bytes), "1M", KIB, GIB,
     NULL, "Replies waiting for one client beyond which no more of its requests are read."},
    {"limits", "turn_requests", CONFIG_NUMBER, FIELD(limits_turn_requests), "128", 1, 1000000,
     NULL,
     "Requests of one connection that are answered before the others have their turn (a key of\n"
     "a list counts as one more, a long scan as some hundreds)."},
    {"limits", "idle_timeout_ms", CONFIG_NUMBER, FIELD(limits_idle_timeout_ms), "0", 0,
     24 * HOUR_MS, NULL,
     "Close a connection that has been idle for so long. 0: never. One that watches generations,\n"
     "or waits for one, is not idle."},
    {"limits", "frame_timeout_ms", CONFIG_NUMBER, FIELD(limits_frame_timeout_ms), "30000", 100,
     HOUR_MS, NULL, "Close a connection whose begun request is not complete after so long."},
    {"limits", "write_timeout_ms", CONFIG_NUMBER, FIELD(limits_write_timeout_ms), "30000", 100,
     HOUR_MS, NULL, "Close a connection that takes none of its replies for so long."},
    {"limits", "linger_timeout_ms", CONFIG_NUMBER, FIELD(limits_linger_timeout_ms), "1000", 0,
     HOUR_MS, NULL,
     "How long the client may take to read the last replies and close, after we have ended a\n"
     "connection."},
    {"limits", "drain_timeout_ms", CONFIG_NUMBER, FIELD(limits_drain_timeout_ms), "5000", 0,
     HOUR_MS, NULL,
     "On SIGTERM and SIGINT: how long requests that are in flight may take to be answered. After\n"
     "half of it further requests get DRAINING."},

    {"limits", "max_wait_ms", CONFIG_NUMBER, FIELD(limits_max_wait_ms), "600000", 0, 24 * HOUR_MS,
     NULL, "How long a request may ask to wait for a generation (wait_generation)."},

    {"log", "level", CONFIG_CHOICE, FIELD(log_level), "info", 0, 0, log_levels,
     "error, warning, info or debug."},

    {"admin", "tcp", CONFIG_TCP, FIELD(admin_tcp), NULL, 0, 0, NULL,
     "HOST:PORT of the admin endpoint (HTTP, for people, scripts, Prometheus). May be repeated.\n"
     "None by default. Whoever can connect can read what it tells."},
    {"admin", "unix", CONFIG_UNIX, FIELD(admin_unix), NULL, 0, 0, NULL,
     "Path of a Unix socket for the same. May be repeated. None by default."},
    {"admin", "unix_mode", CONFIG_MODE, FIELD(admin_unix_mode), "0660", 0, 0, NULL,
     "Permissions of the admin endpoint's Unix sockets."},
    {"admin", "max_connections", CONFIG_NUMBER, FIELD(admin_max_connections), "16", 1, 1000, NULL,
     "Open connections per admin listener; beyond it new ones wait."},
    {"admin", "timeout_ms", CONFIG_NUMBER, FIELD(admin_timeout_ms), "10000", 1000, HOUR_MS, NULL,
     "How long an admin connection may be idle, and a request and its answer may take to come and\n"
     "go; then it is closed."},
    {"admin", "token_file", CONFIG_PATH, FIELD(admin_token_file), NULL, 0, 0, NULL,
     "File whose first line is a secret of at least 16 printable characters, read at start. Who\n"
     "asks for something to be done over TCP (POST) has to send it: Authorization: Bearer SECRET.\n"
     "Without it POST is for Unix sockets only."},
    {"admin", "host", CONFIG_NAMES, FIELD(admin_host), NULL, 0, 0, NULL,
     "Name under which the admin endpoint is asked over TCP, beside localhost and addresses; a\n"
     "request for another one is refused, since web pages could ask by names of their own. May be\n"
     "repeated; an empty value forgets those before it."},
    {"admin", "slow_ms", CONFIG_NUMBER, FIELD(admin_slow_ms), "100", 0, HOUR_MS, NULL,
     "Requests that took so long are listed by GET /slow. 0: none are."},

    {"warmup", "mode", CONFIG_CHOICE, FIELD(warmup_mode), "none", 0, 0, warmup_mode_names,
     "What is brought into memory at start, and of a new file before it is served; by a process\n"
     "of its own. read: the file, from its begin. willneed: the same, by asking the kernel to; it\n"
     "goes on by itself after we are done. traverse: what is near the root first. restore: the\n"
     "pages that were in memory when profile was saved, and nothing else."},
    {"warmup", "rate_bytes_per_s", CONFIG_NUMBER, FIELD(warmup_rate_bytes_per_s), "0", 0,
     1024 * GIB, NULL,
     "How much is brought in in a second at most, so that the disk has time for others. 0: no\n"
     "limit."},
    {"warmup", "max_bytes", CONFIG_NUMBER, FIELD(warmup_max_bytes), "auto", 4 * KIB,
     1024 * 1024 * GIB, NULL,
     "How much is brought in at most. auto: as much as memory has room for when it begins, so\n"
     "that a file larger than memory does not push itself out."},
    {"warmup", "ready", CONFIG_CHOICE, FIELD(warmup_ready), "after", 0, 0, warmup_readies,
     "Whether the service says that it is ready before the warm-up or after it. Queries are\n"
     "answered meanwhile in both cases."},
    {"warmup", "profile", CONFIG_PATH, FIELD(warmup_profile), NULL, 0, 0, NULL,
     "Where it is kept which pages of the file are in memory: saved now and then and at stop,\n"
     "read by mode = restore, which needs it. For example /var/lib/actd/warm.profile. None by\n"
     "default."},
    {"warmup", "profile_interval_ms", CONFIG_NUMBER, FIELD(warmup_profile_interval_ms), "60000",
     1000, 24 * HOUR_MS, NULL, "How often the profile is saved."},
};
/* clang-format on */

const size_t n_config_options = sizeof config_options / sizeof *config_options;

__attribute__((format(printf, 3, 4))) static int bad(char *reason, size_t size, const char *format,
                                                     ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(reason, size, format, args);
    va_end(args);
    return CONFIG_BAD;
}

/* How far a suffix shifts a number of bytes; -1: no such suffix. */
static int suffix_shift(const char *suffix)
{
    static const char suffixes[] = "KMGT";
    if (*suffix == '\0')
        return 0;
    const char *found = strchr(suffixes, *suffix);
    if (!found || suffix[1] != '\0')
        return -1;
    return 10 * (int)(found - suffixes + 1);
}

static bool is_in_bytes(const struct config_option *option)
{
    size_t len = strlen(option->key);
    return (len > 6 && strcmp(option->key + len - 6, "_bytes") == 0) ||
           (len > 12 && strcmp(option->key + len - 12, "_bytes_per_s") == 0);
}

/* May it be "auto", which is 0? */
static bool is_auto(const struct config_option *option)
{
    return option->default_value && strcmp(option->default_value, "auto") == 0;
}

static int set_number(uint64_t *field, const struct config_option *option, const char *text,
                      char *reason, size_t size)
{
    char *end;
    errno = 0;
    if (is_auto(option) && strcmp(text, "auto") == 0) {
        *field = 0;
        return 0;
    }
    unsigned long long n = strtoull(text, &end, 10);
    int shift = is_in_bytes(option) ? suffix_shift(end) : (*end ? -1 : 0);
    if (*text < '0' || *text > '9' || shift < 0)
        return bad(reason, size, "\"%s\" is not a number%s%s", text,
                   is_in_bytes(option) ? " of bytes (K, M, G or T may follow)" : "",
                   is_auto(option) ? ", and not auto" : "");
    bool is_too_large = errno == ERANGE || n > UINT64_MAX >> shift;
    uint64_t value = is_too_large ? UINT64_MAX : (uint64_t)n << shift;
    if (value < option->min || value > option->max)
        return bad(reason, size, "%s is outside %llu to %llu", text,
                   (unsigned long long)option->min, (unsigned long long)option->max);
    *field = value;
    return 0;
}

static int set_mode(uint64_t *field, const char *text, char *reason, size_t size)
{
    size_t len = strspn(text, "01234567");
    if (len == 0 || len > 4 || text[len] != '\0')
        return bad(reason, size, "\"%s\" is not an octal mode such as 0660", text);
    unsigned long mode = strtoul(text, NULL, 8);
    if (mode > 0777)
        return bad(reason, size, "\"%s\" has more than permission bits", text);
    *field = mode;
    return 0;
}

static int set_choice(uint64_t *field, const char *const *choices, const char *text, char *reason,
                      size_t size)
{
    char names[128] = "";
    for (uint64_t i = 0; choices[i]; i++) {
        if (strcmp(choices[i], text) == 0) {
            *field = i;
            return 0;
        }
        size_t at = strlen(names);
        snprintf(names + at, sizeof names - at, "%s%s", i == 0 ? "" : ", ", choices[i]);
    }
    return bad(reason, size, "\"%s\" is not one of: %s", text, names);
}

static int set_path(char **field, const char *text, char *reason, size_t size)
{
    if (*text == '\0')
        return bad(reason, size, "the path is empty");
    if (strlen(text) >= CONFIG_PATH_BYTES)
        return bad(reason, size, "the path is longer than %d bytes", CONFIG_PATH_BYTES - 1);
    char *copy = strdup(text);
    if (!copy)
        return bad(reason, size, "out of memory");
    free(*field);
    *field = copy;
    return 0;
}

static int add_address(struct config_addresses *field, enum config_kind kind, const char *text,
                       char *reason, size_t size)
{
    const char *what;
    if (*text == '\0') {
        field->n = 0;
        return 0;
    }
    if (field->n == CONFIG_MAX_ADDRESSES)
        return bad(reason, size, "more than %d addresses", CONFIG_MAX_ADDRESSES);
    struct address *address = &field->list[field->n];
    int r = kind == CONFIG_TCP ? address_parse_tcp(text, address, &what)
                               : address_parse_unix(text, address, &what);
    if (r != 0)
        return bad(reason, size, "\"%s\": %s", text, what);
    field->n++;
    return 0;
}

static bool is_name(const char *text)
{
    for (; *text; text++)
        if (!isalnum((unsigned char)*text) && !strchr("-._", *text))
            return false;
    return true;
}

static int add_name(struct config_names *field, const char *text, char *reason, size_t size)
{
    if (*text == '\0') {
        field->n = 0;
        return 0;
    }
    if (field->n == CONFIG_MAX_NAMES)
        return bad(reason, size, "more than %d names", CONFIG_MAX_NAMES);
    if (strlen(text) >= CONFIG_NAME_BYTES || !is_name(text))
        return bad(reason, size, "\"%.300s\" is not the name of a host, without a port", text);
    snprintf(field->list[field->n++], CONFIG_NAME_BYTES, "%s", text);
    return 0;
}

const struct config_option *config_option_find(const char *section, const char *key)
{
    for (size_t i = 0; i < n_config_options; i++)
        if (strcmp(config_options[i].section, section) == 0 &&
            strcmp(config_options[i].key, key) == 0)
            return &config_options[i];
    return NULL;
}

int config_option_set(struct config *config, const struct config_option *option, const char *text,
                      char *reason, size_t reason_size)
{
    void *field = (char *)config + option->offset;
    switch (option->kind) {
    case CONFIG_PATH:
        return set_path(field, text, reason, reason_size);
    case CONFIG_TCP:
    case CONFIG_UNIX:
        return add_address(field, option->kind, text, reason, reason_size);
    case CONFIG_NUMBER:
        return set_number(field, option, text, reason, reason_size);
    case CONFIG_MODE:
        return set_mode(field, text, reason, reason_size);
    case CONFIG_CHOICE:
        return set_choice(field, option->choices, text, reason, reason_size);
    case CONFIG_NAMES:
        return add_name(field, text, reason, reason_size);
    }
    return CONFIG_BAD;
}

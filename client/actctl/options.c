/*
 * options: see options.h.
 */
#include "client/actctl/options.h"

#include "build_config.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#define MAX_SIZE_BYTES ((uint64_t)1 << 50)

/* Milliseconds still fit where libcurl takes a long of 32 bits. */
#define MAX_TIMEOUT_S ((uint64_t)INT32_MAX / 1000)

enum option_id {
#define X(id, name, value, arg, help) OPTION_##id = (value),
    OPTIONS(X)
#undef X
};

static const struct option options[] = {
#define X(id, name, value, arg, help) \
    {name, sizeof arg > 1 ? required_argument : no_argument, NULL, value},
    OPTIONS(X)
#undef X
        {0},
};

static int parse_timeout(struct actctl *ctl, const char *text)
{
    char *end;
    errno = 0;
    unsigned long n = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || n == 0 || n > UINT32_MAX)
        return options_refuse(ctl, text, "--timeout-ms takes a number of milliseconds from 1 on");
    ctl->timeout_ms = (uint32_t)n;
    return STATUS_FOUND;
}

static int parse_seconds(struct actctl *ctl, const char *text)
{
    if (!records_parse_u64(slice_of_str(text), &ctl->timeout_s) || ctl->timeout_s == 0 ||
        ctl->timeout_s > MAX_TIMEOUT_S)
        return options_refuse(ctl, text, "--timeout takes a number of seconds from 1 on");
    return STATUS_FOUND;
}

static int parse_pin(struct actctl *ctl, const char *text)
{
    if (!records_parse_u64(slice_of_str(text), &ctl->pin))
        return options_refuse(ctl, text,
                              "--pin takes the identity of a generation, which actctl info tells");
    ctl->is_pinned = true;
    return STATUS_FOUND;
}

static int parse_limit(struct actctl *ctl, const char *text)
{
    if (!records_parse_u64(slice_of_str(text), &ctl->limit) || ctl->limit == 0)
        return options_refuse(ctl, text, "--limit takes a number from 1 on");
    return STATUS_FOUND;
}

/* Digits, and K, M, G or T for powers of 1024. */
static bool parse_size(const char *text, uint64_t *ret_bytes)
{
    static const char units[] = "KMGT";
    struct slice digits = slice_of_str(text);
    unsigned shift = 0;
    uint64_t n = 0;
    const char *unit = digits.len > 0 ? strchr(units, text[digits.len - 1]) : NULL;
    if (unit) {
        shift = 10 * (unsigned)(unit - units + 1);
        digits.len--;
    }
    if (!records_parse_u64(digits, &n) || n > MAX_SIZE_BYTES >> shift)
        return false;
    *ret_bytes = n << shift;
    return true;
}

static int parse_memory(struct actctl *ctl, const char *text)
{
    uint64_t bytes;
    if (!parse_size(text, &bytes) || bytes < ACT_BUILDER_MIN_MEMORY_BYTES)
        return options_refuse(ctl, text, "--memory takes a size from 8M on, such as 256M or 2G");
    ctl->memory_bytes = bytes;
    return STATUS_FOUND;
}

static int parse_max_bytes(struct actctl *ctl, const char *text)
{
    if (!parse_size(text, &ctl->max_bytes) || ctl->max_bytes < ACT_PAGE_BYTES)
        return options_refuse(ctl, text, "--max-bytes takes a size from 4K on, such as 500M or 2G");
    return STATUS_FOUND;
}

static int parse_rate(struct actctl *ctl, const char *text)
{
    if (!parse_size(text, &ctl->rate_bytes_per_s) || ctl->rate_bytes_per_s == 0)
        return options_refuse(ctl, text, "--rate takes bytes a second from 1 on, such as 20M");
    return STATUS_FOUND;
}

/* Which of the names, in order, the text is. */
static int parse_choice(const struct actctl *ctl, const char *text, const char *const names[3],
                        const char *reason, unsigned *ret_choice)
{
    for (unsigned i = 0; i < 3 && names[i]; i++) {
        if (strcmp(text, names[i]) == 0) {
            *ret_choice = i;
            return STATUS_FOUND;
        }
    }
    return options_refuse(ctl, text, reason);
}

static int parse_format(struct actctl *ctl, const char *text)
{
    static const char *const names[3] = {"tsv", "nul", "jsonl"};
    unsigned choice = 0;
    int status = parse_choice(ctl, text, names, "--format takes tsv, nul or jsonl", &choice);
    ctl->records.format = (enum records_format)choice;
    return status;
}

static int parse_values(struct actctl *ctl, const char *text)
{
    static const char *const names[3] = {"u64", "bytes"};
    unsigned choice = 0;
    int status = parse_choice(ctl, text, names, "--values takes u64 or bytes", &choice);
    ctl->records.is_bytes = choice == 1;
    return status;
}

static int parse_duplicates(struct actctl *ctl, const char *text)
{
    static const char *const names[3] = {"refuse", "first", "last"};
    unsigned choice = 0;
    int status =
        parse_choice(ctl, text, names, "--duplicates takes refuse, first or last", &choice);
    ctl->duplicates = (enum act_duplicates)choice;
    return status;
}

static int parse_mode(struct actctl *ctl, const char *text)
{
    static const char *const names[3] = {"willneed", "read", "traverse"};
    unsigned choice = 0;
    int status = parse_choice(ctl, text, names, "--mode takes read, willneed or traverse", &choice);
    ctl->warm_mode = (enum act_warm_mode)choice;
    return status;
}

/* What an option without a value turns on; NULL: it is another one. */
static bool *flag_of(struct actctl *ctl, int c)
{
    switch (c) {
    case OPTION_JSON:
        return &ctl->is_json;
    case OPTION_HEX:
        return &ctl->is_hex;
    case OPTION_KEYS_ONLY:
        return &ctl->records.is_keys_only;
    case OPTION_PLAIN:
        return &ctl->is_plain;
    case OPTION_ALL:
        return &ctl->is_all;
    case OPTION_REVERSE:
        return &ctl->is_reverse;
    case OPTION_WAIT:
        return &ctl->is_waiting;
    default:
        return NULL;
    }
}

/* Where an option's value is kept as it is; NULL: it is another one. */
static const char **text_of(struct actctl *ctl, int c)
{
    switch (c) {
    case OPTION_SERVER:
        return &ctl->address;
    case OPTION_FILE:
        return &ctl->file;
    case OPTION_ADMIN:
        return &ctl->admin;
    case OPTION_OUTPUT:
        return &ctl->output;
    case OPTION_PROFILE:
        return &ctl->profile;
    default:
        return NULL;
    }
}

static int parse_value(struct actctl *ctl, int c)
{
    switch (c) {
    case OPTION_TIMEOUT_MS:
        return parse_timeout(ctl, optarg);
    case OPTION_LIMIT:
        return parse_limit(ctl, optarg);
    case OPTION_TIMEOUT:
        return parse_seconds(ctl, optarg);
    case OPTION_PIN:
        return parse_pin(ctl, optarg);
    case OPTION_MODE:
        return parse_mode(ctl, optarg);
    case OPTION_MAX_BYTES:
        return parse_max_bytes(ctl, optarg);
    case OPTION_RATE:
        return parse_rate(ctl, optarg);
    case OPTION_FORMAT:
        return parse_format(ctl, optarg);
    case OPTION_VALUES:
        return parse_values(ctl, optarg);
    case OPTION_DUPLICATES:
        return parse_duplicates(ctl, optarg);
    case OPTION_PREFIX:
        ctl->prefix = optarg; /* not a text_of: it is decoded in place */
        return STATUS_FOUND;
    default:
        return parse_memory(ctl, optarg);
    }
}

static int parse_option(struct actctl *ctl, int c, void (*print_help)(void))
{
    bool *flag = flag_of(ctl, c);
    const char **text = text_of(ctl, c);
    if (c == OPTION_HELP) {
        print_help();
        exit(STATUS_FOUND);
    }
    if (c == OPTION_VERSION) {
        puts("actctl " ACTD_VERSION);
        exit(STATUS_FOUND);
    }
    if (!flag && !text)
        return parse_value(ctl, c);
    if (flag)
        *flag = true;
    else
        *text = optarg;
    return STATUS_FOUND;
}

static unsigned set_of(int c)
{
    switch (c) {
#define X(id, name, value, arg, help) \
    case OPTION_##id:                 \
        return TAKES_##id;
        OPTIONS(X)
#undef X
    default:
        return 0;
    }
}

int options_parse(struct actctl *ctl, int argc, char **argv, void (*print_help)(void),
                  unsigned *ret_given)
{
    unsigned given = 0;
    int status = STATUS_FOUND;
    while (status == STATUS_FOUND) {
        int c = getopt_long(argc, argv, ":s:f:o:n:a:hV", options, NULL);
        if (c == -1)
            break;
        if (c == ':' || c == '?')
            return options_refuse(ctl, argv[optind - 1],
                                  c == ':' ? "the option needs a value" : "no such option");
        given |= set_of(c);
        status = parse_option(ctl, c, print_help);
    }
    ctl->records.is_hex = ctl->is_hex;
    *ret_given = given;
    return status;
}

const char *options_name(unsigned set)
{
#define X(id, name, value, arg, help) \
    if (set & TAKES_##id)             \
        return "--" name;
    OPTIONS(X)
#undef X
    return "";
}

static void print_option(const char *name, int value, const char *arg, const char *help)
{
    char text[40];
    snprintf(text, sizeof text, "--%s %s", name, arg);
    if (value < 256)
        printf("  -%c, %-18s %s\n", value, text, help);
    else
        printf("      %-18s %s\n", text, help);
}

void options_print(void)
{
#define X(id, name, value, arg, help) print_option(name, value, arg, help);
    OPTIONS(X)
#undef X
}

int options_refuse(const struct actctl *ctl, const char *what, const char *reason)
{
    return session_error(ctl, STATUS_USAGE, "%s: %s: try actctl --help", what, reason);
}

/*
 * actctl: ask a running actd, and make, check and read its files, from the command line.
 *
 * main reads the options, finds the command in the table, and turns its outcome into the exit
 * status. The table is also what --help prints.
 */
#include "client/actctl/options.h"
#include "client/actctl/text.h"

#include <errno.h>
#include <getopt.h>
#include <langinfo.h>
#include <limits.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DEFAULT_SERVER "unix:/run/actd/actd.sock"
#define DEFAULT_ADMIN  "unix:/run/actd/admin.sock"

/* Options of commands that ask a server, and of those that can look into a file instead. */
#define ASKS  TAKES_SERVER | TAKES_TIMEOUT_MS | TAKES_JSON | TAKES_HEX
#define LOOKS ASKS | TAKES_FILE
#define PINS  LOOKS | TAKES_PIN

#define BUILDS                                                                                    \
    TAKES_OUTPUT | TAKES_FORMAT | TAKES_HEX | TAKES_VALUES | TAKES_KEYS_ONLY | TAKES_DUPLICATES | \
        TAKES_MEMORY | TAKES_PLAIN
#define SCANS   PINS | TAKES_LIMIT | TAKES_REVERSE | TAKES_KEYS_ONLY
#define DUMPS   TAKES_FORMAT | TAKES_HEX | TAKES_KEYS_ONLY | TAKES_PREFIX
#define WATCHES TAKES_SERVER | TAKES_TIMEOUT_MS | TAKES_JSON | TAKES_LIMIT
#define RELOADS \
    TAKES_ADMIN | TAKES_WAIT | TAKES_SERVER | TAKES_TIMEOUT | TAKES_TIMEOUT_MS | TAKES_JSON
#define WARMS    TAKES_JSON | TAKES_MODE | TAKES_MAX_BYTES | TAKES_RATE | TAKES_PROFILE
#define VERIFIES TAKES_JSON | TAKES_HEX | TAKES_ALL | TAKES_MEMORY

/* X(function, name, arguments for people, fewest, most, options, what it does) */
#define COMMANDS(X)                                                                               \
    X(get, "get", "KEY...", 1, SIZE_MAX, LOOKS, "print the value of each KEY")                    \
    X(mget, "mget", "", 0, 0, PINS, "print the values of the keys on standard input, one a line") \
    X(exists, "exists", "KEY", 1, 1, LOOKS, "does KEY have a value? true or false")               \
    X(node, "node", "KEY", 1, 1, LOOKS,                                                           \
      "print the position that KEY leads to: value and children")                                 \
    X(scan, "scan", "[PREFIX]", 0, 1, SCANS,                                                      \
      "print the keys that begin with PREFIX, and their values")                                  \
    X(range, "range", "FROM [TO]", 1, 2, SCANS,                                                   \
      "print the keys from FROM up to TO, and their values")                                      \
    X(count, "count", "[PREFIX]", 0, 1, PINS, "how many keys begin with PREFIX?")                 \
    X(explore, "explore", "[PREFIX]", 0, 1, ASKS | TAKES_PIN,                                     \
      "print which bytes follow PREFIX: how many keys, and the first one")                        \
    X(next, "next", "KEY...", 1, SIZE_MAX, LOOKS,                                                 \
      "print the first key after each KEY, and its value")                                        \
    X(prev, "prev", "KEY...", 1, SIZE_MAX, LOOKS,                                                 \
      "print the last key before each KEY, and its value")                                        \
    X(longest_prefix, "longest-prefix", "KEY...", 1, SIZE_MAX, PINS,                              \
      "print the longest key that each KEY begins with, and its value")                           \
    X(prefixes, "prefixes", "KEY", 1, 1, PINS,                                                    \
      "print all keys that KEY begins with, and their values")                                    \
    X(info, "info", "[FILE]", 0, 1, ASKS | TAKES_MEMORY,                                          \
      "print what the server, or FILE, is and holds")                                             \
    X(stats, "stats", "", 0, 0, ASKS, "print the server's counters")                              \
    X(ping, "ping", "", 0, 0, ASKS, "does the server answer?")                                    \
    X(watch, "watch", "", 0, 0, WATCHES, "print a line for each file that the server serves")     \
    X(reload, "reload", "", 0, 0, RELOADS, "have actd serve the file that is now at its path")    \
    X(build, "build", "-o OUT [IN]", 0, 1, BUILDS,                                                \
      "make the file OUT of the keys and values in IN")                                           \
    X(dump, "dump", "FILE", 1, 1, DUMPS,                                                          \
      "print the keys and values in FILE, in order; build reads them")                            \
    X(verify, "verify", "FILE", 1, 1, VERIFIES, "check every byte of FILE")                       \
    X(residency, "residency", "FILE", 1, 1, TAKES_JSON,                                           \
      "print how much of FILE is in memory, and where")                                           \
    X(warm, "warm", "FILE", 1, 1, WARMS, "bring FILE into memory, without a server")

struct command {
    const char *name, *args;
    size_t min_args, max_args;
    unsigned takes; /* options */
    int (*run)(struct actctl *ctl, char **args, size_t n_args);
};

static const struct command commands[] = {
#define X(function, name, args, min, max, takes, help) \
    {name, args, min, max, takes, command_##function},
    COMMANDS(X)
#undef X
};

static void print_help(void)
{
    puts("Usage: actctl [OPTION]... COMMAND [ARGUMENT]...\n"
         "Ask a running actd; make, check and read Arena Compact Tree files.\n"
         "\n"
         "Commands:");
#define X(function, name, args, min, max, takes, help) \
    printf("  %-14s %-11s  %s\n", name, args, help);
    COMMANDS(X)
#undef X
    puts("\nOptions:");
    options_print();
    puts("\nThe server is " DEFAULT_SERVER " unless -s or $ACTD_SERVER says otherwise.\n"
         "A KEY that begins with - comes after --. build reads standard input without IN.\n"
         "\n"
         "Records: tsv    a line each: key, tab, value\n"
         "         nul    key NUL value NUL; with --keys-only key NUL, as find -print0 writes\n"
         "         jsonl  a line each: {\"key\": \"text\" or {\"hex\": \"00ff\"}, \"value\": ...}\n"
         "\n"
         "Examples:\n"
         "  actctl build -o words.act words.tsv\n"
         "  find /usr -print0 | actctl build -o files.act --format=nul --keys-only\n"
         "  actctl get -f words.act apple pear\n"
         "  actctl dump words.act | sort -t \"$(printf '\\t')\" -k 2n | tail\n"
         "  actctl verify words.act && mv words.act /srv/trees/\n"
         "  actctl scan --limit=10 app\n"
         "  mv words.act /srv/trees/ && actctl reload --wait\n"
         "\n"
         "Exit status: 0 found or done, 1 not found, faults found or refused, 2 usage or input,\n"
         "3 connection, server or file error. actctl(1) has the details.");
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

/* given: the set of options. */
static int run_command(struct actctl *ctl, unsigned given, char **args, size_t n_args)
{
    char usage[100];
    if (n_args == 0)
        return session_error(ctl, STATUS_USAGE, "no command: try actctl --help");
    const struct command *command = find_command(args[0]);
    if (!command)
        return options_refuse(ctl, args[0], "no such command");
    if (given & ~command->takes)
        return session_error(ctl, STATUS_USAGE,
                             "%s: %s does not take this option: try actctl "
                             "--help",
                             options_name(given & ~command->takes), args[0]);
    n_args--;
    snprintf(usage, sizeof usage, "%s arguments: write actctl %s %s",
             n_args < command->min_args ? "too few" : "too many", args[0], command->args);
    if (n_args < command->min_args || n_args > command->max_args)
        return options_refuse(ctl, args[0], usage);
    bool is_of_file = ctl->file || (command->run == command_info && n_args > 0);
    if ((given & TAKES_SERVER) && is_of_file)
        return options_refuse(ctl, "--server", "a server or a file is asked, not both");
    if (ctl->is_pinned && ctl->file)
        return options_refuse(ctl, "--pin", "a file has no generations");
    if ((given & TAKES_SERVER) && command->run == command_reload && !ctl->is_waiting)
        return options_refuse(ctl, "--server", "reload asks the server only with --wait");
    if ((given & TAKES_MODE) && ctl->profile)
        return options_refuse(ctl, "--mode", "--profile is a mode of its own");
    return command->run(ctl, args + 1, n_args);
}

/* A terminal that does not speak UTF-8 could take parts of it for control codes. */
static bool is_utf8_fine(void)
{
    setlocale(LC_CTYPE, "");
    if (!isatty(STDOUT_FILENO) && !isatty(STDERR_FILENO))
        return true;
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

int main(int argc, char **argv)
{
    const char *server = getenv("ACTD_SERVER");
    struct actctl ctl = {.address = server && *server ? server : DEFAULT_SERVER,
                         .admin = DEFAULT_ADMIN,
                         .warm_mode = ACT_WARM_READ};
    /* A reader that has seen enough ends us without a word, whatever our parent ignores. */
    signal(SIGPIPE, SIG_DFL);
    setvbuf(stderr, NULL, _IOLBF, BUFSIZ);
    ctl.text_flags = is_utf8_fine() ? TEXT_UTF8 : 0;
    unsigned given = 0;
    int status = options_parse(&ctl, argc, argv, print_help, &given);
    if (status == STATUS_FOUND)
        status = run_command(&ctl, given, argv + optind, (size_t)(argc - optind));
    actc_close(ctl.client);
    act_cursor_free(ctl.cursor);
    act_close(ctl.tree);
    errno = -ctl.output_error;
    if (fflush(stdout) != 0 || ferror(stdout))
        status = session_error(&ctl, STATUS_FAILED, "cannot write to standard output: %s",
                               errno ? strerror(errno) : "an earlier write failed");
    return status;
}

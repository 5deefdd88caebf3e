/*
 * actctl: ask a running actd from the command line.
 *
 * main reads the options, finds the command in the table, and turns its outcome into the exit
 * status. The two tables are also what --help prints.
 */
#include "build_config.h"
#include "client/actctl/actctl.h"
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

/* X(ID, name, short letter or a number above 255, argument or "", what it does) */
#define OPTIONS(X)                                                                           \
    X(SERVER, "server", 's', "ADDRESS", "unix:PATH or tcp:HOST:PORT, see below")             \
    X(JSON, "json", 256, "", "print JSON")                                                   \
    X(HEX, "hex", 257, "", "keys are given and printed in hex")                              \
    X(TIMEOUT_MS, "timeout-ms", 258, "N", "give up connecting or a call after N ms [10000]") \
    X(HELP, "help", 'h', "", "print this and exit")                                          \
    X(VERSION, "version", 'V', "", "print the version and exit")

/* X(name, arguments for people, fewest, most, what it does) */
#define COMMANDS(X)                                                                  \
    X(get, "KEY...", 1, SIZE_MAX, "print the value of each KEY")                     \
    X(mget, "", 0, 0, "print the values of the keys on standard input, one a line")  \
    X(exists, "KEY", 1, 1, "does KEY have a value? true or false")                   \
    X(node, "KEY", 1, 1, "print the position that KEY leads to: value and children") \
    X(info, "", 0, 0, "print what the server says of itself and its file")           \
    X(stats, "", 0, 0, "print the server's counters")                                \
    X(ping, "", 0, 0, "does the server answer?")

struct command {
    const char *name;
    size_t min_args, max_args;
    int (*run)(struct actctl *ctl, char **args, size_t n_args);
};

static const struct command commands[] = {
#define X(name, args, min, max, help) {#name, min, max, command_##name},
    COMMANDS(X)
#undef X
};

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

static void print_option(const char *name, int value, const char *arg, const char *help)
{
    char text[40];
    snprintf(text, sizeof text, "--%s %s", name, arg);
    if (value < 256)
        printf("  -%c, %-18s %s\n", value, text, help);
    else
        printf("      %-18s %s\n", text, help);
}

static void print_help(void)
{
    puts("Usage: actctl [OPTION]... COMMAND [KEY]...\n"
         "Ask a running actd.\n"
         "\n"
         "Commands:");
#define X(name, args, min, max, help) printf("  %-6s %-7s  %s\n", #name, args, help);
    COMMANDS(X)
#undef X
    puts("\nOptions:");
#define X(id, name, value, arg, help) print_option(name, value, arg, help);
    OPTIONS(X)
#undef X
    puts("\nThe server is " DEFAULT_SERVER " unless -s or $ACTD_SERVER says otherwise.\n"
         "A KEY that begins with - comes after --.\n"
         "Exit status: 0 found, 1 not found, 2 usage, 3 connection or server error.");
}

static int try_help(const struct actctl *ctl, const char *what, const char *reason)
{
    return session_error(ctl, STATUS_USAGE, "%s: %s: try actctl --help", what, reason);
}

static int parse_timeout(struct actctl *ctl, const char *text)
{
    char *end;
    errno = 0;
    unsigned long n = strtoul(text, &end, 10);
    if (*text < '0' || *text > '9' || *end != '\0' || errno != 0 || n == 0 || n > UINT32_MAX)
        return try_help(ctl, text, "--timeout-ms takes a number of milliseconds from 1 on");
    ctl->timeout_ms = (uint32_t)n;
    return STATUS_FOUND;
}

/* STATUS_USAGE after it was told. --help and --version end the program. */
static int parse_options(struct actctl *ctl, int argc, char **argv)
{
    int status = STATUS_FOUND;
    while (status == STATUS_FOUND) {
        int c = getopt_long(argc, argv, ":s:hV", options, NULL);
        switch (c) {
        case -1:
            return STATUS_FOUND;
        case OPTION_SERVER:
            ctl->address = optarg;
            break;
        case OPTION_JSON:
            ctl->is_json = true;
            break;
        case OPTION_HEX:
            ctl->is_hex = true;
            break;
        case OPTION_TIMEOUT_MS:
            status = parse_timeout(ctl, optarg);
            break;
        case OPTION_HELP:
            print_help();
            exit(STATUS_FOUND);
        case OPTION_VERSION:
            puts("actctl " ACTD_VERSION);
            exit(STATUS_FOUND);
        default:
            status = try_help(ctl, argv[optind - 1],
                              c == ':' ? "the option needs a value" : "no such option");
        }
    }
    return status;
}

static const struct command *find_command(const char *name)
{
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

static int run_command(struct actctl *ctl, char **args, size_t n_args)
{
    if (n_args == 0)
        return session_error(ctl, STATUS_USAGE, "no command: try actctl --help");
    const struct command *command = find_command(args[0]);
    if (!command)
        return try_help(ctl, args[0], "no such command");
    n_args--;
    if (n_args < command->min_args)
        return try_help(ctl, args[0], "the command needs a KEY");
    if (n_args > command->max_args)
        return try_help(ctl, args[0],
                        command->max_args ? "the command takes one KEY"
                                          : "the command takes no arguments");
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
    struct actctl ctl = {.address = server && *server ? server : DEFAULT_SERVER};
    /* A reader that has seen enough ends us without a word, whatever our parent ignores. */
    signal(SIGPIPE, SIG_DFL);
    setvbuf(stderr, NULL, _IOLBF, BUFSIZ);
    ctl.text_flags = is_utf8_fine() ? TEXT_UTF8 : 0;
    int status = parse_options(&ctl, argc, argv);
    if (status == STATUS_FOUND)
        status = run_command(&ctl, argv + optind, (size_t)(argc - optind));
    actc_close(ctl.client);
    errno = 0;
    if (fflush(stdout) != 0 || ferror(stdout))
        status = session_error(&ctl, STATUS_FAILED, "cannot write to standard output: %s",
                               errno ? strerror(errno) : "an earlier write failed");
    return status;
}

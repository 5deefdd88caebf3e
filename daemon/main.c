/*
 * main: actd's command line.
 */
#include "base/log.h"
#include "build_config.h"
#include "daemon/checker/checker.h"
#include "daemon/config.h"
#include "daemon/events.h"
#include "daemon/journal.h"
#include "daemon/supervisor/supervisor.h"
#include "daemon/verifier/verifier.h"
#include "daemon/warmer/warmer.h"
#include "daemon/worker/link.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXIT_USAGE     2
#define DEFAULT_CONFIG ACTD_SYSCONFDIR "/actd/actd.conf"

static const char help[] =
    "Usage: actd [OPTION]...\n"
    "Serve one Arena Compact Tree file (ACTree03) over MessagePack-RPC.\n"
    "\n"
    "  -c, --config=FILE       read FILE and FILE.d/*.conf (default: " DEFAULT_CONFIG ",\n"
    "                          if it exists)\n"
    "  -s, --set=SECTION.KEY=VALUE\n"
    "                          set one option, after all files; may be repeated\n"
    "      --check-config      tell whether the configuration is right, and end\n"
    "      --print-defaults    print every option with its default, and end\n"
    "  -h, --help              print this, and end\n"
    "  -V, --version           print the version, and end\n"
    "\n"
    "Example:\n"
    "  actd --set tree.path=cities.act --set listen.unix=/tmp/actd.sock \\\n"
    "       --set listen.tcp=127.0.0.1:7411\n"
    "\n"
    "Signals: TERM and INT answer what is in flight and stop; a second one stops at once. HUP\n"
    "looks at the file again and serves it if it is good. USR1 logs statistics.\n"
    "Exit status: 0 stopped, 1 cannot serve, 2 the command line or the configuration is wrong.\n"
    "See actd(8), actd.conf(5), actctl(1).\n";

enum { OPTION_CHECK_CONFIG = 256, OPTION_PRINT_DEFAULTS };

static const struct option options[] = {
    {"config", required_argument, NULL, 'c'},
    {"set", required_argument, NULL, 's'},
    {"check-config", no_argument, NULL, OPTION_CHECK_CONFIG},
    {"print-defaults", no_argument, NULL, OPTION_PRINT_DEFAULTS},
    {"help", no_argument, NULL, 'h'},
    {"version", no_argument, NULL, 'V'},
    {0},
};

struct command_line {
    const char *config_path;  /* NULL: the default */
    const char **assignments; /* of --set, in order; n of them */
    int n_assignments;
    bool is_check;
};

/* -1: go on; else the exit status. */
static int parse(int argc, char **argv, struct command_line *command)
{
    int c;
    while ((c = getopt_long(argc, argv, "c:s:hV", options, NULL)) != -1) {
        switch (c) {
        case 'c':
            command->config_path = optarg;
            break;
        case 's':
            command->assignments[command->n_assignments++] = optarg;
            break;
        case OPTION_CHECK_CONFIG:
            command->is_check = true;
            break;
        case OPTION_PRINT_DEFAULTS:
            config_print_defaults(stdout);
            return EXIT_SUCCESS;
        case 'h':
            fputs(help, stdout);
            return EXIT_SUCCESS;
        case 'V':
            puts("actd " ACTD_VERSION);
            return EXIT_SUCCESS;
        default:
            fputs("Try 'actd --help'.\n", stderr);
            return EXIT_USAGE;
        }
    }
    if (optind == argc)
        return -1;
    fprintf(stderr,
            "actd: unexpected argument \"%s\": the file to serve is set by "
            "--set tree.path=FILE\n",
            argv[optind]);
    return EXIT_USAGE;
}

static int load_config(const struct command_line *command, struct config *config,
                       struct config_error *error)
{
    const char *path = command->config_path;
    int r = 0;
    config_init(config);
    if (!path && access(DEFAULT_CONFIG, F_OK) == 0)
        path = DEFAULT_CONFIG;
    if (path)
        r = config_read_file(config, path, error);
    for (int i = 0; r == 0 && i < command->n_assignments; i++)
        r = config_set(config, command->assignments[i], error);
    return r == 0 ? config_finish(config, error) : r;
}

/* For people at a terminal it is an answer and no event. */
static void tell_config_error(const struct command_line *command, const char *message)
{
    if (log_is_journal() && !command->is_check)
        log_event(&event_cannot_start, LOG_REASON(message, 0), "cannot start: %s", message);
    else
        fprintf(stderr, "actd: %s\n", message);
    if (!command->is_check)
        supervisor_refuse(message);
}

static int run(const struct command_line *command)
{
    struct config config;
    struct config_error error;
    int status;
    if (load_config(command, &config, &error) != 0) {
        tell_config_error(command, error.message);
        status = EXIT_USAGE;
    } else if (command->is_check) {
        puts("actd: the configuration is right");
        status = EXIT_SUCCESS;
    } else {
        log_init((enum log_level)config.log_level);
        log_set_context(log_field_text("TREE_PATH", config.tree_path));
        status = supervisor_run(&config);
    }
    config_deinit(&config);
    return status;
}

/* What the supervisor starts from the same binary, with descriptors that only it has. -1: neither.
 */
static int run_role(int argc, char **argv)
{
    struct stat st;
    bool is_worker = argc == 3 && strcmp(argv[1], "--worker") == 0;
    bool is_held = argc == 3 && strcmp(argv[2], "held") == 0;
    bool is_checker = (argc == 2 || is_held) && strcmp(argv[1], "--checker") == 0;
    bool is_verifier = argc == 2 && strcmp(argv[1], "--verifier") == 0;
    bool is_warmer = argc == 4 && strcmp(argv[1], "--warmer") == 0;
    if (!is_worker && !is_checker && !is_verifier && !is_warmer)
        return -1;
    if (fstat(LINK_CONTROL_FD, &st) < 0 || !S_ISSOCK(st.st_mode)) {
        fprintf(stderr, "actd: %s is for actd's own use\n", argv[1]);
        return EXIT_USAGE;
    }
    return is_worker     ? link_run((unsigned)strtoul(argv[2], NULL, 10))
           : is_checker  ? checker_run(is_held)
           : is_verifier ? verifier_run()
                         : warmer_run(argv[2], argv[3]);
}

/* Who starts us may have closed standard streams; what is opened next must not get their numbers:
 * lines of the log would go there, and children could not be started. */
static void fill_standard_streams(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0)
        close(fd);
}

int main(int argc, char **argv)
{
    fill_standard_streams();
    journal_init();
    struct command_line command = {.assignments = calloc((size_t)argc + 1, sizeof(char *))};
    if (!command.assignments) {
        fprintf(stderr, "actd: %s\n", strerror(ENOMEM));
        return EXIT_FAILURE;
    }
    /* Large buffers always come from the kernel and go back to it: they grow without being copied,
     * and leave no holes. (By itself malloc moves this limit up.) */
    mallopt(M_MMAP_THRESHOLD, 128 * 1024);
    int status = run_role(argc, argv);
    if (status < 0)
        status = parse(argc, argv, &command);
    if (status < 0)
        status = run(&command);
    free(command.assignments);
    if (status != EXIT_SUCCESS)
        journal_settle();
    return status;
}

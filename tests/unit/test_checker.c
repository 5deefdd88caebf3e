/*
 * checker: every file that may lie at tree.path gets one answer, and the process ends with its
 * socket. The role runs in a forked child, over the descriptors that a supervisor gives it.
 */
#include "bytes.h"
#include "daemon/checker/checker.h"
#include "daemon/checker/copy.h"
#include "daemon/config.h"
#include "daemon/control.h"
#include "daemon/snapshot.h"
#include "forge.h"
#include "unit.h"

#include "act/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define DEADLINE_MS 60000
#define TIB         ((off_t)1 << 40)

struct answer {
    struct control_message message;
    int fd;              /* owned; -1: none */
    unsigned n_progress; /* that came before it */
    int status;          /* as waitpid gives it */
};

static char dir[] = "/tmp/test_checker.XXXXXX";

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) && chmod(dir, 0755) == 0 ? 0 : -1;
}

static const char *path_of(const char *name)
{
    static char path[100];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return path;
}

static int remove_dir(void **state)
{
    (void)state;
    static const char *const names[] = {"file", "fifo", "socket", "dir", "link"};
    for (size_t i = 0; i < N_ELEMENTS(names); i++)
        (void)remove(path_of(names[i]));
    return rmdir(dir);
}

static const char *write_file(const void *p, size_t len)
{
    const char *path = path_of("file");
    (void)unlink(path);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, len, f), len);
    assert_int_equal(fclose(f), 0);
    return path;
}

static const char *write_bytes(struct bytes bytes)
{
    const char *path = write_file(bytes.p, bytes.len);
    bytes_free(&bytes);
    return path;
}

static struct bytes data(const char *name)
{
    return bytes_read_file(test_data_path(name));
}

/* What the child does when the check has begun. */
static void (*during)(void);

int __wrap_act_verify(const struct act *tree, const struct act_verify_options *options,
                      struct act_survey *ret_survey);
int __real_act_verify(const struct act *tree, const struct act_verify_options *options,
                      struct act_survey *ret_survey);

int __wrap_act_verify(const struct act *tree, const struct act_verify_options *options,
                      struct act_survey *ret_survey)
{
    if (during)
        during();
    return __real_act_verify(tree, options, ret_survey);
}

/* What it does when a copy is about to be made, and when it is. */
static void (*before_copy)(void);
static void (*after_copy)(void);
static uint64_t map_min_bytes;

int __wrap_copy_file(int fd, uint64_t size, copy_progress *on_progress, struct copy *ret);
int __real_copy_file(int fd, uint64_t size, copy_progress *on_progress, struct copy *ret);

int __wrap_copy_file(int fd, uint64_t size, copy_progress *on_progress, struct copy *ret)
{
    if (before_copy)
        before_copy();
    int r = __real_copy_file(fd, size, on_progress, ret);
    if (after_copy)
        after_copy();
    return r;
}

/* ret_control: our end. */
static pid_t start(const char *path, enum tree_verify verify, void (*before)(void),
                   int *ret_control)
{
    struct config config;
    int pair[2];
    config_init(&config);
    free(config.tree_path);
    config.tree_path = strdup(path);
    config.tree_verify = verify;
    config.tree_map_min_bytes = map_min_bytes;
    int shared = config_share(&config);
    assert_true(shared >= 0);
    config_deinit(&config);
    assert_int_equal(control_pair(pair), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        /* Out of the way of the two numbers. */
        int control = fcntl(pair[1], F_DUPFD, 10), configuration = fcntl(shared, F_DUPFD, 10);
        close(pair[0]);
        if (dup2(control, CHECKER_CONTROL_FD) < 0 || dup2(configuration, CHECKER_CONFIG_FD) < 0)
            _exit(99);
        close(control);
        close(configuration);
        if (pair[1] > CHECKER_CONFIG_FD)
            close(pair[1]);
        if (before)
            before();
        _exit(checker_run(false));
    }
    close(pair[1]);
    close(shared);
    *ret_control = pair[0];
    return pid;
}

static int next(int control, struct control_message *message, int *passed)
{
    int r;
    while ((r = control_receive(control, message, passed)) == CONTROL_EMPTY) {
        struct pollfd readable = {.fd = control, .events = POLLIN};
        if (poll(&readable, 1, DEADLINE_MS) != 1)
            fail_msg("no answer in %d ms", DEADLINE_MS);
    }
    return r;
}

/* Exactly one answer, and then the end. */
static struct answer finish(pid_t pid, int control)
{
    struct control_message more;
    struct answer answer = {.fd = -1};
    int passed, r;
    while ((r = next(control, &answer.message, &answer.fd)) == 0 &&
           answer.message.type == CONTROL_PROGRESS) {
        assert_int_equal(answer.fd, -1);
        answer.n_progress++;
    }
    assert_int_equal(r, 0);
    assert_int_equal(next(control, &more, &passed), CONTROL_END);
    close(control);
    assert_int_equal(waitpid(pid, &answer.status, 0), pid);
    assert_true(WIFEXITED(answer.status));
    assert_int_equal(WEXITSTATUS(answer.status), 0);
    return answer;
}

static struct answer check(const char *path, enum tree_verify verify)
{
    int control;
    pid_t pid = start(path, verify, NULL, &control);
    return finish(pid, control);
}

/* The line names the file and says that; generation has the facts. */
static void assert_refusal(const struct answer *answer, const char *path, const char *why)
{
    struct stat st;
    const struct generation *generation = &answer->message.generation;
    assert_int_equal(answer->message.type, CONTROL_REFUSED);
    assert_int_equal(answer->fd, -1);
    if (strncmp(answer->message.text, path, strlen(path)) != 0 ||
        !strstr(answer->message.text, why))
        fail_msg("\"%s\" does not say \"%s\"", answer->message.text, why);
    if (stat(path, &st) < 0) {
        assert_int_equal(generation->inode, 0);
        return;
    }
    assert_int_equal(generation->device, st.st_dev);
    assert_int_equal(generation->inode, st.st_ino);
}

static void assert_refused(const char *path, enum tree_verify verify, const char *why)
{
    struct answer answer = check(path, verify);
    assert_refusal(&answer, path, why);
}

static void assert_refused_by_all(const char *path, const char *why)
{
    assert_refused(path, TREE_VERIFY_HEADER, why);
    assert_refused(path, TREE_VERIFY_STRUCTURE, why);
    assert_refused(path, TREE_VERIFY_DIGEST, why);
}

static void assert_accepted(const char *path, enum tree_verify verify)
{
    struct stat st, passed;
    struct generation wanted;
    struct act_error error;
    struct answer answer = check(path, verify);
    if (answer.message.type != CONTROL_CANDIDATE)
        fail_msg("refused: %s", answer.message.text);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(fstat(answer.fd, &passed), 0);
    assert_int_equal(passed.st_ino, st.st_ino);
    assert_int_equal(passed.st_dev, st.st_dev);
    assert_int_equal(generation_examine(answer.fd, path, &wanted, &error), 0);
    assert_memory_equal(&answer.message.generation, &wanted, sizeof wanted);
    close(answer.fd);
}

static void good_files_are_candidates(void **state)
{
    (void)state;
    char path[4096];
    snprintf(path, sizeof path, "%s", test_data_path("cities.act"));
    assert_accepted(path, TREE_VERIFY_HEADER);
    assert_accepted(path, TREE_VERIFY_STRUCTURE);
    assert_refused(path, TREE_VERIFY_DIGEST, "it has no digest");
    snprintf(path, sizeof path, "%s", test_data_path("built/e.act"));
    assert_accepted(path, TREE_VERIFY_HEADER);
    assert_accepted(path, TREE_VERIFY_STRUCTURE);
    assert_accepted(path, TREE_VERIFY_DIGEST);
}

static void what_is_no_tree_is_refused(void **state)
{
    (void)state;
    uint8_t zeros[64] = {0};
    struct bytes tree = data("built/e.act");
    assert_refused_by_all(write_file("", 0), "too short");
    assert_refused_by_all(write_file("ACTree0", 7), "too short");
    assert_refused_by_all(write_file(zeros, sizeof zeros), "not an ACT file");
    uint64_t size = tree.len;
    forge_put(&tree, 8, 0, 8);
    assert_refused_by_all(write_file(tree.p, tree.len), "still being written");
    forge_put(&tree, 8, size, 8);
    assert_refused_by_all(write_file(tree.p, tree.len), "outside the file");
    forge_put(&tree, 8, UINT64_MAX, 8);
    assert_refused_by_all(write_file(tree.p, tree.len), "outside the file");
    tree.p[7] = '2';
    assert_refused_by_all(write_file(tree.p, tree.len), "old version");
    bytes_free(&tree);
}

static void truncated_files_are_refused(void **state)
{
    (void)state;
    struct bytes tree = data("cities.act");
    for (size_t len = 1; len < tree.len; len *= 2)
        assert_refused_by_all(write_file(tree.p, len), "");
    assert_refused(write_file(tree.p, tree.len - 1), TREE_VERIFY_STRUCTURE, "damaged at offset");
    bytes_free(&tree);
}

static void damage_is_found_as_far_as_it_is_looked_for(void **state)
{
    (void)state;
    struct bytes tree = data("built/e.act");
    assert_true(tree.len > FORGE_META + FORGE_META_BYTES);
    tree.p[FORGE_META + FORGE_META_BYTES] ^= 1;
    const char *path = write_bytes(tree);
    assert_accepted(path, TREE_VERIFY_HEADER);
    assert_refused(path, TREE_VERIFY_STRUCTURE, "it is damaged at offset");
    assert_refused(path, TREE_VERIFY_DIGEST, "it is damaged at offset");
}

static void random_bytes_behind_a_good_header_get_an_answer(void **state)
{
    (void)state;
    uint8_t bytes[4096] = "ACTree03";
    unsigned seed = 1;
    for (unsigned i = 0; i < 50; i++) {
        for (size_t k = 8; k < sizeof bytes; k++)
            bytes[k] = (uint8_t)rand_r(&seed);
        memset(bytes + 8, 0, 8);
        bytes[8] = (uint8_t)rand_r(&seed);
        bytes[9] = (uint8_t)(rand_r(&seed) % 16);
        const char *path = write_file(bytes, sizeof bytes);
        assert_refused(path, TREE_VERIFY_STRUCTURE, "");
        struct answer answer = check(path, TREE_VERIFY_HEADER);
        if (answer.fd >= 0)
            close(answer.fd);
    }
}

static void what_is_no_file_is_refused(void **state)
{
    (void)state;
    struct sockaddr_un un = {.sun_family = AF_UNIX};
    snprintf(un.sun_path, sizeof un.sun_path, "%s", path_of("socket"));
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof un), 0);
    assert_refused_by_all(un.sun_path, "");
    close(fd);
    assert_int_equal(mkdir(path_of("dir"), 0700), 0);
    assert_refused_by_all(path_of("dir"), "a directory");
    assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
    assert_refused_by_all(path_of("fifo"), "a FIFO");
    assert_refused_by_all("/dev/zero", "a device");
}

static void what_cannot_be_opened_is_refused_with_a_remedy(void **state)
{
    (void)state;
    const char *link = path_of("link");
    assert_int_equal(symlink(link, link), 0);
    assert_refused_by_all(link, "correct it");
    assert_int_equal(unlink(link), 0);
    assert_int_equal(symlink("/nonexistent/file", link), 0);
    assert_refused_by_all(link, "put a file there");
    assert_int_equal(unlink(link), 0);
    write_file("", 0);
    assert_refused_by_all(path_of("file/below"), "put a file there");
    assert_refused_by_all(path_of("missing"), "put a file there");
}

static void become_nobody(void)
{
    if (geteuid() == 0 && seteuid(65534) != 0)
        _exit(98);
}

static void an_unreadable_file_is_known_all_the_same(void **state)
{
    (void)state;
    int control;
    const char *path = write_bytes(data("built/e.act"));
    assert_int_equal(chmod(path, 0), 0);
    pid_t pid = start(path, TREE_VERIFY_HEADER, become_nobody, &control);
    struct answer answer = finish(pid, control);
    assert_refusal(&answer, path, "the user that actd runs as");
    assert_int_not_equal(answer.message.generation.inode, 0);
    assert_int_not_equal(answer.message.generation.size_bytes, 0);
    assert_int_not_equal(answer.message.generation.mtime.tv_sec, 0);
}

static void mixed_values_are_refused(void **state)
{
    (void)state;
    struct bytes tree = data("built/e.act");
    forge_merge(&tree, 7, 0, forge_number(&tree, 8, 8));
    assert_refused_by_all(write_bytes(tree), "its values are byte strings");
}

/* Numbers, so that it can be served: e.act turned into a tree of these. */
static void a_merged_file_has_no_digest(void **state)
{
    (void)state;
    struct bytes tree = data("built/e.act");
    forge_field(&tree, FORGE_MODE, 0, 1);
    forge_merge(&tree, 7, 0, forge_number(&tree, 8, 8));
    assert_refused(write_bytes(tree), TREE_VERIFY_DIGEST, "it was merged into");
}

/* As if the disk had no more room than that. */
static void limit_files(void)
{
    struct rlimit limit = {.rlim_cur = 1 << 30, .rlim_max = 1 << 30};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0)
        _exit(97);
}

static void assert_needs_space(const char *path)
{
    int control;
    pid_t pid = start(path, TREE_VERIFY_STRUCTURE, limit_files, &control);
    struct answer answer = finish(pid, control);
    assert_refusal(&answer, path, "set TMPDIR");
}

static void a_terabyte_of_nothing_fills_no_disk(void **state)
{
    (void)state;
    struct bytes tree = data("cities.act");
    const char *path = write_file("", 0);
    if (truncate(path, TIB) != 0)
        skip(); /* not on this file system */
    assert_refused_by_all(path, "not an ACT file");
    /* A root inside the hole. */
    const uint8_t header[16] = {'A', 'C', 'T', 'r', 'e', 'e', '0', '3', 0, 0, 0, 0, 0x80};
    path = write_file(header, sizeof header);
    assert_int_equal(truncate(path, TIB), 0);
    assert_accepted(path, TREE_VERIFY_HEADER);
    assert_needs_space(path);
    /* A tree before the hole. */
    path = write_file(tree.p, tree.len);
    assert_int_equal(truncate(path, (off_t)300 << 20), 0);
    assert_accepted(path, TREE_VERIFY_STRUCTURE);
    assert_int_equal(truncate(path, TIB), 0);
    assert_accepted(path, TREE_VERIFY_HEADER);
    assert_needs_space(path);
    bytes_free(&tree);
}

static void touch_file(void)
{
    const struct timespec times[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    if (utimensat(AT_FDCWD, path_of("file"), times, 0) != 0)
        _exit(96);
}

static void append_to_file(void)
{
    struct stat st;
    const char *path = path_of("file");
    if (stat(path, &st) != 0 || truncate(path, st.st_size + 1) != 0)
        _exit(96);
}

static void truncate_file(void)
{
    if (truncate(path_of("file"), 4096) != 0)
        _exit(96);
}

static void a_file_that_changes_meanwhile_is_refused(void **state)
{
    (void)state;
    const char *path = write_bytes(data("cities.act"));
    during = touch_file;
    assert_refused(path, TREE_VERIFY_STRUCTURE, "it is being written");
    during = append_to_file;
    assert_refused(path, TREE_VERIFY_STRUCTURE, "it is being written");
    during = truncate_file;
    assert_refused(path, TREE_VERIFY_STRUCTURE, "it was truncated while it was read");
    during = NULL;
}

/* All but the answer and the socket's end is ignored. */
static void signal_self(void)
{
    static const int numbers[] = {SIGHUP, SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGPIPE};
    for (size_t i = 0; i < N_ELEMENTS(numbers); i++)
        (void)raise(numbers[i]);
}

static void signals_of_the_group_are_ignored(void **state)
{
    (void)state;
    during = signal_self;
    assert_accepted(write_bytes(data("cities.act")), TREE_VERIFY_STRUCTURE);
    during = NULL;
}

/* As a thread of a supervisor leaves it. */
static void block_signals(void)
{
    sigset_t all;
    sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, NULL);
}

static void a_lost_page_is_told_also_where_signals_were_blocked(void **state)
{
    (void)state;
    int control;
    const char *path = write_bytes(data("cities.act"));
    during = truncate_file;
    pid_t pid = start(path, TREE_VERIFY_STRUCTURE, block_signals, &control);
    struct answer answer = finish(pid, control);
    assert_refusal(&answer, path, "it was truncated while it was read");
    during = NULL;
}

/* Tells that the check has begun, and comes to no end. */
static void wait_forever(void)
{
    struct control_message message = {.type = CONTROL_PROGRESS};
    (void)control_send(CHECKER_CONTROL_FD, &message, -1);
    for (;;)
        pause();
}

static void it_ends_with_its_socket(void **state)
{
    (void)state;
    struct control_message message;
    int control, passed, status;
    during = wait_forever;
    pid_t pid = start(write_bytes(data("cities.act")), TREE_VERIFY_STRUCTURE, NULL, &control);
    assert_int_equal(next(control, &message, &passed), 0);
    assert_int_equal(message.type, CONTROL_PROGRESS);
    close(control);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    during = NULL;
}

static void fill_socket(void)
{
    struct control_message message = {.type = CONTROL_PROGRESS};
    while (control_send(CHECKER_CONTROL_FD, &message, -1) == 0)
        ;
}

static void the_answer_waits_for_room(void **state)
{
    (void)state;
    int control;
    const char *path = write_bytes(data("cities.act"));
    pid_t pid = start(path, TREE_VERIFY_STRUCTURE, fill_socket, &control);
    struct answer answer = finish(pid, control);
    assert_int_equal(answer.message.type, CONTROL_CANDIDATE);
    assert_true(answer.n_progress > 10);
    close(answer.fd);
}

static void progress_is_told(void **state)
{
    (void)state;
    struct answer answer = check(write_bytes(data("cities.act")), TREE_VERIFY_STRUCTURE);
    assert_int_equal(answer.message.type, CONTROL_CANDIDATE);
    assert_int_equal(answer.message.number, 0);
    assert_true(answer.n_progress >= 1);
    close(answer.fd);
}

/*
 * Copies.
 */

static int reset_copies(void **state)
{
    (void)state;
    before_copy = after_copy = NULL;
    map_min_bytes = 0;
    return 0;
}

static struct answer check_copied(const char *path, enum tree_verify verify)
{
    map_min_bytes = UINT64_C(1) << 40;
    return check(path, verify);
}

/* It is a copy of what is in the file now, which nobody can change. */
static void assert_copy(struct answer *answer, const char *path)
{
    struct stat st, copy;
    struct generation wanted;
    struct act_error error;
    struct bytes bytes = bytes_read_file(path);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    char *content = malloc(bytes.len + 1);
    if (answer->message.type != CONTROL_CANDIDATE)
        fail_msg("refused: %s", answer->message.text);
    assert_int_equal(fstat(file, &st), 0);
    assert_int_equal(fstat(answer->fd, &copy), 0);
    assert_true(copy.st_ino != st.st_ino || copy.st_dev != st.st_dev);
    assert_int_equal(pread(answer->fd, content, bytes.len + 1, 0), bytes.len);
    assert_memory_equal(content, bytes.p, bytes.len);
    assert_int_equal(fcntl(answer->fd, F_GET_SEALS),
                     F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL);
    assert_int_equal(fcntl(answer->fd, F_GETFL) & O_ACCMODE, O_RDONLY);
    /* And the facts are the file's. */
    assert_int_equal(generation_examine(file, path, &wanted, &error), 0);
    wanted.hold = GENERATION_COPIED;
    wanted.copy_device = copy.st_dev;
    wanted.copy_inode = copy.st_ino;
    assert_memory_equal(&answer->message.generation, &wanted, sizeof wanted);
    free(content);
    bytes_free(&bytes);
    close(file);
    close(answer->fd);
}

static void a_copy_has_the_files_facts(void **state)
{
    (void)state;
    static const char *const names[] = {"cities.act", "built/e.act"};
    for (size_t i = 0; i < N_ELEMENTS(names); i++) {
        for (enum tree_verify verify = TREE_VERIFY_HEADER; verify <= TREE_VERIFY_STRUCTURE;
             verify++) {
            char path[4096];
            snprintf(path, sizeof path, "%s", test_data_path(names[i]));
            struct answer answer = check_copied(path, verify);
            assert_copy(&answer, path);
        }
    }
}

static bool is_done; /* in the child */

static void write_another(void)
{
    if (is_done)
        return;
    is_done = true;
    struct bytes other = data("shakespeare.act");
    int fd = open(path_of("file"), O_WRONLY | O_CLOEXEC);
    if (fd < 0 || pwrite(fd, other.p, other.len, 0) != (ssize_t)other.len ||
        ftruncate(fd, (off_t)other.len) < 0)
        _exit(98);
    close(fd);
    bytes_free(&other);
}

static void change_mode(void)
{
    struct stat st;
    if (stat(path_of("file"), &st) < 0 || chmod(path_of("file"), st.st_mode ^ 1) < 0)
        _exit(98);
}

static void change_mode_once(void)
{
    if (!is_done)
        change_mode();
    is_done = true;
}

static void cut(void)
{
    if (truncate(path_of("file"), 4096) < 0)
        _exit(98);
}

static void a_file_that_changes_while_it_is_copied_is_copied_again(void **state)
{
    (void)state;
    static void (*const changes[])(void) = {write_another, change_mode_once};
    for (size_t i = 0; i < 2 * N_ELEMENTS(changes); i++) {
        const char *path = write_bytes(data("cities.act"));
        before_copy = i % 2 ? changes[i / 2] : NULL;
        after_copy = i % 2 ? NULL : changes[i / 2];
        struct answer answer = check_copied(path, TREE_VERIFY_STRUCTURE);
        assert_copy(&answer, path);
    }
}

static void a_file_that_never_rests_is_not_copied(void **state)
{
    (void)state;
    const char *path = write_bytes(data("cities.act"));
    after_copy = change_mode;
    struct answer answer = check_copied(path, TREE_VERIFY_HEADER);
    assert_refusal(&answer, path, "it is being written");
    after_copy = NULL;
    before_copy = cut;
    answer = check_copied(path, TREE_VERIFY_HEADER);
    assert_refusal(&answer, path, "outside the file (4096 bytes)");
}

static void limit_files_to_less(void)
{
    struct rlimit limit = {.rlim_cur = 1000000, .rlim_max = 1000000};
    if (setrlimit(RLIMIT_FSIZE, &limit) < 0)
        _exit(98);
}

/* It is no state of the file, so it may be better the next time: no facts are told. */
static void what_finds_no_room_is_refused_for_now(void **state)
{
    (void)state;
    int control;
    const char *path = write_bytes(data("cities.act"));
    map_min_bytes = UINT64_C(1) << 40;
    pid_t pid = start(path, TREE_VERIFY_HEADER, limit_files_to_less, &control);
    struct answer answer = finish(pid, control);
    assert_int_equal(answer.message.type, CONTROL_REFUSED);
    assert_int_equal(answer.message.generation.inode, 0);
    assert_non_null(strstr(answer.message.text, "copying it to memory takes 2325419 bytes"));
}

static void of_a_long_name_the_end_is_told(void **state)
{
    (void)state;
    char path[4000];
    struct answer answer;
    memset(path, '/', sizeof path);
    snprintf(path + sizeof path - 20, 20, "nonexistent.act");
    answer = check(path, TREE_VERIFY_HEADER);
    assert_int_equal(answer.message.type, CONTROL_REFUSED);
    assert_non_null(strstr(answer.message.text, "put a file there"));
}

static void close_config(void)
{
    close(CHECKER_CONFIG_FD);
}

static void without_a_configuration_it_says_so(void **state)
{
    (void)state;
    struct control_message message;
    int control, passed, status;
    pid_t pid = start("/", TREE_VERIFY_HEADER, close_config, &control);
    assert_int_equal(next(control, &message, &passed), 0);
    assert_int_equal(message.type, CONTROL_REFUSED);
    assert_non_null(strstr(message.text, "no configuration"));
    close(control);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_files_are_candidates),
        cmocka_unit_test(what_is_no_tree_is_refused),
        cmocka_unit_test(truncated_files_are_refused),
        cmocka_unit_test(damage_is_found_as_far_as_it_is_looked_for),
        cmocka_unit_test(random_bytes_behind_a_good_header_get_an_answer),
        cmocka_unit_test(what_is_no_file_is_refused),
        cmocka_unit_test(what_cannot_be_opened_is_refused_with_a_remedy),
        cmocka_unit_test(an_unreadable_file_is_known_all_the_same),
        cmocka_unit_test(mixed_values_are_refused),
        cmocka_unit_test(a_merged_file_has_no_digest),
        cmocka_unit_test(a_terabyte_of_nothing_fills_no_disk),
        cmocka_unit_test(a_file_that_changes_meanwhile_is_refused),
        cmocka_unit_test(signals_of_the_group_are_ignored),
        cmocka_unit_test(a_lost_page_is_told_also_where_signals_were_blocked),
        cmocka_unit_test(it_ends_with_its_socket),
        cmocka_unit_test(the_answer_waits_for_room),
        cmocka_unit_test(progress_is_told),
        cmocka_unit_test_teardown(a_copy_has_the_files_facts, reset_copies),
        cmocka_unit_test_teardown(a_file_that_changes_while_it_is_copied_is_copied_again,
                                  reset_copies),
        cmocka_unit_test_teardown(a_file_that_never_rests_is_not_copied, reset_copies),
        cmocka_unit_test_teardown(what_finds_no_room_is_refused_for_now, reset_copies),
        cmocka_unit_test(of_a_long_name_the_end_is_told),
        cmocka_unit_test(without_a_configuration_it_says_so),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}

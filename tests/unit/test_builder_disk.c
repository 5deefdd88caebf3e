/*
 * builder: under which name the file appears, when, and what becomes of what was there.
 */
#include "buildertest.h"
#include "unit.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/test_builder_disk.XXXXXX";

static int make_dir(void **state)
{
    (void)state;
    return mkdtemp(dir) && chmod(dir, 0755) == 0 ? 0 : -1;
}

static const char *path_of(const char *name)
{
    static char paths[4][512];
    static unsigned i;
    char *path = paths[i++ % 4];
    snprintf(path, sizeof *paths, "%s/%s", dir, name);
    return path;
}

static int is_entry(const struct dirent *entry)
{
    return strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0;
}

/* Empties the directory. How much there was. */
static int clean(void)
{
    struct dirent **entries;
    int n = scandir(dir, &entries, is_entry, alphasort);
    for (int i = 0; i < n; i++) {
        if (remove(path_of(entries[i]->d_name)) < 0)
            err(2, "%s", entries[i]->d_name);
        free(entries[i]);
    }
    free(entries);
    return n;
}

static int remove_dir(void **state)
{
    (void)state;
    clean();
    return rmdir(dir);
}

static int count_entries(void)
{
    struct dirent **entries;
    int n = scandir(dir, &entries, is_entry, alphasort);
    for (int i = 0; i < n; i++)
        free(entries[i]);
    free(entries);
    return n;
}

static void write_file(const char *path, const char *text, mode_t mode)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_true(fputs(text, f) >= 0);
    assert_int_equal(fclose(f), 0);
    assert_int_equal(chmod(path, mode), 0);
}

static void assert_holds(const char *path, const char *text)
{
    struct bytes file = bytes_read_file(path);
    assert_int_equal(file.len, strlen(text));
    assert_memory_equal(file.p, text, file.len);
    bytes_free(&file);
}

static struct act_builder *begin(const char *path)
{
    struct act_builder *builder;
    struct act_error error;
    if (act_builder_new(path, NULL, &builder, &error) != 0)
        fail_msg("%s", error.message);
    return builder;
}

/* The key k with that value, in the file at path. */
static void build(const char *path, uint64_t value)
{
    struct act_builder *builder = begin(path);
    assert_int_equal(act_builder_add(builder, "k", 1, value, 1), 0);
    if (act_builder_finish(builder, NULL) != 0)
        fail_msg("%s", act_builder_error(builder));
    act_builder_free(builder);
}

static void assert_built(const char *path, uint64_t wanted)
{
    struct act *tree;
    struct act_error error;
    uint64_t value = 0;
    if (act_open_path(path, &tree, &error) != 0)
        fail_msg("%s", error.message);
    assert_int_equal(act_get(tree, "k", 1, &value, NULL), 0);
    assert_int_equal(value, wanted);
    act_close(tree);
}

static void a_file_appears_when_it_is_complete(void **state)
{
    (void)state;
    struct stat st;
    mode_t mask = umask(027);
    struct act_builder *builder = begin(path_of("new"));
    for (unsigned i = 0; i < 1000; i++)
        assert_int_equal(
            act_builder_add(builder, (uint8_t[]){(uint8_t)(i >> 8), (uint8_t)i}, 2, i, i + 1), 0);
    assert_int_equal(count_entries(), 0);
    assert_int_equal(act_builder_add(builder, "k", 1, 3, 1001), 0);
    assert_int_equal(act_builder_finish(builder, NULL), 0);
    umask(mask);
    assert_int_equal(count_entries(), 1);
    assert_int_equal(act_builder_finish(builder, NULL), ACT_BUILDER_BROKEN);
    act_builder_free(builder);
    assert_built(path_of("new"), 3);
    assert_int_equal(stat(path_of("new"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0640);
    assert_int_equal(clean(), 1);
}

static void what_is_not_finished_leaves_nothing(void **state)
{
    (void)state;
    for (unsigned has_old = 0; has_old < 2; has_old++)
        for (unsigned is_failed = 0; is_failed < 3; is_failed++) {
            if (has_old)
                write_file(path_of("f"), "old", 0600);
            struct act_builder *builder = begin(path_of("f"));
            assert_int_equal(act_builder_add(builder, "k", 1, 1, 1), 0);
            if (is_failed == 1)
                assert_int_equal(act_builder_add(builder, "k", 1, 1, 2), ACT_DUPLICATE);
            if (is_failed == 2) {
                assert_int_equal(act_builder_add(builder, "a", 1, 1, 2), 0);
                assert_int_equal(act_builder_add(builder, "a", 1, 1, 3), 0);
                assert_int_equal(act_builder_finish(builder, NULL), ACT_DUPLICATE);
            }
            act_builder_free(builder);
            if (has_old)
                assert_holds(path_of("f"), "old");
            assert_int_equal(clean(), has_old);
        }
}

static void an_old_file_stays_until_the_end_and_gives_its_mode(void **state)
{
    (void)state;
    static const mode_t modes[] = {0600, 0644, 0400, 0666, 0751};
    for (size_t i = 0; i < N_ELEMENTS(modes); i++) {
        struct stat st;
        write_file(path_of("f"), "old", modes[i]);
        if (geteuid() == 0)
            assert_int_equal(chown(path_of("f"), 12, 34), 0);
        struct act_builder *builder = begin(path_of("f"));
        assert_int_equal(act_builder_add(builder, "k", 1, i, 1), 0);
        assert_holds(path_of("f"), "old");
        assert_int_equal(count_entries(), 1);
        assert_int_equal(act_builder_finish(builder, NULL), 0);
        act_builder_free(builder);
        assert_built(path_of("f"), i);
        assert_int_equal(stat(path_of("f"), &st), 0);
        assert_int_equal(st.st_mode & 07777, modes[i]);
        if (geteuid() == 0) {
            assert_int_equal(st.st_uid, 12);
            assert_int_equal(st.st_gid, 34);
        }
        assert_int_equal(clean(), 1);
    }
}

static void assert_is_link(const char *path)
{
    struct stat st;
    assert_int_equal(lstat(path, &st), 0);
    assert_true(S_ISLNK(st.st_mode));
}

static void symbolic_links_are_followed_and_stay(void **state)
{
    (void)state;
    char target[600];
    assert_int_equal(mkdir(path_of("sub"), 0700), 0);
    write_file(path_of("sub/file"), "old", 0640);
    assert_int_equal(symlink("sub/file", path_of("relative")), 0);
    snprintf(target, sizeof target, "%s/relative", dir);
    assert_int_equal(symlink(target, path_of("absolute")), 0);
    build(path_of("absolute"), 5);
    assert_is_link(path_of("absolute"));
    assert_is_link(path_of("relative"));
    assert_built(path_of("sub/file"), 5);
    /* Where the links lead to nothing the file is made there. */
    assert_int_equal(unlink(path_of("sub/file")), 0);
    build(path_of("absolute"), 6);
    assert_is_link(path_of("absolute"));
    assert_is_link(path_of("relative"));
    assert_built(path_of("sub/file"), 6);
    assert_int_equal(unlink(path_of("sub/file")), 0);
    assert_int_equal(clean(), 3);
}

static void assert_refused(const char *path, int outcome, const char *why)
{
    struct act_builder *builder = (struct act_builder *)(uintptr_t)0x77;
    struct act_error error = {0};
    assert_int_equal(act_builder_new(path, NULL, &builder, &error), outcome);
    assert_ptr_equal(builder, (struct act_builder *)(uintptr_t)0x77);
    if (!strstr(error.message, why))
        fail_msg("\"%s\" does not say \"%s\"", error.message, why);
    assert_int_equal(act_builder_new(path, NULL, &builder, NULL), outcome);
}

static void paths_that_cannot_be_built_are_refused(void **state)
{
    (void)state;
    char name[300];
    assert_int_equal(mkfifo(path_of("fifo"), 0600), 0);
    assert_int_equal(mkdir(path_of("sub"), 0700), 0);
    assert_int_equal(symlink("loop", path_of("loop")), 0);
    assert_int_equal(symlink("fifo", path_of("link")), 0);
    assert_int_equal(symlink("absent/x", path_of("dangling")), 0);
    write_file(path_of("file"), "old", 0600);
    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    assert_refused("", -ENOENT, "No such file");
    assert_refused(path_of("fifo"), ACT_NOT_REGULAR, "fifo: cannot be replaced: not a regular");
    assert_refused(path_of("link"), ACT_NOT_REGULAR, "not a regular file");
    assert_refused(path_of("sub"), ACT_NOT_REGULAR, "not a regular file");
    assert_refused(path_of("sub/"), ACT_NOT_REGULAR, "not a regular file");
    assert_refused(path_of("sub/.."), ACT_NOT_REGULAR, "not a regular file");
    assert_refused(path_of("absent/"), -EISDIR, "Is a directory");
    assert_refused(".", ACT_NOT_REGULAR, "not a regular file");
    assert_refused("/dev/null", ACT_NOT_REGULAR, "not a regular file");
    assert_refused(path_of("loop"), -ELOOP, "symbolic links");
    assert_refused(path_of("absent/file"), -ENOENT, "No such file");
    assert_refused(path_of("dangling"), -ENOENT, "No such file");
    assert_refused(path_of("file/x"), -ENOTDIR, "Not a directory");
    assert_refused(path_of(name), -ENAMETOOLONG, "too long");
    assert_int_equal(chmod(dir, 0555), 0);
    if (geteuid() == 0)
        assert_int_equal(seteuid(65534), 0);
    assert_refused(path_of("new"), -EACCES, "Permission denied");
    if (getuid() == 0)
        assert_int_equal(seteuid(0), 0);
    assert_int_equal(chmod(dir, 0755), 0);
    assert_holds(path_of("file"), "old");
    assert_int_equal(clean(), 6);
}

static void a_name_without_a_directory_is_in_the_current_one(void **state)
{
    (void)state;
    int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(chdir(dir), 0);
    build("name", 1);
    build("name", 2);
    build("./name", 3);
    assert_int_equal(fchdir(here), 0);
    close(here);
    assert_built(path_of("name"), 3);
    assert_int_equal(clean(), 1);
}

/* Somebody else was faster: as if it had been there before. */
static void a_file_that_appears_meanwhile_is_replaced(void **state)
{
    (void)state;
    struct act_builder *builder = begin(path_of("f"));
    assert_int_equal(act_builder_add(builder, "k", 1, 1, 1), 0);
    write_file(path_of("f"), "other", 0644);
    assert_int_equal(act_builder_finish(builder, NULL), 0);
    act_builder_free(builder);
    assert_built(path_of("f"), 1);
    assert_int_equal(clean(), 1);
}

/* The builder holds the directory, not its name. */
static void a_directory_that_goes_is_told(void **state)
{
    (void)state;
    assert_int_equal(mkdir(path_of("sub"), 0700), 0);
    struct act_builder *builder = begin(path_of("sub/f"));
    assert_int_equal(act_builder_add(builder, "k", 1, 1, 1), 0);
    assert_int_equal(rmdir(path_of("sub")), 0);
    assert_int_equal(act_builder_finish(builder, NULL), -ENOENT);
    assert_int_equal(strncmp(act_builder_error(builder), path_of("sub/f"), strlen(dir) + 6), 0);
    act_builder_free(builder);
    assert_int_equal(clean(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_appears_when_it_is_complete),
        cmocka_unit_test(what_is_not_finished_leaves_nothing),
        cmocka_unit_test(an_old_file_stays_until_the_end_and_gives_its_mode),
        cmocka_unit_test(symbolic_links_are_followed_and_stay),
        cmocka_unit_test(paths_that_cannot_be_built_are_refused),
        cmocka_unit_test(a_name_without_a_directory_is_in_the_current_one),
        cmocka_unit_test(a_file_that_appears_meanwhile_is_replaced),
        cmocka_unit_test(a_directory_that_goes_is_told),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}

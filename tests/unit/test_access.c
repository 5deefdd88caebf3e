/*
 * access: which Host and which Authorization are taken, and which files hold a token.
 */
#include "daemon/admin/access.h"

#include "unit.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define TOKEN "0123456789abcdef"

static const char *const good_hosts[] = {
    "localhost", "LocalHost:80",   "127.0.0.1",        "1.2.3.4:", "[::1]",    "[::1]:1",
    "[::]:0",    "[2001:db8::1]:", "[::ffff:1.2.3.4]", "a.b",      "A.B:9999", "c"};

static const char *const bad_hosts[] = {
    "",           " ",           "a",          "a.b.",        "a.bc",
    "x.a.b",      "a.b:x",       "a.b:1:2",    "1.2.3",       "1.2.3.4.5",
    "01.2.3.4x",  "256.1.1.1",   "0x1.2.3.4",  "[::1",        "[::1]]",
    "[::1]x",     "[]",          "[1.2.3.4]",  "[fe80::1%1]", "::1",
    "localhost.", "local",       "localhosts", ":",           "user@localhost",
    "localhost/", "localhost, x"};

static void init(struct config *config)
{
    config_init(config);
    config->admin_host.n = 2;
    snprintf(config->admin_host.list[0], CONFIG_NAME_BYTES, "a.b");
    snprintf(config->admin_host.list[1], CONFIG_NAME_BYTES, "C");
}

static void hosts_are_addresses_localhost_and_listed_names(void **state)
{
    struct config config;
    char long_host[400];
    (void)state;
    init(&config);
    const struct access access = {.config = &config};
    for (size_t i = 0; i < sizeof good_hosts / sizeof *good_hosts; i++)
        assert_true(access_knows_host(&access, slice_of_str(good_hosts[i])));
    for (size_t i = 0; i < sizeof bad_hosts / sizeof *bad_hosts; i++)
        assert_false(access_knows_host(&access, slice_of_str(bad_hosts[i])));
    assert_false(access_knows_host(&access, slice_of("c\0", 2)));
    assert_false(access_knows_host(&access, slice_of("c\0:80", 5)));
    for (size_t len = 0; len < sizeof long_host; len++) {
        memset(long_host, '1', sizeof long_host);
        memcpy(long_host, "c:", 2);
        bool is_good = len > 0 && len < 256;
        assert_int_equal(access_knows_host(&access, slice_of(long_host, len)), is_good);
    }
    config_deinit(&config);
}

static bool has(const struct access *access, const char *authorization)
{
    return access_has_token(access, slice_of_str(authorization));
}

static void the_token_is_compared_as_a_whole(void **state)
{
    struct config config;
    char line[ACCESS_TOKEN_MAX + 100] = "Bearer ";
    (void)state;
    init(&config);
    struct access access = {.config = &config, .token_len = strlen(TOKEN)};
    memcpy(access.token, TOKEN, strlen(TOKEN));
    assert_true(has(&access, "Bearer " TOKEN));
    assert_true(has(&access, "bEARER   " TOKEN));
    assert_false(has(&access, "Bearer"));
    assert_false(has(&access, "Bearer "));
    assert_false(has(&access, "Bearer    "));
    assert_false(has(&access, "Bearer\t" TOKEN));
    assert_false(has(&access, "Bearer" TOKEN));
    assert_false(has(&access, TOKEN));
    assert_false(has(&access, "Bearer " TOKEN " "));
    assert_false(has(&access, "Bearer " TOKEN "x"));
    assert_false(has(&access, "Bearer x" TOKEN));
    assert_false(has(&access, "Bearer 0123456789abcde"));
    assert_false(has(&access, "Bearer 0123456789abcdeF"));
    /* What is shorter is not filled up. */
    assert_false(access_has_token(&access, slice_of("Bearer " TOKEN "\0", 24)));
    memset(line + 7, 'x', sizeof line - 8);
    assert_false(has(&access, line));
    access.token_len = 0;
    memset(access.token, 0, sizeof access.token);
    assert_false(has(&access, "Bearer " TOKEN));
    assert_false(has(&access, "Bearer "));
    assert_false(access_has_token(&access, slice_of("Bearer \0\0", 9)));
    assert_false(access_has_token(&access, slice_of(NULL, 0)));
    config_deinit(&config);
}

/* The result of reading a file with that content. */
static int read_file(struct slice content, struct access *access, char *error, size_t size)
{
    char path[] = "/tmp/test_access-XXXXXX";
    struct config config;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content.p, content.len), (ssize_t)content.len);
    close(fd);
    config_init(&config);
    config.admin_token_file = path;
    int r = access_init(access, &config, error, size);
    config.admin_token_file = NULL;
    config_deinit(&config);
    unlink(path);
    return r;
}

static void a_token_is_the_first_line(void **state)
{
    static const char *const bad[] = {
        "",        "\n",      "\n" TOKEN,           "0123456789abcde",
        " " TOKEN, TOKEN " ", "0123456789\tabcdef", "\xef\xbb\xbf" TOKEN};
    struct access access;
    char error[1024], longest[ACCESS_TOKEN_MAX + 1];
    (void)state;
    const char *const good[] = {TOKEN, TOKEN "\n", TOKEN "\r\n", TOKEN "\n \n\n"};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        assert_int_equal(read_file(slice_of_str(good[i]), &access, error, sizeof error), 0);
        assert_int_equal(access.token_len, strlen(TOKEN));
        assert_true(has(&access, "Bearer " TOKEN));
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(read_file(slice_of_str(bad[i]), &access, error, sizeof error), -EINVAL);
        assert_non_null(strstr(error, "admin.token_file: /tmp/test_access-"));
        assert_non_null(strstr(error, "openssl rand"));
        assert_null(strstr(error, TOKEN));
        assert_int_equal(access.token_len, 0);
    }
    memset(longest, 'y', sizeof longest);
    assert_int_equal(read_file(slice_of(longest, ACCESS_TOKEN_MAX), &access, error, sizeof error),
                     0);
    assert_int_equal(read_file(slice_of(longest, sizeof longest), &access, error, sizeof error),
                     -EINVAL);
}

/* Not even for a moment: the supervisor reads it. */
static void a_pipe_is_not_waited_for(void **state)
{
    char path[] = "/tmp/test_access-pipe-XXXXXX", error[1024];
    struct config config;
    struct access access;
    (void)state;
    assert_non_null(mkdtemp(path));
    char pipe_path[64];
    snprintf(pipe_path, sizeof pipe_path, "%s/pipe", path);
    assert_int_equal(mkfifo(pipe_path, 0600), 0);
    config_init(&config);
    config.admin_token_file = pipe_path;
    assert_int_equal(access_init(&access, &config, error, sizeof error), -EINVAL);
    assert_non_null(strstr(error, "no regular file"));
    config.admin_token_file = NULL;
    assert_int_equal(access_init(&access, &config, error, sizeof error), 0);
    assert_int_equal(access.token_len, 0);
    config_deinit(&config);
    unlink(pipe_path);
    rmdir(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hosts_are_addresses_localhost_and_listed_names),
        cmocka_unit_test(the_token_is_compared_as_a_whole),
        cmocka_unit_test(a_token_is_the_first_line),
        cmocka_unit_test(a_pipe_is_not_waited_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}

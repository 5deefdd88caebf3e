/*
 * access: see access.h.
 */
#include "daemon/admin/access.h"

#include "base/fd.h"
#include "base/log.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

/* A line is all that is read of the file: a token, and its end. */
#define FILE_BYTES (ACCESS_TOKEN_MAX + 2)
#define HOST_BYTES 256

static bool is_printable(const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (text[i] <= ' ' || text[i] > '~')
            return false;
    return true;
}

/* The first line; its length, or -errno: *ret_what says what is wrong with it. */
static ssize_t read_token(int fd, char text[FILE_BYTES], const char **ret_what)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    *ret_what = "it is no regular file";
    if (!S_ISREG(st.st_mode))
        return -EINVAL;
    ssize_t n = pread(fd, text, FILE_BYTES, 0);
    if (n < 0) {
        *ret_what = NULL;
        return -errno;
    }
    const char *end = memchr(text, '\n', (size_t)n);
    size_t len = end ? (size_t)(end - text) : (size_t)n;
    len -= len > 0 && text[len - 1] == '\r';
    *ret_what = "its first line is not a token of 16 to 512 printable characters without spaces";
    if (len < ACCESS_TOKEN_MIN || len > ACCESS_TOKEN_MAX || !is_printable(text, len))
        return -EINVAL;
    if (st.st_mode & S_IROTH)
        log_warning("admin.token_file: everybody may read the token (chmod 0600)");
    return (ssize_t)len;
}

int access_init(struct access *access, const struct config *config, char *error, size_t error_size)
{
    char text[FILE_BYTES];
    const char *path = config->admin_token_file, *what = NULL;
    *access = (struct access){.config = config};
    if (!path)
        return 0;
    /* It may be a pipe, where open would wait for a writer. */
    with_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    ssize_t r = fd < 0 ? -errno : read_token(fd, text, &what);
    if (r < 0) {
        snprintf(error, error_size,
                 "admin.token_file: %.400s: %s: write one there (openssl rand -hex 32), for who "
                 "runs actd alone to read, or leave the option out",
                 path, what ? what : strerror((int)-r));
        return (int)r;
    }
    memcpy(access->token, text, (size_t)r);
    access->token_len = (size_t)r;
    return 0;
}

/* ":" and digits, or nothing. */
static bool is_port(const char *text)
{
    return *text == '\0' || (*text == ':' && text[1 + strspn(text + 1, "0123456789")] == '\0');
}

static bool is_listed(const struct config *config, const char *name)
{
    for (unsigned i = 0; i < config->admin_host.n; i++)
        if (strcasecmp(config->admin_host.list[i], name) == 0)
            return true;
    return strcasecmp(name, "localhost") == 0;
}

bool access_knows_host(const struct access *access, struct slice host)
{
    char text[HOST_BYTES];
    struct in_addr v4;
    struct in6_addr v6;
    if (host.len == 0 || host.len >= sizeof text || memchr(host.p, '\0', host.len))
        return false;
    memcpy(text, host.p, host.len);
    text[host.len] = '\0';
    char *end = text[0] == '[' ? strchr(text, ']') : text + strcspn(text, ":");
    if (!end || !is_port(text[0] == '[' ? end + 1 : end))
        return false;
    *end = '\0';
    if (text[0] == '[')
        return inet_pton(AF_INET6, text + 1, &v6) == 1;
    return inet_pton(AF_INET, text, &v4) == 1 || is_listed(access->config, text);
}

bool access_has_token(const struct access *access, struct slice authorization)
{
    static const char scheme[] = "Bearer ";
    size_t skip = sizeof scheme - 1;
    char given[ACCESS_TOKEN_MAX] = {0};
    if (authorization.len <= skip || strncasecmp((const char *)authorization.p, scheme, skip) != 0)
        return false;
    while (skip < authorization.len && authorization.p[skip] == ' ')
        skip++;
    size_t len = authorization.len - skip;
    if (access->token_len == 0 || len > sizeof given)
        return false;
    memcpy(given, authorization.p + skip, len);
    volatile unsigned difference = len != access->token_len;
    for (size_t i = 0; i < sizeof given; i++)
        difference |= (unsigned)((unsigned char)given[i] ^ (unsigned char)access->token[i]);
    return difference == 0;
}

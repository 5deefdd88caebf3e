/*
 * fuzz_access: any bytes as the values of Host and Authorization, which stand one after the other
 * with a line feed between them. What is taken is held against what it must look like, by code that
 * knows nothing of how it is looked at.
 */
#include "daemon/admin/access.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

#define TOKEN "0123456789abcdef"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool is_right, const char *wrong)
{
    if (is_right)
        return;
    fprintf(stderr, "%s\n", wrong);
    abort();
}

static bool is_digit(uint8_t c)
{
    return c >= '0' && c <= '9';
}

/* Without ":port". */
static struct slice without_port(struct slice host)
{
    size_t len = host.len;
    while (len > 0 && is_digit(host.p[len - 1]))
        len--;
    return len > 0 && host.p[len - 1] == ':' ? slice_of(host.p, len - 1) : host;
}

static bool is_made_of(struct slice text, const char *bytes)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.p[i] == '\0' || !strchr(bytes, text.p[i]))
            return false;
    return true;
}

static unsigned count(struct slice text, uint8_t byte)
{
    unsigned n = 0;
    for (size_t i = 0; i < text.len; i++)
        n += text.p[i] == byte;
    return n;
}

static bool is_name(struct slice text, const char *name)
{
    if (text.len != strlen(name))
        return false;
    for (size_t i = 0; i < text.len; i++)
        if (tolower(text.p[i]) != name[i])
            return false;
    return true;
}

/* What is taken is one of these; not all of them are. */
static bool may_be_known(struct slice host)
{
    struct slice text = without_port(host);
    if (text.len > 1 && text.p[0] == '[')
        return text.p[text.len - 1] == ']' &&
               is_made_of(slice_of(text.p + 1, text.len - 2), "0123456789abcdefABCDEF:.") &&
               count(text, ':') >= 2;
    if (text.len > 0 && is_made_of(text, "0123456789."))
        return count(text, '.') == 3;
    return is_name(text, "localhost") || is_name(text, "a.example");
}

static bool is_token(struct slice authorization)
{
    static const char token[] = TOKEN;
    size_t len = sizeof token - 1, n = authorization.len;
    return n > len + 6 && memcmp(authorization.p + n - len, token, len) == 0 &&
           authorization.p[n - len - 1] == ' ';
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct config config;
    static struct access access = {
        .config = &config, .token_len = sizeof TOKEN - 1, .token = TOKEN};
    const uint8_t *end = size > 0 ? memchr(data, '\n', size) : NULL;
    size_t len = end ? (size_t)(end - data) : size;
    config.admin_host.n = 1;
    snprintf(config.admin_host.list[0], CONFIG_NAME_BYTES, "a.example");
    struct slice host = slice_of(data, len);
    struct slice authorization = slice_of(data + (end ? len + 1 : len), size - len - (end ? 1 : 0));
    bool is_known = access_knows_host(&access, host);
    must(!is_known || may_be_known(host), "a host is known that is none");
    must(is_known || !is_name(without_port(host), "a.example") || host.len > 255,
         "a listed host is not known");
    bool has_token = access_has_token(&access, authorization);
    must(!has_token || is_token(authorization), "another token is taken");
    access.token_len = 0;
    must(!access_has_token(&access, authorization), "a token is taken that there is not");
    access.token_len = sizeof TOKEN - 1;
    return 0;
}

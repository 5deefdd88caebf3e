/*
 * config: see config.h. The syntax is inih's, with three traps of the packaged library closed by
 * the line reader: it would cut lines at 200 bytes without a word, cut values at " ;", and take an
 * indented line as more of the value before.
 */
#include "daemon/config.h"

#include "base/fd.h"
#include "daemon/config_options.h"

#include <assert.h>
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ini.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* One file being read. */
struct source {
    struct config *config;
    const char *path;
    FILE *file;
    unsigned line;
    struct config_error *error;
    bool is_bad; /* the first error is in *error; the rest is only skipped */
};

__attribute__((format(printf, 2, 3))) static void source_fail(struct source *source,
                                                              const char *format, ...)
{
    if (source->is_bad)
        return;
    source->is_bad = true;
    char *message = source->error->message;
    size_t size = sizeof source->error->message;
    int n = snprintf(message, size, "%s:%u: ", source->path, source->line);
    if (n < 0 || (size_t)n >= size)
        return;
    va_list args;
    va_start(args, format);
    vsnprintf(message + n, size - (size_t)n, format, args);
    va_end(args);
}

/* White space with a semicolon behind it, where inih would cut the value. */
static bool has_inline_comment(const char *line)
{
    for (const char *at = strchr(line, ';'); at; at = strchr(at + 1, ';'))
        if (at > line && isspace((unsigned char)at[-1]))
            return true;
    return false;
}

/* False: inih would misread the line. */
static bool line_check(struct source *source, const char *line, size_t len, int max)
{
    if (strlen(line) < len)
        source_fail(source, "the line holds a NUL byte");
    else if (len >= (size_t)max)
        source_fail(source, "the line is longer than the %d bytes that can be read", max - 1);
    else if (*line != ';' && *line != '#' && has_inline_comment(line))
        source_fail(source, "\" ;\" inside a line: write a comment on a line of its own");
    return !source->is_bad;
}

/* inih's line reader: as fgets. */
static char *on_line(char *line, int max, void *context)
{
    struct source *source = context;
    char *text = NULL;
    size_t size = 0;
    ssize_t len = source->is_bad ? -1 : getline(&text, &size, source->file);
    if (len < 0) {
        free(text);
        return NULL;
    }
    source->line++;
    size_t indent = strspn(text, " \t");
    size_t rest = (size_t)len - indent;
    bool is_good = line_check(source, text + indent, rest, max);
    if (is_good)
        memcpy(line, text + indent, rest + 1);
    free(text);
    return is_good ? line : NULL;
}

static int on_assignment(void *context, const char *section, const char *key, const char *value)
{
    struct source *source = context;
    char reason[512];
    const struct config_option *option = config_option_find(section, key);
    if (*section == '\0')
        source_fail(source, "%s stands before the first [section]", key);
    else if (!option)
        source_fail(source, "unknown option %s.%s", section, key);
    else if (config_option_set(source->config, option, value, reason, sizeof reason) != 0)
        source_fail(source, "%s.%s: %s", section, key, reason);
    return !source->is_bad;
}

static int read_one_file(struct config *config, const char *path, struct config_error *error)
{
    FILE *file = fopen(path, "re");
    if (!file) {
        snprintf(error->message, sizeof error->message, "%.900s: %s", path, strerror(errno));
        return CONFIG_BAD;
    }
    struct source source = {.config = config, .path = path, .file = file, .error = error};
    int bad_line = ini_parse_stream(on_line, &source, on_assignment, &source);
    if (ferror(file)) {
        source_fail(&source, "cannot read: %s", strerror(errno));
    } else if (bad_line != 0 && (!source.is_bad || (unsigned)bad_line < source.line)) {
        /* The first mistake counts; inih has gone on behind it. */
        source.is_bad = false;
        source.line = bad_line > 0 ? (unsigned)bad_line : source.line;
        source_fail(&source, "neither \"[section]\" nor \"key = value\"");
    }
    fclose(file);
    return source.is_bad ? CONFIG_BAD : 0;
}

static int is_drop_in(const struct dirent *entry)
{
    size_t len = strlen(entry->d_name);
    return entry->d_name[0] != '.' && len > 5 && strcmp(entry->d_name + len - 5, ".conf") == 0;
}

static int read_drop_ins(struct config *config, const char *path, struct config_error *error)
{
    char directory[CONFIG_PATH_BYTES], file[CONFIG_PATH_BYTES + 256];
    struct dirent **entries;
    snprintf(directory, sizeof directory, "%s.d", path);
    int n = scandir(directory, &entries, is_drop_in, alphasort);
    if (n < 0 && errno == ENOENT)
        return 0;
    if (n < 0) {
        snprintf(error->message, sizeof error->message, "%.900s: %s", directory, strerror(errno));
        return CONFIG_BAD;
    }
    int r = 0;
    for (int i = 0; i < n; i++) {
        snprintf(file, sizeof file, "%s/%s", directory, entries[i]->d_name);
        if (r == 0)
            r = read_one_file(config, file, error);
        free(entries[i]);
    }
    free(entries);
    return r;
}

/* The field of an option that is a path, or NULL: another kind. */
static char **path_of(struct config *config, const struct config_option *option)
{
    void *field = (char *)config + option->offset;
    return option->kind == CONFIG_PATH ? field : NULL;
}

void config_init(struct config *config)
{
    char reason[256];
    *config = (struct config){0};
    for (size_t i = 0; i < n_config_options; i++) {
        const struct config_option *option = &config_options[i];
        /* A default address holds only where no other is given: config_finish. */
        bool is_address = option->kind == CONFIG_TCP || option->kind == CONFIG_UNIX;
        if (!option->default_value || is_address)
            continue;
        int r = config_option_set(config, option, option->default_value, reason, sizeof reason);
        assert(r == 0);
    }
}

void config_deinit(struct config *config)
{
    for (size_t i = 0; i < n_config_options; i++) {
        char **path = path_of(config, &config_options[i]);
        if (path) {
            free(*path);
            *path = NULL;
        }
    }
}

int config_read_file(struct config *config, const char *path, struct config_error *error)
{
    int r = read_one_file(config, path, error);
    return r != 0 ? r : read_drop_ins(config, path, error);
}

int config_set(struct config *config, const char *assignment, struct config_error *error)
{
    char name[64], reason[512];
    const char *equals = strchr(assignment, '=');
    size_t len = equals ? (size_t)(equals - assignment) : 0;
    char *dot = NULL;
    if (len > 0 && len < sizeof name) {
        memcpy(name, assignment, len);
        name[len] = '\0';
        dot = strchr(name, '.');
    }
    if (!dot) {
        snprintf(error->message, sizeof error->message, "--set %s: write --set section.key=value",
                 assignment);
        return CONFIG_BAD;
    }
    *dot = '\0';
    const struct config_option *option = config_option_find(name, dot + 1);
    if (!option)
        snprintf(reason, sizeof reason, "unknown option %s.%s", name, dot + 1);
    else if (config_option_set(config, option, equals + 1, reason, sizeof reason) == 0)
        return 0;
    snprintf(error->message, sizeof error->message, "--set %s: %s", assignment, reason);
    return CONFIG_BAD;
}

int config_finish(struct config *config, struct config_error *error)
{
    if (config->limits_max_buffer_bytes < 4 * config->limits_max_request_bytes) {
        snprintf(error->message, sizeof error->message,
                 "limits.max_buffer_bytes (%llu) must be at least four times "
                 "limits.max_request_bytes (%llu)",
                 (unsigned long long)config->limits_max_buffer_bytes,
                 (unsigned long long)config->limits_max_request_bytes);
        return CONFIG_BAD;
    }
    if (config->warmup_mode == WARMUP_RESTORE && !config->warmup_profile) {
        snprintf(error->message, sizeof error->message,
                 "warmup.mode = restore needs warmup.profile: name the file in which it is kept "
                 "what was in memory, for example warmup.profile = /var/lib/actd/warm.profile");
        return CONFIG_BAD;
    }
    if (config->warmup_profile && strcmp(config->warmup_profile, config->tree_path) == 0) {
        snprintf(error->message, sizeof error->message,
                 "warmup.profile is tree.path: name another file, which is written now and then");
        return CONFIG_BAD;
    }
    return 0;
}

void config_default_address(struct address *ret)
{
    const char *reason;
    int r = address_parse_unix(config_option_find("listen", "unix")->default_value, ret, &reason);
    assert(r == 0);
}

/* The struct, then the texts of all paths, each with its end; "": there is none. */
int config_share(const struct config *config)
{
    struct config copy = *config;
    with_close int fd = memfd_create("actd-config", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    if (write(fd, config, sizeof *config) != (ssize_t)sizeof *config)
        return -EIO;
    for (size_t i = 0; i < n_config_options; i++) {
        char **path = path_of(&copy, &config_options[i]);
        const char *text = path && *path ? *path : "";
        size_t size = strlen(text) + 1;
        if (path && write(fd, text, size) != (ssize_t)size)
            return -EIO;
    }
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL) < 0)
        return -errno;
    return fd_take(&fd);
}

/* texts: as long as that, and one more byte that is 0. 0 or -errno; paths that were copied are
 * there in both cases, the others NULL. */
static int receive_paths(struct config *config, const char *texts, size_t len)
{
    const char *text = texts;
    int r = 0;
    for (size_t i = 0; i < n_config_options; i++) {
        char **path = path_of(config, &config_options[i]);
        if (!path)
            continue;
        *path = NULL;
        size_t left = len - (size_t)(text - texts), size = strnlen(text, left) + 1;
        if (size > left || size > CONFIG_PATH_BYTES)
            r = -EBADMSG;
        if (r == 0 && size > 1 && !(*path = strdup(text)))
            r = -ENOMEM;
        text += r == 0 ? size : 0;
    }
    return r == 0 && text != texts + len ? -EBADMSG : r;
}

int config_receive(struct config *config, int fd)
{
    struct stat st;
    struct config read;
    if (fstat(fd, &st) < 0)
        return -errno;
    size_t len = (size_t)st.st_size - sizeof read;
    if ((size_t)st.st_size <= sizeof read || len > n_config_options * CONFIG_PATH_BYTES)
        return -EBADMSG;
    char *texts = calloc(1, len + 1);
    if (!texts)
        return -ENOMEM;
    int r = 0;
    if (pread(fd, &read, sizeof read, 0) != (ssize_t)sizeof read ||
        pread(fd, texts, len, sizeof read) != (ssize_t)len)
        r = -EIO;
    if (r == 0 && (r = receive_paths(&read, texts, len)) != 0)
        config_deinit(&read);
    free(texts);
    if (r == 0)
        *config = read;
    return r;
}

static void print_comment(FILE *out, const char *text)
{
    fputs("# ", out);
    for (; *text; text++) {
        fputc(*text, out);
        if (*text == '\n')
            fputs("# ", out);
    }
    fputc('\n', out);
}

void config_print_defaults(FILE *out)
{
    const char *section = "";
    fputs("# Configuration of actd. Every option is shown with its default.\n"
          "# Files in actd.conf.d/ beside this one, named *.conf, are read after it in the order\n"
          "# of their names. `actd --check-config` tells whether all of it is right.\n",
          out);
    for (size_t i = 0; i < n_config_options; i++) {
        const struct config_option *option = &config_options[i];
        if (strcmp(section, option->section) != 0)
            fprintf(out, "\n[%s]\n", option->section);
        else
            fputc('\n', out);
        section = option->section;
        print_comment(out, option->help);
        fprintf(out, "#%s =%s%s\n", option->key, option->default_value ? " " : "",
                option->default_value ? option->default_value : "");
    }
}

/*
 * actctl: what the commands share: the options, the session with a server or a file, and errors.
 *
 * A command is one function, named in the table in main.c; it parses its arguments, opens the
 * session, asks, prints, and returns the exit status. One file a family of commands.
 */
#pragma once

#include "actc/actc.h"
#include "base/slice.h"
#include "client/actctl/records.h"

#include <act/act.h>
#include <act/builder.h>
#include <act/warm.h>

/* Exit status. */
enum status {
    STATUS_FOUND = 0,
    STATUS_NOT_FOUND = 1, /* a key that was asked for is not there */
    STATUS_FAULTS = 1,    /* verify, info: the file is damaged; reload: it was refused */
    STATUS_USAGE = 2,     /* the command line or the input makes no sense */
    STATUS_FAILED = 3,    /* no connection, an error of the server, or no room for the output */
};

struct actctl {
    const char *address; /* of the server, borrowed */
    uint32_t timeout_ms; /* 0: the library's default */
    bool is_json;
    bool is_hex;         /* keys come and are printed in hex */
    const char *file;    /* asked instead of a server, borrowed; NULL: a server */
    unsigned text_flags; /* TEXT_UTF8 if the terminal takes it */

    /* build, dump, verify */
    const char *output;             /* the file to build, borrowed; NULL: not given */
    char *prefix;                   /* borrowed; NULL: all keys */
    struct records_options records; /* scan and range: is_keys_only */
    enum act_duplicates duplicates;
    uint64_t memory_bytes; /* 0: the library's default */
    bool is_plain;
    bool is_all; /* faults, not the first one only */

    /* scan, range */
    uint64_t limit; /* entries at most; 0: all. Also of watch */
    bool is_reverse;
    bool is_pinned; /* also others: answers come from the generation pin, or not at all */
    uint64_t pin;

    /* reload */
    const char *admin;  /* address of the admin endpoint, borrowed */
    bool is_waiting;    /* until the server at address serves it */
    uint64_t timeout_s; /* 0: none */

    /* warm */
    enum act_warm_mode warm_mode; /* ACT_WARM_PAGES never comes from --mode */
    uint64_t max_bytes;           /* 0: what memory has room for */
    uint64_t rate_bytes_per_s;    /* 0: as fast as it goes */
    const char *profile;          /* borrowed; NULL: none */

    int output_error; /* -errno of a write to standard output that failed; 0: none, or not known */

    /* After session_open one of them. */
    struct actc *client;       /* owned, or NULL */
    struct act *tree;          /* owned, or NULL */
    struct act_cursor *cursor; /* of the tree, owned, or NULL: file_cursor */
};

/* The commands. */
int command_get(struct actctl *ctl, char **args, size_t n_args);
int command_mget(struct actctl *ctl, char **args, size_t n_args);
int command_exists(struct actctl *ctl, char **args, size_t n_args);
int command_node(struct actctl *ctl, char **args, size_t n_args);
int command_scan(struct actctl *ctl, char **args, size_t n_args);
int command_range(struct actctl *ctl, char **args, size_t n_args);
int command_count(struct actctl *ctl, char **args, size_t n_args);
int command_explore(struct actctl *ctl, char **args, size_t n_args);
int command_longest_prefix(struct actctl *ctl, char **args, size_t n_args);
int command_prefixes(struct actctl *ctl, char **args, size_t n_args);
int command_next(struct actctl *ctl, char **args, size_t n_args);
int command_prev(struct actctl *ctl, char **args, size_t n_args);
int command_info(struct actctl *ctl, char **args, size_t n_args);
int command_stats(struct actctl *ctl, char **args, size_t n_args);
int command_ping(struct actctl *ctl, char **args, size_t n_args);
int command_watch(struct actctl *ctl, char **args, size_t n_args);
int command_reload(struct actctl *ctl, char **args, size_t n_args);
int command_build(struct actctl *ctl, char **args, size_t n_args);
int command_dump(struct actctl *ctl, char **args, size_t n_args);
int command_verify(struct actctl *ctl, char **args, size_t n_args);
int command_residency(struct actctl *ctl, char **args, size_t n_args);
int command_warm(struct actctl *ctl, char **args, size_t n_args);

/* One argument as a key: its text, or with --hex the bytes it spells (written over the text).
 * STATUS_FOUND, or STATUS_USAGE after it was told. */
int session_key(const struct actctl *ctl, char *arg, struct slice *ret_key);

/* Connects to the server, or opens the file. STATUS_FOUND, or STATUS_FAILED after it was told. */
int session_open(struct actctl *ctl);

/* Opens the file at path: ctl->tree. The same, but STATUS_FAULTS for a file that is no tree.
 * ret_error: may be NULL. */
int session_open_file(struct actctl *ctl, const char *path, struct act_error *ret_error);

/* Why act_verify came to no end, and what can be done: r is its result. text: written to, and the
 * result. */
#define SESSION_WHY_SIZE 400
const char *session_why_unfinished(int r, char text[SESSION_WHY_SIZE]);

/* Tells why a call failed, in one line: about (NULL: nothing; printable), the library's message,
 * and what can be done. r is the call's result. STATUS_FAILED. */
int session_fail(const struct actctl *ctl, const char *about, int r,
                 const struct actc_error *error);

/* The same, about a key. */
int session_fail_key(const struct actctl *ctl, struct slice key, int r,
                     const struct actc_error *error);

/* The same, where the server gave a number for the key alone. */
int session_fail_number(const struct actctl *ctl, struct slice key, uint32_t number);

/* The same, where the file at path is damaged on the key's way. */
int session_fail_fault(const struct actctl *ctl, const char *path, struct slice key,
                       const struct act_fault *fault);

/* Tells that the server's result of the method is none that actd gives. STATUS_FAILED. */
int session_fail_result(const struct actctl *ctl, const char *method);

/* Tells "actctl: KEY: WHAT". STATUS_NOT_FOUND. */
int session_miss(const struct actctl *ctl, struct slice key, const char *what);

/* Tells "actctl: " and the line. Result: status, for `return session_error(...)`. */
__attribute__((format(printf, 3, 4))) int session_error(const struct actctl *ctl, int status,
                                                        const char *format, ...);

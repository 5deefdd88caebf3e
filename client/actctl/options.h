/*
 * options: the command line's options, and which of them a command was given.
 *
 * The table is also what --help prints and what the manual is held against.
 */
#pragma once

#include "client/actctl/actctl.h"

/* X(ID, name, short letter or a number above 255, argument or "", what it does) */
#define OPTIONS(X)                                                                             \
    X(SERVER, "server", 's', "ADDRESS", "unix:PATH or tcp:HOST:PORT, see below")               \
    X(TIMEOUT_MS, "timeout-ms", 256, "N", "give up connecting or a call after N ms [10000]")   \
    X(FILE, "file", 'f', "FILE", "look into FILE instead of asking a server")                  \
    X(JSON, "json", 257, "", "print JSON")                                                     \
    X(HEX, "hex", 258, "", "keys (in records byte values too) are given and printed in hex")   \
    X(OUTPUT, "output", 'o', "FILE", "build: the file to make")                                \
    X(FORMAT, "format", 259, "FORMAT", "build, dump: tsv, nul or jsonl [tsv]")                 \
    X(VALUES, "values", 260, "KIND", "build: values are u64 or bytes [u64]")                   \
    X(KEYS_ONLY, "keys-only", 261, "", "build, dump, scan, range: keys without their values")  \
    X(LIMIT, "limit", 'n', "N", "scan, range: at most N keys; watch: end after N lines")       \
    X(REVERSE, "reverse", 268, "", "scan, range: from the last key to the first")              \
    X(DUPLICATES, "duplicates", 262, "WHICH",                                                  \
      "build: refuse equal keys, or take the first or last")                                   \
    X(MEMORY, "memory", 263, "SIZE", "build, verify, info: work in so much memory [256M]")     \
    X(PLAIN, "plain", 264, "", "build: as the reference does: no metadata, no tables")         \
    X(PREFIX, "prefix", 265, "KEY", "dump: only keys that begin with KEY")                     \
    X(ALL, "all", 266, "", "verify: all faults, not the first one only")                       \
    X(PIN, "pin", 267, "IDENTITY",                                                             \
      "scan, range, count, explore, mget, ...prefix...: this generation only")                 \
    X(ADMIN, "admin", 'a', "ADDRESS", "reload: actd's admin.unix [unix:/run/actd/admin.sock]") \
    X(WAIT, "wait", 269, "", "reload: until connections to --server see it")                   \
    X(TIMEOUT, "timeout", 270, "SECONDS", "reload: give up waiting after so long [never]")     \
    X(MODE, "mode", 271, "MODE", "warm: read, willneed or traverse [read]")                    \
    X(MAX_BYTES, "max-bytes", 272, "SIZE", "warm: not more [what memory has room for]")        \
    X(RATE, "rate", 273, "SIZE", "warm: so many bytes a second at most [no limit]")            \
    X(PROFILE, "profile", 274, "FILE", "warm: the pages that this profile names")              \
    X(HELP, "help", 'h', "", "print this and exit")                                            \
    X(VERSION, "version", 'V', "", "print the version and exit")

enum option_index {
#define X(id, name, value, arg, help) OPTION_INDEX_##id,
    OPTIONS(X)
#undef X
};

/* A set of options: TAKES_SERVER | TAKES_JSON... */
enum option_set {
#define X(id, name, value, arg, help) TAKES_##id = 1 << OPTION_INDEX_##id,
    OPTIONS(X)
#undef X
};

/* Reads the options into ctl; optind is then the first argument that is none. --help (print_help
 * is called) and --version end the program. *ret_given: the set of those that were there.
 * STATUS_FOUND, or STATUS_USAGE after it was told. */
int options_parse(struct actctl *ctl, int argc, char **argv, void (*print_help)(void),
                  unsigned *ret_given);

/* The first option of the set, with its dashes, for messages; the set is not empty. */
const char *options_name(unsigned set);

/* The lines of --help. */
void options_print(void);

/* Tells "actctl: WHAT: REASON: try actctl --help". STATUS_USAGE. */
int options_refuse(const struct actctl *ctl, const char *what, const char *reason);

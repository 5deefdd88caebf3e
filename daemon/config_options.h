/*
 * config_options: the table of options, and how a text becomes a value of each kind.
 */
#pragma once

#include "daemon/config.h"

/* A path with its end, as the kernel takes it. */
#define CONFIG_PATH_BYTES 4096

enum config_kind {
    CONFIG_PATH,   /* char *: not empty */
    CONFIG_TCP,    /* struct config_addresses; may be repeated, an empty value clears */
    CONFIG_UNIX,   /* likewise */
    CONFIG_NUMBER, /* uint64_t; K, M, G, T behind it multiply by 1024... where it is in bytes */
    CONFIG_MODE,   /* uint64_t: octal permission bits */
    CONFIG_CHOICE, /* uint64_t: index into choices */
    CONFIG_NAMES,  /* struct config_names: of hosts; may be repeated, an empty value clears */
};

struct config_option {
    const char *section, *key;
    enum config_kind kind;
    size_t offset;              /* of the field in struct config */
    const char *default_value;  /* as text; NULL: none */
    uint64_t min, max;          /* CONFIG_NUMBER */
    const char *const *choices; /* CONFIG_CHOICE: names, NULL at the end */
    const char *help;           /* sentences; \n breaks lines */
};

extern const struct config_option config_options[];
extern const size_t n_config_options;

const struct config_option *config_option_find(const char *section, const char *key);

/* Sets the option's field from text. 0, or CONFIG_BAD with what is wrong in reason. */
int config_option_set(struct config *config, const struct config_option *option, const char *text,
                      char *reason, size_t reason_size);

/*
 * config: every option of the daemon, from the built-in defaults, the configuration file, its
 * drop-ins and the command line, in that order.
 *
 * One table (config_options.c) holds each option's name, kind, default, limits and help; it feeds
 * parsing, error messages and the documented default file (conf/actd.conf). Unknown keys and bad
 * values are errors that name the file and the line.
 */
#pragma once

#include "base/address.h"

#include <stdio.h>

#define CONFIG_MAX_ADDRESSES 16

struct config_addresses {
    struct address list[CONFIG_MAX_ADDRESSES];
    unsigned n;
};

#define CONFIG_MAX_NAMES  16
#define CONFIG_NAME_BYTES 256

struct config_names {
    char list[CONFIG_MAX_NAMES][CONFIG_NAME_BYTES];
    unsigned n;
};

/* No more than that many worker processes. */
#define CONFIG_MAX_WORKERS 256

enum tree_verify { TREE_VERIFY_HEADER, TREE_VERIFY_STRUCTURE, TREE_VERIFY_DIGEST };
enum tree_advice { TREE_ADVICE_RANDOM, TREE_ADVICE_NORMAL, TREE_ADVICE_SEQUENTIAL };
enum tree_mlock { TREE_MLOCK_NO, TREE_MLOCK_TOP, TREE_MLOCK_YES, TREE_MLOCK_ONFAULT };
enum tree_hugepages { TREE_HUGEPAGES_NO, TREE_HUGEPAGES_COPY };
enum cold_mode { COLD_OFFLOAD, COLD_INLINE };
enum cold_probe { COLD_PROBE_AUTO, COLD_PROBE_MINCORE, COLD_PROBE_NOWAIT, COLD_PROBE_NONE };
enum warmup_mode {
    WARMUP_NONE,
    WARMUP_WILLNEED,
    WARMUP_READ,
    WARMUP_TRAVERSE,
    WARMUP_RESTORE,
};
extern const char *const warmup_mode_names[]; /* by number; NULL at the end */
enum warmup_ready { WARMUP_READY_BEFORE, WARMUP_READY_AFTER };

/* Field names are section_key. Numbers: the unit is in the name. */
struct config {
    char *tree_path; /* owned */
    uint64_t tree_table_cache_bytes;
    uint64_t tree_verify; /* enum tree_verify */
    uint64_t tree_max_resident_bytes;
    uint64_t tree_check_timeout_ms;
    uint64_t tree_watch; /* bool */
    uint64_t tree_settle_ms;
    uint64_t tree_advice; /* enum tree_advice */
    uint64_t tree_mlock;  /* enum tree_mlock */
    uint64_t tree_map_min_bytes;
    uint64_t tree_hugepages; /* enum tree_hugepages */

    struct config_addresses listen_tcp;
    struct config_addresses listen_unix;
    uint64_t listen_unix_mode;
    uint64_t listen_backlog;

    uint64_t daemon_workers; /* 0: one per CPU */
    uint64_t daemon_heartbeat_timeout_ms;
    uint64_t daemon_busy_poll_us;

    uint64_t cold_mode;  /* enum cold_mode */
    uint64_t cold_probe; /* enum cold_probe */
    uint64_t cold_threads;
    uint64_t cold_queue; /* pages */
    uint64_t cold_timeout_ms;

    uint64_t limits_max_connections;
    uint64_t limits_max_request_bytes;
    uint64_t limits_max_reply_bytes;
    uint64_t limits_max_keys;
    uint64_t limits_max_key_bytes;
    uint64_t limits_max_visited_nodes;
    uint64_t limits_max_sliced_requests;
    uint64_t limits_max_buffer_bytes;
    uint64_t limits_high_water_bytes;
    uint64_t limits_turn_requests;
    uint64_t limits_idle_timeout_ms;
    uint64_t limits_frame_timeout_ms;
    uint64_t limits_write_timeout_ms;
    uint64_t limits_linger_timeout_ms;
    uint64_t limits_drain_timeout_ms;
    uint64_t limits_max_wait_ms;

    uint64_t log_level; /* enum log_level */

    struct config_addresses admin_tcp;
    struct config_addresses admin_unix;
    uint64_t admin_unix_mode;
    uint64_t admin_max_connections;
    uint64_t admin_timeout_ms;
    char *admin_token_file; /* owned; NULL: none, and in workers */
    struct config_names admin_host;
    uint64_t admin_slow_ms;

    uint64_t warmup_mode; /* enum warmup_mode */
    uint64_t warmup_rate_bytes_per_s;
    uint64_t warmup_max_bytes; /* 0: what memory has room for */
    uint64_t warmup_ready;     /* enum warmup_ready */
    char *warmup_profile;      /* owned; NULL: none */
    uint64_t warmup_profile_interval_ms;
};

struct config_error {
    char message[1024]; /* "FILE:LINE: section.key: what is wrong" */
};

/* Outcome of the functions below, with the error's message filled in. */
#define CONFIG_BAD 1

/* All defaults. */
void config_init(struct config *config);
void config_deinit(struct config *config);

/* Reads path and then path.d/[*].conf in the order of their names. 0 or CONFIG_BAD. */
int config_read_file(struct config *config, const char *path, struct config_error *error);

/* One "section.key=value" of the command line. 0 or CONFIG_BAD. */
int config_set(struct config *config, const char *assignment, struct config_error *error);

/* What only the whole can tell: options that do not fit together. 0 or CONFIG_BAD. */
int config_finish(struct config *config, struct config_error *error);
/* Where to listen if no address is configured, and none is inherited either. */
void config_default_address(struct address *ret);

/* The whole configuration as a sealed file in memory, for another process of the same binary. A
 * descriptor, or -errno. */
int config_share(const struct config *config);
/* What config_share has written. 0 or -errno. */
int config_receive(struct config *config, int fd);

/* Every option commented with its default: the text of conf/actd.conf. */
void config_print_defaults(FILE *out);

/*
 * events: what operators wait for in the log. systemd/actd.catalog explains each of them, and
 * docs/EVENTS.md lists them.
 *
 * A name or an id that was released never changes; an event that is gone takes both with it.
 */
#pragma once

#include "base/log.h"

/* Name, level, id, and the fields that each such entry has beside the common ones. */
/* clang-format off */
#define EVENTS(X) \
    X(ready, LOG_LEVEL_INFO, "1a36597fb25944268e97fb9c0c1f38c7", \
      "TREE_PATH GENERATION IDENTITY WORKERS") \
    X(stopping, LOG_LEVEL_INFO, "64575493060a48c4afd3b350dbd3b92d", "TREE_PATH SIGNAL") \
    X(stopped, LOG_LEVEL_INFO, "1bed517a821e4a8d9222478e6e88cc29", "TREE_PATH") \
    X(cannot_start, LOG_LEVEL_ERROR, "3647ea557b6c43a5a4c928fa542477fb", "REASON") \
    X(generation_served, LOG_LEVEL_INFO, "c29461b150be44ea9f4143f3751cc70f", \
      "TREE_PATH GENERATION IDENTITY SIZE_BYTES DURATION_MS") \
    X(generation_refused, LOG_LEVEL_ERROR, "e60fea56bddf495dbd0865a2c5eb574c", \
      "TREE_PATH GENERATION REASON") \
    X(generation_damaged, LOG_LEVEL_ERROR, "c4d3f8e29eb648b88ed336c5ee42f957", \
      "TREE_PATH GENERATION REASON") \
    X(faults_found, LOG_LEVEL_ERROR, "beb9311c82bd4ebcbad1c0b4d34ebd1f", \
      "TREE_PATH GENERATION REASON") \
    X(worker_ended, LOG_LEVEL_WARNING, "f3c2fb4a0ef54cab9c7e20e91e74a460", \
      "TREE_PATH WORKER WORKER_PID REASON") \
    X(worker_hung, LOG_LEVEL_ERROR, "6ef2601c70264af8a598487a706bce6f", \
      "TREE_PATH WORKER WORKER_PID SILENT_MS") \
    X(disk_slow, LOG_LEVEL_WARNING, "3195378fbe1b45eda663e0e2e7402e91", \
      "TREE_PATH GENERATION WORKER REQUESTS TIMEOUT_MS") \
    X(connections_paused, LOG_LEVEL_WARNING, "1ccf101537814f18804d9b084cccfa38", \
      "TREE_PATH REASON CONNECTIONS") \
    X(connections_limited, LOG_LEVEL_WARNING, "eca47def58d84cc8b37fcd53adfbb817", \
      "TREE_PATH MAX_CONNECTIONS") \
    X(warmup_failed, LOG_LEVEL_WARNING, "2c10fa7050f540e190f51c6bc8bc28ff", \
      "TREE_PATH GENERATION REASON") \
    X(profile_unsaved, LOG_LEVEL_WARNING, "ded253f86e7046b6905314f7e76a25dd", \
      "TREE_PATH PROFILE_PATH REASON") \
    X(lock_refused, LOG_LEVEL_WARNING, "8bd4eb2e703f483e9beff7122837275d", \
      "TREE_PATH GENERATION WORKER REASON") \
    X(huge_pages_refused, LOG_LEVEL_WARNING, "2cfbe23eb12b4ff8837bea3e9420026d", \
      "TREE_PATH GENERATION REASON")
/* clang-format on */

/* The fields of a line about another generation than the one that is served. */
#define LOG_OF(number) LOG_FIELDS(log_field_number("GENERATION", (number)))

#define DECLARE_EVENT(name, level, id, fields) extern const struct log_event event_##name;
EVENTS(DECLARE_EVENT)
#undef DECLARE_EVENT

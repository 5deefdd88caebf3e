/*
 * events: see events.h.
 */
#include "daemon/events.h"

#define DEFINE_EVENT(name, level, id, fields) \
    const struct log_event event_##name = {#name, id, level};
EVENTS(DEFINE_EVENT)
#undef DEFINE_EVENT

/*
 * watch: what the server tells of its generations, once actc_watch has asked for it.
 *
 * Only the newest news is kept: who comes late wants to know what is served now.
 */
#pragma once

#include "actc/actc.h"
#include "base/slice.h"

struct watch {
    bool is_on;                    /* news was asked for */
    bool has_news;                 /* that nobody has taken yet */
    int outcome;                   /* of the news: 0, ACTC_BAD_REPLY or -ENOMEM */
    struct actc_generation newest; /* valid if has_news and outcome is 0 */
};

/* message: a notification that frame_next let through. Was it news? Others are for nobody. */
bool watch_notice(struct watch *watch, struct slice message);

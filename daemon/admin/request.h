/*
 * request: what a handler gets, and what it answers. Nothing of HTTP's library.
 */
#pragma once

#include "daemon/admin/sources.h"
#include "daemon/supervisor/reload.h"

struct admin_header {
    const char *name, *value; /* static; NULL: the end of a list */
};

struct admin_answer {
    unsigned status;   /* of HTTP; 0: there is none yet */
    const char *type;  /* static: of its content */
    char *text;        /* owned until it is sent; NULL: it is */
    const char *fixed; /* static, of fixed_size bytes */
    size_t fixed_size;
    const struct admin_header *headers; /* static: further ones, or NULL */
    char allow[32];                     /* 405: the methods that there are; "" */
};

struct admin_request {
    struct reload_request waiting;       /* first: a handler's, for reload_ask */
    const struct admin_sources *sources; /* borrowed */
    struct admin_answer answer;
};

/* A handler has put the answer into the request. */
#define ADMIN_ANSWERED 0
/* It will be there later: admin_request_wake is called then. */
#define ADMIN_LATER 1
typedef int (*admin_handler)(struct admin_request *request);

/* Of "?name=value" in what was asked for: the value, or NULL. Borrowed from the request. */
const char *admin_request_argument(const struct admin_request *request, const char *name);
/* May who asks change something? False: it was answered. */
bool admin_request_may_post(struct admin_request *request);
/* Of many requests that want to wait, not all may. */
bool admin_request_may_wait(struct admin_request *request);
void admin_request_wake(struct admin_request *request);

/* Answers; ADMIN_ANSWERED, or -ENOMEM. Take over text, which may be NULL: there was no memory. */
int admin_answer_text(struct admin_request *request, unsigned status, char *text);
int admin_answer_json(struct admin_request *request, unsigned status, char *text);
__attribute__((format(printf, 3, 4))) int admin_answer(struct admin_request *request,
                                                       unsigned status, const char *format, ...);

/*
 * calls: see calls.h.
 */
#include "client/calls.h"

#include <errno.h>
#include <stdlib.h>

#define FIRST_SLOTS 64

static struct call *slot_of(struct call *slots, uint32_t n_slots, uint32_t id)
{
    return &slots[id & (n_slots - 1)];
}

static int grow(struct calls *calls)
{
    uint32_t n_slots = calls->n_slots ? calls->n_slots * 2 : FIRST_SLOTS;
    struct call *slots = calloc(n_slots, sizeof *slots);
    if (!slots)
        return -ENOMEM;
    for (uint32_t i = 0; i < calls->n_slots; i++)
        if (calls->slots[i].id != 0)
            *slot_of(slots, n_slots, calls->slots[i].id) = calls->slots[i];
    free(calls->slots);
    calls->slots = slots;
    calls->n_slots = n_slots;
    return 0;
}

/* At most half of the slots are used, so this ends soon. */
static uint32_t take_id(struct calls *calls)
{
    for (;;) {
        uint32_t id = calls->next_id++;
        if (calls->next_id == 0)
            calls->has_wrapped = true;
        if (id != 0 && slot_of(calls->slots, calls->n_slots, id)->id == 0)
            return id;
    }
}

void calls_init(struct calls *calls, uint32_t max_open)
{
    *calls = (struct calls){.max_open = max_open, .next_id = 1};
}

void calls_deinit(struct calls *calls)
{
    for (uint32_t i = 0; i < calls->n_slots; i++)
        free(calls->slots[i].reply);
    free(calls->slots);
    calls_init(calls, calls->max_open);
}

int calls_add(struct calls *calls, struct call **ret_call)
{
    if (calls->n_open >= calls->max_open)
        return CALLS_FULL;
    if (calls->n_open >= calls->n_slots / 2) {
        int r = grow(calls);
        if (r != 0)
            return r;
    }
    uint32_t id = take_id(calls);
    struct call *call = slot_of(calls->slots, calls->n_slots, id);
    *call = (struct call){.id = id};
    calls->n_open++;
    *ret_call = call;
    return 0;
}

struct call *calls_find(struct calls *calls, uint32_t id)
{
    if (id == 0 || calls->n_slots == 0)
        return NULL;
    struct call *call = slot_of(calls->slots, calls->n_slots, id);
    return call->id == id ? call : NULL;
}

void calls_remove(struct calls *calls, struct call *call)
{
    free(call->reply);
    *call = (struct call){0};
    calls->n_open--;
}

bool calls_has_issued(const struct calls *calls, uint32_t id)
{
    return id != 0 && (calls->has_wrapped || id < calls->next_id);
}

/*
 * frames: the way from the root to where a walk over the whole tree is: a stack without recursion.
 *
 * A damaged file may nest as deep as it is long. So the stack comes in blocks of scratch memory,
 * which stay where they are.
 */
#pragma once

#include "tree/scratch.h"
#include <stdbool.h>

#define FRAME_PATH_BITS 22
#define FRAME_PATH_MAX  ((1U << FRAME_PATH_BITS) - 1)

/* A run of siblings that is being walked. */
struct frame {
    uint64_t parent;  /* offset of the node that it belongs to; 0: this is the root */
    uint64_t at;      /* offset of the sibling that comes next */
    uint64_t key_len; /* bytes of key at these siblings' beginning */
    unsigned path_end : FRAME_PATH_BITS; /* of the path buffer, + 1; 0: we are not in it */
    bool is_below_line : 1;              /* the parent is a line node */
    bool has_table : 1; /* the run's table is to be compared with where the siblings are */
    uint8_t index;      /* of the current sibling; 255 before the first one */
    uint16_t n_left;    /* siblings that are still to come */
    uint16_t run_bytes; /* of the siblings before the one that comes next */
};

#define FRAMES_PER_BLOCK 4096

struct frames {
    struct scratch *scratch;
    struct frame **blocks; /* owned list of owned blocks */
    uint64_t n_blocks, room;
    struct frame *top;       /* NULL: empty */
    struct frame *block_end; /* behind the last frame of top's block */
    uint64_t depth;          /* number of frames */
};

void frames_init(struct frames *frames, struct scratch *scratch);
void frames_deinit(struct frames *frames);
/* Empties it; the blocks stay. */
void frames_clear(struct frames *frames);

/* Rare cases of the two below. */
int frames_push_block(struct frames *frames);
void frames_pop_block(struct frames *frames);

/* A new top, whose content is the caller's to set. 0 or as scratch_map. */
static inline int frames_push(struct frames *frames)
{
    if (frames->top && frames->top + 1 < frames->block_end) {
        frames->top++;
        frames->depth++;
        return 0;
    }
    return frames_push_block(frames);
}

static inline void frames_pop(struct frames *frames)
{
    if (--frames->depth % FRAMES_PER_BLOCK != 0)
        frames->top--;
    else
        frames_pop_block(frames);
}

/* Frame number i, 0 for the root's. */
static inline struct frame *frames_at(const struct frames *frames, uint64_t i)
{
    return &frames->blocks[i / FRAMES_PER_BLOCK][i % FRAMES_PER_BLOCK];
}

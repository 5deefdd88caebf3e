/*
 * frames: see frames.h.
 */
#include "tree/frames.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define BLOCK_BYTES (FRAMES_PER_BLOCK * sizeof(struct frame))

static_assert(sizeof(struct frame) == 32, "two frames a cache line");

void frames_init(struct frames *frames, struct scratch *scratch)
{
    *frames = (struct frames){.scratch = scratch};
}

void frames_deinit(struct frames *frames)
{
    for (uint64_t i = 0; i < frames->n_blocks; i++)
        scratch_unmap(frames->blocks[i], BLOCK_BYTES);
    free(frames->blocks);
    *frames = (struct frames){0};
}

void frames_clear(struct frames *frames)
{
    frames->top = frames->block_end = NULL;
    frames->depth = 0;
}

static int add_block(struct frames *frames)
{
    void *p;
    if (frames->n_blocks == frames->room) {
        uint64_t room = 2 * frames->room + 16;
        struct frame **blocks = reallocarray(frames->blocks, room, sizeof *blocks);
        if (!blocks)
            return -ENOMEM;
        frames->blocks = blocks;
        frames->room = room;
    }
    int r = scratch_map(frames->scratch, BLOCK_BYTES, &p);
    if (r != 0)
        return r;
    frames->blocks[frames->n_blocks++] = p;
    return 0;
}

static void use_block(struct frames *frames, uint64_t block, uint64_t index)
{
    frames->top = frames->blocks[block] + index;
    frames->block_end = frames->blocks[block] + FRAMES_PER_BLOCK;
}

int frames_push_block(struct frames *frames)
{
    uint64_t block = frames->depth / FRAMES_PER_BLOCK;
    int r = block < frames->n_blocks ? 0 : add_block(frames);
    if (r != 0)
        return r;
    use_block(frames, block, 0);
    frames->depth++;
    return 0;
}

void frames_pop_block(struct frames *frames)
{
    if (frames->depth == 0)
        frames->top = NULL;
    else
        use_block(frames, frames->depth / FRAMES_PER_BLOCK - 1, FRAMES_PER_BLOCK - 1);
}

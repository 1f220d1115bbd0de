/* The guest's one way out, taken apart: TCP streams of the guest's own loopback, side by side on one channel.
 *
 * After the token that LISTEN named, which each side says first, all is frames as in frames.h; the id names a stream and
 * the guest chooses it. Nothing here allocates, blocks or calls the system, so that the fuzzer can run all of it. */

#ifndef MUX_H
#define MUX_H

#include <poll.h>

#include "frames.h"

enum {
    STREAMS = 128,                        /* open at a time */
    STREAM_WINDOW = 1 << 18,              /* bytes that may be under way, of one stream in one direction */
    STREAM_BLOCK = (1 << 15) - FRAME_HEAD, /* a whole frame is one write to a virtio port */
    FORWARDS = 16,                        /* ports at a time */
    TOKEN = 16,
};

enum {
    STREAM_OPEN = 'O',  /* u16 port; only from the guest */
    STREAM_DATA = 'D',  /* bytes */
    STREAM_TAKEN = 'A', /* u32 bytes of data that the other side is done with */
    STREAM_END = 'E',   /* no more data comes from this side */
    STREAM_RESET = 'X', /* the stream is no more */
};

struct listening {
    const uint8_t *token;
    uint16_t ports[FORWARDS];
    uint32_t count;
};

/* The token, then the ports, u16 each; -1 where it is something else. */
static inline int listening_of(const struct frame *frame, struct listening *listening) {
    if (frame->size < TOKEN || (frame->size - TOKEN) % 2 || (frame->size - TOKEN) / 2 > FORWARDS)
        return -1;
    listening->token = frame->payload;
    listening->count = (frame->size - TOKEN) / 2;
    for (uint32_t i = 0; i < listening->count; i++) {
        const uint8_t *at = frame->payload + TOKEN + 2 * i;
        listening->ports[i] = at[0] | at[1] << 8;
        if (!listening->ports[i])
            return -1;
    }
    return 0;
}

/* As frame_of, for what the host says of a stream: of a known type, and of a size that this type has. */
static inline long stream_frame_of(uint8_t *from, size_t have, struct frame *frame) {
    if (have >= 4 && u32_at(from) > FRAME_HEAD - 4 + STREAM_BLOCK)
        return -1;
    long used = frame_of(from, have, frame);
    if (used <= 0)
        return used;
    switch (frame->type) {
    case STREAM_DATA:
        return frame->size ? used : -1;
    case STREAM_TAKEN:
        return frame->size == 4 ? used : -1;
    case STREAM_END:
    case STREAM_RESET:
        return frame->size ? -1 : used;
    default:
        return -1;
    }
}

/* Puts a frame's head before `size` bytes of payload; gives the whole frame's size. */
static inline size_t stream_frame_to(uint8_t *at, uint8_t type, uint32_t id, uint32_t size) {
    u32_to(at, size + FRAME_HEAD - 4);
    at[4] = type;
    u32_to(at + 5, id);
    return FRAME_HEAD + size;
}

/* doors.c: the ports that programs may call. */
int open_doors(const struct listening *listening); /* these and no others; gives 0 or an errno */
int watch_doors(struct pollfd *fds, int count);
void ignore_doors(void);
int accept_program(const struct pollfd *fds, uint16_t *port); /* -1 where nobody else calls */

/* mux.c: a part of the agent's loop. */
int mux_listen(const struct listening *listening); /* gives 0 or an errno */
int watch_mux(struct pollfd *fds, int count);
void serve_mux(const struct pollfd *fds);
enum { MUX_FDS = 2 + FORWARDS + STREAMS };

#endif

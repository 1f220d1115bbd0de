/* The guest's one way out: ports of its own loopback lead to sockets of the host.
 *
 * Nothing here waits. A stream has a window each way, so one that nobody reads holds up no other, and memory has an end.
 * What must be said stands as a mark on its stream until the channel takes it: nothing queues up. */

#define _GNU_SOURCE
#include "mux.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent.h"

enum {
    MUST_OPEN = 1,
    MUST_END = 2,
    MUST_RESET = 4,
    HAS_ENDED = 8,   /* its program sends no more */
    HOST_ENDED = 16, /* the host sends no more */
    ACKNOWLEDGE = STREAM_WINDOW / 4,
    MARKS_MAX = STREAMS * (3 * FRAME_HEAD + 6), /* bytes of all that can stand as marks */
};

struct stream {
    int used;
    int fd; /* -1 where only the reset is to be said */
    uint32_t id;
    uint16_t port;
    uint8_t marks;
    int at;           /* its place among what is polled, 0 for none */
    uint32_t window;  /* bytes that the host still takes */
    uint32_t owed;    /* bytes that its program took and the host has not heard of */
    uint8_t *waiting; /* STREAM_WINDOW bytes, of which `size` from `from` on are for its program */
    uint32_t from, size;
};

static struct stream streams[STREAMS];
static int channel = -1, channel_at;
static int caller = -1, caller_at; /* listens for the host, where the channel is a vsock */
static int is_open, has_heard_token;
static uint8_t token[TOKEN];
static uint8_t in[2 * (FRAME_HEAD + STREAM_BLOCK)];
static size_t have;
static uint8_t out[2 * (FRAME_HEAD + STREAM_BLOCK) + MARKS_MAX];
static size_t out_size;

/* ---- streams ---- */

static void forget(struct stream *it) {
    if (it->fd >= 0)
        close(it->fd);
    free(it->waiting);
    memset(it, 0, sizeof *it);
}

/* Its program hears of it as a reset, not as an end. */
static void cut(struct stream *it) {
    struct linger at_once = {1, 0};
    if (it->fd >= 0) {
        setsockopt(it->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(it->fd);
    }
    it->fd = -1;
}

static void reset(struct stream *it) {
    struct stream left = {.used = 1, .fd = -1, .id = it->id, .marks = MUST_RESET};
    int is_known = !(it->marks & MUST_OPEN);
    cut(it);
    forget(it);
    if (is_known)
        *it = left;
}

static void finish(struct stream *it) {
    if ((it->marks & (HAS_ENDED | HOST_ENDED | MUST_END)) == (HAS_ENDED | HOST_ENDED) && !it->size)
        forget(it);
}

static void push(struct stream *it) {
    while (it->size) {
        ssize_t done = send(it->fd, it->waiting + it->from, it->size, MSG_NOSIGNAL);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0 && errno == EAGAIN)
            return;
        if (done < 0) {
            reset(it);
            return;
        }
        it->from += done, it->size -= done, it->owed += done;
    }
    free(it->waiting);
    it->waiting = NULL;
    it->from = 0;
    if (it->marks & HOST_ENDED)
        shutdown(it->fd, SHUT_WR);
    finish(it);
}

static void take_data(struct stream *it, const struct frame *frame) {
    ssize_t done = 0;
    if (it->marks & HOST_ENDED || frame->size > STREAM_WINDOW - it->size)
        end_guest("more for a stream than was asked for");
    if (!it->size && (done = send(it->fd, frame->payload, frame->size, MSG_NOSIGNAL)) < 0) {
        if (errno != EAGAIN && errno != EINTR) {
            reset(it);
            return;
        }
        done = 0;
    }
    it->owed += done;
    if (done == frame->size)
        return;
    if (!it->waiting && !(it->waiting = malloc(STREAM_WINDOW)))
        end_guest("no memory for a stream");
    if (it->from + it->size + frame->size - done > STREAM_WINDOW) {
        memmove(it->waiting, it->waiting + it->from, it->size);
        it->from = 0;
    }
    memcpy(it->waiting + it->from + it->size, frame->payload + done, frame->size - done);
    it->size += frame->size - done;
}

static void accept_programs(const struct pollfd *fds) {
    static uint32_t made;
    for (uint32_t place = 0; is_open && place < STREAMS; place++) {
        struct stream *it = &streams[place];
        uint16_t port;
        int fd;
        if (it->used)
            continue;
        if ((fd = accept_program(fds, &port)) < 0)
            return;
        *it = (struct stream){.used = 1, .fd = fd, .port = port, .marks = MUST_OPEN, .window = STREAM_WINDOW};
        it->id = made++ * STREAMS + place; /* tells the place; what was said of one before it has another number */
    }
}

/* ---- the channel ---- */

static void forget_streams(void) {
    for (int i = 0; i < STREAMS; i++)
        if (streams[i].used) {
            cut(&streams[i]);
            forget(&streams[i]);
        }
    have = out_size = has_heard_token = 0;
}

static void greet(void) {
    forget_streams();
    memcpy(out, token, TOKEN);
    out_size = TOKEN;
    is_open = 1;
}

/* Programs that call now wait for the host to come again. */
static void lose(void) {
    forget_streams();
    is_open = 0;
    if (caller >= 0) {
        close(channel);
        channel = -1;
    }
}

static void push_out(void) {
    size_t from = 0;
    while (is_open && from < out_size) {
        ssize_t done = write(channel, out + from, out_size - from);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0 && errno == EAGAIN)
            break;
        if (done <= 0) {
            lose();
            return;
        }
        from += done;
    }
    out_size -= from;
    if (from && out_size)
        memmove(out, out + from, out_size);
}

static void put(uint8_t type, uint32_t id, const void *payload, uint32_t size) {
    uint8_t *at = out + out_size;
    out_size += stream_frame_to(at, type, id, size);
    memcpy(at + FRAME_HEAD, payload, size);
}

static void say_marks_of(struct stream *it) {
    uint8_t number[4];
    u32_to(number, it->port);
    if (it->marks & MUST_OPEN)
        put(STREAM_OPEN, it->id, number, 2);
    u32_to(number, it->owed);
    if (it->owed >= ACKNOWLEDGE) {
        put(STREAM_TAKEN, it->id, number, sizeof number);
        it->owed = 0;
    }
    if (it->marks & MUST_END)
        put(STREAM_END, it->id, "", 0);
    if (it->marks & MUST_RESET) {
        put(STREAM_RESET, it->id, "", 0);
        forget(it);
        return;
    }
    it->marks &= ~(MUST_OPEN | MUST_END);
    finish(it);
}

/* Gives whether all is said. */
static int say_marks(void) {
    for (int i = 0; i < STREAMS; i++) {
        struct stream *it = &streams[i];
        if (!it->used || (!(it->marks & (MUST_OPEN | MUST_END | MUST_RESET)) && it->owed < ACKNOWLEDGE))
            continue;
        if (sizeof out - out_size < MARKS_MAX / STREAMS)
            return 0;
        say_marks_of(it);
    }
    return 1;
}

static void speak(void) {
    int is_all;
    do {
        is_all = say_marks();
        push_out();
    } while (is_open && !is_all && !out_size);
}

/* Gives whether there is room for another. */
static int pull(struct stream *it) {
    size_t room = sizeof out - out_size;
    uint8_t *at = out + out_size;
    if (room < FRAME_HEAD + STREAM_BLOCK + MARKS_MAX)
        return 0;
    ssize_t size = recv(it->fd, at + FRAME_HEAD, it->window < STREAM_BLOCK ? it->window : STREAM_BLOCK, 0);
    if (size > 0) {
        out_size += stream_frame_to(at, STREAM_DATA, it->id, size);
        it->window -= size;
    } else if (size == 0) {
        it->marks |= HAS_ENDED | MUST_END;
    } else if (errno != EAGAIN && errno != EINTR) {
        reset(it);
    }
    return 1;
}

static void take(const struct frame *frame) {
    struct stream *it = &streams[frame->id % STREAMS];
    if (!it->used || it->id != frame->id || it->fd < 0)
        return; /* it ended while this was under way */
    switch (frame->type) {
    case STREAM_DATA:
        take_data(it, frame);
        return;
    case STREAM_TAKEN:
        if (u32_at(frame->payload) > STREAM_WINDOW - it->window)
            end_guest("more of a stream taken than was given");
        it->window += u32_at(frame->payload);
        return;
    case STREAM_END:
        it->marks |= HOST_ENDED;
        push(it);
        return;
    case STREAM_RESET:
        cut(it);
        forget(it);
        return;
    }
}

/* What an earlier host said may still come: it ends with the token. */
static size_t after_token(void) {
    uint8_t *found = memmem(in, have, token, TOKEN);
    if (found) {
        has_heard_token = 1;
        return found + TOKEN - in;
    }
    return have < TOKEN ? 0 : have - TOKEN + 1;
}

static void hear(void) {
    struct frame frame;
    ssize_t size;
    do {
        size = read(channel, in + have, sizeof in - have); /* a virtio port gives a page at a time */
        have += size > 0 ? size : 0;
    } while (have < sizeof in && (size > 0 || (size < 0 && errno == EINTR)));
    int is_lost = !size || (size < 0 && errno != EAGAIN);
    size_t from = has_heard_token ? 0 : after_token();
    for (long used; has_heard_token && (used = stream_frame_of(in + from, have - from, &frame)); from += used) {
        if (used < 0)
            end_guest("not a frame of a stream");
        take(&frame);
    }
    if (from) /* the host's bytes come a page at a time, and a frame has many */
        memmove(in, in + from, have - from);
    have -= from;
    if (is_lost)
        lose();
}

static void meet_caller(void) {
    int found = accept_host(caller);
    if (found < 0)
        return;
    if (channel >= 0)
        close(channel);
    channel = found;
    greet();
}

/* ---- what the agent calls ---- */

int mux_listen(const struct listening *listening) {
    if (channel < 0 && caller < 0) {
        int found = open_mux();
        if (found < 0)
            return errno;
        *(is_vsock() ? &caller : &channel) = found;
    }
    memcpy(token, listening->token, TOKEN);
    forget_streams();
    if (channel >= 0)
        greet();
    return open_doors(listening);
}

/* ---- the loop ---- */

static int watched(struct pollfd *fds, int *count, int fd, short events) {
    fds[*count] = (struct pollfd){fd, events, 0};
    return (*count)++;
}

int watch_mux(struct pollfd *fds, int count) {
    int is_free = 0;
    channel_at = is_open ? watched(fds, &count, channel, POLLIN | (out_size ? POLLOUT : 0)) : 0;
    caller_at = caller >= 0 ? watched(fds, &count, caller, POLLIN) : 0;
    for (int i = 0; i < STREAMS; i++) {
        struct stream *it = &streams[i];
        short events = it->size ? POLLOUT : 0;
        /* Read only what the channel takes at once: else this loop would never sleep. */
        if (!out_size && it->window && !(it->marks & (HAS_ENDED | MUST_OPEN)))
            events |= POLLIN;
        is_free |= !it->used;
        it->at = it->used && it->fd >= 0 && events ? watched(fds, &count, it->fd, events) : 0;
    }
    if (is_open && is_free)
        return watch_doors(fds, count);
    ignore_doors(); /* who calls now waits */
    return count;
}

static void pull_all(const struct pollfd *fds) {
    static int turn; /* who comes first, so that everybody does */
    turn = (turn + 1) % STREAMS;
    for (int i = 0; i < STREAMS; i++) {
        struct stream *it = &streams[(turn + i) % STREAMS];
        if (it->at && fds[it->at].events & POLLIN && fds[it->at].revents & ~POLLOUT && !pull(it))
            return;
    }
}

void serve_mux(const struct pollfd *fds) {
    if (caller_at && fds[caller_at].revents)
        meet_caller();
    else if (channel_at && fds[channel_at].revents & ~POLLOUT)
        hear();
    for (int i = 0; i < STREAMS; i++)
        if (streams[i].at && streams[i].size && fds[streams[i].at].revents & ~POLLIN)
            push(&streams[i]);
    accept_programs(fds);
    speak();
    pull_all(fds);
    speak();
}

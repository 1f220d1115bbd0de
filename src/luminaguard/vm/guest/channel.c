/* What is said to the host, and what it says. */

#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

enum { LONELY = 6000 };

static int channel = -1;
static uint8_t bytes[4 + FRAME_MAX];
static size_t have;
static int rounds; /* without a host, one after the other */
static int is_awake;

int write_all(int fd, const void *from, size_t size) {
    for (const char *at = from; size;) {
        ssize_t done = write(fd, at, size);
        if (done < 0 && errno != EINTR)
            return errno;
        if (done > 0)
            at += done, size -= done;
    }
    return 0;
}

int meet_host(void) {
    channel = open_channel();
    return channel;
}

void say(uint8_t type, uint32_t id, const void *payload, uint32_t size) {
    static uint8_t said[FRAME_HEAD + BLOCK];
    u32_to(said, size + FRAME_HEAD - 4);
    said[4] = type;
    u32_to(said + 5, id);
    memcpy(said + FRAME_HEAD, payload, size);
    write_all(channel, said, FRAME_HEAD + size);
}

void say_number(uint8_t type, uint32_t id, int32_t number) {
    uint8_t payload[4];
    u32_to(payload, (uint32_t)number);
    say(type, id, payload, sizeof payload);
}

void end_guest(const char *why) {
    say(BYE, 0, why, strlen(why));
    usleep(100000); /* the host reads it before the machine is gone */
    power_off();
}

/* A vsock is lost at every restore: the host connects anew, and knows of no program. A virtio port has no host while its
 * guest moves; where none comes back, the host died before anybody could see to it that we end with it. */
static int lost_host(void) {
    if (is_vsock()) {
        drop_programs();
        close(channel);
        have = 0;
        channel = open_again();
        say_number(HELLO, 0, VERSION);
        return channel;
    }
    if (++rounds > LONELY)
        power_off();
    usleep(10000);
    return channel;
}

/* A guest that is frozen awake answers in half the time when it is restored: it need not be woken, and under emulation
 * each path of the kernel costs when it is first gone. */
void stay_awake(void) {
    is_awake = !is_vsock();
}

static ssize_t hear(void) {
    ssize_t size;
    if (!is_awake)
        return read(channel, bytes + have, sizeof bytes - have);
    is_awake = 0;
    fcntl(channel, F_SETFL, O_RDWR | O_NONBLOCK);
    while ((size = read(channel, bytes + have, sizeof bytes - have)) < 0 && errno == EAGAIN)
        ;
    fcntl(channel, F_SETFL, O_RDWR);
    return size;
}

int listen_to_host(void (*obey)(const struct frame *)) {
    struct frame frame;
    ssize_t size = hear();
    if (size < 0 && (errno == EINTR || errno == EAGAIN))
        return channel;
    if (size <= 0)
        return lost_host();
    have += size;
    rounds = 0;
    size_t from = 0;
    for (long used; (used = frame_of(bytes + from, have - from, &frame)); from += used) {
        if (used < 0)
            end_guest("not a frame");
        obey(&frame);
    }
    memmove(bytes, bytes + from, have - from);
    have -= from;
    return is_awake ? listen_to_host(obey) : channel;
}

/* Ports of the guest's own loopback that programs may call. */

#define _GNU_SOURCE
#include "mux.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

struct door {
    uint16_t port; /* 0 where there is none */
    int fd;
    int at; /* its place among what is polled, 0 for none */
};

static struct door doors[FORWARDS];

static int open_door(struct door *door, uint16_t port) {
    struct sockaddr_in address = {AF_INET, htons(port), {htonl(INADDR_LOOPBACK)}, {0}};
    int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return errno;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(fd, (void *)&address, sizeof address) || listen(fd, STREAMS)) {
        int failed = errno;
        close(fd);
        return failed;
    }
    *door = (struct door){.port = port, .fd = fd};
    return 0;
}

static int is_wanted(const struct listening *listening, uint16_t port) {
    for (uint32_t i = 0; i < listening->count; i++)
        if (listening->ports[i] == port)
            return 1;
    return 0;
}

static struct door *door_of(uint16_t port) {
    for (int i = 0; i < FORWARDS; i++)
        if (doors[i].port == port)
            return &doors[i];
    return NULL;
}

int open_doors(const struct listening *listening) {
    for (int i = 0; i < FORWARDS; i++)
        if (doors[i].port && !is_wanted(listening, doors[i].port)) {
            close(doors[i].fd);
            doors[i] = (struct door){0};
        }
    for (uint32_t i = 0; i < listening->count; i++) {
        uint16_t port = listening->ports[i];
        int failed = door_of(port) ? 0 : open_door(door_of(0), port);
        if (failed)
            return failed;
    }
    return 0;
}

int watch_doors(struct pollfd *fds, int count) {
    for (int i = 0; i < FORWARDS; i++) {
        doors[i].at = doors[i].port ? count : 0;
        if (doors[i].port)
            fds[count++] = (struct pollfd){doors[i].fd, POLLIN, 0};
    }
    return count;
}

void ignore_doors(void) {
    for (int i = 0; i < FORWARDS; i++)
        doors[i].at = 0;
}

int accept_program(const struct pollfd *fds, uint16_t *port) {
    int on = 1;
    for (int i = 0; i < FORWARDS; i++) {
        if (!doors[i].at || !fds[doors[i].at].revents)
            continue;
        int fd = accept4(doors[i].fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            *port = doors[i].port;
            return fd;
        }
        doors[i].at = 0; /* nobody else calls */
    }
    return -1;
}

/* In place of the guest's system, so that the agent runs on this machine as process 1 of a process-id namespace: its
 * channels are Unix sockets that the host calls, as those of a vsock are. It mounts nothing and sets no clock. */

#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "agent.h"

static int listen_at(const char *name, int flags) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s/%s", getenv("STANDIN_FOLDER"), name);
    int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    return bind(listener, (void *)&address, sizeof address) || listen(listener, 1) ? -1 : listener;
}

int open_channel(void) {
    return open_again();
}

int is_vsock(void) {
    return 1;
}

int open_again(void) {
    static int listener = -1;
    if (listener < 0)
        listener = listen_at("agent", 0);
    return accept4(listener, NULL, NULL, SOCK_CLOEXEC);
}

int open_mux(void) {
    return listen_at("mux", SOCK_NONBLOCK);
}

int accept_host(int listener) {
    return accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
}

void power_off(void) {
    _exit(9);
}

void prepare_system(void) {
}

int mount_at(const struct mounting *mounting) {
    (void)mounting;
    return 0;
}

int enter_root(const char *device, const char *type) {
    (void)device, (void)type;
    return 0;
}

int refresh(const uint8_t *payload) {
    (void)payload;
    return 0;
}

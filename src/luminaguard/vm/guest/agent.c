/* The guest agent: process 1 of a micro-VM. It runs programs for the host and tells what becomes of them.
 *
 * One loop, no threads. What the host says is checked before it is believed; bytes that are no frame end the guest. */

#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "mux.h"

static int do_mount(const struct frame *frame) {
    struct mounting mounting;
    if (mounting_of(frame, &mounting))
        end_guest("not a file system to mount");
    return mount_at(&mounting);
}

static int do_root(const struct frame *frame) {
    char *words[2];
    if (words_of(frame->payload, frame->size, words, 2))
        end_guest("not a root to enter");
    return enter_root(words[0], words[1]);
}

static int do_refresh(const struct frame *frame) {
    if (frame->size != 16 + ENTROPY)
        end_guest("not a time and entropy");
    return refresh(frame->payload);
}

static int do_freeze(const struct frame *frame) {
    if (frame->size != 1)
        end_guest("not a thing to freeze");
    /* -1 is everybody but us. Nobody there is no failure. */
    return kill(-1, frame->payload[0] ? SIGSTOP : SIGCONT) && errno != ESRCH ? errno : 0;
}

static int do_listen(const struct frame *frame) {
    struct listening listening;
    if (listening_of(frame, &listening))
        end_guest("not ports to listen on");
    return mux_listen(&listening);
}

static void obey(const struct frame *frame) {
    switch (frame->type) {
    case PING:
        say(PONG, frame->id, frame->payload, frame->size < BLOCK ? frame->size : BLOCK);
        return;
    case EXEC:
        start_given(frame);
        return;
    case GET:
    case PUT:
        start_copying(frame);
        return;
    case INPUT:
    case CLOSE:
    case SIGNAL:
    case TAKEN:
        to_program(frame);
        return;
    case MOUNT:
        say_number(DONE, frame->id, do_mount(frame));
        return;
    case ROOT:
        say_number(DONE, frame->id, do_root(frame));
        return;
    case REFRESH:
        say_number(DONE, frame->id, do_refresh(frame));
        return;
    case FREEZE:
        say_number(DONE, frame->id, do_freeze(frame));
        return;
    case LISTEN:
        say_number(DONE, frame->id, do_listen(frame));
        return;
    case ADOPT:
        adopt();
        return;
    case WATCH:
        say_number(DONE, frame->id, 0);
        stay_awake();
        return;
    case OFF:
        power_off();
        return;
    default:
        end_guest("a frame of a type that there is not");
    }
}

static int watch_children(void) {
    sigset_t children;
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    sigprocmask(SIG_BLOCK, &children, NULL);
    return signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
}

int main(int count, char **words) {
    static struct pollfd fds[2 + PROGRAM_FDS + MUX_FDS];
    struct signalfd_siginfo told;
    if (getpid() != 1 && count > 3 && !strcmp(words[1], "bound"))
        return run_bound(words + 2);
    if (getpid() != 1)
        return inside(count - 1, words + 1); /* run as a program like any other: the one that every guest has */
    int channel = meet_host();
    if (channel < 0)
        power_off();
    int children = watch_children();
    prepare_system();
    say_number(HELLO, 0, VERSION);
    for (;;) {
        fds[0] = (struct pollfd){channel, POLLIN, 0};
        fds[1] = (struct pollfd){children, POLLIN, 0};
        if (poll(fds, watch_mux(fds, watch_programs(fds, 2)), -1) < 0)
            continue;
        if (fds[1].revents && read(children, &told, sizeof told) > 0)
            reap();
        serve_programs(fds);
        serve_mux(fds);
        if (fds[0].revents) /* last: what it says changes who is polled */
            channel = listen_to_host(obey);
    }
}

/* The guest agent: process 1 of a micro-VM. It runs programs for the host and tells what becomes of them.
 *
 * One loop, no threads. What the host says is checked before it is believed; bytes that are no frame end the guest. */

#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROGRAMS = 128 /* not more than groups.c has groups */, BLOCK = 32768, LONELY = 6000 };

struct running {
    int used;
    uint32_t id;
    pid_t pid; /* 0 once it has ended */
    int code;
    int out, err, in; /* -1 once closed */
    uint32_t window;  /* bytes of output that the host still takes */
    uint8_t *input;   /* bytes for it that its pipe did not take yet */
    uint32_t waiting;
    int input_ends;
};

static struct running table[PROGRAMS];
static int channel = -1;

static void say(uint8_t type, uint32_t id, const void *payload, uint32_t size) {
    static uint8_t bytes[FRAME_HEAD + BLOCK];
    u32_to(bytes, size + FRAME_HEAD - 4);
    bytes[4] = type;
    u32_to(bytes + 5, id);
    memcpy(bytes + FRAME_HEAD, payload, size);
    write_all(channel, bytes, FRAME_HEAD + size);
}

static void say_number(uint8_t type, uint32_t id, int32_t number) {
    uint8_t bytes[4];
    u32_to(bytes, (uint32_t)number);
    say(type, id, bytes, sizeof bytes);
}

static void end_guest(const char *why) {
    say(BYE, 0, why, strlen(why));
    usleep(100000); /* the host reads it before the machine is gone */
    power_off();
}

static struct running *running_of(uint32_t id) {
    for (int i = 0; i < PROGRAMS; i++)
        if (table[i].used && table[i].id == id)
            return &table[i];
    return NULL;
}

static struct running *free_place(void) {
    for (int i = 0; i < PROGRAMS; i++)
        if (!table[i].used)
            return &table[i];
    return NULL;
}

static uint32_t slot_of(const struct running *it) {
    return it - table;
}

/* ---- starting ---- */

static const char *variable(char *const *envp, const char *name) {
    size_t size = strlen(name);
    for (; *envp; envp++)
        if (!strncmp(*envp, name, size) && (*envp)[size] == '=')
            return *envp + size + 1;
    return NULL;
}

/* Gives an errno. Runs in a child that shares our memory. */
static int execute(const struct program *program) {
    static char file[4096];
    const char *name = program->argv[0], *from = variable(program->envp, "PATH");
    int why = ENOENT;
    if (strchr(name, '/') || !from) {
        execve(name, program->argv, program->envp);
        return errno;
    }
    while (*from) {
        size_t size = strcspn(from, ":");
        if (size && size + strlen(name) + 2 < sizeof file) {
            sprintf(file, "%.*s/%s", (int)size, from, name);
            execve(file, program->argv, program->envp);
            if (errno != ENOENT && errno != ENOTDIR)
                why = errno;
        }
        from += size + (from[size] == ':');
    }
    return why;
}

static void become_leader(uint32_t slot, int pipes[3][2]) {
    sigset_t none;
    setsid();
    join_group(slot);
    dup2(pipes[0][0], 0);
    dup2(pipes[1][1], 1);
    dup2(pipes[2][1], 2);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* vfork: a fork copies page tables, and in a freshly restored guest every new path of the kernel costs. */
static pid_t start_program(const struct program *program, uint32_t slot, int pipes[3][2]) {
    static const char *what;
    static volatile int why;
    what = NULL;
    pid_t pid = vfork();
    if (pid)
        goto parent;
    become_leader(slot, pipes);
    if (chdir(program->cwd)) {
        what = program->cwd;
        why = errno;
        _exit(126);
    }
    why = execute(program);
    what = program->argv[0];
    _exit(why == ENOENT ? 127 : 126);
parent:
    if (pid > 0 && what)
        dprintf(pipes[2][1], "%.1000s: %s\n", what, strerror(why));
    return pid;
}

static pid_t start_copy(int (*copy)(const char *), const char *path, uint32_t slot, int pipes[3][2]) {
    pid_t pid = fork();
    if (pid)
        return pid;
    become_leader(slot, pipes);
    _exit(copy(path));
}

static void close_pipes(int pipes[3][2]) {
    for (int i = 0; i < 3; i++)
        for (int end = 0; end < 2; end++)
            if (pipes[i][end] >= 0)
                close(pipes[i][end]);
}

static int open_pipes(int pipes[3][2]) {
    for (int i = 0; i < 3; i++)
        if (pipe2(pipes[i], O_CLOEXEC))
            return errno;
    return 0;
}

static void refuse(uint32_t id, const char *why) {
    say(ERR, id, why, strlen(why));
    say_number(EXIT, id, 126);
}

static void start(const struct frame *frame, const struct program *program, int (*copy)(const char *)) {
    int pipes[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}};
    struct running *it = free_place();
    if (running_of(frame->id))
        end_guest("a program with this id runs already");
    if (!it || open_pipes(pipes)) {
        close_pipes(pipes);
        refuse(frame->id, "too many programs run in this guest\n");
        return;
    }
    make_group(slot_of(it));
    pid_t pid = program ? start_program(program, slot_of(it), pipes)
                        : start_copy(copy, (char *)frame->payload, slot_of(it), pipes);
    if (pid < 0) {
        close_pipes(pipes);
        refuse(frame->id, "no new process can be made in this guest\n");
        return;
    }
    *it = (struct running){.used = 1, .id = frame->id, .pid = pid, .window = WINDOW};
    it->in = pipes[0][1], it->out = pipes[1][0], it->err = pipes[2][0];
    pipes[0][1] = pipes[1][0] = pipes[2][0] = -1;
    close_pipes(pipes);
    fcntl(it->in, F_SETFL, O_NONBLOCK);
    fcntl(it->out, F_SETFL, O_NONBLOCK);
    fcntl(it->err, F_SETFL, O_NONBLOCK);
}

/* ---- input ---- */

static void close_input(struct running *it) {
    if (it->in >= 0)
        close(it->in);
    it->in = -1;
    if (it->waiting)
        say_number(EATEN, it->id, it->waiting); /* nobody is going to read it */
    it->waiting = 0;
    free(it->input);
    it->input = NULL;
}

static void push_input(struct running *it) {
    ssize_t done = it->waiting ? write(it->in, it->input, it->waiting) : 0;
    if (done < 0 && errno != EAGAIN && errno != EINTR) {
        close_input(it);
        return;
    }
    if (done > 0) {
        memmove(it->input, it->input + done, it->waiting - done);
        it->waiting -= done;
        say_number(EATEN, it->id, done);
    }
    if (!it->waiting && it->input_ends)
        close_input(it);
}

static void take_input(struct running *it, const struct frame *frame) {
    if (it->in < 0 || it->input_ends) {
        say_number(EATEN, it->id, frame->size);
        return;
    }
    if (frame->size > INPUT_MAX - it->waiting)
        end_guest("more input than was asked for");
    if (!it->input && !(it->input = malloc(INPUT_MAX)))
        end_guest("no memory for input");
    memcpy(it->input + it->waiting, frame->payload, frame->size);
    it->waiting += frame->size;
    push_input(it);
}

/* ---- output and end ---- */

/* Gives whether there may be more. */
static int pull(struct running *it, int *fd, uint8_t type) {
    static uint8_t bytes[BLOCK];
    if (*fd < 0 || !it->window)
        return 0;
    ssize_t size = read(*fd, bytes, it->window < BLOCK ? it->window : BLOCK);
    if (size > 0) {
        it->window -= size;
        say(type, it->id, bytes, size);
        return 1;
    }
    /* What a program left running may hold the pipe for ever: after its end, what is there now is all. */
    if (size == 0 || (errno != EINTR && errno != EAGAIN) || (errno == EAGAIN && !it->pid)) {
        close(*fd);
        *fd = -1;
    }
    return 0;
}

static void finish(struct running *it) {
    close_input(it);
    say_number(EXIT, it->id, it->code);
    it->used = 0;
}

static void drain_ended(struct running *it) {
    while (pull(it, &it->out, OUT))
        ;
    while (pull(it, &it->err, ERR))
        ;
    if (it->out < 0 && it->err < 0)
        finish(it);
}

static void reap(void) {
    int status;
    for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;)
        for (int i = 0; i < PROGRAMS; i++)
            if (table[i].used && table[i].pid == pid) {
                table[i].pid = 0;
                table[i].code = WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
            }
}

/* ---- what the host says ---- */

static void send_signal(struct running *it, const struct frame *frame) {
    if (frame->size != 1 || frame->payload[0] < 1 || frame->payload[0] > 64)
        end_guest("a signal that there is not");
    signal_group(slot_of(it), it->pid, frame->payload[0]);
}

static void give_window(struct running *it, const struct frame *frame) {
    if (frame->size != 4 || u32_at(frame->payload) > WINDOW - it->window)
        end_guest("more output taken than was given");
    it->window += u32_at(frame->payload);
}

/* The program may have ended while the frame was under way: then there is nothing to do. */
static void to_program(const struct frame *frame) {
    struct running *it = running_of(frame->id);
    if (!it)
        return;
    switch (frame->type) {
    case INPUT:
        take_input(it, frame);
        break;
    case CLOSE:
        it->input_ends = 1;
        push_input(it);
        break;
    case SIGNAL:
        send_signal(it, frame);
        break;
    case TAKEN:
        give_window(it, frame);
        break;
    }
}

static void start_copying(const struct frame *frame) {
    char *path;
    if (words_of(frame->payload, frame->size, &path, 1))
        end_guest("not a path");
    start(frame, NULL, frame->type == GET ? send_tree : receive_tree);
}

static void start_given(const struct frame *frame) {
    static struct program program;
    if (program_of(frame, &program))
        end_guest("not a program to run");
    start(frame, &program, NULL);
}

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
    case OFF:
        power_off();
        return;
    default:
        end_guest("a frame of a type that there is not");
    }
}

static uint8_t bytes[4 + FRAME_MAX];
static size_t have;

/* A vsock is lost at every restore: the host connects anew. A virtio port has no host while its guest moves; where none
 * comes back, the host died before anybody could see to it that we end with it. */
static void lost_host(void) {
    static int rounds;
    if (is_vsock()) {
        for (int i = 0; i < PROGRAMS; i++)
            if (table[i].used && table[i].pid)
                signal_group(i, table[i].pid, SIGKILL);
        close(channel);
        have = 0;
        channel = open_again();
        say_number(HELLO, 0, VERSION);
        return;
    }
    if (++rounds > LONELY)
        power_off();
    usleep(10000);
}

static void listen_to_host(void) {
    struct frame frame;
    ssize_t size = read(channel, bytes + have, sizeof bytes - have);
    if (size <= 0) {
        lost_host();
        return;
    }
    have += size;
    size_t from = 0;
    for (long used; (used = frame_of(bytes + from, have - from, &frame)); from += used) {
        if (used < 0)
            end_guest("not a frame");
        obey(&frame);
    }
    memmove(bytes, bytes + from, have - from);
    have -= from;
}

/* ---- the loop ---- */

static int watch(struct pollfd *fds) {
    int count = 2;
    for (int i = 0; i < PROGRAMS; i++) {
        struct running *it = &table[i];
        if (!it->used)
            continue;
        if (it->out >= 0 && it->window)
            fds[count++] = (struct pollfd){it->out, POLLIN, 0};
        if (it->err >= 0 && it->window)
            fds[count++] = (struct pollfd){it->err, POLLIN, 0};
        if (it->in >= 0 && it->waiting)
            fds[count++] = (struct pollfd){it->in, POLLOUT, 0};
    }
    return count;
}

static void serve_programs(void) {
    for (int i = 0; i < PROGRAMS; i++) {
        struct running *it = &table[i];
        if (!it->used)
            continue;
        if (it->in >= 0 && it->waiting)
            push_input(it);
        if (it->pid) {
            pull(it, &it->out, OUT);
            pull(it, &it->err, ERR);
        } else {
            drain_ended(it);
        }
    }
}

static int watch_children(void) {
    sigset_t children;
    sigemptyset(&children);
    sigaddset(&children, SIGCHLD);
    sigprocmask(SIG_BLOCK, &children, NULL);
    return signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK);
}

int main(void) {
    static struct pollfd fds[2 + 3 * PROGRAMS];
    struct signalfd_siginfo told;
    if (getpid() != 1)
        return 0; /* run as a program like any other: the one that every guest has, to warm it up with */
    channel = open_channel();
    if (channel < 0)
        power_off();
    int children = watch_children();
    prepare_system();
    say_number(HELLO, 0, VERSION);
    for (;;) {
        fds[0] = (struct pollfd){channel, POLLIN, 0};
        fds[1] = (struct pollfd){children, POLLIN, 0};
        int count = watch(fds);
        if (poll(fds, count, -1) < 0)
            continue;
        if (fds[1].revents && read(children, &told, sizeof told) > 0)
            reap();
        serve_programs();
        if (fds[0].revents)
            listen_to_host();
    }
}

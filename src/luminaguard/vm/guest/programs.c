/* The programs that run in the guest: started, fed, listened to and reaped. */

#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct running {
    int used;
    int unheard; /* its host is no more: what it writes is thrown away */
    uint32_t id;
    pid_t pid; /* 0 once it has ended */
    int code;
    int out, err, in; /* -1 once closed */
    int out_at, err_at, in_at; /* their places among what is polled, 0 for none */
    uint32_t window;  /* bytes of output that the host still takes */
    uint8_t *input;   /* bytes for it that its pipe did not take yet */
    uint32_t waiting;
    int input_ends;
};

static struct running table[PROGRAMS];

static struct running *running_of(uint32_t id) {
    for (int i = 0; i < PROGRAMS; i++)
        if (table[i].used && !table[i].unheard && table[i].id == id)
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

/* What a host is told of a program, if there is one that knows it. */
static void tell(const struct running *it, uint8_t type, int32_t number) {
    if (!it->unheard)
        say_number(type, it->id, number);
}

/* ---- input ---- */

static void close_input(struct running *it) {
    if (it->in >= 0)
        close(it->in);
    it->in = -1;
    if (it->waiting)
        tell(it, EATEN, it->waiting); /* nobody is going to read it */
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
        tell(it, EATEN, done);
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
    if (size > 0 && it->unheard)
        return 1;
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

static void close_output(struct running *it) {
    if (it->out >= 0)
        close(it->out);
    if (it->err >= 0)
        close(it->err);
    it->out = it->err = -1;
}

static void finish(struct running *it) {
    close_input(it);
    tell(it, EXIT, it->code);
    it->used = 0;
}

static void drain_ended(struct running *it) {
    while (pull(it, &it->out, OUT) && !it->unheard)
        ;
    while (pull(it, &it->err, ERR) && !it->unheard)
        ;
    if (it->unheard)
        close_output(it);
    if (it->out < 0 && it->err < 0)
        finish(it);
}

void reap(void) {
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
    if (!it->pid) /* what it left running may hold its pipes, and say nothing that would wake us */
        drain_ended(it);
}

/* The program may have ended while the frame was under way: then there is nothing to do. */
void to_program(const struct frame *frame) {
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

/* The new host knows nothing of what runs. It finds where to begin to listen by a PING that follows. */
void adopt(void) {
    for (int i = 0; i < PROGRAMS; i++)
        if (table[i].used && !table[i].unheard) {
            table[i].unheard = table[i].input_ends = 1;
            table[i].window = WINDOW;
            push_input(&table[i]);
        }
}

void start_copying(const struct frame *frame) {
    char *path;
    if (words_of(frame->payload, frame->size, &path, 1))
        end_guest("not a path");
    start(frame, NULL, frame->type == GET ? send_tree : receive_tree);
}

void start_given(const struct frame *frame) {
    static struct program program;
    if (program_of(frame, &program))
        end_guest("not a program to run");
    start(frame, &program, NULL);
}

/* ---- the loop ---- */

static int watched(struct pollfd *fds, int *count, int fd, short events) {
    fds[*count] = (struct pollfd){fd, events, 0};
    return (*count)++;
}

int watch_programs(struct pollfd *fds, int count) {
    for (int i = 0; i < PROGRAMS; i++) {
        struct running *it = &table[i];
        if (!it->used)
            continue;
        it->out_at = it->out >= 0 && it->window ? watched(fds, &count, it->out, POLLIN) : 0;
        it->err_at = it->err >= 0 && it->window ? watched(fds, &count, it->err, POLLIN) : 0;
        it->in_at = it->in >= 0 && it->waiting ? watched(fds, &count, it->in, POLLOUT) : 0;
    }
    return count;
}

static int is_ready(const struct pollfd *fds, int at) {
    return at && fds[at].revents;
}

void serve_programs(const struct pollfd *fds) {
    for (int i = 0; i < PROGRAMS; i++) {
        struct running *it = &table[i];
        if (!it->used)
            continue;
        if (is_ready(fds, it->in_at))
            push_input(it);
        if (!it->pid) {
            drain_ended(it);
            continue;
        }
        if (is_ready(fds, it->out_at))
            pull(it, &it->out, OUT);
        if (is_ready(fds, it->err_at))
            pull(it, &it->err, ERR);
    }
}

/* A new host knows of none of them. */
void drop_programs(void) {
    for (int i = 0; i < PROGRAMS; i++) {
        struct running *it = &table[i];
        if (!it->used)
            continue;
        if (it->pid)
            signal_group(slot_of(it), it->pid, SIGKILL);
        for (int *fd = (int[]){it->out, it->err, it->in, -2}; *fd != -2; fd++)
            if (*fd >= 0)
                close(*fd);
        free(it->input);
        it->used = 0;
    }
}

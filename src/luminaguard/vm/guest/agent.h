#ifndef AGENT_H
#define AGENT_H

#include <poll.h>
#include <stddef.h>
#include <stdint.h>

#include "frames.h"

enum { VERSION = 1, BLOCK = 32768, PROGRAMS = 128 /* not more than groups.c has groups */, PROGRAM_FDS = 3 * PROGRAMS };

/* channel.c */
int write_all(int fd, const void *from, size_t size); /* gives 0 or an errno */
int meet_host(void); /* gives what to poll, -1 where nobody comes */
int listen_to_host(void (*obey)(const struct frame *)); /* gives what to poll from now on */
void stay_awake(void);
void say(uint8_t type, uint32_t id, const void *payload, uint32_t size);
void say_number(uint8_t type, uint32_t id, int32_t number);
_Noreturn void end_guest(const char *why);

/* programs.c */
void start_given(const struct frame *frame);
void start_copying(const struct frame *frame);
void to_program(const struct frame *frame);
void reap(void);
int watch_programs(struct pollfd *fds, int count);
void serve_programs(const struct pollfd *fds);
void drop_programs(void);
void adopt(void);

/* system.c: each gives 0 or an errno. */
int open_channel(void);
int is_vsock(void);
int open_again(void);
int open_mux(void);           /* the second channel, or what the host calls for one: -1 and errno */
int accept_host(int listener); /* -1 where it was somebody else */
void prepare_system(void);
int mount_at(const struct mounting *mounting);
int enter_root(const char *device, const char *type);
int refresh(const uint8_t *payload);
_Noreturn void power_off(void);

/* groups.c: a program and all that it starts, for signals. */
void prepare_groups(void);
void make_group(uint32_t slot);
void join_group(uint32_t slot);
void signal_group(uint32_t slot, int leader, int number);

/* inside.c: what the agent's program does where it is not the agent; gives its exit code. */
int inside(int count, char **words);

/* bound.c: the same, for the host; the words are a process and a program to run. */
int run_bound(char **words);

/* trees.c: run in a child of the agent; give its exit code. */
int send_tree(const char *path);
int receive_tree(const char *path);

#endif

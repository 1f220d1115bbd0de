#ifndef AGENT_H
#define AGENT_H

#include <stddef.h>
#include <stdint.h>

#include "frames.h"

enum { VERSION = 1 };

/* system.c: each gives 0 or an errno. */
int open_channel(void);
int is_vsock(void);
int open_again(void);
void prepare_system(void);
int mount_at(const struct mounting *mounting);
int enter_root(const char *device, const char *type);
int refresh(const uint8_t *payload);
void power_off(void);
int write_all(int fd, const void *from, size_t size);

/* groups.c: a program and all that it starts, for signals. */
void prepare_groups(void);
void make_group(uint32_t slot);
void join_group(uint32_t slot);
void signal_group(uint32_t slot, int leader, int number);

/* trees.c: run in a child of the agent; give its exit code. */
int send_tree(const char *path);
int receive_tree(const char *path);

#endif

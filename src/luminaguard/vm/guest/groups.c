/* A program and all that it starts. A control group holds even those that leave its session; where the kernel has none,
 * the session and the process group must do. */

#define _GNU_SOURCE
#include "agent.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

enum { READY = 8, GROUPS = 128 };

static const char *HOME = "/sys/fs/cgroup";
static int have_groups;
static int joins[GROUPS]; /* open for writing, one for each group that was made; 0 where there is none */

static void path_of(char *path, size_t size, uint32_t slot, const char *file) {
    snprintf(path, size, "%s/program-%u%s", HOME, slot, file);
}

void prepare_groups(void) {
    /* favordynmods: moving a new process costs no grace period. */
    have_groups = !mount("cgroup2", HOME, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, "favordynmods") ||
                  !mount("cgroup2", HOME, "cgroup2", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    for (uint32_t slot = 0; slot < READY; slot++) /* now, while nobody waits */
        make_group(slot);
}

void make_group(uint32_t slot) {
    char path[128];
    if (!have_groups || slot >= GROUPS || joins[slot])
        return;
    path_of(path, sizeof path, slot, "");
    mkdir(path, 0755);
    path_of(path, sizeof path, slot, "/cgroup.procs");
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    joins[slot] = fd < 0 ? 0 : fd;
}

/* In the child, between fork and exec. */
void join_group(uint32_t slot) {
    if (have_groups && joins[slot] && write(joins[slot], "0", 1) < 0)
        _exit(126);
}

static void signal_members(const char *path, int number) {
    int member;
    FILE *file = fopen(path, "re");
    while (file && fscanf(file, "%d", &member) == 1)
        kill(member, number);
    if (file)
        fclose(file);
}

void signal_group(uint32_t slot, int leader, int number) {
    char path[128];
    if (!have_groups) {
        kill(-leader, number);
        return;
    }
    path_of(path, sizeof path, slot, number == SIGKILL ? "/cgroup.kill" : "/cgroup.procs");
    if (number != SIGKILL) {
        signal_members(path, number);
        return;
    }
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "1", 1) != 1)
        kill(-leader, SIGKILL);
    if (fd >= 0)
        close(fd);
}

/* The last step before a program of the isolation level `vm`: the agent's own program, started with words that say what
 * the program shall find. They are obeyed one after the other; the first that fails ends it, before the program began.
 *
 *   own UID PATH            what lies there belongs to the user
 *   tmpfs AT SIZE MODE UID  scratch space in memory
 *   overlay LOWER UPPER WORK AT
 *   bind SOURCE AT ro|rw    a file or a folder, at another place too
 *   write PATH TEXT         a setting of the kernel's
 *   host NAME
 *   limit processes|file N  what it, and all that it starts, may use
 *   hide                    processes of others are not to be seen
 *   sync                    until all that was written is on the disks
 *   told PATH               prints how often memory ran out in this guest, and how many bytes are left there
 *   run UID CWD PROGRAM ... */

#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { REFUSED = 125, CANNOT_RUN = 126, NOT_THERE = 127, OPEN_FOLDERS = 32 };

static uid_t owner;

static int give(const char *path, const struct stat *stat, int type, struct FTW *where) {
    (void)type, (void)where;
    return stat->st_uid == owner ? 0 : lchown(path, owner, owner);
}

static int own(char **word) {
    owner = atoi(word[0]);
    return nftw(word[1], give, OPEN_FOLDERS, FTW_PHYS | FTW_MOUNT);
}

static void make_parents(const char *path) {
    char part[4096];
    for (size_t i = 1; i < sizeof part && path[i]; i++) {
        if (path[i] != '/')
            continue;
        memcpy(part, path, i);
        part[i] = 0;
        mkdir(part, 0755);
    }
}

static int scratch(char **word) {
    char options[256];
    snprintf(options, sizeof options, "size=%s,mode=%s,uid=%s,gid=%s", word[1], word[2], word[3], word[3]);
    make_parents(word[0]);
    mkdir(word[0], 0755);
    return mount("tmpfs", word[0], "tmpfs", MS_NOSUID | MS_NODEV, options);
}

static int lay_over(char **word) {
    static char options[3 * 4096];
    int size = snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s,workdir=%s,redirect_dir=on", word[0], word[1],
                        word[2]);
    if (size >= (int)sizeof options) {
        errno = ENAMETOOLONG;
        return -1;
    }
    mkdir(word[1], 0755);
    mkdir(word[2], 0755);
    make_parents(word[3]);
    mkdir(word[3], 0755);
    return mount("overlay", word[3], "overlay", MS_NOSUID | MS_NODEV, options);
}

static int make_place(const char *path, int is_folder) {
    struct stat stat;
    if (!lstat(path, &stat))
        return 0;
    make_parents(path);
    if (is_folder)
        return mkdir(path, 0755);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    return fd < 0 ? -1 : close(fd);
}

static int bind_at(char **word) {
    struct stat source;
    if (lstat(word[0], &source) || make_place(word[1], S_ISDIR(source.st_mode)))
        return -1;
    if (mount(word[0], word[1], NULL, MS_BIND, NULL))
        return -1;
    int flags = MS_REMOUNT | MS_BIND | MS_NOSUID | MS_NODEV | (strcmp(word[2], "ro") ? 0 : MS_RDONLY);
    return mount(NULL, word[1], NULL, flags, NULL);
}

static int write_down(char **word) {
    int fd = open(word[0], O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    int failed = write_all(fd, word[1], strlen(word[1]));
    close(fd);
    errno = failed;
    return failed ? -1 : 0;
}

static int name_host(char **word) {
    return sethostname(word[0], strlen(word[0]));
}

static int bound(char **word) {
    rlim_t most = strtoull(word[1], NULL, 10);
    struct rlimit limit = {most, most};
    return setrlimit(strcmp(word[0], "file") ? RLIMIT_NPROC : RLIMIT_FSIZE, &limit);
}

static int write_back(char **word) {
    (void)word;
    sync();
    return 0;
}

static int hide(char **word) {
    (void)word;
    return mount(NULL, "/proc", NULL, MS_REMOUNT | MS_NOSUID | MS_NODEV | MS_NOEXEC, "hidepid=2");
}

static int tell(char **word) {
    char line[128];
    struct statvfs left;
    unsigned long long count = 0;
    if (statvfs(word[0], &left))
        return -1;
    FILE *file = fopen("/proc/vmstat", "re");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "oom_kill %llu", &count) == 1)
            break;
    if (file)
        fclose(file);
    return printf("%llu %llu\n", count, (unsigned long long)left.f_bavail * left.f_frsize) < 0 || fflush(stdout) ? -1 : 0;
}

static int become(uid_t user) {
    struct rlimit none = {0, 0};
    for (int capability = 0; !prctl(PR_CAPBSET_DROP, capability, 0, 0, 0); capability++)
        ;
    for (int fd = 0; fd < 3; fd++)
        if (fchown(fd, user, user)) /* /dev/stdout leads to them, and asks who owns them */
            return -1;
    return setrlimit(RLIMIT_CORE, &none) || setgroups(0, NULL) || setgid(user) || setuid(user) ||
           prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

static int run(char **word) {
    if (become(atoi(word[0])) || chdir(word[1])) {
        dprintf(2, "%s: %s\n", word[1], strerror(errno));
        return REFUSED;
    }
    umask(022);
    execvp(word[2], word + 2);
    int why = errno;
    dprintf(2, "cannot start %s: %s\n", word[2], strerror(why));
    return why == ENOENT ? NOT_THERE : CANNOT_RUN;
}

static const struct {
    const char *name;
    int words;
    int (*obey)(char **);
} ORDERS[] = {
    {"own", 2, own},          {"tmpfs", 4, scratch}, {"overlay", 4, lay_over}, {"bind", 3, bind_at},
    {"write", 2, write_down}, {"host", 1, name_host}, {"limit", 2, bound},     {"sync", 0, write_back},
    {"told", 1, tell},        {"hide", 0, hide},
};

/* Gives how many words were taken, -1 where it failed. */
static int obey(int count, char **word) {
    for (size_t i = 0; i < sizeof ORDERS / sizeof *ORDERS; i++)
        if (!strcmp(word[0], ORDERS[i].name) && count > ORDERS[i].words)
            return ORDERS[i].obey(word + 1) ? -1 : 1 + ORDERS[i].words;
    errno = EINVAL;
    return -1;
}

int inside(int count, char **word) {
    for (int taken; count > 0; count -= taken, word += taken) {
        if (!strcmp(word[0], "run") && count > 3)
            return run(word + 1);
        taken = obey(count, word);
        if (taken < 0) {
            dprintf(2, "luminaguard: %s %s: %s\n", word[0], count > 1 ? word[1] : "", strerror(errno));
            return REFUSED;
        }
    }
    return 0;
}

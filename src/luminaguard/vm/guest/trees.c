/* Trees out of the guest and into it, through standard output and input. */

#define _GNU_SOURCE
#include "trees.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent.h"

static char path[2 * PATH_BYTES]; /* the tree's own path, then the part within it */
static size_t base;
static char block[65536];

static int failed(const char *what) {
    dprintf(2, "%s: %s\n", path, what ? what : strerror(errno));
    return 1;
}

static int read_all(void *to, size_t size) {
    for (char *at = to; size;) {
        ssize_t done = read(0, at, size);
        if (done == 0)
            return -1;
        if (done < 0 && errno != EINTR)
            return -1;
        if (done > 0)
            at += done, size -= done;
    }
    return 0;
}

static int send_head(uint8_t kind, const struct stat *stat, uint64_t size) {
    uint8_t head[RECORD_HEAD];
    const char *inside = path + base + (path[base] == '/');
    struct record record = {.kind = kind, .mode = stat->st_mode & 07777, .size = size, .path_size = strlen(inside)};
    if (stat->st_mtim.tv_sec >= 0)
        record.mtime_ns = stat->st_mtim.tv_sec * 1000000000LL + stat->st_mtim.tv_nsec;
    record_to(head, &record);
    if (write_all(1, head, sizeof head) || write_all(1, inside, record.path_size))
        return failed(NULL);
    return 0;
}

static int send_file(const struct stat *stat) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0 || send_head(FILE_COMES, stat, stat->st_size))
        return failed(NULL);
    for (uint64_t left = stat->st_size; left;) {
        ssize_t done = read(fd, block, left < sizeof block ? left : sizeof block);
        if (done <= 0)
            return failed("it changed while it was read");
        if (write_all(1, block, done))
            return failed(NULL);
        left -= done;
    }
    close(fd);
    return 0;
}

static int send_link(const struct stat *stat) {
    ssize_t size = readlink(path, block, PATH_BYTES - 1);
    if (size <= 0 || send_head(LINK_COMES, stat, size) || write_all(1, block, size))
        return failed(NULL);
    return 0;
}

static int send_any(void);

static int send_folder(const struct stat *stat) {
    size_t length = strlen(path);
    DIR *folder = opendir(path);
    if (!folder || send_head(DIR_BEGINS, stat, 0))
        return failed(NULL);
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        if (length + strlen(entry->d_name) + 2 > base + PATH_BYTES)
            return failed("its path is too long");
        sprintf(path + length, "/%s", entry->d_name);
        if (send_any())
            return 1;
        path[length] = 0;
    }
    closedir(folder);
    return send_head(DIR_ENDS, stat, 0);
}

static int send_any(void) {
    struct stat stat;
    if (lstat(path, &stat))
        return failed(NULL);
    if (S_ISDIR(stat.st_mode))
        return send_folder(&stat);
    if (S_ISLNK(stat.st_mode))
        return send_link(&stat);
    return S_ISREG(stat.st_mode) ? send_file(&stat) : 0; /* sockets and devices mean nothing elsewhere */
}

static int take_path(const char *from) {
    base = strlen(from);
    if (base >= PATH_BYTES)
        return -1;
    strcpy(path, from);
    while (base > 1 && path[base - 1] == '/')
        path[--base] = 0;
    return 0;
}

int send_tree(const char *from) {
    uint8_t end[RECORD_HEAD] = {TREE_ENDS};
    if (take_path(from))
        return failed("the path is too long");
    if (send_any())
        return 1;
    return write_all(1, end, sizeof end) ? failed(NULL) : 0;
}

static int receive_file(uint64_t left) {
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return failed(NULL);
    while (left) {
        size_t size = left < sizeof block ? left : sizeof block;
        if (read_all(block, size))
            return failed("the tree ends too early");
        if (write_all(fd, block, size))
            return failed(NULL);
        left -= size;
    }
    return close(fd) ? failed(NULL) : 0;
}

static int receive_link(uint64_t size) {
    if (read_all(block, size))
        return failed("the tree ends too early");
    block[size] = 0;
    unlink(path);
    return symlink(block, path) ? failed(NULL) : 0;
}

static int receive_folder(void) {
    struct stat stat;
    if (!mkdir(path, 0700))
        return 0;
    return errno == EEXIST && !lstat(path, &stat) && S_ISDIR(stat.st_mode) ? 0 : failed(NULL);
}

static int set_attributes(const struct record *record) {
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                {record->mtime_ns / 1000000000, record->mtime_ns % 1000000000}};
    if (record->kind != LINK_COMES && chmod(path, record->mode))
        return failed(NULL);
    return utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW) ? failed(NULL) : 0;
}

static int receive_one(const struct record *record) {
    switch (record->kind) {
    case DIR_BEGINS:
        return receive_folder();
    case DIR_ENDS:
        return set_attributes(record);
    case FILE_COMES:
        return receive_file(record->size) || set_attributes(record);
    default:
        return receive_link(record->size) || set_attributes(record);
    }
}

static void make_parents(void) {
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(path, 0755);
        *slash = '/';
    }
}

int receive_tree(const char *to) {
    uint8_t head[RECORD_HEAD];
    struct record record;
    if (take_path(to))
        return failed("the path is too long");
    make_parents();
    for (;;) {
        if (read_all(head, sizeof head) || record_of(head, &record))
            return failed("not a record of a tree");
        if (record.kind == TREE_ENDS)
            return 0;
        path[base] = record.path_size ? '/' : 0;
        if (read_all(path + base + 1, record.path_size) || !path_stays(path + base + 1, record.path_size))
            return failed("not a path within a tree");
        if (record.path_size)
            path[base + 1 + record.path_size] = 0;
        if (receive_one(&record))
            return 1;
    }
}

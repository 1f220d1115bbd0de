/* A tree of files as a stream of records: u8 kind, u32 mode, i64 mtime in nanoseconds, u64 size, u32 length of the path,
 * the path, `size` bytes. Paths are relative to the tree; the empty path is the tree itself. */

#ifndef TREES_H
#define TREES_H

#include <stdint.h>
#include <string.h>

#include "frames.h"

enum {
    RECORD_HEAD = 25,
    PATH_BYTES = 4096,
    DIR_BEGINS = 'd',
    DIR_ENDS = 'D', /* what is in it has come: its mode and time hold now */
    FILE_COMES = 'f',
    LINK_COMES = 'l', /* the bytes are what it points to */
    TREE_ENDS = 'z',
};

struct record {
    uint8_t kind;
    uint32_t mode;
    int64_t mtime_ns;
    uint64_t size;
    uint32_t path_size;
};

/* 0, or -1 where this is no record. */
static inline int record_of(const uint8_t head[RECORD_HEAD], struct record *record) {
    record->kind = head[0];
    record->mode = u32_at(head + 1);
    record->mtime_ns = (int64_t)u64_at(head + 5);
    record->size = u64_at(head + 13);
    record->path_size = u32_at(head + 21);
    if (!head[0] || !strchr("dDflz", head[0]))
        return -1;
    if (record->mode > 07777 || record->path_size >= PATH_BYTES || record->mtime_ns < 0)
        return -1;
    if (record->kind == LINK_COMES)
        return record->size && record->size < PATH_BYTES ? 0 : -1;
    return record->kind == FILE_COMES || !record->size ? 0 : -1;
}

static inline void record_to(uint8_t head[RECORD_HEAD], const struct record *record) {
    head[0] = record->kind;
    u32_to(head + 1, record->mode);
    u64_to(head + 5, (uint64_t)record->mtime_ns);
    u64_to(head + 13, record->size);
    u32_to(head + 21, record->path_size);
}

/* Whether the path stays inside: relative, and no part of it empty, "." or "..". */
static inline int path_stays(const char *path, size_t size) {
    if (memchr(path, 0, size))
        return 0;
    for (size_t at = 0; size && at <= size;) {
        const char *slash = at < size ? memchr(path + at, '/', size - at) : NULL;
        size_t part = slash ? (size_t)(slash - path) - at : size - at;
        if (part == 0 || (part == 1 && path[at] == '.') || (part == 2 && path[at] == '.' && path[at + 1] == '.'))
            return 0;
        at += part + 1;
    }
    return 1;
}

#endif

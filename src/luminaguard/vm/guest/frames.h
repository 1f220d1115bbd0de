/* What host and agent say to each other, taken apart. Nothing here allocates, blocks or calls the system, so that the
 * fuzzer can run all of it.
 *
 * A frame: u32 size of what follows, u8 type, u32 id, payload. Integers are little-endian. The id names the program
 * that a frame is about; the host chooses it. */

#ifndef FRAMES_H
#define FRAMES_H

#include <stdint.h>
#include <string.h>

enum {
    FRAME_HEAD = 9,
    FRAME_MAX = 1 << 20, /* of what follows the size */
    WORDS_MAX = 4096,    /* arguments or variables of one program */
    WINDOW = 1 << 20,    /* bytes of output that may be under way, of one program */
    INPUT_MAX = 1 << 18, /* bytes of input that may be under way, to one program */
    ENTROPY = 32,
};

/* From the host. */
enum {
    PING = 'P',    /* any bytes: the same come back */
    EXEC = 'E',    /* u16 arguments, u16 variables, cwd, arguments, variables; each ends with a zero byte */
    GET = 'G',     /* a path: its tree comes as output */
    PUT = 'U',     /* a path: a tree comes as input */
    INPUT = 'I',   /* bytes for its standard input */
    CLOSE = 'C',   /* its standard input ends */
    SIGNAL = 'S',  /* u8 signal for it and all that it started */
    TAKEN = 'A',   /* u32 bytes of output that the host is done with */
    MOUNT = 'M',   /* u32 flags, source, target, type, options */
    ROOT = 'R',    /* device, type: becomes the root, with a writable layer in memory over it */
    REFRESH = 'T', /* i64 seconds, i64 nanoseconds, 32 bytes of entropy */
    FREEZE = 'Z',  /* u8: 1 stops all programs, 0 lets them go on */
    ADOPT = 'D',   /* another host takes over: programs go on, and nobody hears of those that run now */
    LISTEN = 'L',  /* a token, u16 ports of the loopback: these and no others lead to the host; see mux.h */
    WATCH = 'W',   /* wait for the next frame without sleeping; programs are not served meanwhile */
    OFF = 'Q',     /* power off */
};

/* To the host. */
enum {
    HELLO = 'h', /* u32 version */
    PONG = 'p',
    OUT = 'o',
    ERR = 'e',
    EXIT = 'x',  /* i32 exit code, negative for a signal */
    EATEN = 'a', /* u32 bytes of input that it has taken */
    DONE = 'r',  /* i32 errno of MOUNT, ROOT, REFRESH, FREEZE, LISTEN, WATCH */
    BYE = 'b',   /* why the agent ends the connection */
};

struct frame {
    uint8_t type;
    uint32_t id;
    uint8_t *payload;
    uint32_t size;
};

static inline uint32_t u32_at(const uint8_t *at) {
    return at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

static inline uint64_t u64_at(const uint8_t *at) {
    return u32_at(at) | (uint64_t)u32_at(at + 4) << 32;
}

static inline void u32_to(uint8_t *at, uint32_t value) {
    for (int i = 0; i < 4; i++)
        at[i] = value >> 8 * i;
}

static inline void u64_to(uint8_t *at, uint64_t value) {
    u32_to(at, value);
    u32_to(at + 4, value >> 32);
}

/* Gives the bytes that the first frame takes, 0 while some are still to come, -1 where this is no frame. */
static inline long frame_of(uint8_t *from, size_t have, struct frame *frame) {
    if (have < 4)
        return 0;
    uint32_t size = u32_at(from);
    if (size < FRAME_HEAD - 4 || size > FRAME_MAX)
        return -1;
    if (have < size + 4)
        return 0;
    frame->type = from[4];
    frame->id = u32_at(from + 5);
    frame->payload = from + FRAME_HEAD;
    frame->size = size - (FRAME_HEAD - 4);
    return size + 4;
}

/* Points `words` at exactly `count` zero-ended strings that fill the bytes; -1 where they do not. */
static inline int words_of(uint8_t *from, size_t size, char **words, size_t count) {
    for (size_t i = 0; i < count; i++) {
        uint8_t *end = size ? memchr(from, 0, size) : NULL;
        if (!end)
            return -1;
        words[i] = (char *)from;
        size -= end + 1 - from;
        from = end + 1;
    }
    return size ? -1 : 0;
}

struct program {
    char *cwd;
    char *argv[WORDS_MAX + 1];
    char *envp[WORDS_MAX + 1];
};

static inline int program_of(const struct frame *frame, struct program *program) {
    static char *words[1 + 2 * WORDS_MAX];
    if (frame->size < 4)
        return -1;
    size_t arguments = frame->payload[0] | frame->payload[1] << 8;
    size_t variables = frame->payload[2] | frame->payload[3] << 8;
    if (arguments < 1 || arguments > WORDS_MAX || variables > WORDS_MAX)
        return -1;
    if (words_of(frame->payload + 4, frame->size - 4, words, 1 + arguments + variables))
        return -1;
    program->cwd = words[0];
    memcpy(program->argv, words + 1, arguments * sizeof *words);
    memcpy(program->envp, words + 1 + arguments, variables * sizeof *words);
    program->argv[arguments] = program->envp[variables] = NULL;
    return 0;
}

struct mounting {
    uint32_t flags;
    char *words[4]; /* source, target, type, options */
};

static inline int mounting_of(const struct frame *frame, struct mounting *mounting) {
    if (frame->size < 4)
        return -1;
    mounting->flags = u32_at(frame->payload);
    return words_of(frame->payload + 4, frame->size - 4, mounting->words, 4);
}

#endif

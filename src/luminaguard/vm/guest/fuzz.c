/* Feeds files to everything that takes bytes apart; built with -fsanitize=address,undefined by the tests.
 * A sanitizer ends it, or an assertion that says what must hold. */

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "frames.h"
#include "mux.h"
#include "trees.h"

static void take_ports(const struct frame *frame) {
    struct listening listening;
    if (frame->type != LISTEN || listening_of(frame, &listening))
        return;
    assert(listening.token + TOKEN + 2 * listening.count == frame->payload + frame->size);
    for (uint32_t i = 0; i < listening.count; i++)
        assert(listening.ports[i]);
}

static void take_streams(uint8_t *bytes, size_t size) {
    uint8_t head[FRAME_HEAD];
    struct frame frame;
    long used;
    while ((used = stream_frame_of(bytes, size, &frame)) > 0) {
        assert((size_t)used <= size && frame.size <= STREAM_BLOCK && frame.payload + frame.size == bytes + used);
        assert(stream_frame_to(head, frame.type, frame.id, frame.size) == (size_t)used);
        assert(!memcmp(head, bytes, FRAME_HEAD));
        bytes += used;
        size -= used;
    }
}

static void take_words(const struct frame *frame) {
    static struct program program;
    struct mounting mounting;
    size_t total = 0;
    if (frame->type == EXEC && !program_of(frame, &program)) {
        total += strlen(program.cwd);
        for (char **word = program.argv; *word; word++)
            total += strlen(*word) + 1;
        for (char **word = program.envp; *word; word++)
            total += strlen(*word) + 1;
        assert(program.argv[0] && total < frame->size);
    }
    if (frame->type == MOUNT && !mounting_of(frame, &mounting))
        for (int i = 0; i < 4; i++)
            assert(strlen(mounting.words[i]) < frame->size);
}

static void take_frames(uint8_t *bytes, size_t size) {
    struct frame frame;
    long used;
    while ((used = frame_of(bytes, size, &frame)) > 0) {
        assert((size_t)used <= size && frame.payload + frame.size == bytes + used);
        take_words(&frame);
        take_ports(&frame);
        bytes += used;
        size -= used;
    }
}

static void take_records(const uint8_t *bytes, size_t size) {
    struct record record;
    uint8_t head[RECORD_HEAD];
    while (size >= RECORD_HEAD && !record_of(bytes, &record)) {
        record_to(head, &record);
        assert(!memcmp(head, bytes, RECORD_HEAD));
        bytes += RECORD_HEAD;
        size -= RECORD_HEAD;
        if (record.path_size > size)
            return;
        path_stays((const char *)bytes, record.path_size);
        bytes += record.path_size;
        size -= record.path_size;
        if (record.size > size)
            return;
        bytes += record.size;
        size -= record.size;
    }
}

int main(int count, char **paths) {
    for (int i = 1; i < count; i++) {
        FILE *file = fopen(paths[i], "rb");
        assert(file);
        fseek(file, 0, SEEK_END);
        size_t size = ftell(file);
        rewind(file);
        uint8_t *bytes = malloc(size + !size); /* of exactly this size: the sanitizer sees one byte too far */
        assert(fread(bytes, 1, size, file) == size);
        take_records(bytes, size);
        take_streams(bytes, size);
        take_frames(bytes, size);
        free(bytes);
        fclose(file);
    }
    return 0;
}

/* A program for guests that move: it rewrites 40 MiB for ever and looks that none of it changed by itself.
 *
 *   busy run        tells each pass, and writes its number to /passes
 *   busy passes     tells what /passes says
 *   busy keep WORD  holds the word in its memory
 *   busy wrong      sets the clock to long ago
 *   busy clock      tells the seconds since the epoch */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum { WORDS = 40 << 17 };

static uint64_t value(uint64_t pass, uint64_t at) {
    return (pass * 0x9E3779B97F4A7C15u) ^ (at * 0xC2B2AE3D27D4EB4Fu);
}

static void write_down(const char *text) {
    FILE *file = fopen("/passes.new", "w");
    fputs(text, file);
    fclose(file);
    rename("/passes.new", "/passes");
}

static int run(void) {
    uint64_t *memory = malloc(WORDS * sizeof *memory);
    char text[32];
    for (uint64_t at = 0; at < WORDS; at++)
        memory[at] = value(0, at);
    for (uint64_t pass = 1;; pass++) {
        for (uint64_t at = 0; at < WORDS; at++) {
            if (memory[at] != value(pass - 1, at)) {
                write_down("WRONG\n");
                puts("WRONG");
                return 1;
            }
            memory[at] = value(pass, at);
        }
        sprintf(text, "%llu\n", (unsigned long long)pass);
        write_down(text);
        fputs(text, stdout);
        fflush(stdout);
    }
}

static int passes(void) {
    char text[32] = "0\n";
    FILE *file = fopen("/passes", "r");
    if (file && !fgets(text, sizeof text, file))
        return 1;
    fputs(text, stdout);
    return 0;
}

static int set_wrong(void) {
    struct timespec long_ago = {1000000, 0};
    return clock_settime(CLOCK_REALTIME, &long_ago);
}

int main(int count, char **words) {
    const char *what = count > 1 ? words[1] : "";
    if (!strcmp(what, "run"))
        return run();
    if (!strcmp(what, "passes"))
        return passes();
    if (!strcmp(what, "wrong"))
        return set_wrong();
    if (!strcmp(what, "clock"))
        return printf("%lld\n", (long long)time(NULL)) < 0;
    if (!strcmp(what, "keep")) {
        puts("kept");
        fflush(stdout);
        for (;;)
            pause();
    }
    return 2;
}

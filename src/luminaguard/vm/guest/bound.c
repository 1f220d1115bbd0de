/* A program of the host's own that ends with the process that started it, however that one ends. Started by these words,
 * and not between fork and exec of the owner: to fork a large process takes milliseconds. */

#define _GNU_SOURCE
#include "agent.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

enum { CANNOT_RUN = 126 };

int run_bound(char **word) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != atoi(word[0]))
        return CANNOT_RUN; /* it has ended already */
    execv(word[1], word + 1);
    dprintf(2, "cannot start %s: %s\n", word[1], strerror(errno));
    return CANNOT_RUN;
}

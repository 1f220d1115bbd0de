/* A program for guests: calls an address, sends its standard input there and prints what comes.
 *
 *   caller tcp|udp ADDRESS PORT
 *
 * The end of the input ends that direction alone. Exits with 0, or with the errno of what went wrong. */

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int called(int type, const char *address, int port) {
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int is_four = inet_pton(AF_INET, address, &four.sin_addr) == 1;
    inet_pton(AF_INET6, address, &six.sin6_addr);
    int fd = socket(is_four ? AF_INET : AF_INET6, type, 0);
    if (fd < 0 || connect(fd, is_four ? (void *)&four : (void *)&six, is_four ? sizeof four : sizeof six))
        return -1;
    return fd;
}

static void pass_on(int fd, const char *from, ssize_t size) {
    for (ssize_t done; size > 0; from += done, size -= done)
        if ((done = write(fd, from, size)) < 0)
            exit(errno);
}

/* In a process of its own, so that neither direction waits for the other. */
static void send_all(int fd) {
    static char bytes[1 << 16];
    for (ssize_t size; (size = read(0, bytes, sizeof bytes)) > 0;)
        pass_on(fd, bytes, size);
    shutdown(fd, SHUT_WR);
    _exit(0);
}

int main(int count, char **words) {
    static char bytes[1 << 16];
    ssize_t size;
    int fd = count < 4 ? -1 : called(strcmp(words[1], "udp") ? SOCK_STREAM : SOCK_DGRAM, words[2], atoi(words[3]));
    if (fd < 0)
        return count < 4 ? EINVAL : errno;
    if (!fork())
        send_all(fd);
    while ((size = read(fd, bytes, sizeof bytes)) > 0)
        pass_on(1, bytes, size);
    return size < 0 ? errno : 0;
}

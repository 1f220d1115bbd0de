/* The guest around the agent: file systems, the channel, root, clock and entropy. */

#define _GNU_SOURCE
#include "agent.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/random.h>
#include <linux/vm_sockets.h>
#include <net/if.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

void power_off(void) {
    for (;;)
        reboot(RB_AUTOBOOT); /* with -no-reboot this ends the virtual machine */
}

static void network_of_its_own(void) {
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    ioctl(fd, SIOCGIFFLAGS, &request);
    request.ifr_flags |= IFF_UP;
    ioctl(fd, SIOCSIFFLAGS, &request);
    close(fd);
}

/* /dev/virtio-ports/NAME, as udev would. */
static void name_ports(void) {
    char path[512], name[128], port[512];
    DIR *folder = opendir("/sys/class/virtio-ports");
    mkdir("/dev/virtio-ports", 0755);
    for (struct dirent *entry; folder && (entry = readdir(folder));) {
        snprintf(path, sizeof path, "/sys/class/virtio-ports/%s/name", entry->d_name);
        FILE *file = fopen(path, "re");
        if (!file)
            continue;
        if (fscanf(file, "%127[a-zA-Z0-9._-]", name) == 1) {
            snprintf(path, sizeof path, "/dev/virtio-ports/%s", name);
            snprintf(port, sizeof port, "/dev/%s", entry->d_name);
            symlink(port, path);
        }
        fclose(file);
    }
    if (folder)
        closedir(folder);
}

void prepare_system(void) {
    mkdir("/sys", 0755);
    mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    mkdir("/dev/pts", 0755);
    mount("devpts", "/dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "mode=0620,ptmxmode=0666");
    mkdir("/dev/shm", 01777);
    mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, NULL);
    mkdir("/tmp", 01777);
    chmod("/tmp", 01777);
    symlink("/proc/self/fd", "/dev/fd");
    symlink("/proc/self/fd/0", "/dev/stdin");
    symlink("/proc/self/fd/1", "/dev/stdout");
    symlink("/proc/self/fd/2", "/dev/stderr");
    network_of_its_own();
    name_ports();
    prepare_groups();
}

static int open_port(const char *path) {
    for (int tries = 0; tries < 5000; tries++) { /* the device may come after us */
        int fd = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC);
        if (fd >= 0)
            return fd;
        usleep(1000);
    }
    return -1;
}

/* Hypervisors with vsock connect to the guest, so the guest listens. */
static int listen_vsock(unsigned port, int flags) {
    struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = VMADDR_CID_ANY, .svm_port = port};
    int listener = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    if (listener < 0 || (!bind(listener, (void *)&address, sizeof address) && !listen(listener, 1)))
        return listener;
    int failed = errno;
    close(listener);
    errno = failed;
    return -1;
}

int accept_host(int listener) {
    struct sockaddr_vm caller = {0};
    socklen_t size = sizeof caller;
    int fd = accept4(listener, (void *)&caller, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0 || caller.svm_cid == VMADDR_CID_HOST)
        return fd;
    close(fd); /* a program of the guest's own */
    errno = EAGAIN;
    return -1;
}

static int vsock_port; /* 0 where the channel is a virtio port */

/* `luminaguard.channel=vsock:PORT` on the kernel's command line; the first virtio port without it. */
int open_channel(void) {
    static char line[4096];
    mkdir("/dev", 0755);
    mount("devtmpfs", "/dev", "devtmpfs", MS_NOSUID, NULL);
    mkdir("/proc", 0755);
    mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    FILE *file = fopen("/proc/cmdline", "re");
    if (file && !fgets(line, sizeof line, file))
        line[0] = 0;
    if (file)
        fclose(file);
    char *vsock = strstr(line, "luminaguard.channel=vsock:");
    vsock_port = vsock ? atoi(strchr(vsock, ':') + 1) : 0;
    return vsock ? open_again() : open_port("/dev/vport0p1");
}

int is_vsock(void) {
    return vsock_port > 0;
}

int open_again(void) {
    static int listener = -1;
    if (listener < 0)
        listener = listen_vsock(vsock_port, 0);
    for (int fd; listener >= 0;) {
        if ((fd = accept_host(listener)) >= 0) {
            fcntl(fd, F_SETFL, 0); /* what is said there is said whole */
            return fd;
        }
        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
            break;
    }
    return -1;
}

int open_mux(void) {
    if (is_vsock())
        return listen_vsock(vsock_port - 1, SOCK_NONBLOCK);
    return open("/dev/vport0p2", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK);
}

static void make_folders(const char *path) {
    char part[4096];
    for (size_t i = 1; i < sizeof part && path[i - 1]; i++) {
        if (path[i] && path[i] != '/')
            continue;
        memcpy(part, path, i);
        part[i] = 0;
        mkdir(part, 0755);
    }
}

/* After a restore the file behind a disk may hold something else than what the kernel remembers of it. */
static void forget_blocks(const char *device) {
    int fd = open(device, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return;
    ioctl(fd, BLKFLSBUF);
    close(fd);
}

int mount_at(const struct mounting *mounting) {
    char *const *words = mounting->words;
    if (!strncmp(words[0], "/dev/", 5))
        forget_blocks(words[0]);
    make_folders(words[1]);
    return mount(words[0], words[1], words[2], mounting->flags, words[3]) ? errno : 0;
}

static int lay_over(const char *device, const char *type) {
    make_folders("/.base");
    make_folders("/.layer");
    make_folders("/.root");
    if (mount(device, "/.base", type, MS_RDONLY, NULL) || mount("tmpfs", "/.layer", "tmpfs", 0, "mode=0755"))
        return errno;
    mkdir("/.layer/upper", 0755);
    mkdir("/.layer/work", 0755);
    const char *options = "lowerdir=/.base,upperdir=/.layer/upper,workdir=/.layer/work";
    return mount("overlay", "/.root", "overlay", 0, options) ? errno : 0;
}

int enter_root(const char *device, const char *type) {
    static const char *kept[] = {"/dev", "/proc", "/sys"};
    char target[64];
    int failed = lay_over(device, type);
    if (failed)
        return failed;
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++) {
        snprintf(target, sizeof target, "/.root%s", kept[i]);
        mkdir(target, 0755);
        if (mount(kept[i], target, NULL, MS_MOVE, NULL))
            return errno;
    }
    if (chdir("/.root") || mount(".", "/", NULL, MS_MOVE, NULL) || chroot(".") || chdir("/"))
        return errno;
    mkdir("/tmp", 01777);
    chmod("/tmp", 01777);
    return 0;
}

/* Clones of one snapshot share the state of the random generator and a clock that stood still. */
int refresh(const uint8_t *payload) {
    struct timespec now = {.tv_sec = (time_t)u64_at(payload), .tv_nsec = (long)u64_at(payload + 8)};
    struct {
        int bits, size;
        uint8_t bytes[ENTROPY];
    } pool = {8 * ENTROPY, ENTROPY, {0}};
    memcpy(pool.bytes, payload + 16, ENTROPY);
    int fd = open("/dev/urandom", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return errno;
    int failed = ioctl(fd, RNDADDENTROPY, &pool) || ioctl(fd, RNDRESEEDCRNG) ? errno : 0;
    close(fd);
    if (!failed && clock_settime(CLOCK_REALTIME, &now))
        failed = errno;
    return failed;
}

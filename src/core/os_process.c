/* os_process.c: child processes on POSIX.  See process.h. */
#include "process.h"

#include "clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static int spawn(pid_t *pid, int fd, const char *argv[]) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attr;
    sigset_t none, defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    const char *program = argv[0] ? argv[0] : "/proc/self/exe";
    if (!argv[0]) argv[0] = "nanogrid";
    int e = posix_spawn_file_actions_init(&files);
    if (e) return e;
    if ((e = posix_spawnattr_init(&attr))) {
        posix_spawn_file_actions_destroy(&files);
        return e;
    }
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &defaults);
    e = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    if (!e) e = posix_spawn_file_actions_adddup2(&files, 2, 1);
    if (!e) e = posix_spawn_file_actions_adddup2(&files, fd, NG_PROCESS_FD);
    if (!e) e = posix_spawn(pid, program, &files, &attr, (char *const *)(uintptr_t)argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&files);
    return e;
}

ng_status ng_process_start(ng_process *out, const char *argv[], ng_error *err) {
    int pair[2];
    pid_t pid = 0;
    *out = (ng_process){-1, -1};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return ng_fail(err, NG_EIO, "process: no socket: %s", strerror(errno));
    int e = spawn(&pid, pair[1], argv);
    close(pair[1]);
    if (e) {
        close(pair[0]);
        return ng_fail(err, e == ENOMEM ? NG_ENOMEM : NG_EIO, "process: %s does not start: %s", argv[0], strerror(e));
    }
    *out = (ng_process){pid, pair[0]};
    return NG_OK;
}

bool ng_process_write(const ng_process *p, const void *data, size_t len) {
    for (const char *at = data; len;) {
        ssize_t n = send(p->fd, at, len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

bool ng_process_read(const ng_process *p, void *data, size_t len) {
    for (char *at = data; len;) {
        ssize_t n = recv(p->fd, at, len, 0);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        at += n;
        len -= (size_t)n;
    }
    return true;
}

bool ng_process_readable(const ng_process *p, int timeout_ms) {
    struct pollfd f = {.fd = p->fd, .events = POLLIN};
    return poll(&f, 1, timeout_ms) > 0;
}

void ng_process_leave(const ng_process *p, int timeout_ms) {
    char left[4096];
    double until = ng_clock_ms() + timeout_ms, now;
    if (p->fd < 0) return;
    shutdown(p->fd, SHUT_WR);
    while ((now = ng_clock_ms()) < until && ng_process_readable(p, (int)(until - now) + 1)) {
        ssize_t n = recv(p->fd, left, sizeof left, MSG_DONTWAIT);
        if (!n || (n < 0 && errno != EINTR && errno != EAGAIN)) return;
    }
}

void ng_process_shut(const ng_process *p) {
    if (p->fd >= 0) shutdown(p->fd, SHUT_RDWR);
}

void ng_process_kill(const ng_process *p) {
    if (p->pid > 0) kill(p->pid, SIGKILL);
}

void ng_process_wait(ng_process *p, char *why, size_t cap) {
    int status = 0;
    snprintf(why, cap, "it could not be waited for");
    if (p->fd >= 0) close(p->fd);
    while (p->pid > 0 && waitpid(p->pid, &status, 0) < 0)
        if (errno != EINTR) goto out;
    if (WIFSIGNALED(status)) snprintf(why, cap, "signal %d (%s)", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else snprintf(why, cap, "exit code %d", WEXITSTATUS(status));
out:
    *p = (ng_process){-1, -1};
}

ng_process ng_process_parent(void) { return (ng_process){-1, NG_PROCESS_FD}; }

ng_status ng_process_limit_memory(uint64_t bytes, ng_error *err) {
    struct rlimit r = {bytes, bytes};
    if (setrlimit(RLIMIT_DATA, &r))
        return ng_fail(err, NG_EIO, "process: the memory limit is refused: %s", strerror(errno));
    return NG_OK;
}

uint64_t ng_process_resident(int pid) {
    char path[64];
    unsigned long long total = 0, resident = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", pid);
    FILE *f = fopen(path, "re");
    if (!f) return 0;
    int n = fscanf(f, "%llu %llu", &total, &resident);
    fclose(f);
    return n == 2 ? resident * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
}

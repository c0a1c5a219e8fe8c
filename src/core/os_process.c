/* os_process.c: child processes on POSIX.  See process.h. */
#include "process.h"

#include "clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

/* argv with what becomes of the descriptors; nothing of our signal masks is inherited. */
static int spawn(pid_t *pid, const posix_spawn_file_actions_t *files, const char *argv[], char *const *env) {
    posix_spawnattr_t attr;
    sigset_t none, defaults;
    sigemptyset(&none);
    sigemptyset(&defaults);
    sigaddset(&defaults, SIGPIPE);
    const char *program = argv[0] ? argv[0] : "/proc/self/exe";
    if (!argv[0]) argv[0] = "nanogrid";
    int e = posix_spawnattr_init(&attr);
    if (e) return e;
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &defaults);
    e = posix_spawn(pid, program, files, &attr, (char *const *)(uintptr_t)argv, env);
    posix_spawnattr_destroy(&attr);
    return e;
}

static int spawn_on_socket(pid_t *pid, int fd, const char *argv[]) {
    posix_spawn_file_actions_t files;
    int e = posix_spawn_file_actions_init(&files);
    if (e) return e;
    e = posix_spawn_file_actions_addopen(&files, 0, "/dev/null", O_RDONLY, 0);
    if (!e) e = posix_spawn_file_actions_adddup2(&files, 2, 1);
    if (!e) e = posix_spawn_file_actions_adddup2(&files, fd, NG_PROCESS_FD);
    if (!e) e = spawn(pid, &files, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    return e;
}

ng_status ng_process_start(ng_process *out, const char *argv[], ng_error *err) {
    int pair[2];
    pid_t pid = 0;
    *out = (ng_process){-1, -1};
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return ng_fail(err, NG_EIO, "process: no socket: %s", strerror(errno));
    int e = spawn_on_socket(&pid, pair[1], argv);
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

/* ---- a program run to its end -------------------------------------------------------------------- */

/* VmHWM of /proc/PID/status: of the program alone.  ru_maxrss would begin with what the caller of posix_spawn held. */
static uint64_t peak_of(pid_t pid) {
    char path[64], line[128];
    unsigned long long kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %llu", &kib) == 1) break;
    if (f) fclose(f);
    return kib << 10;
}

static bool is_set_by(const char *const *env, const char *entry) {
    size_t name = strcspn(entry, "=") + 1;
    for (; env && *env; env++)
        if (!strncmp(*env, entry, name)) return true;
    return false;
}

/* Ours with `own` in front; ends with free(). */
static char **environment(const char *const *own) {
    size_t n = 0, used = 0;
    for (; environ[n];) n++;
    for (const char *const *e = own; e && *e; e++) n++;
    char **all = malloc((n + 1) * sizeof *all);
    if (!all) return NULL;
    for (const char *const *e = own; e && *e; e++) all[used++] = (char *)(uintptr_t)*e;
    for (char **e = environ; *e; e++)
        if (!is_set_by(own, *e)) all[used++] = *e;
    all[used] = NULL;
    return all;
}

static int spawn_between_files(pid_t *pid, const ng_process_job *job) {
    posix_spawn_file_actions_t files;
    int e = posix_spawn_file_actions_init(&files), made = O_WRONLY | O_CREAT | O_TRUNC;
    if (e) return e;
    char **env = environment(job->env);
    e = env ? posix_spawn_file_actions_addopen(&files, 0, job->in ? job->in : "/dev/null", O_RDONLY, 0) : ENOMEM;
    if (!e) e = posix_spawn_file_actions_addopen(&files, 1, job->out, made, 0600);
    if (!e) e = posix_spawn_file_actions_addopen(&files, 2, job->errors, made, 0600);
    if (!e) e = spawn(pid, &files, job->argv, env);
    posix_spawn_file_actions_destroy(&files);
    free(env);
    return e;
}

ng_status ng_process_run(ng_process_outcome *out, const ng_process_job *job, ng_error *err) {
    enum { LOOK_MS = 5 };
    pid_t pid = 0, ended = 0;
    int status = 0;
    int64_t waited = 0;
    *out = (ng_process_outcome){0};
    int e = spawn_between_files(&pid, job);
    if (e)
        return ng_fail(err, e == ENOMEM ? NG_ENOMEM : NG_EIO, "process: %s does not start: %s", job->argv[0],
                       strerror(e));
    while ((ended = waitpid(pid, &status, WNOHANG)) == 0 || (ended < 0 && errno == EINTR)) {
        uint64_t now = peak_of(pid);
        if (now > out->peak_bytes) out->peak_bytes = now;
        nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000}, NULL);
        if (job->most_ms && !out->late && (waited += LOOK_MS) > job->most_ms) {
            out->late = true;
            kill(pid, SIGKILL);
        }
    }
    if (ended < 0) return ng_fail(err, NG_EIO, "process: it could not be waited for: %s", strerror(errno));
    out->code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
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

/* process.h: a child process at the other end of a socket.
 *
 *     const char *argv[] = {NULL, "worker", "--model", path, NULL};     argv[0] NULL: this program
 *     ng_process p;
 *     ng_process_start(&p, argv, &err);
 *     ng_process_write(&p, data, len);  ng_process_read(&p, data, len);
 *     ng_process_kill(&p);  ng_process_wait(&p, why, sizeof why);       "signal 9 (Killed)"
 *
 * The child has the socket as descriptor NG_PROCESS_FD, /dev/null as standard input, our standard error as its output
 * too, a process group of its own (a terminal's Ctrl-C is ours to handle) and no blocked signals.  posix_spawn: never a
 * fork with threads about.  Reading and writing may happen on two threads, kill on a third; start and wait belong to
 * one. */
#ifndef NG_CORE_PROCESS_H
#define NG_CORE_PROCESS_H

#include <nanogrid/status.h>

enum { NG_PROCESS_FD = 3 };

typedef struct ng_process {
    int pid, fd;
} ng_process;

ng_status ng_process_start(ng_process *out, const char *argv[], ng_error *err) NG_MUST_USE;
/* All len bytes, or false: the other end is gone. */
bool ng_process_write(const ng_process *p, const void *data, size_t len) NG_MUST_USE;
bool ng_process_read(const ng_process *p, void *data, size_t len) NG_MUST_USE;
/* True when there is something to read (or the end): waits at most that long. */
bool ng_process_readable(const ng_process *p, int timeout_ms);
/* Lets the child read the end of our words and waits until it has ended, or that long. */
void ng_process_leave(const ng_process *p, int timeout_ms);
void ng_process_shut(const ng_process *p); /* ends both directions: a well-behaved child then leaves */
void ng_process_kill(const ng_process *p);
/* Closes the socket, waits for the end, says in why[cap] how it ended: "exit code 1", "signal 11 (..)". */
void ng_process_wait(ng_process *p, char *why, size_t cap);

/* In the child: its end of the socket. */
ng_process ng_process_parent(void);
/* In the child: no more than so many bytes of memory of its own (mapped files do not count). */
ng_status ng_process_limit_memory(uint64_t bytes, ng_error *err) NG_MUST_USE;
/* A program that runs to its end, between files. */
typedef struct ng_process_job {
    const char **argv;             /* argv[0] NULL: this program; NULL ends it */
    const char *const *env;        /* "NAME=value" in place of ours; NULL ends it; or NULL */
    const char *in, *out, *errors; /* files; in NULL: nothing, the others are made anew */
    int64_t most_ms;               /* it is killed then; 0: no limit */
} ng_process_job;
typedef struct ng_process_outcome {
    int code;            /* exit code, or 128 + the signal that ended it */
    bool late;           /* most_ms passed */
    uint64_t peak_bytes; /* the most that was resident, looked at every few milliseconds; 0: the system does not say */
} ng_process_outcome;
ng_status ng_process_run(ng_process_outcome *out, const ng_process_job *job, ng_error *err) NG_MUST_USE;

/* Resident bytes of a process; 0 when it is gone or the system does not say. */
uint64_t ng_process_resident(int pid);

#endif

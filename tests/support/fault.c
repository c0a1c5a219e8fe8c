/* fault.c: --wrap shims that count and fail allocations and writes.  See fault.h. */
#include "fault.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t m);
void *__real_realloc(void *p, size_t n);
void *__real_aligned_alloc(size_t a, size_t n);
char *__real_strdup(const char *s);
void __real_free(void *p);
ssize_t __real_write(int fd, const void *p, size_t n);
int __real_fsync(int fd);

static fault_kind armed;
static long countdown, live, total, round_no, round_live;
static bool fired, met, passed, sweeping; /* met: the round's own fault, even when the body has armed another since */

void fault_arm(fault_kind kind, long nth) {
    armed = kind;
    countdown = nth;
    fired = false;
}

void fault_disarm(void) {
    armed = 0;
    fired = false;
    sweeping = false;
}

bool fault_fired(void) { return fired; }
long fault_live_blocks(void) { return __atomic_load_n(&live, __ATOMIC_SEQ_CST); }
long fault_allocs(void) { return __atomic_load_n(&total, __ATOMIC_SEQ_CST); }
void fault_passed(void) { passed = true; }
long fault_sweep_rounds(void) { return round_no - 1; }

bool fault_sweep_next(fault_kind kind) {
    if (!sweeping) {
        sweeping = true;
        passed = false;
        round_no = 0;
    } else {
        if (fault_live_blocks() != round_live) {
            fprintf(stderr, "fault sweep: round %ld leaked %ld blocks\n", round_no,
                    fault_live_blocks() - round_live);
            abort();
        }
        if (passed && !fired) { /* the scenario went through and the fault was never reached */
            fault_disarm();
            return false;
        }
        if (!met && !passed) {
            fprintf(stderr, "fault sweep: round %ld failed though nothing was made to fail\n", round_no);
            abort();
        }
        passed = false;
    }
    round_no++;
    round_live = fault_live_blocks();
    met = false;
    fault_arm(kind, round_no);
    return true;
}

static bool hit(fault_kind kind) {
    if (!(armed & kind)) return false;
    if (__atomic_sub_fetch(&countdown, 1, __ATOMIC_SEQ_CST) != 0) return false;
    fired = met = true;
    return true;
}

static void *counted(void *p) {
    if (p) {
        __atomic_add_fetch(&live, 1, __ATOMIC_SEQ_CST);
        __atomic_add_fetch(&total, 1, __ATOMIC_SEQ_CST);
    }
    return p;
}

void *__wrap_malloc(size_t n) { return hit(FAULT_ALLOC) ? NULL : counted(__real_malloc(n)); }
void *__wrap_calloc(size_t n, size_t m) {
    return hit(FAULT_ALLOC) ? NULL : counted(__real_calloc(n, m));
}
void *__wrap_realloc(void *p, size_t n) {
    if (hit(FAULT_ALLOC)) return NULL;
    void *q = __real_realloc(p, n);
    return p ? q : counted(q);
}
void *__wrap_aligned_alloc(size_t a, size_t n) {
    return hit(FAULT_ALLOC) ? NULL : counted(__real_aligned_alloc(a, n));
}
char *__wrap_strdup(const char *s) { return hit(FAULT_ALLOC) ? NULL : counted(__real_strdup(s)); }
void __wrap_free(void *p) {
    if (p) __atomic_sub_fetch(&live, 1, __ATOMIC_SEQ_CST);
    __real_free(p);
}
ssize_t __wrap_write(int fd, const void *p, size_t n) {
    if (hit(FAULT_WRITE)) {
        errno = ENOSPC;
        return -1;
    }
    return __real_write(fd, p, n);
}
int __wrap_fsync(int fd) {
    if (hit(FAULT_FSYNC)) {
        errno = EIO;
        return -1;
    }
    return __real_fsync(fd);
}

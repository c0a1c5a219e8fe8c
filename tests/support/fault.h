/* fault.h: the n-th allocation, write or fsync fails.
 *
 * Every unit test program is linked with --wrap for malloc, calloc, realloc, aligned_alloc, strdup,
 * free, write and fsync, so the calls of our own archives come through here (those inside shared
 * libraries do not).
 *
 *     FAULT_SWEEP(FAULT_ALLOC) {                     runs the body again and again, failing call 1, 2, ..
 *         ng_status s = scenario();                  must not crash or leak, must report
 *         if (s == NG_OK) fault_passed();            ends the sweep: nothing was left to fail
 *     }
 *
 * After each round the sweep checks that every block allocated in the round was freed, and that a body that did not pass
 * had met its fault: one that fails by itself (a bad NG_CPU, a missing file) would be run for ever. */
#ifndef NG_TESTS_FAULT_H
#define NG_TESTS_FAULT_H

#include <stdbool.h>
#include <stddef.h>

typedef enum fault_kind { FAULT_ALLOC = 1, FAULT_WRITE = 2, FAULT_FSYNC = 4 } fault_kind;

void fault_arm(fault_kind kind, long nth); /* the nth matching call from now fails, once */
void fault_disarm(void);
bool fault_fired(void);
long fault_live_blocks(void); /* allocated minus freed through the wrappers */
long fault_allocs(void);      /* allocations ever made through the wrappers */

bool fault_sweep_next(fault_kind kind);
void fault_passed(void);
long fault_sweep_rounds(void); /* injection points of the last sweep */

#define FAULT_SWEEP(kind) for (fault_disarm(); fault_sweep_next(kind);)

#endif

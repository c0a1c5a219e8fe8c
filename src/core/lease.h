/* lease.h: the machine's cores, lent to one step of one process at a time.
 *
 *     ng_lease_open(path, &err);                     once, at the start of a worker
 *     ng_lease_take();                               waits for the others
 *     ng_pool_run(..);
 *     ng_lease_give();
 *
 * Two processes whose threads spin at barriers on the same cores make each other slow by far more than a half; taking
 * turns costs each only the other's step.  The lock is flock on a file that all share: the system gives it back when
 * its holder dies.  Where no lease was opened, take and give do nothing. */
#ifndef NG_CORE_LEASE_H
#define NG_CORE_LEASE_H

#include <nanogrid/status.h>

/* Creates the file if need be. */
ng_status ng_lease_open(const char *path, ng_error *err) NG_MUST_USE;
void ng_lease_take(void);
void ng_lease_give(void);

#endif

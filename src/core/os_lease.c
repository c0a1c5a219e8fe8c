/* os_lease.c: see lease.h.  flock belongs to the open file, so threads of one process need a mutex besides. */
#include "lease.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/file.h>

static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;
static int lease_fd = -1; /* set before the first take */

ng_status ng_lease_open(const char *path, ng_error *err) {
    lease_fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    return lease_fd >= 0 ? NG_OK : ng_fail(err, NG_EIO, "cannot open the compute lease %s: %s", path, strerror(errno));
}

void ng_lease_take(void) {
    if (lease_fd < 0) return;
    pthread_mutex_lock(&turn);
    while (flock(lease_fd, LOCK_EX) && errno == EINTR) {}
}

void ng_lease_give(void) {
    if (lease_fd < 0) return;
    flock(lease_fd, LOCK_UN);
    pthread_mutex_unlock(&turn);
}

/* worker_parts.h: one worker as the two files that look after it see it: worker.c asks, worker_keeper.c keeps it alive.
 *
 * `lock` guards all that changes but what is said to belong to the keeper; `changed` is signalled whenever the state
 * moves, a call's `news` when that call does: a token of one stream wakes nobody else.  A call lives on its asker's
 * stack and is in the list from before its SUBMIT until its asker has seen its end, so the keeper never holds a pointer
 * that outlives it. */
#ifndef NG_UPSTREAM_WORKER_PARTS_H
#define NG_UPSTREAM_WORKER_PARTS_H

#include "core/process.h"
#include "wire.h"
#include <nanogrid/tools/worker.h>
#include <pthread.h>

/* What came for a call, in order. */
typedef struct worker_event {
    struct worker_event *next;
    ng_wire_kind kind;
    ng_buf payload;
} worker_event;

typedef struct worker_call {
    struct worker_call *next;
    pthread_cond_t news;           /* signalled with each event, and when the call is lost or unwanted */
    uint64_t id;
    const void *tier;              /* whose cancel() it hears */
    worker_event *events, **tail;
    bool lost;                     /* its worker died; lost_why says how */
    bool unwanted;                 /* its tier's cancel() was called */
    bool cancelled;                /* CANCEL was sent, at cancelled_ms */
    double cancelled_ms;
    char lost_why[128];
} worker_call;

typedef enum worker_state {
    WORKER_IDLE,     /* never needed yet */
    WORKER_STARTING, /* the process runs, its model loads */
    WORKER_READY,
    WORKER_DOWN,     /* dead; starts again at wake_ms */
    WORKER_BROKEN,   /* its model cannot be used: `broken` */
    WORKER_CLOSING,
} worker_state;

typedef struct worker {
    struct worker *next;     /* in the pool's list, under the pool's lock */
    ng_workers *pool;
    int refs;                /* tiers; under the pool's lock */
    ng_head_spec spec;       /* strings are owned */
    char lease[1024];
    pthread_mutex_t lock, write_lock; /* write_lock: frames go out whole; taken before lock, never under it */
    pthread_cond_t changed;  /* on the monotonic clock */
    pthread_t keeper;
    bool has_keeper;
    worker_state state;
    bool loaded;             /* keeper only: this process said READY */
    ng_process process;
    worker_call *calls;
    uint64_t next_id, restarts;
    int deaths;              /* in a row, without an answer or a quiet while between them */
    double wake_ms, load_ms;
    char last_death[128];
    ng_error broken;
    double heard_ms;         /* keeper only: of the last frame, or the last time that no call waited */
    double ready_ms;         /* keeper only: of READY */
} worker;

struct ng_workers {
    pthread_mutex_t lock;
    worker *list;
    char *program;
    void (*log)(void *ctx, const char *line);
    void *log_ctx;
};

enum { WORKER_HANG_MS = 30000, WORKER_LOAD_MS = 120000, WORKER_BACK_OFF_MS = 100, WORKER_BACK_OFF_MAX_MS = 10000, WORKER_LEAVE_MS = 2500,
       WORKER_STEADY_MS = 500 };

/* worker_keeper.c: the thread that starts the process, reads what it says, and starts it again. */
void *ng_worker_keeper(void *worker);
/* A frame to the process; false when it is gone.  The lock must not be held. */
bool ng_worker_send(worker *w, ng_wire_kind kind, uint64_t call, const ng_buf *payload) NG_MUST_USE;
void ng_worker_event_free(worker_event *e);

#endif

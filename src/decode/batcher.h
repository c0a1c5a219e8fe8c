/* batcher.h: the sequences of one model, stepped together by one thread.
 *
 *     ng_batcher_new(&b, model, &options, &err);
 *     if (!ng_batcher_join(b, &stream)) ..               no slot or no pages now: wait for a step
 *     while (ng_batcher_step(b)) {}                      one forward each; calls on_end for streams that end
 *     ng_batcher_free(b);
 *
 * A slot's sequence is the list of ids that it shall hold: the prompt, then each new token.  What its
 * pages do not hold yet is unread; one unread id is a sequence that decodes, more is one that reads
 * its prompt, or that lost its pages and reads again.  So joining, decoding, reuse and preemption are one thing.
 *
 * Nothing here takes the heap after the start, but for a list of pages to be written to files when a sequence
 * leaves; nor a lock for longer than a few instructions.  on_end, and the on_token of a stream's
 * options, run inside ng_batcher_step, on_token on any thread of the session: it must not block. */
#ifndef NG_DECODE_BATCHER_H
#define NG_DECODE_BATCHER_H

#include "run.h"
#include <nanogrid/scheduler.h>
#include <stdatomic.h>

/* One generation.  The caller fills the first block and begins `run`; it stays the caller's. */
typedef struct ng_stream {
    ng_run run;
    const int32_t *prompt;  /* [n_prompt], n_prompt < n_ctx, checked by ng_run_begin */
    size_t n_prompt;
    int64_t deadline_ms;
    uint64_t tenant;        /* as in ng_scheduled */
    bool is_private;
    atomic_bool cancelled;  /* set from any thread: it ends before the next step */
    void *user;

    size_t n_cached;        /* tokens of the prompt that were not read again */
    double joined_ms, first_ms, ended_ms; /* on the monotonic clock */
    ng_status status;       /* of a generation that failed, with the text in error */
    ng_error error;
} ng_stream;

typedef struct ng_batcher ng_batcher;
typedef void ng_stream_end_fn(void *ctx, ng_stream *s);

/* Options as in scheduler.h, checked here; n_waiting is not used. */
ng_status ng_batcher_new(ng_batcher **out, const ng_model *m, const ng_scheduler_options *opt,
                         ng_error *err) NG_MUST_USE;
void ng_batcher_free(ng_batcher *b);
void ng_batcher_on_end(ng_batcher *b, ng_stream_end_fn *fn, void *ctx);
uint32_t ng_batcher_n_ctx(const ng_batcher *b);
int ng_batcher_threads(const ng_batcher *b);

/* Takes a slot; false when none is free, or the free pages would not hold its prompt. */
bool ng_batcher_join(ng_batcher *b, ng_stream *s);
/* Ends what was cancelled or is late, then runs one forward; false when nothing runs. */
bool ng_batcher_step(ng_batcher *b);
/* n_waiting is left 0. */
ng_scheduler_stats ng_batcher_look(const ng_batcher *b, ng_slot *slots, size_t max);

#endif

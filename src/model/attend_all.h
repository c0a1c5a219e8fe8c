/* attend_all.h: attention without a mask: every token of a sequence looks at every one of it.
 *
 *     ng_attend_all_init(&a, s, quantised)
 *     each thread, for its rows begin .. end - 1 of the batch:
 *         .. k = Wk x;  ng_attend_all_keys(&a, b, begin, end, k);     v = Wv x into a.v + begin * n_embd
 *     barrier;  ng_attend_all_values(tm, &a, b);  barrier
 *         .. q = Wq x;  ng_attend_all_run(tm, &a, b, &(ng_attend_all_io){begin, end, q, out})
 *     barrier before the next keys
 *
 * A model with float weights attends in floats.  A quantised one attends in 8 bits (kernel/w8.h) where
 * that is faster: from NG_ATTEND_W8_FROM tokens on.  The choice hangs on the length of the sequence
 * alone, so a text has the same bits in any batch. */
#ifndef NG_MODEL_ATTEND_ALL_H
#define NG_MODEL_ATTEND_ALL_H

#include "arch.h"

enum {
    NG_ATTEND_W8_FROM = 48, /* tokens */
    NG_ATTEND_SLOT = 16,    /* a sequence takes whole slots of rows: a panel of keys has 16 */
};

/* Rows that a sequence of n tokens takes of a session's max_batch. */
static inline size_t ng_attend_slots(size_t n) { return (n + NG_ATTEND_SLOT - 1) / NG_ATTEND_SLOT * NG_ATTEND_SLOT; }

typedef struct ng_attend_all {
    const ng_kernels *k;
    size_t n_head, head_dim, n_embd; /* n_embd: of all heads together, attention's own width */
    bool quantised;
    float *v;        /* [rows, n_embd] */
    float *keys_t;   /* float form: of each sequence [n_embd, slots]: keys as columns */
    uint8_t *key_panels;   /* 8-bit form: [slots / 16, n_head] panels of head_dim columns */
    uint8_t *value_panels; /* of each sequence [n_head, ceil(head_dim / 16)] panels of its tokens' columns */
    struct ng_attend_tile *tiles; /* [n_threads] */
} ng_attend_all;

/* Everything comes from s->arena; false when memory is out.  s->max_batch rows, s->n_ctx tokens a sequence. */
bool ng_attend_all_init(ng_attend_all *a, ng_session *s, size_t head_dim, bool quantised) NG_MUST_USE;
/* k[end - begin, n_embd]: keys of these rows. */
void ng_attend_all_keys(const ng_attend_all *a, const ng_batch *b, size_t begin, size_t end, const float *k);
/* This thread's share of what the values need before they are used. */
void ng_attend_all_values(const ng_team *tm, const ng_attend_all *a, const ng_batch *b);

typedef struct ng_attend_all_io {
    size_t begin, end; /* rows */
    const float *q;    /* [end - begin, n_embd] */
    float *out;        /* the same */
} ng_attend_all_io;
void ng_attend_all_run(const ng_team *tm, const ng_attend_all *a, const ng_batch *b, const ng_attend_all_io *io);

#endif

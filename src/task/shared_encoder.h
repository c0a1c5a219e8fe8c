/* shared_encoder.h: one encoder for all heads of a process that stand on its file.
 *
 *     ng_shared_encoder *e;
 *     ng_shared_encoder_take(&e, spec, &err);       opened once; counted
 *     pthread_mutex_lock(&e->lock);
 *     ng_shared_encoder_read(e, text, len, &err);   e->hidden, e->pooled; nothing to do for the text that was read last
 *     pthread_mutex_unlock(&e->lock);
 *     ng_shared_encoder_give(e);
 *
 * The encoder keeps the hidden rows and the vector of the last text, so several heads asked about one text, and who wants its
 * vector, cost one forward.  One lock an encoder: calls queue, as the session's threads already work together. */
#ifndef NG_TASK_SHARED_ENCODER_H
#define NG_TASK_SHARED_ENCODER_H

#include "model/encoder_heads.h"
#include <nanogrid/head.h>
#include <pthread.h>

typedef struct ng_shared_encoder ng_shared_encoder;
struct ng_shared_encoder {
    ng_shared_encoder *next; /* of all that are open; guarded by the list's lock, as is n_users */
    size_t n_users;
    char *path, *adapter; /* adapter: NULL for none */
    double scale;
    uint64_t bytes;
    int64_t changed_s;
    ng_model *model;
    ng_encoder_heads heads;
    size_t width, n_most;   /* tokens of a text that are read */
    pthread_mutex_t lock;   /* guards what follows */
    ng_session *session;
    float *hidden;          /* [n_most, width] of `text` */
    float *pooled;          /* [width]: its vector, as ng_session_embed gives it */
    char *text;             /* the last one; NULL: none */
    size_t text_len, n_tok, n_all; /* n_all: before it was cut */
    char *labels;           /* the last request's, each with its NUL */
    float *label_vectors;   /* [labels, width] */
    size_t labels_len;
};

/* By path, size and time of change, and by what adapter stands beside it. */
ng_status ng_shared_encoder_take(ng_shared_encoder **out, const ng_head_spec *spec, ng_error *err) NG_MUST_USE;
void ng_shared_encoder_give(ng_shared_encoder *e);
/* The lock is held. */
ng_status ng_shared_encoder_read(ng_shared_encoder *e, const char *text, size_t len, ng_error *err) NG_MUST_USE;

#endif

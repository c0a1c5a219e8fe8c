/* head_ops.h: what a kind of head provides; see nanogrid/head.h.
 *
 * A kind is one file src/task/head_KIND.c that ends in its table, and one line in heads.def.  The
 * first kind whose `serves` says yes opens the head. */
#ifndef NG_TASK_HEAD_OPS_H
#define NG_TASK_HEAD_OPS_H

#include <nanogrid/head.h>

typedef struct ng_head_ops {
    const char *kind;
    /* arch: the file's general.architecture, "" without a file. */
    bool (*serves)(ng_task task, const char *arch);
    ng_status (*open)(void **self, const ng_head_spec *spec, ng_error *err);
    ng_status (*apply)(void *self, const ng_tier_request *req, ng_answer *answer, ng_error *err);
    void (*close)(void *self);
    void (*look)(void *self, ng_tier_look *out); /* stats and slots; NULL: it is no decoder */
} ng_head_ops;

/* The text of the last message with role "user" (borrowed).  NG_EINVALID without one,
 * NG_EUNSUPPORTED naming a part type that is not text. */
ng_status ng_request_text(const ng_tier_request *req, const char **text, size_t *len, ng_error *err) NG_MUST_USE;
/* What heads without a vocabulary give as prompt_tokens: the words of the text (text/words.h). */
uint32_t ng_words_count(const char *text, size_t len);

#endif

/* head.h: one expert's model, ready to answer requests of its task.
 *
 *     ng_head *h;
 *     ng_head_spec spec = {.task = NG_TASK_CLASSIFY, .path = "models/intent/model.gguf"};
 *     ng_head_open(&h, &spec, &err);
 *     ng_head_apply(h, &request, answer, &err);      fills the task's part of the answer
 *     ng_head_close(h);
 *
 * What kind of head it is (linear, heads on an encoder, rules, extractive summary, embedding, decoder) follows from the
 * task and the file's general.architecture; each kind is one file in src/task and one line in
 * heads.def.  ng_head_apply may be called from several threads: a decoder answers them together
 * (scheduler.h), kinds that hold a session one after the other. */
#ifndef NANOGRID_HEAD_H
#define NANOGRID_HEAD_H

#include <nanogrid/prefix.h>
#include <nanogrid/tier.h>

typedef struct ng_head ng_head;

typedef struct ng_head_spec {
    ng_task task;
    const char *path; /* the GGUF; NULL for kinds made of rules alone (extract) */
    const char *head; /* which head of a file that has several, or NULL */
    const char *adapter; /* encoders: a LoRA adapter beside the weights, or NULL (ng_model_open_adapted) */
    double adapter_scale;
    int n_threads;    /* 0: by measurement */
    ng_kv_precision kv; /* of decoders' past tokens */
    uint32_t n_ctx;     /* decoders: most tokens of one text; 0: the model's, at most 4,096 */
    ng_prefix_options prefix; /* decoders: what is kept beside the 2 * n_ctx tokens that always are */
    /* Of the worker process that runs it (tools/worker.h); a head in this process has none. */
    uint64_t memory_max; /* bytes; 0: no limit */
    int64_t hang_ms;     /* silent so long while calls wait, it is taken for dead; 0: 30,000 */
} ng_head_spec;

/* Opens a head behind struct ng_tier somewhere else than in this process; `name` is the expert's. */
typedef ng_status ng_head_open_fn(void *ctx, ng_tier *out, const char *name, const ng_head_spec *spec,
                                  ng_error *err);

NG_API ng_status ng_head_open(ng_head **out, const ng_head_spec *spec, ng_error *err) NG_MUST_USE;
/* The task of a model file: that of the head `head` where the file carries heads (NULL: of the first one), else
 * its key nanogrid.task, else the first task that its architecture can serve.  NG_EUNSUPPORTED when there is
 * none, NG_ENOTFOUND for a head that it does not have. */
NG_API ng_status ng_head_task(ng_task *out, const char *path, const char *head, ng_error *err) NG_MUST_USE;
/* Whether the adapter of `spec` is one for its model, whose weights are not loaded.  NG_EINVALID: the model is no encoder, or another one than the
 * adapter was made for; NG_EFORMAT: the file is no adapter. */
NG_API ng_status ng_head_check_adapter(const ng_head_spec *spec, ng_error *err) NG_MUST_USE;
NG_API void ng_head_close(ng_head *h);
/* The request's text is the last user message.  Fills label/scores/entities/.., confidence (calibrated
 * or NaN), in_scope and token counts; leaves expert, tier, route and timing to the caller. */
NG_API ng_status ng_head_apply(ng_head *h, const ng_tier_request *req, ng_answer *answer, ng_error *err) NG_MUST_USE;
/* True for heads that need a decoder or an encoder; linear models and rules are small.  False also where
 * the file cannot be read: opening it tells why. */
NG_API bool ng_head_is_big(const ng_head_spec *spec);
/* What a decoder is doing: fills stats and slots; false: it is none. */
NG_API bool ng_head_look(ng_head *h, ng_tier_look *out);
/* "linear", "encoder", "rules", "extractive", "embedding", "decoder". */
NG_API const char *ng_head_kind(const ng_head *h);

#endif

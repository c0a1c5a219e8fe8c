/* weights_report.h: fills an ng_weights_report while a file is planned.
 *
 *     ng_weights_plan p;
 *     if ((s = ng_weights_plan_new(&p, report, file, options, n_tensors, &err))) ..
 *     s = ng_weights_plan_add(&p, &transcode, &err);     once a tensor
 *     s = ng_weights_plan_commit(&p, out_path, &err);   writes p.writer's keys and all tensors
 *     ng_weights_plan_clear(&p);                               always; the report is the caller's
 *
 * A plan and its report belong to one thread. */
#ifndef NG_QUANT_WEIGHTS_REPORT_H
#define NG_QUANT_WEIGHTS_REPORT_H

#include "core/arena.h"
#include "imatrix.h"
#include "transcode.h"

typedef struct ng_weights_plan {
    ng_weights_report *report;
    ng_gguf_writer *writer; /* for the keys */
    const char *file;       /* for messages; in the report's arena */
    const ng_format *want, *heads; /* heads: of tensors head.* */
    uint32_t n_layers; /* for mixes, see ng_weight_place: set these before tensors are added */
    bool tied, gated;
    const ng_imatrix *imatrix; /* borrowed until the commit, or NULL */
    ng_transcode *items; /* [cap], as many as the report's tensors */
    size_t cap;
    ng_transcoder coder;
} ng_weights_plan;

/* Zeroes *report and gives it an arena.  opt->type NULL means `dflt`. */
ng_status ng_weights_plan_new(ng_weights_plan *p, ng_weights_report *report, const char *file,
                              const ng_weights_options *opt, const char *dflt, size_t n_tensors,
                              ng_error *err) NG_MUST_USE;
/* `name` is copied, `data` borrowed until the commit.  Float tensors get the type of
 * ng_weight_type(), others keep theirs. */
ng_status ng_weights_plan_add(ng_weights_plan *p, const ng_transcode *t, ng_error *err) NG_MUST_USE;
ng_status ng_weights_plan_commit(ng_weights_plan *p, const char *out_path,
                                 ng_error *err) NG_MUST_USE;
void ng_weights_plan_clear(ng_weights_plan *p);

#endif

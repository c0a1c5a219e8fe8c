/* router.c: a router head is any tier that classifies; what it says is copied into plain data.
 *
 * Why a tier and not a model: tests, a bigger router on a shared encoder and the linear package all
 * look the same from here.  The copy keeps the decision alive after the head's answer is freed, and
 * lets records take it as it is. */
#include "route.h"

#include "core/clock.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

ng_status ng_router_decide(ng_decision *out, const ng_tier *head, const ng_tier_request *req,
                           ng_error *err) {
    uint64_t t0 = ng_clock_ns();
    ng_answer *a;
    *out = (ng_decision){.confidence = NAN};
    if (ng_answer_new(&a)) return ng_fail(err, NG_ENOMEM, "router: out of memory");
    ng_tier_request r = *req;
    r.task = a->task = NG_TASK_CLASSIFY;
    r.params = (ng_params){.top_k = NG_DECISION_MAX};
    r.on_token = NULL;
    ng_status s = head->submit(head->self, &r, a, err);
    if (!s) {
        out->n_scores = a->n_scores < NG_DECISION_MAX ? a->n_scores : NG_DECISION_MAX;
        for (size_t i = 0; i < out->n_scores; i++) {
            snprintf(out->scores[i].label, NG_DECISION_LABEL_MAX, "%s", a->scores[i].label);
            out->scores[i].p = a->scores[i].p;
        }
        out->confidence = a->confidence;
        out->in_scope = a->in_scope && a->n_scores > 0;
        out->load_ms = a->load_ms;
        out->latency_us = (double)(ng_clock_ns() - t0) * 1e-3;
    }
    ng_answer_free(a);
    return s;
}

double ng_decision_score(const ng_decision *d, const char *label) {
    for (size_t i = 0; i < d->n_scores; i++)
        if (!strcmp(d->scores[i].label, label)) return (double)d->scores[i].p;
    return -1;
}

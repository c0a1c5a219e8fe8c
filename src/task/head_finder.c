/* head_finder.c: the task answer by a span of the context, or the word that the context does not hold the answer; and the
 * task rerank, documents by how probably they hold the answer to the query.
 *
 * Holds one immutable model; any thread may apply it.  Confidence: of a span, that there is an answer and that this is it
 * (F1 of a half and more); of a refusal, that there is none.  A request without a context brings both in one text: what
 * asks is the question, the rest the passage.  What asks nothing is out of scope.  Offsets are bytes of the context, or
 * of that one text. */
#include "head_ops.h"

#include "model/finder.h"
#include "text/sentence.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { CONTEXT_BYTES_MAX = 4 << 20, LABEL_BYTES = 12 };

static bool finder_serves(ng_task task, const char *arch) {
    return (task == NG_TASK_ANSWER || task == NG_TASK_RERANK) && !strcmp(arch, "nanogrid-finder");
}

static ng_status finder_open(void **self, const ng_head_spec *spec, ng_error *err) {
    return ng_finder_open((ng_finder **)self, spec->path, err);
}

/* What is asked about what: text[at, at + len) is the passage. */
typedef struct asked {
    const char *question, *text;
    size_t n_question, at, len;
} asked;

/* "According to the text: who ..?": what is behind the colon is the question. */
static void cut_label(asked *k) {
    for (size_t i = k->n_question; i-- > 1;)
        if (k->question[i - 1] == ':' && k->question[i] == ' ') {
            k->question += i, k->n_question -= i;
            return;
        }
}

/* A text that holds both: the last or else the first sentence that asks; short ones behind it ("Answer:") are passed over. */
static bool split(asked *k, const char *text, size_t len) {
    ng_span s, first = {0}, last = {0};
    size_t pos = 0, n = 0;
    bool asks = false;
    while (ng_sentence_next(text, len, &pos, &s)) {
        bool question = text[s.end - 1] == '?';
        if (n++ == 0 && question) first = s;
        if (question) last = s, asks = true;
        else if (s.end - s.start > LABEL_BYTES) asks = false;
    }
    if (!asks && !first.end) return false;
    const ng_span q = asks ? last : first;
    *k = (asked){text + q.start, text, q.end - q.start, asks ? 0 : q.end, asks ? q.start : len - q.end};
    cut_label(k);
    return true;
}

static ng_status read_request(asked *k, bool *complete, const ng_tier_request *req, ng_error *err) {
    const char *text, *context = req->params.context;
    size_t len;
    ng_status s = ng_request_text(req, &text, &len, err);
    if (s) return s;
    size_t bytes = context ? strlen(context) : len;
    if (bytes > CONTEXT_BYTES_MAX)
        return ng_fail(err, NG_ELIMIT, "answer: the context has %zu bytes; at most %d are taken", bytes,
                       CONTEXT_BYTES_MAX);
    *complete = true;
    if (context) *k = (asked){text, context, len, 0, bytes};
    else *complete = split(k, text, len);
    return NG_OK;
}

/* *complete becomes false for a question of function words alone: there is nothing to look for. */
static ng_status find(const ng_finder *m, const asked *k, ng_found *f, bool *complete, uint32_t *n_words,
                      ng_error *err) {
    ng_passage *p;
    ng_status s = ng_passage_new(&p, ng_finder_rarity(m), k->question, k->n_question, k->text + k->at, k->len, err);
    if (s) return s;
    s = ng_finder_find(m, p, f, err);
    *n_words = (uint32_t)(p->len + (size_t)p->question.n);
    *complete = p->question.weight > 0;
    f->answerable &= *complete;
    f->start += k->at, f->end += k->at;
    ng_passage_free(p);
    return s;
}

static int best_first(const void *a, const void *b) {
    const ng_ranked *x = a, *y = b;
    if (x->score > y->score) return -1;
    if (x->score < y->score) return 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* Texts without a word have probability 0; so has every one where the query is function words alone. */
static ng_status rerank(const ng_finder *m, const ng_tier_request *req, ng_answer *a, ng_error *err) {
    const ng_params *p = &req->params;
    asked k = {0};
    ng_status s = ng_request_text(req, &k.question, &k.n_question, err);
    if (!s && !p->n_documents) s = ng_fail(err, NG_EINVALID, "rerank needs documents to order");
    if (!s && !(a->results = ng_answer_alloc(a, p->n_documents * sizeof *a->results)))
        s = ng_fail(err, NG_ENOMEM, "rerank: out of memory");
    a->in_scope = false;
    for (size_t i = 0; !s && i < p->n_documents; i++) {
        ng_found f = {0};
        uint32_t n_words = 0;
        bool complete = false;
        k.text = p->documents[i], k.len = strlen(k.text);
        if (k.len > CONTEXT_BYTES_MAX)
            return ng_fail(err, NG_ELIMIT, "rerank: document %zu has %zu bytes; at most %d are taken", i, k.len,
                           CONTEXT_BYTES_MAX);
        s = find(m, &k, &f, &complete, &n_words, err);
        a->results[i] = (ng_ranked){i, complete ? (float)f.p_answerable : 0};
        a->prompt_tokens += n_words;
        a->in_scope |= complete;
    }
    if (s) return s;
    a->n_results = p->n_documents;
    qsort(a->results, a->n_results, sizeof *a->results, best_first);
    a->task = NG_TASK_RERANK;
    a->confidence = NAN;
    return NG_OK;
}

static ng_status answer_question(const ng_finder *m, const ng_tier_request *req, ng_answer *answer, ng_error *err) {
    ng_found f = {0};
    uint32_t n_words = 0;
    asked k = {0};
    bool complete = false;
    ng_status s = read_request(&k, &complete, req, err);
    if (!s && complete) s = find(m, &k, &f, &complete, &n_words, err);
    if (s) return s;
    answer->answerable = f.answerable;
    answer->start = answer->end = -1;
    if (f.answerable) {
        answer->start = (int64_t)f.start, answer->end = (int64_t)f.end;
        answer->answer = ng_answer_strndup(answer, k.text + f.start, f.end - f.start);
        if (!answer->answer) return ng_fail(err, NG_ENOMEM, "answer: out of memory");
    }
    answer->task = NG_TASK_ANSWER;
    answer->confidence = !complete ? 0 : f.answerable ? f.p_answerable * f.p_right : 1 - f.p_answerable;
    answer->prompt_tokens = n_words;
    answer->in_scope = complete;
    return NG_OK;
}

static ng_status finder_apply(void *self, const ng_tier_request *req, ng_answer *answer, ng_error *err) {
    return req->task == NG_TASK_RERANK ? rerank(self, req, answer, err) : answer_question(self, req, answer, err);
}

static void finder_close(void *self) { ng_finder_close(self); }

const ng_head_ops ng_head_finder = {"finder", finder_serves, finder_open, finder_apply, finder_close, NULL};

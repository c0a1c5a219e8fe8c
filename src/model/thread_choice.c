/* thread_choice.c: see thread_choice.h.
 *
 * The steps of a class: one to warm up, on all threads; then rounds in which every candidate has one step, the
 * least first.  The least time a token of each counts, so that one disturbed step does not decide.  A step of many
 * tokens takes long and varies little: one round is enough there. */
#include "thread_choice.h"

enum { ROUNDS_FEW = 3, ROUNDS_MANY = 1, FEW_TOK = 8 };

static size_t class_of(size_t n_tok) {
    size_t c = 0;
    while (c < NG_THREAD_CLASSES - 1 && n_tok > (size_t)1 << c) c++;
    return c;
}

static int candidate(const ng_thread_choice *c, int i) { return i == c->n_candidates - 1 ? c->most : 1 << i; }

ng_thread_choice ng_thread_choice_init(int most, int *known) {
    ng_thread_choice c = {.most = most, .n_candidates = 1, .known = known};
    while (c.n_candidates < NG_THREAD_CANDIDATES && 1 << (c.n_candidates - 1) < most) c.n_candidates++;
    for (size_t i = 0; i < NG_THREAD_CLASSES; i++) {
        c.trials[i].best = known && most > 1 ? __atomic_load_n(&known[i], __ATOMIC_RELAXED) : most;
        if (c.trials[i].best > most) c.trials[i].best = most;
    }
    return c;
}

int ng_thread_choice_next(const ng_thread_choice *c, size_t n_tok) {
    const ng_thread_trial *t = &c->trials[class_of(n_tok)];
    if (t->best) return t->best;
    return t->n_steps == 0 ? c->most : candidate(c, (int)(t->n_steps - 1) % c->n_candidates);
}

void ng_thread_choice_took(ng_thread_choice *c, size_t n_tok, double ms) {
    size_t class = class_of(n_tok);
    ng_thread_trial *t = &c->trials[class];
    uint32_t step = t->n_steps++, rounds = n_tok <= FEW_TOK ? ROUNDS_FEW : ROUNDS_MANY;
    if (!c->known || c->most == 1) return;
    if (t->best) {
        if (t->n_steps < NG_THREAD_CHOICE_AGAIN) return;
        *t = (ng_thread_trial){0};
        __atomic_store_n(&c->known[class], 0, __ATOMIC_RELAXED);
        return;
    }
    if (step == 0) return;
    int i = (int)(step - 1) % c->n_candidates;
    float each = (float)(ms / (double)n_tok);
    if (step <= (uint32_t)c->n_candidates || each < t->ms[i]) t->ms[i] = each;
    if (step < rounds * (uint32_t)c->n_candidates) return;
    int best = 0;
    for (int k = 1; k < c->n_candidates; k++)
        if (t->ms[k] < t->ms[best]) best = k;
    t->best = candidate(c, best);
    __atomic_store_n(&c->known[class], t->best, __ATOMIC_RELAXED);
}

int ng_thread_choice_kept(const ng_thread_choice *c, size_t n_tok) {
    size_t class = class_of(n_tok);
    int best = c->trials[class].best;
    if (best || !c->known) return best;
    best = __atomic_load_n(&c->known[class], __ATOMIC_RELAXED);
    return best < c->most ? best : c->most;
}

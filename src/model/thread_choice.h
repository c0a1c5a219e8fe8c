/* thread_choice.h: how many threads a step of so many tokens takes, found out on the steps themselves.
 *
 *     ng_thread_choice c = ng_thread_choice_init(8, known);     at most 8
 *     int n = ng_thread_choice_next(&c, n_tok);
 *     .. a step of n_tok tokens on n threads takes ms ..
 *     ng_thread_choice_took(&c, n_tok, ms);
 *
 * Results are the same bits on any number of threads, so nothing needs to be measured beforehand: the first
 * step takes all threads, the next ones try 1, 2, 4, .. of them in turn, and then the fastest is kept.
 * Numbers of tokens are put into classes (1, 2, 3 to 4, .., 33 and more), since one token waits for memory and
 * many for arithmetic.  After NG_THREAD_CHOICE_AGAIN steps a class is measured anew: what else the machine does
 * changes. */
#ifndef NG_MODEL_THREAD_CHOICE_H
#define NG_MODEL_THREAD_CHOICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    NG_THREAD_CLASSES = 7,
    NG_THREAD_CANDIDATES = 10, /* 1, 2, 4 .. 256, and the number of processors */
    NG_THREAD_CHOICE_AGAIN = 4096,
    NG_THREAD_TRIAL_TOK = 40   /* while the last class is not decided, longer prompts are best cut into such pieces */
};

typedef struct ng_thread_trial {
    uint32_t n_steps;
    int best;                         /* 0: not decided */
    float ms[NG_THREAD_CANDIDATES];   /* per token, the least so far */
} ng_thread_trial;

typedef struct ng_thread_choice {
    int most, n_candidates;
    int *known;                       /* [NG_THREAD_CLASSES] of all choices on one model, 0 or decided; atomic */
    ng_thread_trial trials[NG_THREAD_CLASSES];
} ng_thread_choice;

/* `known` is borrowed: what other choices have found is taken from there, what this one finds is put there.
 * NULL: always `most`. */
ng_thread_choice ng_thread_choice_init(int most, int *known);
/* 1 to most. */
int ng_thread_choice_next(const ng_thread_choice *c, size_t n_tok);
void ng_thread_choice_took(ng_thread_choice *c, size_t n_tok, double ms);
/* What is kept for steps of n_tok tokens, here or by another choice on the model; 0 while nobody knows. */
int ng_thread_choice_kept(const ng_thread_choice *c, size_t n_tok);

#endif

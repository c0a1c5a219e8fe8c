/* rouge.h: ROUGE-1, ROUGE-2 and ROUGE-L, F1 (Lin 2004).
 *
 *     double f[NG_ROUGE_KINDS];
 *     if (ng_rouge(f, candidate, len, reference, ref_len)) ..      f[NG_ROUGE_1], ..
 *
 * Words are runs of ASCII letters and digits, lower-cased; no stemming, no stop words: as the usual
 * Python package does without its stemmer. */
#ifndef NG_TRAIN_ROUGE_H
#define NG_TRAIN_ROUGE_H

#include <nanogrid/status.h>

enum { NG_ROUGE_1, NG_ROUGE_2, NG_ROUGE_L, NG_ROUGE_KINDS };

/* NG_ENOMEM is the only error.  Texts beyond 4096 words count with their first 4096. */
ng_status ng_rouge(double f1[NG_ROUGE_KINDS], const char *candidate, size_t len, const char *reference,
                   size_t ref_len) NG_MUST_USE;

#endif

/* pair_ids.c: see pair_ids.h. */
#include "pair_ids.h"

#include <stdlib.h>
#include <string.h>

static const ng_tokenize_options with_special = {.add_special = true};

/* Cuts [CLS] text [SEP] to n ids that still close. */
static void cut(int32_t *ids, size_t *n, size_t most, int32_t end) {
    if (*n <= most) return;
    if (ids[*n - 1] == end) ids[most - 1] = end;
    *n = most;
}

ng_status ng_pair_ids_new(ng_pair_ids *out, const ng_tokenizer *t, const ng_text_pair *p, size_t n_most,
                          ng_error *err) {
    int32_t *b = NULL, end = ng_tokenizer_eos(t);
    size_t n = 0;
    *out = (ng_pair_ids){0};
    ng_status s = ng_tokenize(t, p->a, p->a_len, &with_special, &out->ids, &out->n, err);
    if (!s && p->b) s = ng_tokenize(t, p->b, p->b_len, &with_special, &b, &n, err);
    if (s) goto fail;
    out->n_all = out->n + (n ? n - 1 : 0); /* the second [CLS] goes */
    if (!p->b) return cut(out->ids, &out->n, n_most, end), NG_OK;

    size_t half = n_most / 2, rest = n - 1;
    size_t a_most = rest <= n_most - half ? n_most - rest : half; /* of n_most, what the shorter one leaves */
    cut(out->ids, &out->n, a_most, end);
    cut(b, &n, n_most - out->n + 1, end);
    int32_t *both = realloc(out->ids, (out->n + n) * sizeof *both);
    if (!both) {
        s = ng_fail(err, NG_ENOMEM, "encoder: no memory for %zu tokens", out->n + n);
        goto fail;
    }
    memcpy(both + out->n, b + 1, (n - 1) * sizeof *both);
    free(b);
    out->ids = both;
    out->n_first = out->n;
    out->n += n - 1;
    return NG_OK;
fail:
    free(out->ids);
    free(b);
    *out = (ng_pair_ids){0};
    return s;
}

/* params.c: the ranges of a task's parameters, in one table.  See nanogrid/tier.h.
 *
 * Whether a parameter applies to the task at all is the business of who offers it (a verb, an
 * endpoint): here a router may still have to say what the task is. */
#include <nanogrid/tier.h>

enum { LIST_MAX = 4096, LABEL_MAX = 256 };

typedef struct range {
    const char *name;
    uint32_t value, max;
} range;

static ng_status check_list(const char *name, const char *const *items, size_t n, ng_error *err) {
    if (n > LIST_MAX)
        return ng_fail(err, NG_EINVALID, "%s: %zu entries, at most %d", name, n, LIST_MAX);
    for (size_t i = 0; i < n; i++) {
        size_t len = 0;
        while (items[i] && len <= LABEL_MAX && items[i][len]) len++;
        if (!items[i] || len == 0 || len > LABEL_MAX)
            return ng_fail(err, NG_EINVALID, "%s[%zu] must have 1 to %d bytes", name, i, LABEL_MAX);
    }
    return NG_OK;
}

ng_status ng_params_check(const ng_params *p, ng_task task, ng_error *err) {
    const range ranges[] = {{"top_k", p->top_k, 4096},
                            {"max_sentences", p->max_sentences, 1000},
                            {"max_tokens", p->max_tokens, 1u << 20}};
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++)
        if (ranges[i].value > ranges[i].max)
            return ng_fail(err, NG_EINVALID, "%s: %u is out of range, use 1 to %u", ranges[i].name,
                           ranges[i].value, ranges[i].max);
    ng_status s = check_list("labels", p->labels, p->n_labels, err);
    if (!s) s = check_list("types", p->types, p->n_types, err);
    if (!s && task == NG_TASK_TRANSLATE && (!p->to || !*p->to))
        s = ng_fail(err, NG_EINVALID, "translate needs `to`, the language to translate into");
    if (!s && p->has_generate) s = ng_generate_options_check(&p->generate, err);
    return s;
}

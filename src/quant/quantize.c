/* quantize.c: one GGUF file to another precision.  See nanogrid/tools/weights.h.
 *
 * All keys are copied, save general.file_type; tensors keep their order.  The input stays mapped
 * until the output is renamed into place, so both may be the same file. */
#include "weights_report.h"

#include <stdlib.h>
#include <string.h>

static uint32_t count_layers(const ng_gguf *g) {
    unsigned long n = 0;
    for (size_t i = 0; i < ng_gguf_n_tensors(g); i++) {
        const char *name = ng_gguf_tensor_at(g, i)->name;
        if (strncmp(name, "blk.", 4)) continue;
        unsigned long at = strtoul(name + 4, NULL, 10);
        if (at < 1000000 && at >= n) n = at + 1;
    }
    return (uint32_t)n;
}

static ng_status plan(ng_weights_plan *p, const ng_gguf *g, ng_error *err) {
    ng_status s = NG_OK;
    ng_str arch = {"", 0};
    if (ng_gguf_has(g, "general.architecture"))
        s = ng_gguf_get_str(g, "general.architecture", &arch, err);
    if (s) return s;
    p->report->arch = ng_arena_strndup(p->report->arena, arch.data, arch.len);
    p->report->bytes_before = ng_gguf_file_bytes(g);
    if (!p->report->arch) return ng_fail(err, NG_ENOMEM, "%.200s: no memory", p->file);
    p->n_layers = count_layers(g);
    p->tied = !ng_gguf_find_tensor(g, "output.weight");
    p->gated = ng_gguf_find_tensor(g, "blk.0.ffn_gate.weight") != NULL;
    for (size_t i = 0; !s && i < ng_gguf_n_tensors(g); i++) {
        const ng_gguf_tensor *t = ng_gguf_tensor_at(g, i);
        ng_transcode item = {.name = t->name,
                             .src = t->data,
                             .from = t->type,
                             .n_dims = t->n_dims,
                             .dims = {t->dims[0], t->dims[1], t->dims[2], t->dims[3]}};
        s = ng_weights_plan_add(p, &item, err);
    }
    if (s) return s;
    ng_gguf_put_all(p->writer, g);
    return NG_OK;
}

ng_status ng_quantize_file(ng_weights_report *out, const char *in_path, const char *out_path,
                           const ng_weights_options *opt, ng_error *err) {
    *out = (ng_weights_report){0};
    if (!opt || !opt->type)
        return ng_fail(err, NG_EINVALID, "quantize needs a type: %s", ng_format_list());
    ng_gguf *g;
    ng_status s = ng_gguf_open(&g, in_path, err);
    if (s) return s;
    ng_weights_plan p;
    ng_imatrix *im = NULL;
    if (opt->imatrix) s = ng_imatrix_open(&im, opt->imatrix, err);
    if (!s) s = ng_weights_plan_new(&p, out, in_path, opt, opt->type, ng_gguf_n_tensors(g), err);
    if (!s) {
        p.imatrix = im;
        s = plan(&p, g, err);
        if (!s && im && !out->n_weighted)
            s = ng_fail(err, NG_EFORMAT, "%.200s knows none of the tensors of %.200s: it was made for another model",
                        opt->imatrix, in_path);
        if (!s) s = ng_weights_plan_commit(&p, out_path, err);
        ng_weights_plan_clear(&p);
        if (s) ng_weights_report_clear(out);
    }
    ng_imatrix_close(im);
    ng_gguf_close(g);
    return s;
}

/* weights_report.c: the plan of an output file, and what is said of it.  See weights_report.h.
 *
 * Invariant: items[i], report->tensors[i] and the writer's i-th tensor are the same tensor; the
 * items do not move after they were put, since the writer holds pointers to them until the
 * commit. */
#include "weights_report.h"

#include "kernel/dequant.h"
#include "quantize_row.h"

#include <assert.h>
#include <string.h>
#include <sys/stat.h>

static ng_status no_memory(const char *file, ng_error *err) {
    return ng_fail(err, NG_ENOMEM, "%.200s: no memory for the list of tensors", file);
}

ng_status ng_weights_plan_new(ng_weights_plan *p, ng_weights_report *report, const char *file,
                              const ng_weights_options *opt, const char *dflt, size_t n_tensors,
                              ng_error *err) {
    *p = (ng_weights_plan){.report = report, .file = file, .cap = n_tensors};
    *report = (ng_weights_report){0};
    const char *type = opt && opt->type ? opt->type : dflt;
    p->want = ng_format_find(type);
    const char *heads = opt && opt->heads ? opt->heads : type;
    p->heads = ng_format_find(heads);
    const char *refused = p->want ? heads : type;
    if ((!p->want || !p->heads) && ng_format_is_too_small(refused))
        return ng_fail(err, NG_EUNSUPPORTED,
                       "%.32s: with 2 bits and less a weight a nano model is lost, so this version writes no such "
                       "type, "
                       "whatever loss is accepted; the smallest is NG3 (about 2.9 bits, best with an imatrix)",
                       refused);
    if (!p->want || !p->heads)
        return ng_fail(err, NG_EINVALID, "%.32s is no type that can be written: choose among %s", refused,
                       ng_format_list());
    if (opt) p->coder.progress = opt->progress, p->coder.progress_ctx = opt->progress_ctx;
    ng_arena *a;
    if (ng_arena_new(&a, 0)) return no_memory(file, err);
    report->arena = a;
    report->type = p->want->name;
    report->kl_max = p->want->kl_max;
    report->cosine_min = p->want->cosine_min;
    p->file = ng_arena_strdup(a, file);
    p->items = ng_arena_array(a, n_tensors + 1, sizeof *p->items);
    report->tensors = ng_arena_array(a, n_tensors + 1, sizeof *report->tensors);
    if (!p->file || !p->items || !report->tensors || ng_gguf_writer_new(&p->writer)) {
        ng_weights_plan_clear(p);
        ng_weights_report_clear(report);
        return no_memory(file, err);
    }
    return NG_OK;
}

void ng_weights_plan_clear(ng_weights_plan *p) {
    ng_gguf_writer_free(p->writer);
    ng_transcoder_clear(&p->coder);
    p->writer = NULL;
}

static bool is_float(uint32_t type) {
    return type != NG_TYPE_I8 && type != NG_TYPE_I16 && type != NG_TYPE_I32 &&
           type != NG_TYPE_I64 && type != NG_TYPE_F64;
}

static bool is_quantized(uint32_t type) {
    return ng_type_get_info(type).block_len > 1;
}

/* Finds the columns' weights of a matrix that will be rounded. */
static ng_status weigh(ng_weights_plan *p, ng_transcode *item, ng_error *err) {
    if (!p->imatrix || item->n_dims != 2 || !is_quantized(item->to)) return NG_OK;
    bool found;
    float *w = ng_arena_array(p->report->arena, (size_t)item->dims[0], sizeof *w);
    if (!w) return no_memory(p->file, err);
    ng_status s = ng_imatrix_weights(p->imatrix, w, item->name, (size_t)item->dims[0], &found, err);
    if (s || !found) return s;
    item->weight = w;
    p->report->n_weighted++;
    /* Rows that are looked up too must also be right by themselves. */
    item->damping = p->tied && !strcmp(item->name, "token_embd.weight") ? 1.0 : 0.01;
    return ng_imatrix_products(p->imatrix, &item->products, item->name, (size_t)item->dims[0], err);
}

ng_status ng_weights_plan_add(ng_weights_plan *p, const ng_transcode *t, ng_error *err) {
    ng_weights_report *r = p->report;
    assert(r->n_tensors < p->cap);
    ng_transcode *item = &p->items[r->n_tensors];
    ng_weights_tensor *row = &r->tensors[r->n_tensors];
    *item = *t;
    item->coder = &p->coder;
    item->file = p->file;
    item->name = row->name = ng_arena_strdup(r->arena, t->name);
    if (!item->name) return no_memory(p->file, err);
    ng_weight_place at = {t->name, t->n_dims, t->dims, p->n_layers, p->tied, p->gated};
    const ng_format *want = strncmp(t->name, "head.", 5) ? p->want : p->heads;
    item->to = is_float(t->from) ? ng_weight_type(want, &at, &row->fell_back) : t->from;
    if (item->to != item->from && !ng_can_dequantize(item->from))
        return ng_fail(err, NG_EUNSUPPORTED,
                       "%.200s: tensor %.64s is stored as %s, which cannot be read back to floats; "
                       "start from the F16 or F32 file",
                       p->file, t->name, ng_type_get_info(t->from).name);
    row->from = ng_type_get_info(item->from).name;
    row->to = ng_type_get_info(item->to).name;
    uint64_t rows = t->dims[1] * t->dims[2] * t->dims[3];
    row->elements = t->dims[0] * rows; /* cannot overflow: the source has that many */
    size_t before = 0, after = 0;
    if (!ng_type_row_bytes(item->from, t->dims[0], &before) ||
        !ng_type_row_bytes(item->to, t->dims[0], &after))
        return ng_fail(err, NG_EFORMAT, "%.200s: rows of tensor %.64s do not fit their type",
                       p->file, t->name);
    row->bytes_before = before * rows;
    row->bytes_after = after * rows;
    r->parameters += row->elements;
    r->n_fell_back += row->fell_back;
    r->n_requantized +=
        is_quantized(item->from) && is_quantized(item->to) && item->from != item->to;
    p->coder.total += (double)row->elements;
    ng_status s = weigh(p, item, err);
    if (s) return s;
    r->n_tensors++;
    ng_gguf_put_tensor_made(p->writer, item->name, item->to, item->n_dims, item->dims,
                            ng_transcode_make, item);
    return NG_OK;
}

ng_status ng_weights_plan_commit(ng_weights_plan *p, const char *out_path, ng_error *err) {
    ng_gguf_put_u32(p->writer, "general.file_type", p->want->file_type);
    ng_gguf_put_u32(p->writer, "general.quantization_version", 2);
    ng_gguf_writer *w = p->writer;
    p->writer = NULL; /* the commit frees it */
    ng_status s = ng_gguf_writer_commit(w, out_path, err);
    if (s) return s;
    struct stat st;
    if (stat(out_path, &st))
        return ng_fail(err, NG_EIO, "%.200s: it was written and is gone", out_path);
    p->report->bytes_after = (size_t)st.st_size;
    return NG_OK;
}

void ng_weights_report_clear(ng_weights_report *r) {
    ng_arena_free(r->arena);
    *r = (ng_weights_report){0};
}

static const char *const type_names[] = {
#define TYPE_NAME(name, id, text, n, bytes) text,
    NG_TENSOR_TYPES(TYPE_NAME)
#undef TYPE_NAME
};

static size_t count_type(const ng_weights_report *r, const char *type) {
    size_t n = 0;
    for (size_t i = 0; i < r->n_tensors; i++) n += !strcmp(r->tensors[i].to, type);
    return n;
}

void ng_weights_report_json(ng_json *j, const ng_weights_report *r) {
    ng_json_object(j);
    ng_json_key(j, "arch"), ng_json_str(j, r->arch);
    ng_json_key(j, "type"), ng_json_str(j, r->type);
    ng_json_key(j, "parameters"), ng_json_uint(j, r->parameters);
    ng_json_key(j, "bytes_before"), ng_json_uint(j, r->bytes_before);
    ng_json_key(j, "bytes_after"), ng_json_uint(j, r->bytes_after);
    ng_json_key(j, "types"), ng_json_object(j);
    for (size_t i = 0; i < sizeof type_names / sizeof *type_names; i++) {
        size_t n = count_type(r, type_names[i]);
        if (n) ng_json_key(j, type_names[i]), ng_json_uint(j, n);
    }
    ng_json_end(j);
    ng_json_key(j, "requantized"), ng_json_uint(j, r->n_requantized);
    ng_json_key(j, "weighted"), ng_json_uint(j, r->n_weighted);
    ng_json_key(j, "fell_back"), ng_json_array(j);
    for (size_t i = 0; i < r->n_tensors; i++)
        if (r->tensors[i].fell_back) ng_json_str(j, r->tensors[i].name);
    ng_json_end(j);
}

void ng_weights_report_text(ng_buf *out, const ng_weights_report *r) {
    ng_buf_printf(out, "%-40s %6s %6s %12s %12s\n", "tensor", "from", "to", "bytes", "now");
    for (size_t i = 0; i < r->n_tensors; i++) {
        const ng_weights_tensor *t = &r->tensors[i];
        ng_buf_printf(out, "%-40s %6s %6s %12zu %12zu%s\n", t->name, t->from, t->to,
                      t->bytes_before, t->bytes_after,
                      t->fell_back ? "  rows do not fit the blocks" : "");
    }
    ng_buf_printf(out, "%zu tensors, %llu parameters, %zu bytes before, %zu after (%.1f %%)\n",
                  r->n_tensors, (unsigned long long)r->parameters, r->bytes_before, r->bytes_after,
                  r->bytes_before ? 100.0 * (double)r->bytes_after / (double)r->bytes_before : 0.0);
    if (r->n_weighted) ng_buf_printf(out, "%zu tensors were weighted by the importance matrix\n", r->n_weighted);
    if (r->n_requantized)
        ng_buf_printf(out,
                      "%zu tensors were quantised before and lost precision twice: start from F16 "
                      "where you can\n",
                      r->n_requantized);
}

/* transcode.c: rows through float into their new type.  See transcode.h.
 *
 * How.  The writer asks for one tensor at a time, so the scratch is as large as the largest tensor,
 * not as the model.  A tensor that keeps type and order is passed on from the mapping, unread.
 *
 * RoPE rows.  Hugging Face keeps, for each head of d rows, the first halves of all rotated pairs
 * and then the second halves; llama.cpp rotates neighbours.  Row 2j + i of a head in the GGUF is
 * therefore row i d/2 + j of the head in the safetensors (convert_hf_to_gguf.py:
 * LlamaModel.permute). */
#include "transcode.h"

#include "core/checked.h"
#include "kernel/dequant.h"
#include "quantize_row.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void ng_transcoder_clear(ng_transcoder *c) {
    free(c->bytes);
    free(c->row);
    *c = (ng_transcoder){0};
}

static bool ends_with(const char *s, const char *end) {
    size_t n = strlen(s), m = strlen(end);
    return n >= m && !strcmp(s + n - m, end);
}

/* llama.cpp keeps these in F32 whatever is asked for (llama_model_quantize; base.py
 * prepare_tensors). */
static bool stays_f32(const char *name) {
    static const char *const ends[] = {
        "_norm.weight",          "position_embd.weight",      "token_types.weight",
        "ffn_gate_inp.weight",   "ffn_gate_inp_shexp.weight", "ssm_conv1d.weight",
        "shortconv.conv.weight", "rope_freqs.weight"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ends_with(name, ends[i])) return true;
    return !ends_with(name, ".weight");
}

ng_type ng_weight_type(const char *name, uint32_t n_dims, const uint64_t *dims, ng_type want,
                       bool *fell_back) {
    *fell_back = false;
    if (n_dims < 2 || stays_f32(name)) return NG_TYPE_F32;
    *fell_back = dims[0] % ng_type_get_info(want).block_len != 0;
    return *fell_back ? NG_TYPE_F16 : want;
}

uint32_t ng_file_type(ng_type type) {
    switch (type) {
    case NG_TYPE_F16:
        return 1;
    case NG_TYPE_Q4_0:
        return 2;
    case NG_TYPE_Q4_1:
        return 3;
    case NG_TYPE_Q8_0:
        return 7;
    case NG_TYPE_BF16:
        return 32;
    default:
        return 0; /* all F32 */
    }
}

static bool reserve(ng_transcoder *c, size_t bytes, size_t row) {
    if (bytes > c->cap) {
        free(c->bytes);
        c->cap = 0;
        c->bytes = malloc(bytes);
        if (!c->bytes) return false;
        c->cap = bytes;
    }
    if (row > c->row_cap) {
        free(c->row);
        c->row_cap = 0;
        c->row = malloc(row * sizeof *c->row);
        if (!c->row) return false;
        c->row_cap = row;
    }
    return true;
}

static size_t source_row(const ng_transcode *t, size_t r) {
    if (!t->rope_heads) return r;
    size_t d = (size_t)t->dims[1] / t->rope_heads, head = r / d, k = r % d;
    return head * d + k % 2 * (d / 2) + k / 2;
}

static ng_status code_rows(const ng_transcode *t, size_t rows, size_t from_bytes, size_t to_bytes,
                           ng_error *err) {
    ng_transcoder *c = t->coder;
    size_t n = (size_t)t->dims[0];
    for (size_t r = 0; r < rows; r++) {
        ng_dequantize_row(t->from, (const uint8_t *)t->src + source_row(t, r) * from_bytes, c->row,
                          n);
        if (!ng_quantize_row(t->to, c->row, c->bytes + r * to_bytes, n))
            return ng_fail(
                err, NG_EFORMAT,
                "%.200s: row %zu of tensor %.64s has a value that %s cannot hold (infinite, "
                "not a number or too large); try F32 or BF16",
                t->file, r, t->name, ng_type_get_info(t->to).name);
        if (c->progress && r % 1024 == 0)
            c->progress(c->progress_ctx, c->done + (double)r * (double)n, c->total);
    }
    return NG_OK;
}

ng_status ng_transcode_make(void *transcode, const void **data, ng_error *err) {
    ng_transcode whole = *(const ng_transcode *)transcode;
    const ng_transcode *t = &whole;
    if (t->n_dims == 1 &&
        t->rope_heads) { /* a bias: its elements move as the rows of its matrix do */
        whole.dims[1] = whole.dims[0];
        whole.dims[0] = 1;
    }
    ng_transcoder *c = t->coder;
    size_t rows = (size_t)(t->dims[1] * t->dims[2] * t->dims[3]), from_bytes, to_bytes;
    ng_status s = NG_OK;
    *data = t->src;
    if (t->from != t->to || t->rope_heads) {
        bool fits = ng_type_row_bytes(t->from, t->dims[0], &from_bytes) &&
                    ng_type_row_bytes(t->to, t->dims[0], &to_bytes);
        assert(fits && ng_can_dequantize(t->from) &&
               ng_can_quantize(t->to)); /* the caller chose the types */
        size_t bytes;
        if (!fits || !ng_mul_ok(&bytes, rows, to_bytes) || !reserve(c, bytes, (size_t)t->dims[0]))
            return ng_fail(err, NG_ENOMEM, "%.200s: no memory for tensor %.64s", t->file, t->name);
        s = code_rows(t, rows, from_bytes, to_bytes, err);
        *data = c->bytes;
    }
    c->done += (double)rows * (double)t->dims[0];
    if (c->progress) c->progress(c->progress_ctx, c->done, c->total);
    return s;
}

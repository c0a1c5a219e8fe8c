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
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void ng_transcoder_clear(ng_transcoder *c) {
    free(c->bytes);
    free(c->rows);
    ng_pool_free(c->pool);
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

/* The limits are about three times what the two models of docs/formats.md lose. */
static const ng_format formats[] = {
#define ONE(type, file_type, kl, cosine) {#type, NG_TYPE_##type, NG_TYPE_##type, file_type, kl, cosine}
    ONE(F32, 0, 0.001, 0.9999),  ONE(F16, 1, 0.001, 0.9999),  ONE(BF16, 32, 0.01, 0.999),
    ONE(Q8_0, 7, 0.02, 0.998),   ONE(Q6_K, 18, 0.05, 0.995),  ONE(Q5_1, 9, 0.15, 0.98),
    ONE(Q5_0, 8, 0.15, 0.98),    ONE(Q5_K, 16, 0.15, 0.98),   ONE(Q4_1, 3, 0.4, 0.95),
    ONE(Q4_0, 2, 0.4, 0.95),     ONE(Q4_K, 14, 0.4, 0.95),    ONE(NG4, NG_TYPE_NG4, 0.4, 0.95),
#undef ONE
    {"NG3", NG_TYPE_NG3, NG_TYPE_NG3_S, NG_TYPE_NG3, 1.5, 0.8},
    {"Q5_K_M", NG_TYPE_Q5_K, NG_TYPE_Q6_K, 17, 0.15, 0.98},
    {"Q4_K_M", NG_TYPE_Q4_K, NG_TYPE_Q6_K, 15, 0.4, 0.95},
    {"NG4_M", NG_TYPE_NG4, NG_TYPE_Q8_0, NG_TYPE_NG4, 0.4, 0.95},
};

const ng_format *ng_format_find(const char *name) {
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (!strcasecmp(name, formats[i].name)) return &formats[i];
    return NULL;
}

bool ng_format_is_too_small(const char *name) {
    static const char *const begins[] = {"Q2_K", "IQ2_", "IQ1_", "Q1_", "TQ1_", "TQ2_"};
    for (size_t i = 0; i < sizeof begins / sizeof *begins; i++)
        if (!strncasecmp(name, begins[i], strlen(begins[i]))) return true;
    return false;
}

const char *ng_format_list(void) {
    return "F32, F16, BF16, Q8_0, Q6_K, Q5_K_M, Q5_K, Q5_1, Q5_0, Q4_K_M, Q4_K, Q4_1, Q4_0, NG4_M, NG4, NG3";
}

/* llama.cpp's mixes give more to the output head, and to attn_v and ffn_down in the first and last
 * eighth of the layers and every third between.  Ours to what attention reads and writes, attn_v and attn_output, in every
 * layer: a fifth and less of the weights, where a bit saves most (bench/formats).  NG3 takes bits from the two matrices
 * into the inner rows of a gated block, two fifths of the weights of a llama. */
static bool gets_other(const ng_format *f, const ng_weight_place *at) {
    if (f->base == NG_TYPE_NG3)
        return at->gated && (ends_with(at->name, ".ffn_gate.weight") || ends_with(at->name, ".ffn_up.weight"));
    if (f->base == NG_TYPE_NG4)
        return ends_with(at->name, ".attn_v.weight") || ends_with(at->name, ".attn_output.weight");
    if (ends_with(at->name, "output.weight") && strlen(at->name) == strlen("output.weight")) return true;
    if (at->tied && !strcmp(at->name, "token_embd.weight")) return true;
    if (strncmp(at->name, "blk.", 4) ||
        !(ends_with(at->name, ".attn_v.weight") || ends_with(at->name, ".ffn_down.weight")))
        return false;
    unsigned long n = at->n_layers, i = strtoul(at->name + 4, NULL, 10);
    return i < n / 8 || i >= 7 * n / 8 || (i - n / 8) % 3 == 2;
}

static ng_type next_type(ng_type t) {
    switch (t) {
    case NG_TYPE_Q4_K:
    case NG_TYPE_NG4: return NG_TYPE_Q5_0;
    case NG_TYPE_Q5_K: return NG_TYPE_Q5_1;
    case NG_TYPE_Q6_K: return NG_TYPE_Q8_0;
    case NG_TYPE_NG3:
    case NG_TYPE_NG3_S: return NG_TYPE_Q4_0;
    default: return NG_TYPE_F16;
    }
}

ng_type ng_weight_type(const ng_format *f, const ng_weight_place *at, bool *fell_back) {
    *fell_back = false;
    if (at->n_dims < 2 || stays_f32(at->name)) return NG_TYPE_F32;
    ng_type t = f->base != f->other && gets_other(f, at) ? f->other : f->base;
    while (at->dims[0] % ng_type_get_info(t).block_len) t = next_type(t), *fell_back = true;
    return t;
}

static bool reserve(ng_transcoder *c, size_t bytes, size_t row) {
    ng_error unused = {0};
    if (!c->pool && ng_pool_new(&c->pool, 0, &unused)) return false;
    if (bytes > c->cap) {
        free(c->bytes);
        c->cap = 0;
        c->bytes = malloc(bytes);
        if (!c->bytes) return false;
        c->cap = bytes;
    }
    if (row > c->row_cap) {
        size_t n;
        free(c->rows);
        c->row_cap = 0;
        c->rows = ng_mul_ok(&n, row, 2 * sizeof *c->rows * (size_t)ng_pool_threads(c->pool)) ? malloc(n) : NULL;
        if (!c->rows) return false;
        c->row_cap = row;
    }
    return true;
}

static size_t source_row(const ng_transcode *t, size_t r) {
    if (!t->rope_heads) return r;
    size_t d = (size_t)t->dims[1] / t->rope_heads, head = r / d, k = r % d;
    return head * d + k % 2 * (d / 2) + k / 2;
}

/* Rows at a time between two reports of progress. */
enum { SLAB = 1024, NONE = SIZE_MAX };

typedef struct slab {
    const ng_transcode *t;
    const ng_carry *carry; /* or NULL */
    size_t begin, end, from_bytes, to_bytes;
    _Atomic size_t bad; /* the least row that the type cannot hold */
} slab;

static void code_slab(void *ctx, int part, int n_parts) {
    slab *s = ctx;
    const ng_transcode *t = s->t;
    ng_transcoder *c = t->coder;
    size_t n = (size_t)t->dims[0], begin, end;
    float *row = c->rows + (size_t)part * 2 * c->row_cap;
    ng_pool_slice(s->end - s->begin, 1, part, n_parts, &begin, &end);
    for (size_t r = s->begin + begin; r < s->begin + end; r++) {
        ng_dequantize_row(t->from, (const uint8_t *)t->src + source_row(t, r) * s->from_bytes, row, n);
        if (s->carry && ng_can_hold(t->to, row, n)) {
            ng_quantize_carried(t->to, s->carry, row, row + c->row_cap, c->bytes + r * s->to_bytes);
            continue;
        }
        if (ng_quantize_row(t->to, row, t->weight, c->bytes + r * s->to_bytes, n)) continue;
        size_t seen = s->bad;
        while (r < seen && !atomic_compare_exchange_weak(&s->bad, &seen, r)) {}
        return;
    }
}

/* Tensors that are passed on unread elsewhere. */
static ng_status check_finite(const ng_transcode *t, size_t rows, size_t from_bytes, ng_error *err) {
    float *row = t->coder->rows;
    for (size_t r = 0; r < rows; r++) {
        ng_dequantize_row(t->from, (const uint8_t *)t->src + r * from_bytes, row, (size_t)t->dims[0]);
        for (uint64_t i = 0; i < t->dims[0]; i++)
            if (!(row[i] - row[i] == 0.0f))
                return ng_fail(err, NG_EFORMAT,
                               "%.200s: row %zu of tensor %.64s has a value that is infinite or not a number", t->file,
                               r, t->name);
    }
    return NG_OK;
}

static ng_status code_rows(const ng_transcode *t, size_t rows, size_t from_bytes, size_t to_bytes,
                           ng_error *err) {
    ng_transcoder *c = t->coder;
    ng_carry *carry = NULL;
    if (t->products && ng_can_carry(t->to)) {
        ng_error why = {0};
        ng_status s = ng_carry_new(&carry, t->products, (size_t)t->dims[0], t->damping, c->pool, &why);
        if (s) return ng_fail(err, s, "%.200s: importance of tensor %.64s: %.200s", t->file, t->name, why.text);
    }
    size_t bad = NONE;
    for (size_t r = 0; bad == NONE && r < rows; r += SLAB) {
        slab s = {t, carry, r, rows - r < SLAB ? rows : r + SLAB, from_bytes, to_bytes, NONE};
        ng_pool_run(c->pool, code_slab, &s);
        bad = s.bad;
        if (c->progress)
            c->progress(c->progress_ctx, c->done + (double)s.end * (double)t->dims[0], c->total);
    }
    ng_carry_free(carry);
    if (bad == NONE) return NG_OK;
    return ng_fail(err, NG_EFORMAT,
                   "%.200s: row %zu of tensor %.64s has a value that %s cannot hold (infinite, "
                   "not a number or too large); try F32 or BF16",
                   t->file, bad, t->name, ng_type_get_info(t->to).name);
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
    if (t->from == t->to && !t->rope_heads) {
        if (ng_can_dequantize(t->from)) {
            if (!ng_type_row_bytes(t->from, t->dims[0], &from_bytes) || !reserve(c, 0, (size_t)t->dims[0]))
                return ng_fail(err, NG_ENOMEM, "%.200s: no memory for tensor %.64s", t->file, t->name);
            s = check_finite(t, rows, from_bytes, err);
        }
    } else {
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

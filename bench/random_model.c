/* random_model.c: writes a model of random weights, to measure what a size and a type cost.
 *
 *     build/random_model OUT.gguf 135M Q4_0          llama shapes of about that many parameters
 *     build/random_model OUT.gguf 8B Q4_K_M          exactly the shapes and types of an 8 B model
 *
 * Speed and memory do not depend on what the weights say, only on their shapes and types; the scales keep
 * the activations finite.  Each tensor is the same megabyte of noise again and again with its scales put in
 * order, so writing goes at the speed of the disk.  The file has no tokenizer: `bench`, `doctor` and
 * `logits --tokens` run it. */
#include "gguf/gguf.h"
#include "core/hash.h"
#include "kernel/half.h"
#include "quant/quantize_row.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct shape {
    uint32_t n_embd, n_ff, n_head, n_head_kv, n_layer, n_vocab;
    bool tied;
} shape;

typedef struct tensor {
    char name[64];
    ng_type type;
    uint64_t dims[2];
} tensor;

enum { TENSORS_MAX = 4096, NOISE = 1 << 20, HEAD_DIM = 64, CTX = 8192 };

static tensor tensors[TENSORS_MAX];
static size_t n_tensors, next_tensor;
static uint8_t *data, noise[NOISE];
static size_t data_cap;

/* ---- shapes ------------------------------------------------------------------------------------------ */

static double n_params(const shape *s) {
    double e = s->n_embd, kv = (double)s->n_head_kv / s->n_head * e;
    return e * s->n_vocab * (s->tied ? 1 : 2) + s->n_layer * (2 * e * e + 2 * e * kv + 3 * e * s->n_ff);
}

/* Of the widths that are multiples of 64 (of 256 from 1024 on), the one whose model of the wanted size is as
 * deep as SmolLM2's: a layer for every 19 to 85 columns. */
static shape shape_for(double wanted) {
    shape best = {0};
    double best_off = 1e9;
    for (uint32_t e = 128; e <= 4096; e += e < 1024 ? 64 : 256)
        for (uint32_t layers = 4; layers <= 48; layers++) {
            uint32_t heads = e / HEAD_DIM, kv = heads % 3 == 0 ? heads / 3 : heads % 4 == 0 ? heads / 4 : heads;
            shape s = {.n_embd = e, .n_ff = (e * 8 / 3 + 255) / 256 * 256, .n_head = heads, .n_head_kv = kv, .n_layer = layers,
                       .n_vocab = wanted < 50e6 ? 8192 : 32768, .tied = true};
            double ratio = (double)e / layers, off = fabs(n_params(&s) / wanted - 1);
            if (ratio < 16 || ratio > 90) off += 1;
            if (off < best_off) best_off = off, best = s;
        }
    return best;
}

static const shape llama_8b = {4096, 14336, 32, 8, 32, 128256, false}; /* Llama 3.1 8B */

/* ---- values ------------------------------------------------------------------------------------------- */

static void put_half(uint8_t *p, double v) {
    uint16_t h = ng_f32_to_f16((float)v);
    memcpy(p, &h, sizeof h);
}

/* Scales of every block so that weights spread like 1 / sqrt(columns); false: not a type of this table. */
static bool put_scales(uint32_t type, uint8_t *p, size_t bytes, double spread) {
    static const struct {
        uint32_t type;
        size_t d_at;
        double code_spread, min; /* of codes around their middle; min: dmin as multiple of d, at d_at + 2 */
    } table[] = {{NG_TYPE_Q4_0, 0, 4.6, 0},         {NG_TYPE_Q4_1, 0, 4.6, -7.5},     {NG_TYPE_Q5_0, 0, 9.2, 0},
                 {NG_TYPE_Q5_1, 0, 9.2, -15.5},     {NG_TYPE_Q8_0, 0, 74, 0},         {NG_TYPE_Q4_K, 0, 4.6 * 36, 7.5},
                 {NG_TYPE_Q5_K, 0, 9.2 * 36, 15.5}, {NG_TYPE_Q6_K, 208, 18.5 * 74, 0}};
    for (size_t t = 0; t < sizeof table / sizeof table[0]; t++) {
        if (table[t].type != type) continue;
        double d = spread / table[t].code_spread;
        for (size_t at = 0; at < bytes; at += ng_type_get_info(type).block_bytes) {
            put_half(p + at + table[t].d_at, d);
            if (table[t].min != 0) put_half(p + at + table[t].d_at + 2, d * table[t].min);
        }
        return true;
    }
    return false;
}

/* One row again and again: of float types, and of those that only the quantiser knows. */
static bool put_rows(const tensor *t, size_t row_bytes, double spread) {
    float *row = malloc(t->dims[0] * sizeof *row);
    ng_rng rng = ng_rng_seed(t->dims[0]);
    for (size_t i = 0; row && i < t->dims[0]; i++)
        row[i] = (float)(((double)ng_rng_below(&rng, 1 << 20) / (1 << 19) - 1) * 1.73 * spread);
    bool ok = row && ng_quantize_row(t->type, row, NULL, data, t->dims[0]);
    for (size_t r = 1; ok && r < t->dims[1]; r++) memcpy(data + r * row_bytes, data, row_bytes);
    free(row);
    return ok;
}

static ng_status make(void *ctx, const void **out, ng_error *err) {
    (void)ctx;
    const tensor *t = &tensors[next_tensor++];
    size_t row_bytes;
    if (!ng_type_row_bytes(t->type, t->dims[0], &row_bytes))
        return ng_fail(err, NG_EINVALID, "%s: no whole blocks", t->name);
    size_t bytes = row_bytes * t->dims[1];
    if (bytes > data_cap) {
        free(data);
        data = malloc(data_cap = bytes);
        if (!data) return ng_fail(err, NG_ENOMEM, "out of memory");
    }
    *out = data;
    if (t->type == NG_TYPE_F32 && t->dims[1] == 1) { /* a norm */
        for (size_t i = 0; i < t->dims[0]; i++) ((float *)(void *)data)[i] = 1;
        return NG_OK;
    }
    for (size_t at = 0; at < bytes; at += NOISE) memcpy(data + at, noise, bytes - at < NOISE ? bytes - at : NOISE);
    double spread = 1 / sqrt((double)t->dims[0]);
    if (put_scales(t->type, data, bytes, spread) || put_rows(t, row_bytes, spread)) return NG_OK;
    return ng_fail(err, NG_EUNSUPPORTED, "random weights of type %s cannot be made", ng_type_get_info(t->type).name);
}

/* ---- the file ----------------------------------------------------------------------------------------- */

static void add(ng_gguf_writer *w, const char *name, ng_type type, uint64_t n_cols, uint64_t n_rows) {
    tensor *t = &tensors[n_tensors++];
    *t = (tensor){.type = type, .dims = {n_cols, n_rows}};
    snprintf(t->name, sizeof t->name, "%s", name);
    ng_gguf_put_tensor_made(w, t->name, type, n_rows == 1 ? 1 : 2, t->dims, make, NULL);
}

/* "Q4_K_M" as llama.cpp mixes it: Q6_K where it matters most, Q5_0 and Q8_0 where rows are no multiple of 256. */
typedef struct mix {
    ng_type base;
    bool is_k_m;
} mix;

static ng_type type_of(const mix *m, const char *part, uint32_t layer, const shape *s, uint64_t n_cols) {
    if (!m->is_k_m) return m->base;
    bool early_or_late = layer < s->n_layer / 8 || layer >= 7 * s->n_layer / 8 || (layer - s->n_layer / 8) % 3 == 2;
    bool more = !strcmp(part, "output") || ((!strcmp(part, "attn_v") || !strcmp(part, "ffn_down")) && early_or_late);
    if (n_cols % 256) return more ? NG_TYPE_Q8_0 : NG_TYPE_Q5_0;
    return more ? NG_TYPE_Q6_K : NG_TYPE_Q4_K;
}

static void add_layer(ng_gguf_writer *w, const shape *s, const mix *m, uint32_t layer) {
    uint32_t e = s->n_embd, kv = e / s->n_head * s->n_head_kv;
    const struct {
        const char *part;
        uint32_t n_cols, n_rows;
    } parts[] = {{"attn_q", e, e},        {"attn_k", e, kv},      {"attn_v", e, kv},         {"attn_output", e, e},
                 {"ffn_gate", e, s->n_ff}, {"ffn_up", e, s->n_ff}, {"ffn_down", s->n_ff, e}};
    char name[64];
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++) {
        snprintf(name, sizeof name, "blk.%u.%s.weight", layer, parts[i].part);
        add(w, name, type_of(m, parts[i].part, layer, s, parts[i].n_cols), parts[i].n_cols, parts[i].n_rows);
    }
    snprintf(name, sizeof name, "blk.%u.attn_norm.weight", layer);
    add(w, name, NG_TYPE_F32, e, 1);
    snprintf(name, sizeof name, "blk.%u.ffn_norm.weight", layer);
    add(w, name, NG_TYPE_F32, e, 1);
}

static ng_status write_model(const char *path, const shape *s, const mix *m, ng_error *err) {
    ng_gguf_writer *w;
    if (ng_gguf_writer_new(&w)) return ng_fail(err, NG_ENOMEM, "out of memory");
    ng_gguf_put_str(w, "general.architecture", "llama");
    ng_gguf_put_u32(w, "llama.embedding_length", s->n_embd);
    ng_gguf_put_u32(w, "llama.block_count", s->n_layer);
    ng_gguf_put_u32(w, "llama.feed_forward_length", s->n_ff);
    ng_gguf_put_u32(w, "llama.context_length", CTX);
    ng_gguf_put_u32(w, "llama.attention.head_count", s->n_head);
    ng_gguf_put_u32(w, "llama.attention.head_count_kv", s->n_head_kv);
    ng_gguf_put_f32(w, "llama.attention.layer_norm_rms_epsilon", 1e-5f);
    add(w, "token_embd.weight",
        s->tied ? type_of(m, "output", 0, s, s->n_embd) : type_of(m, "token_embd", 0, s, s->n_embd), s->n_embd,
        s->n_vocab);
    for (uint32_t i = 0; i < s->n_layer; i++) add_layer(w, s, m, i);
    if (!s->tied) add(w, "output.weight", type_of(m, "output", 0, s, s->n_embd), s->n_embd, s->n_vocab);
    add(w, "output_norm.weight", NG_TYPE_F32, s->n_embd, 1);
    return ng_gguf_writer_commit(w, path, err);
}

int main(int argc, char **argv) {
    char unit = 0;
    double wanted = 0;
    mix m = {0};
    if (argc == 4) sscanf(argv[2], "%lf%c", &wanted, &unit);
    wanted *= unit == 'B' ? 1e9 : unit == 'M' ? 1e6 : unit == 0 ? 1 : 0;
    m.is_k_m = argc == 4 && !strcmp(argv[3], "Q4_K_M");
    if (argc != 4 || !(wanted >= 1e6 && wanted <= 9e9) || (!m.is_k_m && !ng_type_parse(&m.base, argv[3]))) {
        fprintf(stderr, "usage: random_model OUT.gguf PARAMETERS TYPE    such as 135M Q4_0, 8B Q4_K_M; 1M to 8B\n");
        return 2;
    }
    shape s = wanted > 5e9 ? llama_8b : shape_for(wanted);
    ng_rng rng = ng_rng_seed(1);
    for (size_t i = 0; i < NOISE; i++) noise[i] = (uint8_t)ng_rng_below(&rng, 256);
    ng_error err = {0};
    if (write_model(argv[1], &s, &m, &err)) {
        fprintf(stderr, "random_model: %s\n", err.text);
        return 1;
    }
    free(data);
    printf("%s: %.1f M parameters, width %u, %u layers, %u heads over %u, feed-forward %u, vocabulary %u\n", argv[1],
           n_params(&s) / 1e6, s.n_embd, s.n_layer, s.n_head, s.n_head_kv, s.n_ff, s.n_vocab);
    return 0;
}

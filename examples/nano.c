/* nano.c: a llama-family language model in one file, from GGUF to tokens, for reading.
 *
 *     cc -O2 -o nano nano.c -lm
 *     ./nano SmolLM2-135M.Q4_1.gguf --tokens 504,3575,282 -n 16          new ids, and their text
 *     ./nano SmolLM2-135M.Q4_1.gguf --tokens 504,3575,282 --logits       the last position's logits
 *
 * It shares nothing with the engine: no header, no source, no trick.  Weights become floats when they
 * are loaded, every operation is a plain loop, sums are doubles.  So it is slow, it is short, and it
 * can say whether the fast engine is right: the tests use it as a second oracle.
 *
 * The file reads top to bottom: half floats and block formats; the GGUF file; the model; the forward
 * pass (RMSNorm, attention with rotary positions and grouped heads, SwiGLU); the loop that generates.
 * Formats follow ggml's docs/gguf.md and ggml-common.h, the model "LLaMA" (Touvron et al. 2023) with
 * grouped-query attention (Ainslie et al. 2023) and rotary embeddings (Su et al. 2021). */
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void die(const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fputs("nano: ", stderr);
    vfprintf(stderr, fmt, ap);
    fputc('\n', stderr);
    exit(1);
}

static void *take(size_t count, size_t size) {
    void *p = calloc(count ? count : 1, size);
    if (!p) die("out of memory (%zu x %zu bytes)", count, size);
    return p;
}

/* ---- numbers ------------------------------------------------------------------------------------ */

static float from_bits(uint32_t bits) {
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

/* IEEE 754 half: 1 sign, 5 exponent, 10 mantissa bits. */
static float half(const uint8_t *p) {
    uint32_t h = p[0] | (uint32_t)p[1] << 8, sign = h >> 15, exponent = h >> 10 & 31, mantissa = h & 1023;
    double v = exponent == 0    ? ldexp(mantissa, -24)
               : exponent == 31 ? (mantissa ? NAN : INFINITY)
                                : ldexp(1024 + mantissa, (int)exponent - 25);
    return (float)(sign ? -v : v);
}

/* ---- block formats: each reads one block and writes its floats -------------------------------------- */

typedef void unpack_fn(const uint8_t *b, float *out);

static void unpack_f32(const uint8_t *b, float *out) { memcpy(out, b, 4); }
static void unpack_f16(const uint8_t *b, float *out) { *out = half(b); }
static void unpack_bf16(const uint8_t *b, float *out) { *out = from_bits((uint32_t)(b[0] | b[1] << 8) << 16); }

/* 32 weights: scale, then bytes. */
static void unpack_q8_0(const uint8_t *b, float *out) {
    for (int i = 0; i < 32; i++) out[i] = half(b) * (float)(int8_t)b[2 + i];
}

/* 32 weights: scale, 16 bytes of nibbles; low nibbles are the first half. */
static void unpack_q4_0(const uint8_t *b, float *out) {
    for (int i = 0; i < 16; i++) {
        out[i] = half(b) * (float)((b[2 + i] & 15) - 8);
        out[i + 16] = half(b) * (float)((b[2 + i] >> 4) - 8);
    }
}

/* As Q4_0, but with a minimum instead of a fixed offset. */
static void unpack_q4_1(const uint8_t *b, float *out) {
    for (int i = 0; i < 16; i++) {
        out[i] = half(b) * (float)(b[4 + i] & 15) + half(b + 2);
        out[i + 16] = half(b) * (float)(b[4 + i] >> 4) + half(b + 2);
    }
}

/* The fifth bits stand in four bytes of their own. */
static int fifth(const uint8_t *high, int i) { return (high[i / 8] >> (i % 8) & 1) << 4; }

static void unpack_q5_0(const uint8_t *b, float *out) {
    for (int i = 0; i < 16; i++) {
        out[i] = half(b) * (float)(((b[6 + i] & 15) | fifth(b + 2, i)) - 16);
        out[i + 16] = half(b) * (float)(((b[6 + i] >> 4) | fifth(b + 2, i + 16)) - 16);
    }
}

static void unpack_q5_1(const uint8_t *b, float *out) {
    for (int i = 0; i < 16; i++) {
        out[i] = half(b) * (float)((b[8 + i] & 15) | fifth(b + 4, i)) + half(b + 2);
        out[i + 16] = half(b) * (float)((b[8 + i] >> 4) | fifth(b + 4, i + 16)) + half(b + 2);
    }
}

/* Q4_K and Q5_K: 256 weights in 8 groups of 32; scales and minima are 6 bits each, packed in 12 bytes. */
static void scale_min(const uint8_t *s, int group, int *scale, int *min) {
    if (group < 4) {
        *scale = s[group] & 63;
        *min = s[group + 4] & 63;
    } else {
        *scale = (s[group + 4] & 15) | (s[group - 4] >> 6) << 4;
        *min = (s[group + 4] >> 4) | (s[group] >> 6) << 4;
    }
}

static void unpack_q4_k(const uint8_t *b, float *out) {
    for (int g = 0; g < 8; g++) {
        int scale, min;
        scale_min(b + 4, g, &scale, &min);
        for (int i = 0; i < 32; i++) {
            int byte = b[16 + g / 2 * 32 + i], q = g % 2 ? byte >> 4 : byte & 15;
            out[g * 32 + i] = half(b) * (float)scale * (float)q - half(b + 2) * (float)min;
        }
    }
}

static void unpack_q5_k(const uint8_t *b, float *out) {
    for (int g = 0; g < 8; g++) {
        int scale, min;
        scale_min(b + 4, g, &scale, &min);
        for (int i = 0; i < 32; i++) {
            int byte = b[48 + g / 2 * 32 + i], q = g % 2 ? byte >> 4 : byte & 15;
            q |= (b[16 + i] >> g & 1) << 4;
            out[g * 32 + i] = half(b) * (float)scale * (float)q - half(b + 2) * (float)min;
        }
    }
}

/* 256 weights in 16 groups of 16: 4 low bits, 2 high bits, signed 8-bit scales, one half. */
static void unpack_q6_k(const uint8_t *b, float *out) {
    const uint8_t *low = b, *high = b + 128, *scales = b + 192;
    for (int i = 0; i < 256; i++) {
        int part = i / 128, row = i % 128 / 32, col = i % 32; /* 128 weights share 64 low and 32 high bytes */
        int nibble = low[part * 64 + row % 2 * 32 + col] >> (row / 2 * 4) & 15;
        int q = (nibble | (high[part * 32 + col] >> (row * 2) & 3) << 4) - 32;
        out[i] = half(b + 208) * (float)(int8_t)scales[i / 16] * (float)q;
    }
}

static const struct {
    uint32_t id, weights, bytes;
    unpack_fn *unpack;
} formats[] = {
    {0, 1, 4, unpack_f32},       {1, 1, 2, unpack_f16},     {30, 1, 2, unpack_bf16},     {2, 32, 18, unpack_q4_0},
    {3, 32, 20, unpack_q4_1},    {6, 32, 22, unpack_q5_0},  {7, 32, 24, unpack_q5_1},    {8, 32, 34, unpack_q8_0},
    {12, 256, 144, unpack_q4_k}, {13, 256, 176, unpack_q5_k}, {14, 256, 210, unpack_q6_k},
};

/* ---- the GGUF file: a header, metadata, tensor descriptions, then the data ------------------------------ */

typedef struct file {
    uint8_t *data;
    size_t len, at;
} file;

typedef struct value { /* one metadata value; `at` is where it begins */
    char *key;
    uint32_t type;
    size_t at;
    uint32_t item_type; /* arrays */
    uint64_t n_items;
} value;

typedef struct tensor {
    char *name;
    uint64_t rows, cols; /* cols is contiguous */
    uint32_t type;
    uint64_t offset;
} tensor;

typedef struct gguf {
    file f;
    value *values;
    tensor *tensors;
    uint64_t n_values, n_tensors;
    size_t data_at;
} gguf;

static uint64_t read_int(file *f, int bytes) {
    uint64_t v = 0;
    if ((size_t)bytes > f->len - f->at) die("the file ends at byte %zu", f->at);
    for (int i = 0; i < bytes; i++) v |= (uint64_t)f->data[f->at++] << (8 * i);
    return v;
}

static char *read_string(file *f) {
    uint64_t n = read_int(f, 8);
    if (n > f->len - f->at) die("a string at byte %zu is longer than the file", f->at);
    char *s = take(n + 1, 1);
    memcpy(s, f->data + f->at, n);
    f->at += n;
    return s;
}

enum { U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 };
static const int sizes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

static void skip(file *f, uint64_t bytes) {
    if (bytes > f->len - f->at) die("the file ends within a value at byte %zu", f->at);
    f->at += bytes;
}

static void skip_value(file *f, uint32_t type) {
    if (type > F64 || type == ARRAY) die("unknown value type %" PRIu32 " at byte %zu", type, f->at);
    skip(f, type == STRING ? read_int(f, 8) : (uint64_t)sizes[type]);
}

static void read_value(file *f, value *v) {
    v->key = read_string(f);
    v->type = (uint32_t)read_int(f, 4);
    if (v->type == ARRAY) {
        v->item_type = (uint32_t)read_int(f, 4);
        v->n_items = read_int(f, 8);
        v->at = f->at;
        for (uint64_t i = 0; i < v->n_items; i++) skip_value(f, v->item_type);
    } else {
        v->at = f->at;
        skip_value(f, v->type);
    }
}

static void read_tensor(file *f, tensor *t) {
    t->name = read_string(f);
    uint32_t n_dims = (uint32_t)read_int(f, 4);
    if (n_dims < 1 || n_dims > 2) die("tensor %s has %" PRIu32 " dimensions", t->name, n_dims);
    t->cols = read_int(f, 8);
    t->rows = n_dims == 2 ? read_int(f, 8) : 1;
    if (t->cols > 1u << 30 || t->rows > 1u << 30) die("tensor %s is too large", t->name);
    t->type = (uint32_t)read_int(f, 4);
    t->offset = read_int(f, 8);
}

static const value *find_value(const gguf *g, const char *key) {
    for (uint64_t i = 0; i < g->n_values; i++)
        if (!strcmp(g->values[i].key, key)) return &g->values[i];
    return NULL;
}

static double number(const gguf *g, const char *key, double absent) {
    const value *v = find_value(g, key);
    if (!v) return absent;
    file f = g->f;
    f.at = v->at;
    switch (v->type) {
    case F32: return from_bits((uint32_t)read_int(&f, 4));
    case I32: return (int32_t)read_int(&f, 4);
    case U8: case U16: case U32: case U64: case BOOL: return (double)read_int(&f, sizes[v->type]);
    default: die("%s is no number", key);
    }
    return 0;
}

static gguf load(const char *path) {
    gguf g = {0};
    FILE *in = fopen(path, "rb");
    if (!in) die("cannot open %s", path);
    fseek(in, 0, SEEK_END);
    g.f.len = (size_t)ftell(in);
    rewind(in);
    g.f.data = take(g.f.len, 1);
    if (fread(g.f.data, 1, g.f.len, in) != g.f.len) die("cannot read %s", path);
    fclose(in);
    if (g.f.len < 24 || memcmp(g.f.data, "GGUF", 4)) die("%s is no GGUF file", path);
    g.f.at = 4;
    if (read_int(&g.f, 4) < 2) die("%s is of an old version", path);
    g.n_tensors = read_int(&g.f, 8);
    g.n_values = read_int(&g.f, 8);
    if (g.n_tensors > g.f.len || g.n_values > g.f.len) die("%s: impossible counts", path);
    g.values = take(g.n_values, sizeof *g.values);
    g.tensors = take(g.n_tensors, sizeof *g.tensors);
    for (uint64_t i = 0; i < g.n_values; i++) read_value(&g.f, &g.values[i]);
    for (uint64_t i = 0; i < g.n_tensors; i++) read_tensor(&g.f, &g.tensors[i]);
    size_t align = (size_t)number(&g, "general.alignment", 32);
    if (!align) die("alignment 0");
    g.data_at = (g.f.at + align - 1) / align * align;
    return g;
}

/* The tensor's weights as floats [rows, cols]; NULL when it is absent. */
static float *weights(const gguf *g, const char *name, uint64_t rows, uint64_t cols) {
    const tensor *t = NULL;
    for (uint64_t i = 0; i < g->n_tensors; i++)
        if (!strcmp(g->tensors[i].name, name)) t = &g->tensors[i];
    if (!t) return NULL;
    if (t->rows != rows || t->cols != cols)
        die("%s is [%" PRIu64 ", %" PRIu64 "], not [%" PRIu64 ", %" PRIu64 "]", name, t->rows, t->cols, rows, cols);
    for (size_t k = 0; k < sizeof formats / sizeof formats[0]; k++) {
        if (formats[k].id != t->type) continue;
        uint64_t blocks = rows * cols / formats[k].weights;
        size_t begin = g->data_at + t->offset;
        if (cols % formats[k].weights || begin > g->f.len || blocks * formats[k].bytes > g->f.len - begin)
            die("%s does not fit the file", name);
        float *w = take(rows * cols, sizeof *w);
        for (uint64_t b = 0; b < blocks; b++)
            formats[k].unpack(g->f.data + begin + b * formats[k].bytes, w + b * formats[k].weights);
        return w;
    }
    die("%s has the unknown type %" PRIu32, name, t->type);
    return NULL;
}

/* ---- the model ----------------------------------------------------------------------------------- */

typedef struct layer {
    float *attn_norm;        /* [dim] */
    float *wq;               /* [n_head * head, dim] */
    float *wk, *wv;          /* [n_kv * head, dim] */
    float *bq, *bk, *bv;     /* biases, or NULL */
    float *wo, *bo;          /* [dim, n_head * head], bias */
    float *ffn_norm;         /* [dim] */
    float *gate, *up, *down; /* [hidden, dim], [hidden, dim], [dim, hidden] */
    float *b_gate, *b_up, *b_down;
    float *k, *v;            /* the cache: [context, n_kv * head] */
} layer;

typedef struct model {
    int dim, hidden, n_layer, n_head, n_kv, head, vocab, rotary, context;
    double eps, rope_base;
    float *embedding; /* [vocab, dim] */
    float *norm;      /* [dim] */
    float *output;    /* [vocab, dim]; the embedding itself when tied */
    float *factors;   /* [rotary / 2] divisors of llama-3's long contexts, or NULL */
    layer *layers;
} model;

static float *layer_weights(const gguf *g, int l, const char *what, int rows, int cols, int needed) {
    char name[64];
    snprintf(name, sizeof name, "blk.%d.%s", l, what);
    float *w = weights(g, name, (uint64_t)rows, (uint64_t)cols);
    if (!w && needed) die("the tensor %s is missing", name);
    return w;
}

static void read_layer(const gguf *g, model *m, int l) {
    layer *y = &m->layers[l];
    int q = m->n_head * m->head, kv = m->n_kv * m->head;
    y->attn_norm = layer_weights(g, l, "attn_norm.weight", 1, m->dim, 1);
    y->wq = layer_weights(g, l, "attn_q.weight", q, m->dim, 1);
    y->wk = layer_weights(g, l, "attn_k.weight", kv, m->dim, 1);
    y->wv = layer_weights(g, l, "attn_v.weight", kv, m->dim, 1);
    y->bq = layer_weights(g, l, "attn_q.bias", 1, q, 0);
    y->bk = layer_weights(g, l, "attn_k.bias", 1, kv, 0);
    y->bv = layer_weights(g, l, "attn_v.bias", 1, kv, 0);
    y->wo = layer_weights(g, l, "attn_output.weight", m->dim, q, 1);
    y->bo = layer_weights(g, l, "attn_output.bias", 1, m->dim, 0);
    y->ffn_norm = layer_weights(g, l, "ffn_norm.weight", 1, m->dim, 1);
    y->gate = layer_weights(g, l, "ffn_gate.weight", m->hidden, m->dim, 1);
    y->up = layer_weights(g, l, "ffn_up.weight", m->hidden, m->dim, 1);
    y->down = layer_weights(g, l, "ffn_down.weight", m->dim, m->hidden, 1);
    y->b_gate = layer_weights(g, l, "ffn_gate.bias", 1, m->hidden, 0);
    y->b_up = layer_weights(g, l, "ffn_up.bias", 1, m->hidden, 0);
    y->b_down = layer_weights(g, l, "ffn_down.bias", 1, m->dim, 0);
    y->k = take((size_t)m->context * (size_t)kv, sizeof(float));
    y->v = take((size_t)m->context * (size_t)kv, sizeof(float));
}

static model build(const gguf *g, int context) {
    model m = {.context = context};
    const value *arch = find_value(g, "general.architecture");
    if (!arch || arch->type != STRING || memcmp(g->f.data + arch->at + 8, "llama", 5))
        die("the architecture is not llama");
    m.dim = (int)number(g, "llama.embedding_length", 0);
    m.hidden = (int)number(g, "llama.feed_forward_length", 0);
    m.n_layer = (int)number(g, "llama.block_count", 0);
    m.n_head = (int)number(g, "llama.attention.head_count", 0);
    m.n_kv = (int)number(g, "llama.attention.head_count_kv", m.n_head);
    if (m.dim < 1 || m.hidden < 1 || m.n_layer < 1 || m.n_head < 1 || m.n_kv < 1) die("the shape is missing");
    m.head = (int)number(g, "llama.attention.key_length", m.dim / m.n_head);
    m.rotary = (int)number(g, "llama.rope.dimension_count", m.head);
    m.eps = number(g, "llama.attention.layer_norm_rms_epsilon", 1e-5);
    m.rope_base = number(g, "llama.rope.freq_base", 10000);
    for (uint64_t i = 0; i < g->n_tensors; i++)
        if (!strcmp(g->tensors[i].name, "token_embd.weight")) m.vocab = (int)g->tensors[i].rows;
    m.embedding = weights(g, "token_embd.weight", (uint64_t)m.vocab, (uint64_t)m.dim);
    m.norm = weights(g, "output_norm.weight", 1, (uint64_t)m.dim);
    if (!m.embedding || !m.norm) die("token_embd.weight or output_norm.weight is missing");
    m.output = weights(g, "output.weight", (uint64_t)m.vocab, (uint64_t)m.dim);
    if (!m.output) m.output = m.embedding;
    m.factors = weights(g, "rope_freqs.weight", 1, (uint64_t)m.rotary / 2);
    m.layers = take((size_t)m.n_layer, sizeof *m.layers);
    for (int l = 0; l < m.n_layer; l++) read_layer(g, &m, l);
    return m;
}

/* ---- the forward pass ------------------------------------------------------------------------------ */

/* y[rows] = w[rows, cols] x[cols] (+ bias) */
static void matvec(float *y, const float *w, const float *bias, const float *x, int rows, int cols) {
    for (int r = 0; r < rows; r++) {
        double sum = bias ? (double)bias[r] : 0;
        for (int c = 0; c < cols; c++) sum += (double)w[(size_t)r * (size_t)cols + (size_t)c] * (double)x[c];
        y[r] = (float)sum;
    }
}

/* y = x / rms(x) * w */
static void rmsnorm(float *y, const float *x, const float *w, int n, double eps) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (double)x[i] * (double)x[i];
    double scale = 1 / sqrt(sum / n + eps);
    for (int i = 0; i < n; i++) y[i] = (float)((double)x[i] * scale * (double)w[i]);
}

/* Rotates each pair (2i, 2i+1) of a head by pos / base^(2i/rotary). */
static void rope(const model *m, float *head, int pos) {
    for (int i = 0; i < m->rotary; i += 2) {
        double angle = pos * pow(m->rope_base, -(double)i / m->rotary);
        if (m->factors) angle /= (double)m->factors[i / 2];
        double c = cos(angle), s = sin(angle), a = (double)head[i], b = (double)head[i + 1];
        head[i] = (float)(a * c - b * s);
        head[i + 1] = (float)(a * s + b * c);
    }
}

/* out[head] = softmax(q . k / sqrt(head)) v over positions 0..pos; k and v rows are `stride` apart. */
static void attend(float *out, const float *q, const float *k, const float *v, int stride, int head, int pos) {
    double *p = take((size_t)pos + 1, sizeof *p), max = -INFINITY, sum = 0;
    for (int t = 0; t <= pos; t++) {
        for (int i = 0; i < head; i++) p[t] += (double)q[i] * (double)k[(size_t)t * (size_t)stride + (size_t)i];
        p[t] /= sqrt(head);
        if (p[t] > max) max = p[t];
    }
    for (int t = 0; t <= pos; t++) sum += p[t] = exp(p[t] - max);
    for (int i = 0; i < head; i++) {
        double o = 0;
        for (int t = 0; t <= pos; t++) o += p[t] / sum * (double)v[(size_t)t * (size_t)stride + (size_t)i];
        out[i] = (float)o;
    }
    free(p);
}

static void attention(const model *m, layer *y, float *x, int pos) {
    int q_len = m->n_head * m->head, kv_len = m->n_kv * m->head;
    float *n = take((size_t)m->dim, sizeof *n), *q = take((size_t)q_len, sizeof *q),
          *o = take((size_t)q_len, sizeof *o);
    float *k = y->k + (size_t)pos * (size_t)kv_len, *v = y->v + (size_t)pos * (size_t)kv_len;
    rmsnorm(n, x, y->attn_norm, m->dim, m->eps);
    matvec(q, y->wq, y->bq, n, q_len, m->dim);
    matvec(k, y->wk, y->bk, n, kv_len, m->dim);
    matvec(v, y->wv, y->bv, n, kv_len, m->dim);
    for (int h = 0; h < m->n_head; h++) rope(m, q + h * m->head, pos);
    for (int h = 0; h < m->n_kv; h++) rope(m, k + h * m->head, pos);
    for (int h = 0; h < m->n_head; h++) { /* n_head / n_kv query heads share one key and value head */
        int shared = h / (m->n_head / m->n_kv) * m->head;
        attend(o + h * m->head, q + h * m->head, y->k + shared, y->v + shared, kv_len, m->head, pos);
    }
    matvec(n, y->wo, y->bo, o, m->dim, q_len);
    for (int i = 0; i < m->dim; i++) x[i] += n[i];
    free(n), free(q), free(o);
}

static void feed_forward(const model *m, const layer *y, float *x) {
    float *n = take((size_t)m->dim, sizeof *n), *g = take((size_t)m->hidden, sizeof *g),
          *u = take((size_t)m->hidden, sizeof *u);
    rmsnorm(n, x, y->ffn_norm, m->dim, m->eps);
    matvec(g, y->gate, y->b_gate, n, m->hidden, m->dim);
    matvec(u, y->up, y->b_up, n, m->hidden, m->dim);
    for (int i = 0; i < m->hidden; i++) g[i] = (float)((double)g[i] / (1 + exp(-(double)g[i])) * (double)u[i]); /* SwiGLU */
    matvec(n, y->down, y->b_down, g, m->dim, m->hidden);
    for (int i = 0; i < m->dim; i++) x[i] += n[i];
    free(n), free(g), free(u);
}

/* Appends one token at `pos`; logits[vocab] unless NULL. */
static void forward(const model *m, int token, int pos, float *logits) {
    if (token < 0 || token >= m->vocab) die("there is no token %d", token);
    if (pos >= m->context) die("more than %d tokens", m->context);
    float *x = take((size_t)m->dim, sizeof *x);
    memcpy(x, m->embedding + (size_t)token * (size_t)m->dim, (size_t)m->dim * sizeof *x);
    for (int l = 0; l < m->n_layer; l++) {
        attention(m, &m->layers[l], x, pos);
        feed_forward(m, &m->layers[l], x);
    }
    if (logits) {
        rmsnorm(x, x, m->norm, m->dim, m->eps);
        matvec(logits, m->output, NULL, x, m->vocab, m->dim);
    }
    free(x);
}

/* ---- text: byte-level BPE vocabularies write each byte as one printable character ---------------------------- */

/* The byte that a code point of GPT-2's table stands for: printable Latin-1 is itself, the other 68 bytes are U+0100 on. */
static int byte_of(int code_point) {
    int n = 256;
    if (code_point < 256) return code_point;
    for (int b = 0; b < 256; b++) {
        if ((b >= '!' && b <= '~') || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE) continue;
        if (n++ == code_point) return b;
    }
    return '?';
}

static void print_token(const gguf *g, int token) {
    const value *v = find_value(g, "tokenizer.ggml.tokens");
    if (!v || v->type != ARRAY || v->item_type != STRING || (uint64_t)token >= v->n_items) return;
    file f = g->f;
    f.at = v->at;
    for (int i = 0; i < token; i++) skip_value(&f, STRING);
    char *s = read_string(&f);
    for (const unsigned char *p = (unsigned char *)s; *p; p++) {
        int two = (*p & 0xE0) == 0xC0 && p[1];
        putchar(two ? byte_of((p[0] & 31) << 6 | (p[1] & 63)) : *p);
        p += two;
    }
    free(s);
}

/* ---- the loop that generates ------------------------------------------------------------------------- */

static int argmax(const float *x, int n) {
    int best = 0;
    for (int i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

int main(int argc, char **argv) {
    int n_new = 0, show_logits = 0, n_prompt = 0;
    const char *path = NULL, *list = NULL;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--tokens") && i + 1 < argc) list = argv[++i];
        else if (!strcmp(argv[i], "-n") && i + 1 < argc) n_new = (int)strtol(argv[++i], NULL, 10);
        else if (!strcmp(argv[i], "--logits")) show_logits = 1;
        else path = argv[i];
    }
    if (!path || !list) die("usage: nano MODEL.gguf --tokens 1,2,3 [-n NEW] [--logits]");
    int *prompt = take(strlen(list) + 1, sizeof *prompt);
    for (char *p = (char *)list; *p; p += *p == ',') prompt[n_prompt++] = (int)strtol(p, &p, 10);
    gguf g = load(path);
    model m = build(&g, n_prompt + n_new);
    float *logits = take((size_t)m.vocab, sizeof *logits);
    for (int i = 0; i < n_prompt; i++) forward(&m, prompt[i], i, i == n_prompt - 1 ? logits : NULL);
    if (show_logits) {
        for (int i = 0; i < m.vocab; i++) printf("%s%.9g", i ? " " : "", (double)logits[i]);
        putchar('\n');
    }
    int *made = take((size_t)n_new + 1, sizeof *made);
    for (int i = 0; i < n_new; i++) {
        made[i] = argmax(logits, m.vocab);
        printf("%s%d", i ? "," : "", made[i]);
        if (i + 1 < n_new) forward(&m, made[i], n_prompt + i, logits);
    }
    if (n_new) putchar('\n');
    for (int i = 0; i < n_new; i++) print_token(&g, made[i]);
    if (n_new) putchar('\n');
    return 0; /* memory goes back with the process */
}

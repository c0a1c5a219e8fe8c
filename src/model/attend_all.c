/* attend_all.c: softmax(q k^T / sqrt(d)) v over the sequences of a batch.  See attend_all.h (Vaswani et al.
 * 2017).
 *
 * The unit is a tile: up to TILE queries of one head of one sequence, with all its keys.  In floats both
 * products are `mix`, keys lying transposed.  In 8 bits both are gemm_w8: a key is a row of int8 with its
 * own scale, a query a row of u8; the weights are codes of 0..255 relative to the largest, so that a row
 * of them divided by its sum is normalised exactly; a value column has one scale over the sequence.
 *
 * Where things lie hangs on the slots (16 rows each) of the sequences before, which a walk over the
 * batch's spans counts. */
#include "attend_all.h"

#include "core/checked.h"
#include <math.h>

enum { TILE = 24, ROWS = NG_ATTEND_SLOT }; /* TILE: two tiles of gemm_w8 on AVX-512 */

typedef struct ng_attend_tile {
    float *scores;   /* [TILE, slots] */
    uint8_t *p;      /* [TILE, slots] weights */
    uint8_t *q;      /* [TILE, padded head_dim] */
    float d[TILE], pd[TILE];
    int32_t z[TILE], pz[TILE]; /* pz stays 0 */
} ng_attend_tile;

/* One sequence and where its parts lie. */
typedef struct place {
    const ng_span *span;
    size_t index, slot; /* spans and slot rows before it */
} place;

static bool first(place *p, const ng_batch *b) {
    *p = (place){.span = b->spans};
    return b->n_spans > 0;
}

static bool next(place *p, const ng_batch *b) {
    p->slot += ng_attend_slots(p->span->n_tok);
    p->span++;
    return ++p->index < b->n_spans;
}

static bool in_w8(const ng_attend_all *a, const place *p) {
    return a->quantised && p->span->n_tok >= NG_ATTEND_W8_FROM;
}

static size_t head_cols(const ng_attend_all *a) { return (a->head_dim + 3) / 4 * 4; }
static size_t head_panels(const ng_attend_all *a) { return (a->head_dim + ROWS - 1) / ROWS; }
static size_t key_stride(const ng_attend_all *a) { return a->n_head * ng_w8_panel_bytes(a->head_dim); }

static uint8_t *key_panel(const ng_attend_all *a, const place *p, size_t tok, size_t head) {
    return a->key_panels + (p->slot + tok) / ROWS * key_stride(a) + head * ng_w8_panel_bytes(a->head_dim);
}

static uint8_t *value_panel(const ng_attend_all *a, const place *p, size_t head) {
    size_t before = p->slot * 16 + p->index * NG_W8_HEAD; /* bytes of panels of the sequences before, a head and 16 rows */
    return a->value_panels + a->n_head * head_panels(a) * before + head * head_panels(a) * ng_w8_panel_bytes(p->span->n_tok);
}

static float *keys_of(const ng_attend_all *a, const place *p) { return a->keys_t + p->slot * a->n_embd; }

static bool init_tiles(ng_attend_all *a, ng_session *s) {
    size_t n = (size_t)ng_pool_threads(s->pool), width = ng_attend_slots(s->n_ctx);
    a->tiles = ng_arena_array(s->arena, n, sizeof *a->tiles);
    for (size_t i = 0; a->tiles && i < n; i++) {
        ng_attend_tile *t = &a->tiles[i];
        t->scores = ng_arena_array(s->arena, TILE * width, sizeof *t->scores);
        if (!t->scores) return false;
        if (!a->quantised) continue;
        t->p = ng_arena_alloc(s->arena, TILE * width);
        t->q = ng_arena_alloc(s->arena, TILE * head_cols(a));
        if (!t->p || !t->q) return false;
    }
    return a->tiles != NULL;
}

bool ng_attend_all_init(ng_attend_all *a, ng_session *s, size_t head_dim, bool quantised) {
    const ng_model_info *i = &s->model->info;
    *a = (ng_attend_all){.k = s->model->kernels, .n_head = i->n_head, .n_embd = i->n_head * head_dim,
                         .head_dim = head_dim, .quantised = quantised};
    size_t rows = ng_attend_slots(s->max_batch), cells, bytes;
    if (!ng_mul_ok(&cells, rows, a->n_embd)) return false;
    a->v = ng_arena_array(s->arena, cells, sizeof *a->v);
    a->keys_t = ng_arena_array(s->arena, cells, sizeof *a->keys_t);
    if (!a->v || !a->keys_t) return false;
    if (!quantised) return init_tiles(a, s);
    if (!ng_mul_ok(&bytes, rows / ROWS, key_stride(a))) return false;
    a->key_panels = ng_arena_alloc(s->arena, bytes);
    if (!ng_mul_ok(&bytes, rows * 16 + rows / ROWS * NG_W8_HEAD, a->n_head * head_panels(a))) return false;
    a->value_panels = ng_arena_alloc(s->arena, bytes);
    return a->key_panels && a->value_panels && init_tiles(a, s);
}

/* ---- keys and values ------------------------------------------------------------------------------- */

/* Rows [begin, end) that lie in this span, as positions of its sequence; false when none. */
static bool clip(const ng_span *s, size_t begin, size_t end, size_t *from, size_t *to) {
    size_t b = begin > s->row ? begin : s->row, e = end < s->row + s->n_tok ? end : s->row + s->n_tok;
    if (b >= e) return false;
    *from = b - s->row;
    *to = e - s->row;
    return true;
}

void ng_attend_all_keys(const ng_attend_all *a, const ng_batch *b, size_t begin, size_t end, const float *k) {
    size_t from, to;
    place p;
    for (bool more = first(&p, b); more; more = next(&p, b)) {
        if (!clip(p.span, begin, end, &from, &to)) continue;
        const float *row = k + (p.span->row + from - begin) * a->n_embd;
        if (in_w8(a, &p)) {
            for (size_t t = from; t < to; t++, row += a->n_embd)
                for (size_t h = 0; h < a->n_head; h++)
                    a->k->w8_row(key_panel(a, &p, t, h), t % ROWS, row + h * a->head_dim, a->head_dim);
            continue;
        }
        float *keys = keys_of(a, &p);
        size_t width = ng_attend_slots(p.span->n_tok);
        for (size_t c = 0; c < a->n_embd; c++)
            for (size_t t = from; t < to; t++) keys[c * width + t] = row[(t - from) * a->n_embd + c];
    }
}

void ng_attend_all_values(const ng_team *tm, const ng_attend_all *a, const ng_batch *b) {
    size_t item = 0, panels = head_panels(a);
    place p;
    for (bool more = first(&p, b); more; more = next(&p, b)) {
        if (!in_w8(a, &p)) continue;
        size_t n = p.span->n_tok;
        for (size_t h = 0; h < a->n_head; h++, item++) {
            if (item % (size_t)tm->n_parts != (size_t)tm->part) continue;
            uint8_t *panel = value_panel(a, &p, h);
            for (size_t i = 0; i < panels; i++) {
                size_t r = i * ROWS, left = a->head_dim - r;
                const float *x = a->v + p.span->row * a->n_embd + h * a->head_dim + r;
                a->k->w8_columns(panel + i * ng_w8_panel_bytes(n), x, a->n_embd, n, left < ROWS ? left : ROWS);
            }
        }
    }
}

/* ---- queries --------------------------------------------------------------------------------------- */

typedef struct work {
    const place *at;
    size_t head, n;  /* queries */
    const float *q;  /* of the head: [n, n_embd] */
    float *out;
} work;

static void run_floats(const ng_attend_all *a, const ng_attend_tile *t, const work *w) {
    size_t d = a->head_dim, n = w->at->span->n_tok, width = ng_attend_slots(n);
    ng_mix m = {.p = w->q, .p_stride = a->n_embd, .v = keys_of(a, w->at) + w->head * d * width, .v_stride = width,
                .n_pos = d, .n_cols = n, .n_q = w->n, .y = t->scores, .y_stride = width};
    a->k->mix_f32(&m);
    for (size_t i = 0; i < w->n; i++) a->k->softmax(t->scores + i * width, n, 1.0f / sqrtf((float)d));
    m = (ng_mix){.p = t->scores, .p_stride = width, .v = a->v + w->at->span->row * a->n_embd + w->head * d,
                 .v_stride = a->n_embd, .n_pos = n, .n_cols = d, .n_q = w->n, .y = w->out, .y_stride = a->n_embd};
    a->k->mix_f32(&m);
}

static void run_w8(const ng_attend_all *a, ng_attend_tile *t, const work *w) {
    size_t d = a->head_dim, cols = head_cols(a), n = w->at->span->n_tok, width = ng_attend_slots(n),
           codes = (n + 3) / 4 * 4;
    for (size_t i = 0; i < w->n; i++) a->k->quantize_u8(t->q + i * cols, t->d + i, t->z + i, w->q + i * a->n_embd, d);
    ng_gemm_w8 g = {.w = key_panel(a, w->at, 0, w->head), .w_stride = key_stride(a), .row_end = n, .n_cols = cols,
                    .x = {t->q, t->d, t->z}, .x_stride = cols, .n_tok = w->n, .y = t->scores, .y_stride = width};
    a->k->gemm_w8(&g);
    for (size_t i = 0; i < w->n; i++) {
        t->pd[i] = a->k->softmax_u8(t->p + i * codes, t->scores + i * width, n, 1.0f / sqrtf((float)d));
        for (size_t j = n; j < codes; j++) t->p[i * codes + j] = 0;
    }
    g = (ng_gemm_w8){.w = value_panel(a, w->at, w->head), .w_stride = ng_w8_panel_bytes(n), .row_end = d, .n_cols = codes,
                     .x = {t->p, t->pd, t->pz}, .x_stride = codes, .n_tok = w->n, .y = w->out, .y_stride = a->n_embd};
    a->k->gemm_w8(&g);
}

void ng_attend_all_run(const ng_team *tm, const ng_attend_all *a, const ng_batch *b, const ng_attend_all_io *io) {
    ng_attend_tile *t = &a->tiles[tm->part];
    size_t from, to;
    place p;
    for (bool more = first(&p, b); more; more = next(&p, b)) {
        if (!clip(p.span, io->begin, io->end, &from, &to)) continue;
        for (size_t h = 0; h < a->n_head; h++)
            for (size_t q = from; q < to; q += TILE) {
                size_t at = (p.span->row + q - io->begin) * a->n_embd + h * a->head_dim;
                work w = {&p, h, to - q < TILE ? to - q : TILE, io->q + at, io->out + at};
                if (in_w8(a, &p)) run_w8(a, t, &w);
                else run_floats(a, t, &w);
            }
    }
}

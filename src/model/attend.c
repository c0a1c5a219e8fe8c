/* attend.c: causal attention over KV pages.  See attend.h (Vaswani et al. 2017; grouped heads, Ainslie
 * et al. 2023; a page at a time for many queries, Dao et al. 2022).
 *
 * One item of work is a tile of up to 16 queries that share a head's keys: successive tokens of one head,
 * or, where a span has one token (decoding), the heads of a group, so that a page is read once for all of
 * them.  Scores add q[c] * K[c, positions] over the columns of the head, outputs p[position] *
 * V[position, columns] over the positions, each in rising order and without folding lanes; the softmax
 * runs over each query's own past.  8-bit keys meet 8-bit queries in one exact integer sum; the scales of
 * 8-bit values are multiplied into p first.
 *
 * Items are dealt out like cards.  A single decoding sequence has too few for the threads, so its past is
 * split: each thread takes some pages for all scores, then some heads' softmax, then some columns of the
 * outputs.  No sum is cut, so this changes no bit (split-KV without partial sums). */
#include "attend.h"

#include "kernel/half.h"
#include "kernel/kmath.h"
#include "kernel/w8.h"
#include <string.h>

enum { PAGE = NG_KV_PAGE_TOK, COLS = 32, PLAIN_PAGES = 32 };

/* And a line: the rows of a tile, a power of two apart, would all want the same few places of the first cache. */
static size_t scores_stride(const ng_session *s) { return ((size_t)s->n_ctx + PAGE - 1) / PAGE * PAGE + 16; }
static size_t query_bytes(size_t head_dim) { return (head_dim + 3) / 4 * 4; }

/* Scores of one thread's tiles, or of all heads together, whichever is more; then each thread's queries in 8 bits. */
static size_t scores_floats(const ng_session *s) {
    size_t rows = (size_t)ng_pool_threads(s->pool) * NG_ATTEND_TILE, heads = s->model->info.n_head;
    return (rows > heads ? rows : heads) * scores_stride(s);
}
static size_t query_floats(size_t head_dim) { return NG_ATTEND_TILE * query_bytes(head_dim) / sizeof(float); }

/* A thread's plain keys, and as many values. */
static size_t plain_floats(const ng_session *s) {
    size_t pages = ((size_t)s->n_ctx + PAGE - 1) / PAGE;
    return s->kv_shape.type == NG_KV_F16 ? (pages < PLAIN_PAGES ? pages : PLAIN_PAGES) * PAGE * s->kv_shape.head_dim
                                         : 0;
}

size_t ng_attend_scratch(const ng_session *s) {
    return scores_floats(s) +
           (size_t)ng_pool_threads(s->pool) * (query_floats(s->kv_shape.head_dim) + 2 * plain_floats(s));
}

typedef struct tile {
    const ng_kv *kv;
    size_t kv_head, head, row, n; /* queries: n tokens from `row` of `head`, or .. */
    bool grouped;                 /* .. heads head .. head + n - 1 of the token `row` */
    size_t pos;                   /* of the first of them */
    size_t n_pos;                 /* positions that the last of them sees */
    float *scores;                /* [n, stride] */
    size_t stride;
    const float *keys, *values;   /* of the first n_plain pages, as floats; else as the pages hold them */
    size_t n_plain;
    uint8_t *u;                   /* the queries in 8 bits, for 8-bit keys */
    float d[NG_ATTEND_TILE];
    int32_t z[NG_ATTEND_TILE];
} tile;

static size_t query_stride(const ng_attend *a, const tile *t) {
    return t->grouped ? a->head_dim : a->n_head * a->head_dim;
}
static size_t query_at(const ng_attend *a, const tile *t) { return (t->row * a->n_head + t->head) * a->head_dim; }

static void quantize_queries(const ng_session *s, const ng_attend *a, tile *t) {
    if (ng_kv_get_type(t->kv) != NG_KV_Q8) return;
    size_t bytes = query_bytes(a->head_dim);
    for (size_t i = 0; i < t->n; i++) {
        uint8_t *u = t->u + i * bytes;
        const float *q = a->q + query_at(a, t) + i * query_stride(a, t);
        s->model->kernels->quantize_u8(u, &t->d[i], &t->z[i], q, a->head_dim);
        memset(u + a->head_dim, 0, bytes - a->head_dim);
    }
}

/* Into the second cache, while one page is worked on, the next: pages lie apart, so the hardware begins anew with each (a
 * fifth of decoding at depth 2048).  With many queries a page costs more than its way here. */
static void draw_near(const void *p, size_t bytes) {
    for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch((const char *)p + i, 0, 2);
}

static const float *value_scales(const ng_attend *a, const tile *t, size_t page) {
    return ng_kv_value_scales(ng_kv_values(t->kv, page, a->layer, t->kv_head), a->head_dim);
}

static void draw_keys(const ng_attend *a, const tile *t, size_t page) {
    if (!t->grouped || page * PAGE >= t->n_pos) return;
    draw_near(ng_kv_keys(t->kv, page, a->layer, t->kv_head), ng_kv_key_bytes(t->kv));
    if (ng_kv_get_type(t->kv) == NG_KV_Q8) draw_near(value_scales(a, t, page), PAGE * sizeof(float));
}

/* Columns [begin, end). */
static void draw_values(const ng_attend *a, const tile *t, size_t page, const size_t cols[2], size_t size) {
    if (!t->grouped || page * PAGE >= t->n_pos) return;
    const uint8_t *v = (const uint8_t *)ng_kv_values(t->kv, page, a->layer, t->kv_head) + cols[0] * size;
    for (size_t i = 0; i < PAGE; i++) draw_near(v + i * a->head_dim * size, (cols[1] - cols[0]) * size);
}

/* The scores of one page. */
static void page_scores(const ng_session *s, const ng_attend *a, const tile *t, size_t page) {
    const ng_kernels *k = s->model->kernels;
    ng_kv_type type = ng_kv_get_type(t->kv);
    const void *keys = ng_kv_keys(t->kv, page, a->layer, t->kv_head);
    size_t p = page * PAGE, n = t->n_pos - p < PAGE ? t->n_pos - p : PAGE;
    draw_keys(a, t, page + 1);
    if (type == NG_KV_Q8) {
        ng_gemm_w8 g = {.w = keys, .w_stride = ng_kv_panel_bytes(a->head_dim), .row_end = n, .n_cols = query_bytes(a->head_dim),
                        .x = {t->u, (float *)(uintptr_t)t->d, (int32_t *)(uintptr_t)t->z}, .x_stride = query_bytes(a->head_dim),
                        .n_tok = t->n, .y = t->scores + p, .y_stride = t->stride};
        k->gemm_w8(&g);
        return;
    }
    ng_mix m = {.p = a->q + query_at(a, t), .p_stride = query_stride(a, t), .v = keys, .v_stride = PAGE, .n_pos = a->head_dim,
                .n_cols = n, .n_q = t->n, .y = t->scores + p, .y_stride = t->stride};
    if (page < t->n_plain) m.v = t->keys + p * a->head_dim, type = NG_KV_F32;
    (type == NG_KV_F32 ? k->mix_f32 : k->mix_f16)(&m);
}

/* Each token sees one position more than the one before; what it must not see gets weight 0. */
static void tile_softmax(const ng_session *s, const ng_attend *a, const tile *t) {
    for (size_t i = 0; i < t->n; i++) {
        float *x = t->scores + i * t->stride;
        size_t own = t->grouped ? t->n_pos : t->pos + i + 1;
        s->model->kernels->softmax(x, own, a->scale);
        for (size_t j = own; j < t->n_pos; j++) x[j] = 0;
    }
    if (ng_kv_get_type(t->kv) != NG_KV_Q8) return;
    for (size_t p = 0; p < t->n_pos; p += PAGE) {
        const float *restrict scale = value_scales(a, t, p / PAGE);
        size_t n = t->n_pos - p < PAGE ? t->n_pos - p : PAGE;
        for (size_t i = 0; i < t->n; i++) {
            float *restrict x = t->scores + i * t->stride + p;
            for (size_t j = 0; n == PAGE && j < PAGE; j++) x[j] *= scale[j]; /* of constant length: in vectors */
            for (size_t j = 0; n < PAGE && j < n; j++) x[j] *= scale[j];
        }
    }
}

/* Columns [begin, end) of the outputs. */
static void tile_mix(const ng_session *s, const ng_attend *a, const tile *t, size_t begin, size_t end) {
    const ng_kernels *k = s->model->kernels;
    ng_kv_type type = ng_kv_get_type(t->kv);
    size_t size = type == NG_KV_F32 ? 4 : type == NG_KV_F16 ? 2 : 1;
    ng_mix m = {.p_stride = t->stride, .v_stride = a->head_dim, .n_cols = end - begin, .n_q = t->n,
                .y = a->out->x + query_at(a, t) + begin, .y_stride = query_stride(a, t)};
    for (size_t p = 0; p < t->n_pos; p += PAGE) {
        m.p = t->scores + p;
        m.v = (const uint8_t *)ng_kv_values(t->kv, p / PAGE, a->layer, t->kv_head) + begin * size;
        m.n_pos = t->n_pos - p < PAGE ? t->n_pos - p : PAGE;
        m.add = p > 0;
        draw_values(a, t, p / PAGE + 1, (const size_t[]){begin, end}, size);
        if (p / PAGE < t->n_plain) {
            m.v = t->values + p * a->head_dim + begin;
            k->mix_f32(&m);
            continue;
        }
        (type == NG_KV_F32 ? k->mix_f32 : type == NG_KV_F16 ? k->mix_f16 : k->mix_i8)(&m);
    }
}

/* The int8 form of these columns of the tile's outputs, which only this thread has. */
static void tile_quantize(const ng_session *s, const ng_attend *a, const tile *t, size_t begin, size_t end) {
    if (a->head_dim % COLS) return; /* a block of 32 columns spans two heads */
    for (size_t i = 0; i < t->n; i++) {
        size_t row = t->grouped ? t->row : t->row + i, head = (t->grouped ? t->head + i : t->head) * a->head_dim;
        ng_act_quantize_cols(s->model->kernels, a->out, row, head + begin, head + end);
    }
}

static void run_tile(const ng_session *s, const ng_attend *a, tile *t) {
    quantize_queries(s, a, t);
    for (size_t p = 0; p * PAGE < t->n_pos; p++) page_scores(s, a, t, p);
    tile_softmax(s, a, t);
    tile_mix(s, a, t, 0, a->head_dim);
    tile_quantize(s, a, t, 0, a->head_dim);
}

static tile tile_of(const ng_team *tm, const ng_session *s, const ng_attend *a, const ng_span *span) {
    tile t = {.kv = span->kv, .stride = scores_stride(s), .grouped = span->n_tok == 1, .row = span->row, .pos = span->pos};
    t.scores = a->scores + (size_t)tm->thread * NG_ATTEND_TILE * t.stride;
    t.u = (uint8_t *)(a->scores + scores_floats(s) + (size_t)tm->thread * query_floats(a->head_dim));
    t.n_pos = span->pos + span->n_tok;
    return t;
}

/* ---- one sequence that decodes ---------------------------------------------------------------------- */

/* Part `i` of a group's heads, `per` of them at most. */
static void take_heads(const ng_session *s, const ng_attend *a, tile *t, size_t i, float *all_scores) {
    size_t n_kv = s->model->info.n_head_kv, group = a->n_head / n_kv,
           tiles = (group + NG_ATTEND_TILE - 1) / NG_ATTEND_TILE;
    size_t first = i % tiles * NG_ATTEND_TILE;
    t->kv_head = i / tiles;
    t->head = t->kv_head * group + first;
    t->n = group - first < NG_ATTEND_TILE ? group - first : NG_ATTEND_TILE;
    if (all_scores) t->scores = all_scores + t->head * t->stride;
}

static size_t n_head_tiles(const ng_session *s, const ng_attend *a) {
    size_t n_kv = s->model->info.n_head_kv, group = a->n_head / n_kv;
    return n_kv * ((group + NG_ATTEND_TILE - 1) / NG_ATTEND_TILE);
}

static void run_split(const ng_team *tm, const ng_session *s, const ng_attend *a, const ng_span *span) {
    tile t = tile_of(tm, s, a, span);
    size_t n_tiles = n_head_tiles(s, a), n_pages = (t.n_pos + PAGE - 1) / PAGE, begin, end;
    ng_team_slice(tm, n_tiles * n_pages, 1, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        take_heads(s, a, &t, i / n_pages, a->scores);
        if (i == begin || i % n_pages == 0) quantize_queries(s, a, &t);
        page_scores(s, a, &t, i % n_pages);
    }
    ng_team_barrier(tm);
    ng_team_slice(tm, a->n_head, 1, &begin, &end);
    for (size_t h = begin; h < end; h++) {
        t.head = h;
        t.kv_head = h / (a->n_head / s->model->info.n_head_kv);
        t.n = 1;
        t.scores = a->scores + h * t.stride;
        tile_softmax(s, a, &t);
    }
    ng_team_barrier(tm);
    size_t unit = a->head_dim % COLS ? a->head_dim : COLS, per = a->head_dim / unit;
    ng_team_slice(tm, n_tiles * per, 1, &begin, &end);
    for (size_t i = begin; i < end; i++) {
        size_t from = i % per, to = per < from + end - i ? per : from + end - i; /* neighbours of one head together */
        take_heads(s, a, &t, i / per, a->scores);
        tile_mix(s, a, &t, from * unit, to * unit);
        tile_quantize(s, a, &t, from * unit, to * unit);
        i += to - from - 1;
    }
}

/* ---- any batch -------------------------------------------------------------------------------------- */

/* The queries of one head from token `first` of the span on. */
static void take_queries(const ng_session *s, const ng_attend *a, tile *t, const ng_span *span, size_t first) {
    t->kv_head = t->head / (a->n_head / s->model->info.n_head_kv);
    t->row = span->row + first;
    t->pos = span->pos + first;
    t->n = span->n_tok - first < NG_ATTEND_TILE ? span->n_tok - first : NG_ATTEND_TILE;
    t->n_pos = t->pos + t->n;
}

/* Many tokens of one thread: head by head of the keys, which it turns into floats once for all tiles.  That is a
 * quarter of the time of a product on its own. */
static void run_wide(const ng_team *tm, const ng_session *s, const ng_attend *a, const ng_span *span) {
    tile t = tile_of(tm, s, a, span);
    size_t page_floats = PAGE * a->head_dim, n_pages = (t.n_pos + PAGE - 1) / PAGE, queries = query_floats(a->head_dim);
    float *keys = a->scores + scores_floats(s) + (size_t)ng_pool_threads(s->pool) * queries +
                  (size_t)tm->thread * 2 * plain_floats(s), *values = keys + plain_floats(s);
    t.keys = keys;
    t.values = values;
    t.n_plain = n_pages < PLAIN_PAGES ? n_pages : PLAIN_PAGES;
    for (t.head = 0; t.head < a->n_head; t.head++) {
        size_t group = a->n_head / s->model->info.n_head_kv;
        for (size_t p = 0; t.head % group == 0 && p < t.n_plain; p++) {
            s->model->kernels->from_f16(keys + p * page_floats, ng_kv_keys(t.kv, p, a->layer, t.head / group),
                                        page_floats);
            s->model->kernels->from_f16(values + p * page_floats, ng_kv_values(t.kv, p, a->layer, t.head / group),
                                        page_floats);
        }
        for (size_t first = 0; first < span->n_tok; first += NG_ATTEND_TILE) {
            take_queries(s, a, &t, span, first);
            run_tile(s, a, &t);
        }
    }
}

/* One span's tiles; `dealt` counts the items of the spans before, so that the hand goes on. */
static size_t run_span(const ng_team *tm, const ng_session *s, const ng_attend *a, const ng_span *span, size_t dealt) {
    size_t n_parts = (size_t)tm->n_parts, tiles = (span->n_tok + NG_ATTEND_TILE - 1) / NG_ATTEND_TILE;
    tile t = tile_of(tm, s, a, span);
    size_t n_items = t.grouped ? n_head_tiles(s, a) : tiles * a->n_head;
    if (n_parts == 1 && tiles > 1 && ng_kv_get_type(t.kv) == NG_KV_F16) {
        run_wide(tm, s, a, span);
        return dealt + n_items;
    }
    for (size_t i = ((size_t)tm->part + n_parts - dealt % n_parts) % n_parts; i < n_items; i += n_parts) {
        if (t.grouped) take_heads(s, a, &t, i, NULL);
        else {
            t.head = i % a->n_head;
            take_queries(s, a, &t, span, i / a->n_head * NG_ATTEND_TILE);
        }
        run_tile(s, a, &t);
    }
    return dealt + n_items;
}

void ng_attend_run(const ng_team *tm, const ng_session *s, const ng_attend *a) {
    const ng_batch *b = a->batch;
    size_t dealt = 0;
    if (b->n_tok == 1 && tm->n_parts > 1) run_split(tm, s, a, &b->spans[0]);
    else
        for (size_t i = 0; i < b->n_spans; i++) dealt = run_span(tm, s, a, &b->spans[i], dealt);
    if (a->head_dim % COLS == 0 || !a->out->q.q) return;
    ng_team_barrier(tm);
    ng_act_quantize(tm, s->model->kernels, a->out, b->n_tok);
}

/* ---- into the pages --------------------------------------------------------------------------------- */

/* Rows [begin, end) of one token's heads, x[row]: the pairs among the first n_rot of each head. */
static void rotate_rows(float *x, const ng_attend_in *in, const float *cos_sin, size_t begin, size_t end) {
    for (size_t r = begin; r < end;) {
        size_t head_end = (r / in->head_dim + 1) * in->head_dim, e = r % in->head_dim;
        size_t stop = head_end < end ? head_end : end, rot_end = r - e + in->n_rot;
        if (rot_end > r) ng_rope_pairs(x + r, cos_sin + e, (rot_end < stop ? rot_end : stop) - r);
        r = stop;
    }
}

/* Elements [begin, end) of the k and v of the span's token t, as values of a head, or as a column of its keys. */
static void put_rows(const ng_session *s, const ng_attend_in *in, const ng_span *span, size_t t, size_t begin,
                     size_t end) {
    size_t hd = in->head_dim, width = in->n_head_kv * hd, page = (span->pos + t) / PAGE, at = (span->pos + t) % PAGE;
    bool f32 = ng_kv_get_type(span->kv) == NG_KV_F32;
    for (size_t r = begin; r < end;) {
        size_t h = r / hd, stop = (h + 1) * hd < end ? (h + 1) * hd : end, c = r % hd;
        const float *k = in->k + (span->row + t) * width + r, *v = in->v + (span->row + t) * width + r;
        void *keys = ng_kv_keys(span->kv, page, in->layer, h), *values = ng_kv_values(span->kv, page, in->layer, h);
        if (f32) memcpy((float *)values + at * hd + c, v, (stop - r) * sizeof *v);
        else s->model->kernels->to_f16((uint16_t *)values + at * hd + c, v, stop - r);
        for (size_t i = 0; i < stop - r; i++) {
            if (f32) ((float *)keys)[(c + i) * PAGE + at] = k[i];
            else ((uint16_t *)keys)[(c + i) * PAGE + at] = ng_f32_to_f16(k[i]);
        }
        r = stop;
    }
}

/* int8 of one value, and its scale: amax / 127. */
static void put_value(int8_t *q, float *scale, const float *v, size_t n) {
    float amax = 0;
    for (size_t i = 0; i < n; i++) {
        float a = v[i] < 0 ? -v[i] : v[i];
        amax = a > amax || a != a ? a : amax;
    }
    float inv = amax >= NG_Q8_TINY && amax - amax == 0 ? 127.0f / amax : 0; /* 0 for what is no finite number: then .. */
    *scale = amax >= NG_Q8_TINY || amax != amax ? amax / 127.0f : 0;       /* .. the scale carries it */
    for (size_t i = 0; i < n; i++) q[i] = (int8_t)(inv > 0 ? v[i] * inv + NG_EXP_ROUND - NG_EXP_ROUND : 1);
}

/* Key and value of the span's token t and one head in 8 bits: whole heads, since a scale spans one. */
static void put_head(const ng_session *s, const ng_attend_in *in, const ng_span *span, size_t t, size_t head) {
    size_t hd = in->head_dim, from = ((span->row + t) * in->n_head_kv + head) * hd;
    size_t page = (span->pos + t) / PAGE, at = (span->pos + t) % PAGE;
    uint8_t *keys = ng_kv_keys(span->kv, page, in->layer, head),
            *values = ng_kv_values(span->kv, page, in->layer, head);
    s->model->kernels->w8_row(keys + at / 16 * ng_kv_panel_bytes(hd), at % 16, in->k + from, hd);
    put_value((int8_t *)values + at * hd, ng_kv_value_scales(values, hd) + at, in->v + from, hd);
}

void ng_attend_store(const ng_team *tm, const ng_session *s, const ng_attend_in *in) {
    size_t n_q = in->n_head * in->head_dim, n_kv = in->n_head_kv * in->head_dim, begin, end;
    const ng_batch *b = in->batch;
    bool q8 = ng_kv_get_type(b->spans[0].kv) == NG_KV_Q8;
    ng_linear_slice(tm, n_q, &begin, &end);
    for (size_t t = 0; t < b->n_tok; t++)
        rotate_rows(in->q + t * n_q, in, in->cos_sin + t * in->n_rot, begin, end);
    ng_linear_slice(tm, n_kv, &begin, &end);
    for (size_t t = 0; t < b->n_tok; t++) rotate_rows(in->k + t * n_kv, in, in->cos_sin + t * in->n_rot, begin, end);
    if (q8) {
        ng_team_barrier(tm);
        ng_team_slice(tm, b->n_tok * in->n_head_kv, 1, &begin, &end);
    }
    for (size_t i = 0; i < b->n_spans; i++) {
        const ng_span *span = &b->spans[i];
        for (size_t t = 0; t < span->n_tok; t++) {
            if (!q8) put_rows(s, in, span, t, begin, end);
            for (size_t h = 0; q8 && h < in->n_head_kv; h++) {
                size_t item = (span->row + t) * in->n_head_kv + h;
                if (item >= begin && item < end) put_head(s, in, span, t, h);
            }
        }
    }
}

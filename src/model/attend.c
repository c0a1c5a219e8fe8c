/* attend.c: causal attention over KV pages.  See attend.h (Vaswani et al. 2017; grouped heads, Ainslie
 * et al. 2023).
 *
 * One item of work is a tile of up to 8 successive queries of one head.  Keys lie transposed in their
 * pages, so both products are the same kernel, mix: scores add q[c] * K[c, positions] over the columns
 * of the head, outputs add p[position] * V[position, columns] over the positions, each in rising order
 * and without folding lanes.  The softmax runs over each query's own past.  Items are dealt out like
 * cards (item i to thread i mod n): later tiles are longer. */
#include "attend.h"

#include "kernel/half.h"

enum { PAGE = NG_KV_PAGE_TOK };

static size_t scores_stride(const ng_session *s) { return ((size_t)s->n_ctx + PAGE - 1) / PAGE * PAGE; }

size_t ng_attend_scratch(const ng_session *s) {
    return (size_t)ng_pool_threads(s->pool) * NG_ATTEND_TILE * scores_stride(s);
}

typedef struct tile {
    const ng_kv *kv;
    size_t head, row, n; /* queries row .. row + n - 1 of `head` */
    size_t pos;          /* of the first of them */
    size_t n_pos;        /* positions that the last of them sees */
    float *scores;       /* [n, stride] */
    size_t stride;
} tile;

static void tile_scores(const ng_session *s, const ng_attend *a, const tile *t, size_t kv_head) {
    const ng_kernels *k = s->model->kernels;
    size_t width = a->n_head * a->head_dim;
    ng_mix m = {.p = a->q + t->row * width + t->head * a->head_dim, .p_stride = width, .v_stride = PAGE,
                .n_pos = a->head_dim, .n_q = t->n, .y_stride = t->stride};
    for (size_t p = 0; p < t->n_pos; p += PAGE) {
        m.v = ng_kv_keys(t->kv, p / PAGE, a->layer, kv_head);
        m.n_cols = t->n_pos - p < PAGE ? t->n_pos - p : PAGE;
        m.y = t->scores + p;
        (ng_kv_is_f32(t->kv) ? k->mix_f32 : k->mix_f16)(&m);
    }
}

/* Each query sees one position more than the one before; what it must not see gets weight 0. */
static void tile_softmax(const ng_session *s, const ng_attend *a, const tile *t) {
    for (size_t i = 0; i < t->n; i++) {
        float *x = t->scores + i * t->stride;
        size_t own = t->pos + i + 1;
        s->model->kernels->softmax(x, own, a->scale);
        for (size_t j = own; j < t->n_pos; j++) x[j] = 0;
    }
}

static void tile_mix(const ng_session *s, const ng_attend *a, const tile *t, size_t kv_head) {
    const ng_kernels *k = s->model->kernels;
    size_t width = a->n_head * a->head_dim;
    ng_mix m = {.p_stride = t->stride, .v_stride = a->head_dim, .n_cols = a->head_dim, .n_q = t->n,
                .y = a->out->x + t->row * width + t->head * a->head_dim, .y_stride = width};
    for (size_t p = 0; p < t->n_pos; p += PAGE) {
        m.p = t->scores + p;
        m.v = ng_kv_values(t->kv, p / PAGE, a->layer, kv_head);
        m.n_pos = t->n_pos - p < PAGE ? t->n_pos - p : PAGE;
        m.add = p > 0;
        (ng_kv_is_f32(t->kv) ? k->mix_f32 : k->mix_f16)(&m);
    }
}

/* The int8 form of the tile's outputs, which only this thread has. */
static void tile_quantize(const ng_session *s, const ng_attend *a, const tile *t) {
    size_t begin = t->head * a->head_dim;
    for (size_t i = t->row; i < t->row + t->n; i++)
        ng_act_quantize_cols(s->model->kernels, a->out, i, begin, begin + a->head_dim);
}

/* One span's tiles; `dealt` counts the items of the spans before, so that the hand goes on. */
static size_t run_span(const ng_team *tm, const ng_session *s, const ng_attend *a, const ng_span *span, size_t dealt) {
    size_t tiles = (span->n_tok + NG_ATTEND_TILE - 1) / NG_ATTEND_TILE, n_items = tiles * a->n_head;
    size_t group = a->n_head / s->model->info.n_head_kv, n_parts = (size_t)tm->n_parts;
    bool by_head = a->head_dim % 32 == 0; /* else a block of 32 columns spans two heads */
    tile t = {.kv = span->kv, .stride = scores_stride(s)};
    t.scores = a->scores + (size_t)tm->part * NG_ATTEND_TILE * t.stride;
    for (size_t i = ((size_t)tm->part + n_parts - dealt % n_parts) % n_parts; i < n_items; i += n_parts) {
        size_t first = i / a->n_head * NG_ATTEND_TILE;
        t.head = i % a->n_head;
        t.row = span->row + first;
        t.pos = span->pos + first;
        t.n = span->n_tok - first < NG_ATTEND_TILE ? span->n_tok - first : NG_ATTEND_TILE;
        t.n_pos = t.pos + t.n;
        tile_scores(s, a, &t, t.head / group);
        tile_softmax(s, a, &t);
        tile_mix(s, a, &t, t.head / group);
        if (by_head) tile_quantize(s, a, &t);
    }
    return dealt + n_items;
}

void ng_attend_run(const ng_team *tm, const ng_session *s, const ng_attend *a) {
    const ng_batch *b = a->batch;
    size_t dealt = 0;
    for (size_t i = 0; i < b->n_spans; i++) dealt = run_span(tm, s, a, &b->spans[i], dealt);
    if (a->head_dim % 32 == 0 || !a->out->q.q) return;
    ng_team_barrier(tm);
    ng_act_quantize(tm, s->model->kernels, a->out, b->n_tok);
}

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
static void put_rows(const ng_session *s, const ng_attend_in *in, const ng_span *span, size_t t, size_t begin, size_t end) {
    size_t hd = in->head_dim, width = in->n_head_kv * hd, page = (span->pos + t) / PAGE, at = (span->pos + t) % PAGE;
    bool f32 = ng_kv_is_f32(span->kv);
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

void ng_attend_store(const ng_team *tm, const ng_session *s, const ng_attend_in *in) {
    size_t n_q = in->n_head * in->head_dim, n_kv = in->n_head_kv * in->head_dim, begin, end;
    const ng_batch *b = in->batch;
    ng_linear_slice(tm, n_q, &begin, &end);
    for (size_t t = 0; t < b->n_tok; t++)
        rotate_rows(in->q + t * n_q, in, in->cos_sin + t * in->n_rot, begin, end);
    ng_linear_slice(tm, n_kv, &begin, &end);
    for (size_t t = 0; t < b->n_tok; t++) rotate_rows(in->k + t * n_kv, in, in->cos_sin + t * in->n_rot, begin, end);
    for (size_t i = 0; i < b->n_spans; i++)
        for (size_t t = 0; t < b->spans[i].n_tok; t++) put_rows(s, in, &b->spans[i], t, begin, end);
}

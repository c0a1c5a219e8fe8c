/* kv.c: pages of keys and values.  See kv.h.  (PagedAttention, Kwon et al. 2023, for one machine.)
 *
 * Free pages form a list through `next`; refs[i] counts the sequences that hold page i.  The lock
 * guards both, not the pages' bytes: a page with one holder is written by that holder only. */
#include "kv.h"

#include "core/checked.h"
#include "kernel/w8.h"
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { NO_PAGE = UINT32_MAX, ALIGN = 64 };

struct ng_kv_pool {
    pthread_mutex_t lock;
    size_t holders;  /* guarded by lock, as all up to `used` */
    uint32_t *refs;  /* [n_pages] */
    uint32_t *next;  /* [n_pages] */
    uint32_t free;
    size_t used;
    ng_kv_shape shape;
    size_t n_pages, page_bytes;
    uint8_t *bytes;
};

enum { PANEL_TOK = 16 };

size_t ng_kv_panel_bytes(size_t head_dim) { return ng_w8_panel_bytes(head_dim); }

float *ng_kv_value_scales(void *values, size_t head_dim) {
    return (float *)(void *)((uint8_t *)values + NG_KV_PAGE_TOK * head_dim);
}

/* Of one head in one page. */
static size_t key_bytes(const ng_kv_shape *s) {
    if (s->type == NG_KV_Q8) return NG_KV_PAGE_TOK / PANEL_TOK * ng_kv_panel_bytes(s->head_dim);
    return NG_KV_PAGE_TOK * s->head_dim * (s->type == NG_KV_F32 ? sizeof(float) : sizeof(uint16_t));
}
static size_t value_bytes(const ng_kv_shape *s) {
    return s->type == NG_KV_Q8 ? NG_KV_PAGE_TOK * (s->head_dim + sizeof(float)) : key_bytes(s);
}

size_t ng_kv_key_bytes(const ng_kv *kv) { return key_bytes(&kv->pool->shape); }

size_t ng_kv_bytes_per_tok(const ng_kv_shape *s) {
    if (s->head_dim > SIZE_MAX / 1024) return 0;
    size_t n = (key_bytes(s) + value_bytes(s)) / NG_KV_PAGE_TOK;
    bool ok = ng_mul_ok(&n, n, s->n_head_kv) && ng_mul_ok(&n, n, s->n_layer);
    return ok ? n : 0;
}

ng_status ng_kv_pool_new(ng_kv_pool **out, const ng_kv_shape *s, size_t n_pages, ng_error *err) {
    size_t page = ng_kv_bytes_per_tok(s), bytes;
    *out = NULL;
    bool fits = page && ng_mul_ok(&page, page, NG_KV_PAGE_TOK) && ng_mul_ok(&bytes, page, n_pages) &&
                n_pages < NO_PAGE;
    if (!fits) return ng_fail(err, NG_ELIMIT, "KV cache: %zu pages are too many", n_pages);
    ng_kv_pool *p = calloc(1, sizeof *p);
    if (!p) return ng_fail(err, NG_ENOMEM, "KV cache: out of memory");
    *p = (ng_kv_pool){.holders = 1, .shape = *s, .n_pages = n_pages, .page_bytes = page};
    pthread_mutex_init(&p->lock, NULL);
    p->refs = calloc(n_pages + 1, sizeof *p->refs);
    p->next = calloc(n_pages + 1, sizeof *p->next);
    p->bytes = aligned_alloc(ALIGN, (bytes / ALIGN + 1) * ALIGN);
    if (!p->refs || !p->next || !p->bytes) {
        ng_kv_pool_release(p);
        return ng_fail(err, NG_ENOMEM, "KV cache: no memory for %zu MiB; use a smaller context", bytes >> 20);
    }
    for (size_t i = 0; i < n_pages; i++) p->next[i] = i + 1 < n_pages ? (uint32_t)(i + 1) : NO_PAGE;
    p->free = n_pages ? 0 : NO_PAGE;
    *out = p;
    return NG_OK;
}

ng_kv_pool *ng_kv_pool_retain(ng_kv_pool *p) {
    pthread_mutex_lock(&p->lock);
    p->holders++;
    pthread_mutex_unlock(&p->lock);
    return p;
}

void ng_kv_pool_release(ng_kv_pool *p) {
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    bool last = --p->holders == 0;
    pthread_mutex_unlock(&p->lock);
    if (!last) return;
    pthread_mutex_destroy(&p->lock);
    free(p->refs);
    free(p->next);
    free(p->bytes);
    free(p);
}

size_t ng_kv_pool_pages_used(ng_kv_pool *p) {
    pthread_mutex_lock(&p->lock);
    size_t n = p->used;
    pthread_mutex_unlock(&p->lock);
    return n;
}

static uint32_t page_take(ng_kv_pool *p) {
    pthread_mutex_lock(&p->lock);
    uint32_t i = p->free;
    if (i != NO_PAGE) {
        p->free = p->next[i];
        p->refs[i] = 1;
        p->used++;
    }
    pthread_mutex_unlock(&p->lock);
    return i;
}

void ng_kv_page_hold(ng_kv_pool *p, uint32_t i) {
    pthread_mutex_lock(&p->lock);
    p->refs[i]++;
    pthread_mutex_unlock(&p->lock);
}

void ng_kv_page_drop(ng_kv_pool *p, uint32_t i) {
    pthread_mutex_lock(&p->lock);
    assert(p->refs[i]);
    if (--p->refs[i] == 0) {
        p->next[i] = p->free;
        p->free = i;
        p->used--;
    }
    pthread_mutex_unlock(&p->lock);
}

bool ng_kv_page_is_shared(ng_kv_pool *p, uint32_t i) {
    pthread_mutex_lock(&p->lock);
    bool shared = p->refs[i] > 1;
    pthread_mutex_unlock(&p->lock);
    return shared;
}

ng_status ng_kv_init(ng_kv *kv, ng_kv_pool *pool, size_t n_pages_max, ng_error *err) {
    *kv = (ng_kv){0};
    uint32_t *pages = calloc(n_pages_max + 1, sizeof *pages);
    if (!pages) return ng_fail(err, NG_ENOMEM, "KV cache: out of memory");
    *kv = (ng_kv){.pool = ng_kv_pool_retain(pool), .pages = pages, .n_pages_max = n_pages_max};
    return NG_OK;
}

void ng_kv_clear(ng_kv *kv) {
    if (!kv->pool) return;
    ng_kv_rewind(kv, 0);
    ng_kv_pool_release(kv->pool);
    free(kv->pages);
    *kv = (ng_kv){0};
}

/* The page that holds the next token, when it is partly filled and shared, becomes our own. */
static bool unshare_last(ng_kv *kv) {
    size_t last = kv->len / NG_KV_PAGE_TOK;
    if (last >= kv->n_pages || !ng_kv_page_is_shared(kv->pool, kv->pages[last])) return true;
    uint32_t fresh = page_take(kv->pool), old = kv->pages[last];
    if (fresh == NO_PAGE) return false;
    size_t n = kv->pool->page_bytes;
    memcpy(kv->pool->bytes + fresh * n, kv->pool->bytes + old * n, n);
    kv->pages[last] = fresh;
    ng_kv_page_drop(kv->pool, old);
    return true;
}

ng_status ng_kv_reserve(ng_kv *kv, size_t n, ng_error *err) {
    size_t need = (kv->len + n + NG_KV_PAGE_TOK - 1) / NG_KV_PAGE_TOK;
    bool ok = need <= kv->n_pages_max && unshare_last(kv);
    while (ok && kv->n_pages < need) {
        uint32_t fresh = page_take(kv->pool);
        ok = fresh != NO_PAGE;
        if (ok) kv->pages[kv->n_pages++] = fresh;
    }
    if (ok) return NG_OK;
    ng_kv_rewind(kv, kv->len);
    return ng_fail(err, NG_ELIMIT, "KV cache: no page left for %zu tokens after %zu", n, kv->len);
}

void ng_kv_advance(ng_kv *kv, size_t n) {
    assert(kv->len + n <= kv->n_pages * NG_KV_PAGE_TOK);
    kv->len += n;
}

void ng_kv_rewind(ng_kv *kv, size_t n) {
    if (n < kv->len) kv->len = n;
    size_t keep = (kv->len + NG_KV_PAGE_TOK - 1) / NG_KV_PAGE_TOK;
    while (kv->n_pages > keep) ng_kv_page_drop(kv->pool, kv->pages[--kv->n_pages]);
}

void ng_kv_share(ng_kv *kv, const ng_kv *from, size_t n) {
    assert(kv->pool == from->pool && n <= from->len && kv != from);
    ng_kv_rewind(kv, 0);
    size_t pages = (n + NG_KV_PAGE_TOK - 1) / NG_KV_PAGE_TOK;
    assert(pages <= kv->n_pages_max);
    for (size_t i = 0; i < pages; i++) {
        ng_kv_page_hold(kv->pool, from->pages[i]);
        kv->pages[i] = from->pages[i];
    }
    kv->n_pages = pages;
    kv->len = n;
}

size_t ng_kv_page_bytes(const ng_kv_pool *p) { return p->page_bytes; }
void *ng_kv_page(ng_kv_pool *p, uint32_t id) { return p->bytes + id * p->page_bytes; }

bool ng_kv_append(ng_kv *kv, uint32_t id, size_t n) {
    assert(kv->len % NG_KV_PAGE_TOK == 0 && n <= NG_KV_PAGE_TOK);
    ng_kv_rewind(kv, kv->len); /* pages reserved ahead */
    if (kv->n_pages == kv->n_pages_max) return false;
    ng_kv_page_hold(kv->pool, id);
    kv->pages[kv->n_pages++] = id;
    kv->len += n;
    return true;
}

static uint8_t *layer_of(const ng_kv *kv, size_t page, size_t layer) {
    const ng_kv_shape *s = &kv->pool->shape;
    assert(page < kv->n_pages);
    return kv->pool->bytes + kv->pages[page] * kv->pool->page_bytes +
           layer * s->n_head_kv * (key_bytes(s) + value_bytes(s));
}

ng_kv_type ng_kv_get_type(const ng_kv *kv) { return kv->pool->shape.type; }

void *ng_kv_keys(const ng_kv *kv, size_t page, size_t layer, size_t head) {
    return layer_of(kv, page, layer) + head * key_bytes(&kv->pool->shape);
}

void *ng_kv_values(const ng_kv *kv, size_t page, size_t layer, size_t head) {
    const ng_kv_shape *s = &kv->pool->shape;
    return layer_of(kv, page, layer) + s->n_head_kv * key_bytes(s) + head * value_bytes(s);
}

/* bpe.c: see bpe.h.
 *
 * Four ways to the ids of a piece, cheapest first, all with the same result:
 *   1. it was seen lately in this text: its ids are copied from the output;
 *   2. it is a token as a whole, and is known to be what its bytes merge to (`whole`);
 *   3. it is short: ranks of neighbouring pairs stand in an array, the lowest is merged, again and
 *      again.  Quadratic in at most 64 bytes, but without a branch that depends on a heap;
 *   4. it is long (a run of one letter, a line of dashes): a binary heap of (rank, position) over a
 *      linked list, O(n log n).  Entries are not removed when their pair changes: one is stale when
 *      the rank that it names is no longer the pair's.
 * Equal ranks are equal pairs, so "lowest rank, then leftmost" is one integer comparison.
 *
 * A pair's rank comes from an open-addressing table, except for pairs of single bytes, half of all
 * questions: those have a table of their own. */
#include "bpe.h"

#include "core/checked.h"
#include "core/hash.h"
#include "core/utf8.h"

#include <stdlib.h>
#include <string.h>

enum {
    SHORT_MAX = 64,               /* bytes of a piece for the array way */
    PIECE_MAX = 32 << 20,         /* bytes of a piece at all: the heap way takes up to 40 bytes a byte */
    SEEN_LEN_MAX = 48,            /* longer pieces seldom come twice */
    SEEN_TEXT_MIN = 512,          /* shorter texts do not repay the memory */
};
#define NONE UINT32_MAX
enum { DROPPED = -1, REPLACED = -2 }; /* byte_id of bytes without token */

struct ng_bpe_seen {
    const char *piece;
    uint32_t hash, len;
    uint32_t at, n; /* ids[at .. at + n) */
};

bool ng_bytelevel_decode(const char *s, size_t len, char *out, size_t *n) {
    *n = 0;
    for (size_t i = 0, step; i < len; i += step) {
        uint32_t cp;
        step = ng_utf8_decode(&cp, s + i, len - i);
        bool printable = (cp >= 33 && cp <= 126) || (cp >= 161 && cp <= 172) || (cp >= 174 && cp <= 255);
        if (!printable) { /* the other 68 bytes stand at U+0100 and up, in order */
            if (cp < 256 || cp >= 256 + 68) return false;
            uint32_t k = cp - 256;
            cp = k < 33 ? k : k < 33 + 34 ? k - 33 + 127 : 173;
        }
        out[(*n)++] = (char)cp;
    }
    return true;
}

static const ng_merge_slot *find_pair(const ng_bpe *b, uint64_t pair) {
    for (uint32_t i = (uint32_t)ng_hash_mix(pair) & b->merges_mask;; i = (i + 1) & b->merges_mask) {
        const ng_merge_slot *slot = &b->merges[i];
        if (slot->pair == pair || slot->pair == UINT64_MAX) return slot;
    }
}

static inline uint32_t pair_rank(const ng_bpe *b, int32_t left, int32_t right) {
    return find_pair(b, (uint64_t)(uint32_t)left << 32 | (uint32_t)right)->rank;
}

/* ---- loading ----------------------------------------------------------------------------------- */

/* The id of one side of a merge, written in GPT-2's alphabet, into *id; its bytes into out. */
static bool side(const ng_bpe *b, const char *s, size_t len, char *out, size_t *n, int32_t *id) {
    if (!ng_bytelevel_decode(s, len, out, n)) return false;
    return (*id = ng_token_table_get(&b->pieces, out, *n)) >= 0;
}

static ng_status read_merge(ng_bpe *b, ng_str m, size_t rank, char *scratch, ng_error *err) {
    const char *space = m.len > 1 ? memchr(m.data + 1, ' ', m.len - 1) : NULL;
    size_t n, n2;
    int32_t left, right, id = -1;
    if (space && side(b, m.data, (size_t)(space - m.data), scratch, &n, &left) &&
        side(b, space + 1, (size_t)(m.data + m.len - space) - 1, scratch + n, &n2, &right))
        id = ng_token_table_get(&b->pieces, scratch, n + n2);
    if (id < 0)
        return ng_fail(err, NG_EFORMAT, "tokenizer: merge %zu (\"%.*s\") is not two tokens that make a third; "
                       "convert the model again", rank, m.len < 64 ? (int)m.len : 64, m.data);
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    b->merged[rank] = id;
    ng_merge_slot *slot = &b->merges[find_pair(b, pair) - b->merges];
    if (slot->pair == UINT64_MAX) *slot = (ng_merge_slot){pair, (uint32_t)rank, id};
    return NG_OK;
}

static ng_status read_merges(ng_bpe *b, ng_arena *a, const ng_gguf *g, ng_error *err) {
    ng_gguf_array m;
    ng_status s = ng_gguf_get_array(g, "tokenizer.ggml.merges", &m, err);
    if (s) return s;
    if (m.kind != NG_GGUF_STRING) return ng_fail(err, NG_EFORMAT, "tokenizer: tokenizer.ggml.merges holds no strings");
    size_t longest = 0, cap = 16;
    for (size_t i = 0; i < m.len; i++) longest = m.strs[i].len > longest ? m.strs[i].len : longest;
    if (m.len > UINT32_MAX / 4) return ng_fail(err, NG_EFORMAT, "tokenizer: %zu merges are too many", m.len);
    while (cap < m.len + m.len / 2) cap *= 2;
    b->merges_mask = (uint32_t)cap - 1;
    b->merges = ng_arena_array(a, cap, sizeof *b->merges);
    b->merged = ng_arena_array(a, m.len, sizeof *b->merged);
    char *scratch = malloc(longest + 1);
    if (!b->merges || !b->merged || !scratch) {
        free(scratch);
        return ng_fail(err, NG_ENOMEM, "tokenizer: %zu merges", m.len);
    }
    for (size_t i = 0; i < cap; i++) b->merges[i] = (ng_merge_slot){UINT64_MAX, NONE, -1};
    for (size_t i = 0; i < m.len && !s; i++) s = read_merge(b, m.strs[i], i, scratch, err);
    free(scratch);
    return s;
}

static size_t merge_short(const ng_bpe *b, const uint8_t *s, size_t n, int32_t *id);

static ng_status read_bytes(ng_bpe *b, ng_arena *a, ng_error *err) {
    uint32_t *pairs = b->byte_pairs = ng_arena_array(a, 256 * 256, sizeof *pairs);
    if (!pairs) return ng_fail(err, NG_ENOMEM, "tokenizer: the table of byte pairs");
    for (int c = 0; c < 256; c++) {
        char byte = (char)c;
        b->byte_id[c] = ng_token_table_get(&b->pieces, &byte, 1);
        if (b->byte_id[c] >= 0) continue;
        b->byte_id[c] = c == 0xC0 || c == 0xC1 || c >= 0xF5 ? REPLACED : DROPPED;
        b->bytes_missing = true;
    }
    for (int l = 0; l < 256; l++)
        for (int r = 0; r < 256; r++)
            pairs[l << 8 | r] =
                b->byte_id[l] < 0 || b->byte_id[r] < 0 ? NONE : pair_rank(b, b->byte_id[l], b->byte_id[r]);
    static const uint8_t replacement[3] = {0xEF, 0xBF, 0xBD};
    if (b->byte_id[0xEF] >= 0 && b->byte_id[0xBF] >= 0 && b->byte_id[0xBD] >= 0)
        b->n_replacement = merge_short(b, replacement, 3, b->replacement);
    return NG_OK;
}

ng_status ng_bpe_init(ng_bpe *b, ng_arena *a, const ng_gguf *g, size_t n_vocab, ng_error *err) {
    ng_status s = read_merges(b, a, g, err);
    if (!s) s = read_bytes(b, a, err);
    if (!s && !(b->whole = ng_arena_alloc(a, n_vocab))) s = ng_fail(err, NG_ENOMEM, "tokenizer: %zu tokens", n_vocab);
    return s;
}

/* ---- merging ----------------------------------------------------------------------------------- */

/* Way 3: ids of s[0..n), n in 1..SHORT_MAX, into id; returns how many are left. */
static size_t merge_short(const ng_bpe *b, const uint8_t *s, size_t n, int32_t *id) {
    uint32_t rank[SHORT_MAX];
    for (size_t i = 0; i < n; i++) id[i] = b->byte_id[s[i]];
    for (size_t i = 0; i + 1 < n; i++) rank[i] = b->byte_pairs[s[i] << 8 | s[i + 1]];
    while (n > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < n; i++) best = rank[i] < rank[best] ? i : best;
        if (rank[best] == NONE) break;
        id[best] = b->merged[rank[best]];
        n--;
        for (size_t i = best + 1; i < n; i++) id[i] = id[i + 1], rank[i - 1] = rank[i];
        if (best + 1 < n) rank[best] = pair_rank(b, id[best], id[best + 1]);
        if (best) rank[best - 1] = pair_rank(b, id[best - 1], id[best]);
    }
    return n;
}

/* Way 4's state: a doubly linked list in arrays and a heap of rank << 32 | position. */
typedef struct long_merge {
    const ng_bpe *b;
    int32_t *id;
    uint32_t *next, *prev, *rank;
    uint64_t *heap;
    size_t n, n_heap;
} long_merge;

static void heap_down(uint64_t *h, size_t n, size_t i) {
    uint64_t v = h[i];
    for (size_t c; (c = 2 * i + 1) < n; i = c) {
        c += c + 1 < n && h[c + 1] < h[c];
        if (h[c] >= v) break;
        h[i] = h[c];
    }
    h[i] = v;
}

static void heap_push(long_merge *m, uint64_t v) {
    size_t i = m->n_heap++;
    for (size_t p; i && m->heap[p = (i - 1) / 2] > v; i = p) m->heap[i] = m->heap[p];
    m->heap[i] = v;
}

/* The pair that begins at position i is new. */
static void pair_changed(long_merge *m, uint32_t i) {
    uint32_t k = m->next[i];
    m->rank[i] = k < m->n ? pair_rank(m->b, m->id[i], m->id[k]) : NONE;
    if (m->rank[i] != NONE) heap_push(m, (uint64_t)m->rank[i] << 32 | i);
}

static void merge_long(long_merge *m, const uint8_t *s) {
    for (size_t i = 0; i < m->n; i++) {
        m->id[i] = m->b->byte_id[s[i]];
        m->next[i] = (uint32_t)i + 1;
        m->prev[i] = (uint32_t)i - 1;
        m->rank[i] = i + 1 < m->n ? m->b->byte_pairs[s[i] << 8 | s[i + 1]] : NONE;
        if (m->rank[i] != NONE) m->heap[m->n_heap++] = (uint64_t)m->rank[i] << 32 | i;
    }
    for (size_t i = m->n_heap / 2; i-- > 0;) heap_down(m->heap, m->n_heap, i);
    while (m->n_heap) {
        uint64_t top = m->heap[0];
        m->heap[0] = m->heap[--m->n_heap];
        if (m->n_heap) heap_down(m->heap, m->n_heap, 0);
        uint32_t i = (uint32_t)top, k;
        if (m->rank[i] != (uint32_t)(top >> 32)) continue; /* stale */
        m->id[i] = m->b->merged[m->rank[i]];
        k = m->next[i];
        m->rank[k] = NONE;
        m->next[i] = m->next[k];
        if (m->next[k] < m->n) m->prev[m->next[k]] = i;
        pair_changed(m, i);
        if (i) pair_changed(m, m->prev[i]);
    }
}

/* Ids of a long piece into out, which has room for n; *n_out how many. */
static ng_status encode_long(const ng_bpe *b, const char *s, size_t n, int32_t *out, size_t *n_out, ng_error *err) {
    if (n > PIECE_MAX)
        return ng_fail(err, NG_ELIMIT, "tokenizer: %zu bytes without a break; at most %d", n, PIECE_MAX);
    /* A merge removes one symbol and adds at most two pairs: never more than 3 n entries. */
    long_merge m = {.b = b, .n = n, .id = out};
    m.next = malloc(n * 3 * sizeof *m.next);
    m.heap = malloc(n * 3 * sizeof *m.heap);
    if (!m.next || !m.heap) {
        free(m.next);
        free(m.heap);
        return ng_fail(err, NG_ENOMEM, "tokenizer: %zu bytes without a break", n);
    }
    m.prev = m.next + n;
    m.rank = m.prev + n;
    merge_long(&m, (const uint8_t *)s);
    size_t k = 0;
    for (size_t i = 0; i < n; i = m.next[i]) out[k++] = out[i];
    *n_out = k;
    free(m.next);
    free(m.heap);
    return NG_OK;
}

/* Bytes without token among ids[from..) go, or become U+FFFD: the result may be longer. */
static ng_status fill_missing(const ng_bpe *b, ng_ids *ids, size_t from, ng_error *err) {
    size_t n = ids->len, replaced = 0, kept = from;
    for (size_t i = from; i < n; i++) { /* first what only goes */
        if (ids->data[i] == DROPPED || (ids->data[i] == REPLACED && !b->n_replacement)) continue;
        replaced += ids->data[i] == REPLACED;
        ids->data[kept++] = ids->data[i];
    }
    ids->len = kept;
    if (!replaced) return NG_OK;
    size_t extra = replaced * (b->n_replacement - 1);
    if (ng_ids_reserve(ids, extra)) return ng_fail(err, NG_ENOMEM, "tokenizer: %zu ids", kept + extra);
    size_t to = ids->len += extra;
    for (size_t i = kept; i-- > from;) {
        size_t k = ids->data[i] == REPLACED ? b->n_replacement : 0;
        if (!k) ids->data[--to] = ids->data[i];
        while (k) ids->data[--to] = b->replacement[--k];
    }
    return NG_OK;
}

/* Ways 2 to 4. */
static ng_status encode_piece(const ng_bpe *b, const char *s, size_t n, uint32_t hash, ng_ids *ids, ng_error *err) {
    int32_t token = ng_token_table_get_hashed(&b->pieces, s, n, hash);
    uint8_t whole = token < 0 ? 2 : b->pretok->ignore_merges ? 1
                  : atomic_load_explicit(&b->whole[token], memory_order_relaxed);
    if (ng_ids_reserve(ids, n)) return ng_fail(err, NG_ENOMEM, "tokenizer: %zu ids", ids->len + n);
    if (whole == 1) return ids->data[ids->len++] = token, NG_OK;
    size_t from = ids->len, n_out = 0;
    if (n <= SHORT_MAX) {
        n_out = merge_short(b, (const uint8_t *)s, n, ids->data + from);
    } else {
        ng_status status = encode_long(b, s, n, ids->data + from, &n_out, err);
        if (status) return status;
    }
    ids->len += n_out;
    if (whole == 0)
        atomic_store_explicit(&b->whole[token], n_out == 1 && ids->data[from] == token ? 1 : 2, memory_order_relaxed);
    return b->bytes_missing ? fill_missing(b, ids, from, err) : NG_OK;
}

/* Doing without this memory is no failure. */
void ng_bpe_scratch_start(ng_bpe_scratch *s, size_t len) {
    if (len < SEEN_TEXT_MIN) return;
    size_t n = 64;
    while (n < 4096 && n < len / 32) n *= 2;
    s->seen = calloc(n, sizeof *s->seen);
    s->n_seen = s->seen ? n : 0;
}

ng_status ng_bpe_encode(const ng_bpe *b, const char *text, size_t len, ng_bpe_scratch *scratch, ng_ids *ids,
                        ng_error *err) {
    struct ng_bpe_seen *seen = scratch->seen;
    for (size_t i = 0, end; i < len; i = end) {
        end = ng_pretok_next(b->pretok, text, len, i);
        const char *s = text + i;
        size_t n = end - i, from = ids->len;
        uint32_t hash = ng_token_hash(s, n);
        struct ng_bpe_seen *slot = seen ? &seen[(hash >> 7) & (scratch->n_seen - 1)] : NULL;
        if (slot && slot->hash == hash && slot->len == n && !memcmp(slot->piece, s, n)) {
            if (ng_ids_reserve(ids, slot->n)) return ng_fail(err, NG_ENOMEM, "tokenizer: %zu ids", from);
            for (uint32_t k = 0; k < slot->n; k++) ids->data[from + k] = ids->data[slot->at + k];
            ids->len += slot->n;
            continue;
        }
        ng_status status = encode_piece(b, s, n, hash, ids, err);
        if (status) return status;
        if (slot && n <= SEEN_LEN_MAX && ids->len <= UINT32_MAX)
            *slot = (struct ng_bpe_seen){s, hash, (uint32_t)n, (uint32_t)from, (uint32_t)(ids->len - from)};
    }
    return NG_OK;
}

void ng_bpe_scratch_clear(ng_bpe_scratch *s) {
    free(s->seen);
    *s = (ng_bpe_scratch){0};
}

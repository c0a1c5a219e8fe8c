/* data.c: sources into labelled samples.  See data.h. */
#include "data.h"

#include "core/checked.h"
#include "core/file.h"
#include "core/hash.h"
#include "train/courtesy.h"
#include "train/kept.h"
#include "train/noise.h"
#include "train/pair_rows.h"
#include "train/pieces.h"
#include "train/marks.h"
#include "train/similar.h"
#include "train/task_requests.h"
#include "train/typos.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COPY_MAX = 128 << 20 }; /* bytes of one text's copy */

/* ---- where a source's file is ------------------------------------------------------------------- */

/* Of a file that the source names. */
static char *source_path(const char *file, const ng_source *s, const ng_recipe *r, ng_arena *arena, ng_error *err) {
    const char *base = getenv("NANOGRID_DATA");
    char *path;
    if (file[0] == '/') path = ng_arena_strdup(arena, file);
    else if (!strncmp(file, "./", 2))
        path = ng_beside_recipe(r->path, file + 2, arena);
    else if (!base || !*base) {
        (void)ng_fail(err, NG_ENOTFOUND, "%s:%d: NANOGRID_DATA is not set; it must name the folder that holds %s",
                      r->path, s->line, file);
        return NULL;
    } else path = ng_arena_printf(arena, "%s/%s", base, file);
    if (!path) (void)ng_fail(err, NG_ENOMEM, "%s: out of memory", r->path);
    return path;
}

static ng_status parse_file(const ng_source *s, const ng_recipe *r, bool need_label, ng_row_fn *fn, void *ctx,
                            ng_error *err) {
    ng_arena *arena;
    ng_map map = {0};
    if (ng_arena_new(&arena, 4096)) return ng_fail(err, NG_ENOMEM, "%s: out of memory", r->path);
    char *path = source_path(s->file, s, r, arena, err);
    ng_status st = path ? NG_OK : err && err->code ? err->code : NG_ENOTFOUND;
    if (!st && s->format == NG_FORMAT_REQUESTS) {
        st = ng_requests_make(s, r, path, fn, ctx, err);
        ng_arena_free(arena);
        return st;
    }
    if (!st && (s->format == NG_FORMAT_QUESTIONS || s->format == NG_FORMAT_DOCUMENTS)) {
        ng_arena_free(arena);
        return ng_pair_rows_make(s, fn, ctx, err);
    }
    if (!st) st = ng_map_open(&map, path, err);
    if (!st) st = ng_source_parse(s, path, (const char *)map.data, map.len, need_label, fn, ctx, err);
    ng_map_close(&map);
    ng_arena_free(arena);
    return st;
}

/* Applies rename; false: the row is dropped. */
static bool renamed(const ng_source *s, const char **label, size_t *len) {
    for (size_t i = 0; i < s->rename.len; i++) {
        const char *rule = s->rename.items[i], *eq = strchr(rule, '=');
        if (!eq || (size_t)(eq - rule) != *len || memcmp(rule, *label, *len) != 0) continue;
        *label = eq + 1;
        *len = strlen(eq + 1);
        return *len > 0;
    }
    return true;
}

static ng_status check_source(const ng_source *s, const ng_recipe *r, ng_error *err) {
    for (size_t i = 0; i < s->rename.len; i++)
        if (!strchr(s->rename.items[i], '='))
            return ng_fail(err, NG_EINVALID, "%s:%d: rename: '%s' is not old=new", r->path, s->line,
                           s->rename.items[i]);
    if ((s->positive.len || s->negative.len) && (r->task != NG_RECIPE_MODERATE || s->value))
        return ng_fail(err, NG_EINVALID, "%s:%d: positive and negative belong to the task moderate, without value",
                       r->path, s->line);
    bool makes = s->format == NG_FORMAT_QUESTIONS || s->format == NG_FORMAT_DOCUMENTS;
    if (makes &&
        (r->task != (s->format == NG_FORMAT_QUESTIONS ? NG_RECIPE_RERANK : NG_RECIPE_SUMMARIZE) || r->labels.len != 2))
        return ng_fail(err, NG_EINVALID,
                       "%s:%d: questions are for the task rerank, documents for summarize, and the recipe names two "
                       "labels",
                       r->path, s->line);
    if (makes ? s->where.len || s->hash.of || s->rename.len || s->value : s->others || s->stories)
        return ng_fail(err, NG_EINVALID,
                       "%s:%d: where, hash, rename and value are not for the formats questions and documents; others "
                       "and stories are for these alone",
                       r->path, s->line);
    if (s->every > 1 && s->format != NG_FORMAT_DOCUMENTS)
        return ng_fail(err, NG_EINVALID, "%s:%d: every is for the format documents", r->path, s->line);
    ng_noise noise;
    for (size_t i = 0; i < s->spoil.len; i++)
        if (!ng_noise_parse(&noise, s->spoil.items[i]) || r->task == NG_RECIPE_EXTRACT || r->task == NG_RECIPE_EMBED)
            return ng_fail(err, NG_EINVALID,
                           "%s:%d: spoil: '%s': single texts are spoilt by typos, spacing, homoglyphs or leetspeak",
                           r->path, s->line, s->spoil.items[i]);
    if (ng_recipe_joins(r) && !s->second && !makes)
        return ng_fail(err, NG_EINVALID,
                       "%s:%d: another source has `second`: pairs and single texts cannot be mixed in one head",
                       r->path, s->line);
    if ((s->typos.copies || s->pieces.copies || s->courtesy.copies || s->similar.copies) &&
        (r->task == NG_RECIPE_EXTRACT || r->task == NG_RECIPE_EMBED || s->second))
        return ng_fail(err, NG_EINVALID,
                       "%s:%d: typos, pieces, courtesy and similar are for single texts with labels, not for tagged words or "
                       "pairs",
                       r->path, s->line);
    return NG_OK;
}

/* ---- labels ------------------------------------------------------------------------------------- */

typedef struct label_scan {
    ng_labels *labels;
    const ng_source *source;
    const ng_recipe *recipe;
    size_t cap;
} label_scan;

int32_t ng_labels_find(const ng_labels *l, const char *name, size_t len) {
    for (size_t i = 0; i < l->len; i++)
        if (!strncmp(l->names[i], name, len) && !l->names[i][len]) return (int32_t)i;
    return -1;
}

static ng_status add_label(label_scan *c, const char *name, size_t len, ng_error *err) {
    ng_labels *l = c->labels;
    if (!len || ng_labels_find(l, name, len) >= 0) return NG_OK;
    size_t max = c->recipe->task == NG_RECIPE_MODERATE ? NG_LABELS_MULTI_MAX : 4096;
    if (l->len == max) return ng_fail(err, NG_ELIMIT, "%s: more than %zu labels", c->recipe->path, max);
    if (l->len == c->cap) {
        size_t cap = c->cap ? c->cap * 2 : 64;
        const char **names = ng_arena_array(l->arena, cap, sizeof *names);
        if (!names) return ng_fail(err, NG_ENOMEM, "%s: out of memory", c->recipe->path);
        if (l->len) memcpy(names, l->names, l->len * sizeof *names);
        l->names = names;
        c->cap = cap;
    }
    l->names[l->len] = ng_arena_strndup(l->arena, name, len);
    if (!l->names[l->len]) return ng_fail(err, NG_ENOMEM, "%s: out of memory", c->recipe->path);
    l->len++;
    return NG_OK;
}

/* The kind of a tag, by its new name; false for O and for kinds that are dropped. */
static bool tag_kind(const ng_source *s, const char *tag, size_t len, const char **kind, size_t *kind_len) {
    if (len < 3) return false;
    *kind = tag + 2;
    *kind_len = len - 2;
    return renamed(s, kind, kind_len);
}

static ng_status add_tag_labels(label_scan *c, const char *tags, size_t len, ng_error *err) {
    for (size_t i = 0, n; i < len; i += n + 1) {
        const char *kind;
        size_t kind_len;
        for (n = 0; i + n < len && tags[i + n] != ' ';) n++;
        if (!tag_kind(c->source, tags + i, n, &kind, &kind_len)) continue;
        ng_status s = add_label(c, kind, kind_len, err);
        if (s) return s;
    }
    return NG_OK;
}

/* Calls add_label for each name of "a|b" (moderate), each kind of tag (extract) or for the one name. */
static ng_status add_row_labels(void *ctx, const ng_row *row, ng_error *err) {
    label_scan *c = ctx;
    const char *label = row->label;
    size_t len = row->label_len;
    if (label && c->recipe->task == NG_RECIPE_EXTRACT) return add_tag_labels(c, label, len, err);
    if (!label || !renamed(c->source, &label, &len)) return NG_OK;
    while (c->recipe->task == NG_RECIPE_MODERATE && memchr(label, '|', len)) {
        size_t n = (size_t)((const char *)memchr(label, '|', len) - label);
        ng_status s = add_label(c, label, n, err);
        if (s) return s;
        label += n + 1;
        len -= n + 1;
    }
    return add_label(c, label, len, err);
}

static ng_status add_fixed(label_scan *c, ng_error *err) {
    const ng_source *s = c->source;
    ng_status st = s->value ? add_label(c, s->value, strlen(s->value), err) : NG_OK;
    for (size_t i = 0; !st && i < s->positive.len; i++)
        st = add_label(c, s->positive.items[i], strlen(s->positive.items[i]), err);
    for (size_t i = 0; !st && i < s->negative.len; i++)
        st = add_label(c, s->negative.items[i], strlen(s->negative.items[i]), err);
    return st;
}

/* Kinds become "O", then B- and I- of each. */
static ng_status kinds_to_tags(ng_labels *l, const ng_recipe *r, ng_error *err) {
    const char **names = ng_arena_array(l->arena, 2 * l->len + 1, sizeof *names);
    bool ok = names && (names[0] = ng_arena_strdup(l->arena, "O"));
    for (size_t i = 0; ok && i < l->len; i++)
        ok = (names[2 * i + 1] = ng_arena_printf(l->arena, "B-%s", l->names[i])) &&
             (names[2 * i + 2] = ng_arena_printf(l->arena, "I-%s", l->names[i]));
    if (!ok) return ng_fail(err, NG_ENOMEM, "%s: out of memory", r->path);
    l->names = names;
    l->len = 2 * l->len + 1;
    return NG_OK;
}

static int by_name(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

ng_status ng_labels_read(ng_labels *out, const ng_recipe *r, ng_error *err) {
    label_scan c = {.labels = out, .recipe = r};
    *out = (ng_labels){0};
    if (ng_arena_new(&out->arena, 8192)) return ng_fail(err, NG_ENOMEM, "%s: out of memory", r->path);
    if (r->task == NG_RECIPE_EMBED) return NG_OK; /* pairs have a number */
    ng_status st = NG_OK;
    for (size_t i = 0; !st && i < r->labels.len; i++)
        st = add_label(&c, r->labels.items[i], strlen(r->labels.items[i]), err);
    const ng_source *sources = r->data.train.items;
    for (size_t i = 0; !st && !r->labels.len && i < r->data.train.len; i++) {
        c.source = &sources[i];
        st = check_source(c.source, r, err);
        if (!st) st = add_fixed(&c, err);
        if (!st) st = parse_file(c.source, r, true, add_row_labels, &c, err);
    }
    if (!st && !out->len) st = ng_fail(err, NG_EFORMAT, "%s: the training data have no labels", r->path);
    if (!st && !r->labels.len) qsort(out->names, out->len, sizeof *out->names, by_name);
    if (!st && r->task == NG_RECIPE_EXTRACT) st = kinds_to_tags(out, r, err);
    if (st) ng_labels_clear(out);
    return st;
}

void ng_labels_clear(ng_labels *l) {
    ng_arena_free(l->arena);
    *l = (ng_labels){0};
}

/* ---- samples ------------------------------------------------------------------------------------ */

typedef struct sample_scan {
    ng_dataset *set;
    const ng_labels *labels; /* NULL: out-of-scope texts */
    const ng_source *source;
    uint32_t index; /* of source */
    const ng_recipe *recipe;
    ng_courtesy *courtesy; /* of the source; NULL: it wants none */
    ng_similar *similar;
    ng_buf copy;
} sample_scan;

static ng_status unknown_label(const sample_scan *c, const ng_row *row, const char *label, size_t len, ng_error *err) {
    return ng_fail(err, NG_EFORMAT, "%s line %zu: label '%.*s' is none of the %zu labels of the training data",
                   c->source->file, row->line, len > 60 ? 60 : (int)len, label, c->labels->len);
}

static ng_status label_mask(const sample_scan *c, const ng_row *row, const char *label, size_t len, uint64_t *mask,
                            ng_error *err) {
    while (len) {
        const char *bar = memchr(label, '|', len);
        size_t n = bar ? (size_t)(bar - label) : len;
        int32_t i = ng_labels_find(c->labels, label, n);
        if (i < 0) return unknown_label(c, row, label, n, err);
        *mask |= (uint64_t)1 << i;
        label += n + (bar != NULL);
        len -= n + (bar != NULL);
    }
    return NG_OK;
}

static ng_status moderate_label(const sample_scan *c, const ng_row *row, const char *label, size_t len, ng_sample *s,
                                ng_error *err) {
    const ng_source *src = c->source;
    ng_status st = NG_OK;
    if (!src->positive.len && !src->negative.len) {
        s->known = c->labels->len == 64 ? UINT64_MAX : ((uint64_t)1 << c->labels->len) - 1;
        return label_mask(c, row, label, len, &s->holds, err);
    }
    for (size_t i = 0; !st && i < src->positive.len; i++)
        st = label_mask(c, row, src->positive.items[i], strlen(src->positive.items[i]), &s->holds, err);
    s->known = s->holds;
    for (size_t i = 0; !st && i < src->negative.len; i++)
        st = label_mask(c, row, src->negative.items[i], strlen(src->negative.items[i]), &s->known, err);
    return st;
}

static ng_status tag_sample(const sample_scan *c, const ng_row *row, ng_sample *s, ng_error *err) {
    const char *tags = row->label ? row->label : "";
    size_t n = 1, len = row->label_len, k = 0;
    for (size_t i = 0; i < len; i++) n += tags[i] == ' ';
    int16_t *out = ng_arena_array(c->set->arena, n, sizeof *out);
    if (!out) return ng_fail(err, NG_ENOMEM, "%s: out of memory", c->source->file);
    for (size_t i = 0, m; i < len; i += m + 1, k++) {
        const char *kind;
        size_t kind_len;
        char name[128];
        for (m = 0; i + m < len && tags[i + m] != ' ';) m++;
        out[k] = 0;
        if (!tag_kind(c->source, tags + i, m, &kind, &kind_len)) continue;
        int full = snprintf(name, sizeof name, "%c-%.*s", tags[i], (int)(kind_len < 100 ? kind_len : 100), kind);
        int32_t label = ng_labels_find(c->labels, name, (size_t)full);
        if (label < 0) return unknown_label(c, row, kind, kind_len, err);
        out[k] = (int16_t)label;
    }
    if (c->source->join) ng_tags_join(out, k, row->text, row->text_len, c->labels, c->source->join);
    s->tags = out;
    s->n_words = (uint32_t)k;
    return NG_OK;
}

/* Tags from a shortened text: its kind for each word that it keeps. */
static ng_status kept_sample(const sample_scan *c, const ng_row *row, ng_sample *s, ng_error *err) {
    size_t n, full = c->source->value ? strlen(c->source->value) : 0;
    bool *kept = ng_words_kept(row->text, row->text_len, row->second, row->second_len, &n);
    int16_t *out = kept ? ng_arena_array(c->set->arena, n + 1, sizeof *out) : NULL;
    char name[128];
    snprintf(name, sizeof name, "B-%.*s", (int)(full < 100 ? full : 100), full ? c->source->value : "");
    int32_t label = ng_labels_find(c->labels, name, strlen(name)); /* its I- comes next */
    ng_status st = NG_OK;
    if (!full)
        st = ng_fail(err, NG_EINVALID,
                     "%s:%d: `second` of the task extract needs `value`, the kind of the words that it keeps",
                     c->recipe->path, c->source->line);
    else if (!out)
        st = ng_fail(err, NG_ENOMEM, "%s line %zu: out of memory, or more than %d words", c->source->file, row->line,
                     NG_KEPT_WORDS_MAX);
    else if (label < 0) st = unknown_label(c, row, c->source->value, full, err);
    for (size_t i = 0; !st && i < n; i++) out[i] = (int16_t)(!kept[i] ? 0 : i && kept[i - 1] ? label + 1 : label);
    free(kept);
    s->tags = out;
    s->n_words = (uint32_t)n;
    return st;
}

/* The second text of a pair that is read as one sequence. */
static ng_status join_sample(const sample_scan *c, const ng_row *row, ng_sample *s, ng_error *err) {
    s->hash = ng_hash_mix(s->hash ^ ng_text_hash(row->second, row->second_len)); /* a pair, not its first text, is what splits share */
    s->second_len = (uint32_t)row->second_len;
    s->second = ng_arena_strndup(c->set->arena, row->second, row->second_len);
    return s->second ? NG_OK : ng_fail(err, NG_ENOMEM, "%s: out of memory", c->source->file);
}

static ng_status pair_sample(const sample_scan *c, const ng_row *row, ng_sample *s, ng_error *err) {
    char number[64], *end = number;
    if (!row->second)
        return ng_fail(err, NG_EINVALID, "%s:%d: the task embed needs `second`, the column of the other text",
                       c->recipe->path, c->source->line);
    snprintf(number, sizeof number, "%.*s", (int)(row->label_len < 60 ? row->label_len : 60),
             row->label ? row->label : "");
    double score = strtod(number, &end) / c->source->scale;
    if (end == number || *end || !(score >= 0 && score <= 1))
        return ng_fail(err, NG_EFORMAT, "%s line %zu: '%s' is no number from 0 to %g", c->source->file, row->line,
                       number, c->source->scale);
    s->score = (float)score;
    return join_sample(c, row, s, err);
}

static ng_status put_sample(ng_dataset *d, const ng_sample *s) {
    if (d->len == d->cap) {
        size_t cap = d->cap ? d->cap * 2 : 1024;
        ng_sample *items = realloc(d->items, cap * sizeof *items);
        if (!items) return NG_ENOMEM;
        d->items = items;
        d->cap = cap;
    }
    d->items[d->len++] = *s;
    return NG_OK;
}

typedef void put_copy(ng_buf *out, const sample_scan *c, const ng_sample *s, ng_rng *rng);

static void put_misspelt(ng_buf *out, const sample_scan *c, const ng_sample *s, ng_rng *rng) {
    ng_typos_put(out, s->text, s->len, c->source->typos.share, rng);
}

static void put_courteous(ng_buf *out, const sample_scan *c, const ng_sample *s, ng_rng *rng) {
    ng_courtesy_put(out, c->courtesy, s->text, s->len, rng);
}

static void put_similar(ng_buf *out, const sample_scan *c, const ng_sample *s, ng_rng *rng) {
    ng_similar_put(out, c->similar, s->text, s->len, c->source->similar.share, rng);
}

/* The same text as others would write it, `n` times; `salt` tells the kinds of copies apart. */
static ng_status add_copies(sample_scan *c, const ng_sample *s, put_copy *put, int64_t n, uint64_t salt) {
    for (int64_t i = 0; i < n; i++) {
        ng_sample copy = *s; /* its hash too: no copy stands on another side of a split than its text */
        ng_rng rng = ng_rng_seed(ng_hash_mix(s->hash + salt + (uint64_t)i + 1));
        ng_buf_reset(&c->copy);
        put(&c->copy, c, s, &rng);
        copy.text = c->copy.status ? NULL : ng_arena_strndup(c->set->arena, c->copy.data, c->copy.len);
        copy.len = (uint32_t)c->copy.len;
        if (!copy.text || put_sample(c->set, &copy)) return NG_ENOMEM;
    }
    return NG_OK;
}

/* Runs of the text's words: of one word, of two, .. and anew.  Each is a text of its own, which may stand in a test set. */
static ng_status add_pieces(sample_scan *c, const ng_sample *s) {
    const ng_source_pieces *want = &c->source->pieces;
    ng_rng rng = ng_rng_seed(ng_hash_mix(s->hash + 300));
    for (int64_t i = 0; i < want->copies; i++) {
        ng_sample piece = *s;
        bool whole = ng_piece_set(&c->copy, s->text, s->len, 1 + (size_t)(i % want->words), &rng);
        if (c->copy.status) return NG_ENOMEM;
        if (!whole) continue;
        piece.text = ng_arena_strndup(c->set->arena, c->copy.data, c->copy.len);
        piece.len = (uint32_t)c->copy.len;
        piece.hash = ng_text_hash(c->copy.data, c->copy.len);
        if (!piece.text || put_sample(c->set, &piece)) return NG_ENOMEM;
    }
    return NG_OK;
}

static ng_status add_with_copies(sample_scan *c, const ng_sample *s) {
    const ng_source *from = c->source;
    ng_status st = put_sample(c->set, s);
    if (!st) st = add_copies(c, s, put_misspelt, from->typos.copies, 0);
    if (!st) st = add_copies(c, s, put_courteous, from->courtesy.copies, 100);
    if (!st) st = add_pieces(c, s);
    return st ? st : add_copies(c, s, put_similar, from->similar.copies, 200);
}

/* The text as someone writes it who would not be understood by a machine. */
static ng_status spoil(sample_scan *c, ng_sample *s) {
    ng_noise kind = NG_NOISE_NONE;
    ng_buf_reset(&c->copy);
    (void)ng_noise_parse(&kind, c->source->spoil.items[ng_hash_mix(s->hash) % c->source->spoil.len]);
    ng_status st = ng_noise_apply(kind, s->text, s->len, &c->copy);
    s->text = st ? NULL : ng_arena_strndup(c->set->arena, c->copy.data, c->copy.len);
    s->len = (uint32_t)c->copy.len;
    return s->text ? NG_OK : NG_ENOMEM;
}

static ng_status add_sample(void *ctx, const ng_row *row, ng_error *err) {
    sample_scan *c = ctx;
    const char *label = row->label ? row->label : c->source->value ? c->source->value : "";
    size_t len = row->label ? row->label_len : strlen(label);
    ng_sample s = {.len = (uint32_t)row->text_len, .label = -1, .source = c->index,
                   .hash = ng_text_hash(row->text, row->text_len)};
    if (c->labels && c->recipe->task == NG_RECIPE_EXTRACT) {
        ng_status st = (row->second ? kept_sample : tag_sample)(c, row, &s, err);
        if (st) return st;
    } else if (c->labels && c->recipe->task == NG_RECIPE_EMBED) {
        ng_status st = pair_sample(c, row, &s, err);
        if (st) return st;
    } else if (c->labels) {
        if (!renamed(c->source, &label, &len)) return NG_OK;
        if (c->recipe->task == NG_RECIPE_MODERATE) {
            ng_status st = moderate_label(c, row, label, len, &s, err);
            if (st) return st;
        } else if ((s.label = ng_labels_find(c->labels, label, len)) < 0) {
            return unknown_label(c, row, label, len, err);
        }
    }
    if (ng_source_joins(c->source, c->recipe)) {
        if (!row->second)
            return ng_fail(err, NG_EFORMAT, "%s line %zu: a pair without its second text", c->source->file, row->line);
        ng_status st = join_sample(c, row, &s, err);
        if (st) return st;
    }
    s.text = ng_arena_strndup(c->set->arena, row->text, row->text_len);
    if (s.text && c->source->spoil.len && spoil(c, &s)) s.text = NULL;
    if (!s.text || add_with_copies(c, &s)) return ng_fail(err, NG_ENOMEM, "%s: out of memory", c->source->file);
    return NG_OK;
}

static int by_hash(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

/* Keeps the `limit` samples from `first` on that have the least hashes. */
static ng_status apply_limit(ng_dataset *d, size_t first, size_t limit) {
    size_t n = d->len - first, out = first;
    if (!limit || n <= limit) return NG_OK;
    uint64_t *hashes = malloc(n * sizeof *hashes);
    if (!hashes) return NG_ENOMEM;
    for (size_t i = 0; i < n; i++) hashes[i] = ng_hash_mix(d->items[first + i].hash);
    qsort(hashes, n, sizeof *hashes, by_hash);
    uint64_t last = hashes[limit - 1];
    free(hashes);
    for (size_t i = first; i < d->len && out < first + limit; i++)
        if (ng_hash_mix(d->items[i].hash) <= last) d->items[out++] = d->items[i];
    d->len = out;
    return NG_OK;
}

/* What the copies of the source's texts are made with. */
static ng_status open_words(sample_scan *c, ng_error *err) {
    const ng_source *s = c->source;
    ng_status st = NG_OK;
    if (s->courtesy.copies) {
        const char *path = source_path(s->courtesy.file, s, c->recipe, c->set->arena, err);
        st = path ? ng_courtesy_open(&c->courtesy, path, err) : NG_ENOTFOUND;
    }
    if (!st && s->similar.copies) {
        const char *path = source_path(s->similar.file, s, c->recipe, c->set->arena, err);
        st = path ? ng_similar_open(&c->similar, path, err) : NG_ENOTFOUND;
    }
    return st;
}

static void close_words(sample_scan *c) {
    ng_courtesy_close(c->courtesy);
    ng_similar_close(c->similar);
    c->courtesy = NULL;
    c->similar = NULL;
}

ng_status ng_dataset_read(ng_dataset *out, const ng_config_list *sources, const ng_labels *labels, const ng_recipe *r,
                          ng_error *err) {
    *out = (ng_dataset){0};
    if (ng_arena_new(&out->arena, 1 << 20)) return ng_fail(err, NG_ENOMEM, "%s: out of memory", r->path);
    sample_scan c = {.set = out, .labels = labels, .recipe = r, .copy = ng_buf_init(COPY_MAX)};
    ng_status st = NG_OK;
    for (size_t i = 0; !st && i < sources->len; i++) {
        size_t first = out->len;
        c.source = (const ng_source *)sources->items + i;
        c.index = (uint32_t)i;
        st = check_source(c.source, r, err);
        if (!st) st = open_words(&c, err);
        if (!st) st = parse_file(c.source, r, labels != NULL, add_sample, &c, err);
        close_words(&c);
        if (!st && apply_limit(out, first, (size_t)c.source->limit))
            st = ng_fail(err, NG_ENOMEM, "%s: out of memory", c.source->file);
    }
    if (!st && sources->len && !out->len)
        st = ng_fail(err, NG_EFORMAT, "%s:%d: no row is left of this source", r->path,
                     ((const ng_source *)sources->items)->line);
    ng_buf_clear(&c.copy);
    if (st) ng_dataset_clear(out);
    return st;
}

void ng_dataset_clear(ng_dataset *d) {
    ng_arena_free(d->arena);
    free(d->items);
    *d = (ng_dataset){0};
}

void ng_dataset_filter(ng_dataset *d, const bool *keep) {
    size_t n = 0;
    for (size_t i = 0; i < d->len; i++)
        if (keep[i]) d->items[n++] = d->items[i];
    d->len = n;
}

bool ng_text_tunes(uint64_t hash) { return !(ng_hash_mix(hash) & 1); }

size_t ng_dataset_duplicates(const ng_dataset *d, const ng_dataset *other, bool *keep) {
    uint64_t *hashes = malloc((other->len + 1) * sizeof *hashes);
    size_t n = 0;
    if (!hashes) return SIZE_MAX;
    for (size_t i = 0; i < other->len; i++) hashes[i] = other->items[i].hash;
    qsort(hashes, other->len, sizeof *hashes, by_hash);
    for (size_t i = 0; i < d->len; i++) {
        keep[i] = !bsearch(&d->items[i].hash, hashes, other->len, sizeof *hashes, by_hash);
        n += !keep[i];
    }
    free(hashes);
    return n;
}

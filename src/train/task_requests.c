/* task_requests.c: expands templates into requests, with the slips of people who type.
 *
 * How: templates and fillers of one split are read; then for each row a task (in turn), one of its
 * templates (by weight), its fillers, and the noise: politeness, greetings, typing errors in the
 * words of the template, lost capitals and punctuation, line breaks around long texts.  Only the
 * template's own words are damaged: fillers are what people really wrote.
 *
 * Train, dev and test differ in templates and in fillers, so a held-out figure measures wording never
 * seen, not memory. */
#include "task_requests.h"

#include "core/file.h"
#include "core/hash.h"
#include "text/sentence.h"
#include "train/marks.h"
#include "train/wording.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LISTS_MAX = 128, FILES_MAX = 4, REQUEST_MAX = 64 << 10, TRIES = 50, DEPTH_MAX = 8 };

/* ---- the description ---------------------------------------------------------------------------- */

typedef struct filler_spec {
    const char *name;
    ng_config_list sources[3]; /* train, dev, test */
    ng_config_nums sentences;
    int64_t max_bytes;
} filler_spec;

typedef struct noise_spec {
    double typo, lower, caps, polite, greeting, closing, line_break;
} noise_spec;

typedef struct requests_spec {
    ng_config_strs templates;
    int64_t seed;
    noise_spec noise;
    ng_config_list fillers;
    ng_config_strs tasks;
} requests_spec;

static const ng_config_field filler_fields[] = {
    {"name", NG_CONFIG_STR, offsetof(filler_spec, name), .required = true},
    {"train", NG_CONFIG_LIST, offsetof(filler_spec, sources[0]), .sub = &ng_source_schema},
    {"dev", NG_CONFIG_LIST, offsetof(filler_spec, sources[1]), .sub = &ng_source_schema},
    {"test", NG_CONFIG_LIST, offsetof(filler_spec, sources[2]), .sub = &ng_source_schema},
    {"sentences", NG_CONFIG_NUMS, offsetof(filler_spec, sentences), .help = "[least, most] sentences of a text"},
    {"max_bytes", NG_CONFIG_INT, offsetof(filler_spec, max_bytes), .dflt = "4000", .min = 1, .max = 32768},
    {0}};
static const ng_config_schema filler_schema = {"a filler", sizeof(filler_spec), filler_fields};

static const ng_config_field noise_fields[] = {
    {"typo", NG_CONFIG_NUM, offsetof(noise_spec, typo), .dflt = "0.02", .max = 1},
    {"lower", NG_CONFIG_NUM, offsetof(noise_spec, lower), .dflt = "0.2", .max = 1},
    {"caps", NG_CONFIG_NUM, offsetof(noise_spec, caps), .dflt = "0", .max = 1},
    {"polite", NG_CONFIG_NUM, offsetof(noise_spec, polite), .dflt = "0.3", .max = 1},
    {"greeting", NG_CONFIG_NUM, offsetof(noise_spec, greeting), .dflt = "0.1", .max = 1},
    {"closing", NG_CONFIG_NUM, offsetof(noise_spec, closing), .dflt = "0.1", .max = 1},
    {"break", NG_CONFIG_NUM, offsetof(noise_spec, line_break), .dflt = "0.3", .max = 1},
    {0}};
static const ng_config_schema noise_schema = {"noise", sizeof(noise_spec), noise_fields};

static const ng_config_field spec_fields[] = {
    {"templates", NG_CONFIG_STRS, offsetof(requests_spec, templates), .required = true},
    {"seed", NG_CONFIG_INT, offsetof(requests_spec, seed), .dflt = "1", .min = 0, .max = 9e15},
    {"noise", NG_CONFIG_GROUP, offsetof(requests_spec, noise), .sub = &noise_schema},
    {"fillers", NG_CONFIG_LIST, offsetof(requests_spec, fillers), .sub = &filler_schema},
    {"tasks", NG_CONFIG_STRS, offsetof(requests_spec, tasks), .help = "only these; all when left out"},
    {0}};
static const ng_config_schema spec_schema = {"requests", sizeof(requests_spec), spec_fields};

/* ---- lists of texts by name --------------------------------------------------------------------- */

typedef struct item {
    const char *text;
    size_t len;
    uint32_t weight;
} item;

typedef struct list { /* a task's templates, or a filler's texts */
    const char *name;
    item *items;
    size_t len, cap;
    uint64_t total;             /* of the weights */
    const filler_spec *filler;  /* NULL: templates or an inline list */
    ng_dataset data;            /* owns the texts of a filler */
} list;

typedef struct maker {
    const ng_source *source;
    const ng_recipe *recipe;
    const char *path; /* of the description */
    ng_error *err;
    ng_arena *arena;
    requests_spec spec;
    ng_map templates[FILES_MAX];
    list lists[LISTS_MAX];
    size_t n_lists;
    ng_rng rng;
    ng_buf out;
    bool marked;           /* the recipe's task is extract: templates mark kinds, lists are templates too */
    ng_marks marks;        /* of this request */
    ng_buf words, tags;    /* of it */
    int depth;             /* of lists within lists */
    bool lower; /* this request is typed without capitals */
    bool typos; /* and carelessly */
} maker;

static ng_status no_memory(maker *m) { return ng_fail(m->err, NG_ENOMEM, "%s: out of memory", m->path); }

static list *find_list(maker *m, const char *name, size_t len) {
    for (size_t i = 0; i < m->n_lists; i++)
        if (strlen(m->lists[i].name) == len && !memcmp(m->lists[i].name, name, len)) return &m->lists[i];
    return NULL;
}

static ng_status get_list(maker *m, list **out, const char *name, size_t len) {
    *out = find_list(m, name, len);
    if (*out) return NG_OK;
    if (m->n_lists == LISTS_MAX)
        return ng_fail(m->err, NG_ELIMIT, "%s: more than %d tasks and fillers", m->path, LISTS_MAX);
    list *l = &m->lists[m->n_lists];
    *l = (list){.name = ng_arena_strndup(m->arena, name, len)};
    if (!l->name) return no_memory(m);
    m->n_lists++;
    *out = l;
    return NG_OK;
}

static ng_status list_put(maker *m, list *l, item it) {
    if (l->len == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 64;
        item *items = realloc(l->items, cap * sizeof *items);
        if (!items) return no_memory(m);
        l->items = items;
        l->cap = cap;
    }
    l->items[l->len++] = it;
    l->total += it.weight;
    return NG_OK;
}

/* "task<TAB>split<TAB>weight<TAB>template" */
static ng_status read_template(maker *m, const char *line, size_t len, const char *file, size_t number) {
    const char *field[4] = {line};
    size_t n[4], k = 0;
    for (size_t i = 0; i <= len; i++) {
        if (i < len && (line[i] != '\t' || k == 3)) continue;
        n[k] = (size_t)(line + i - field[k]);
        if (i < len) field[++k] = line + i + 1;
    }
    char *end;
    unsigned long weight = k == 3 ? strtoul(field[2], &end, 10) : 0;
    if (weight < 1 || weight > 1000 || *end != '\t' || !n[0] || !n[3])
        return ng_fail(m->err, NG_EFORMAT, "%s:%zu: not task, split, weight (1..1000), template between tabs", file,
                       number);
    const char *split = m->source->split;
    bool here = (n[1] == 1 && *field[1] == '*') || (n[1] == strlen(split) && !memcmp(field[1], split, n[1]));
    if (!here) return NG_OK;
    if (n[3] >= 2 && field[3][0] == '"' && field[3][n[3] - 1] == '"' && field[0][0] == '@') {
        field[3]++; /* quoted, so that spaces at the ends can be seen */
        n[3] -= 2;
    }
    list *l;
    ng_status s = get_list(m, &l, field[0], n[0]);
    return s ? s : list_put(m, l, (item){field[3], n[3], (uint32_t)weight});
}

static ng_status read_templates(maker *m, ng_map *map, const char *name) {
    char *file = ng_beside_recipe(m->path, name, m->arena);
    if (!file) return no_memory(m);
    ng_status s = ng_map_open(map, file, m->err);
    if (s) return s;
    const char *data = (const char *)map->data;
    size_t len = map->len, number = 0;
    for (size_t i = 0; !s && i < len;) {
        const char *nl = memchr(data + i, '\n', len - i);
        size_t n = nl ? (size_t)(nl - data) - i : len - i;
        if (++number > 1 && n) s = read_template(m, data + i, n, file, number);
        i += n + 1;
    }
    return s;
}

static ng_status read_all_templates(maker *m) {
    const ng_config_strs *files = &m->spec.templates;
    if (files->len > FILES_MAX)
        return ng_fail(m->err, NG_ELIMIT, "%s: templates: more than %d files", m->path, (int)FILES_MAX);
    ng_status s = NG_OK;
    for (size_t i = 0; !s && i < files->len; i++) s = read_templates(m, &m->templates[i], files->items[i]);
    return s;
}

static ng_status read_filler(maker *m, const filler_spec *f, size_t split) {
    list *l;
    ng_status s = get_list(m, &l, f->name, strlen(f->name));
    if (s) return s;
    if (f->sentences.len && (f->sentences.len != 2 || f->sentences.items[0] < 1 ||
                             f->sentences.items[1] < f->sentences.items[0] || f->sentences.items[1] > 1000))
        return ng_fail(m->err, NG_EINVALID, "%s: filler %s: sentences is [least, most]", m->path, f->name);
    l->filler = f;
    s = ng_dataset_read(&l->data, &f->sources[split], NULL, m->recipe, m->err);
    for (size_t i = 0; !s && i < l->data.len; i++)
        s = list_put(m, l, (item){l->data.items[i].text, l->data.items[i].len, 1});
    return s;
}

static ng_status read_fillers(maker *m) {
    static const char *const splits[] = {"train", "dev", "test"};
    const filler_spec *f = m->spec.fillers.items;
    size_t split = 0;
    while (split < 3 && strcmp(m->source->split, splits[split])) split++;
    if (split == 3)
        return ng_fail(m->err, NG_EINVALID, "%s:%d: split '%s' is not train, dev or test", m->recipe->path,
                       m->source->line, m->source->split);
    ng_status s = NG_OK;
    for (size_t i = 0; !s && i < m->spec.fillers.len; i++) s = read_filler(m, &f[i], split);
    return s;
}

/* ---- one request -------------------------------------------------------------------------------- */

static bool chance(maker *m, double p) { return ng_rng_unit(&m->rng) < p; }

static const item *draw(maker *m, const list *l) {
    if (l->len == 0) return NULL;
    if (l->total == l->len) return &l->items[ng_rng_below(&m->rng, (uint32_t)l->len)];
    uint64_t at = ng_rng_below(&m->rng, (uint32_t)l->total);
    size_t i = 0;
    while (at >= l->items[i].weight) at -= l->items[i++].weight;
    return &l->items[i];
}

/* A run of sentences of the text, from its beginning or from within. */
static ng_status some_sentences(maker *m, const ng_config_nums *range, item *it) {
    ng_span *spans;
    size_t n;
    ng_status s = ng_sentences(it->text, it->len, &spans, &n, m->err);
    if (s) return s;
    size_t least = (size_t)range->items[0], most = (size_t)range->items[1];
    size_t want = least + ng_rng_below(&m->rng, (uint32_t)(most - least + 1));
    if (want > n) want = n;
    size_t first = n > want && chance(m, 0.5) ? ng_rng_below(&m->rng, (uint32_t)(n - want + 1)) : 0;
    if (n < least) {
        it->len = 0;
    } else {
        it->text += spans[first].start;
        it->len = spans[first + want - 1].end - spans[first].start;
    }
    free(spans);
    return NG_OK;
}

static ng_status put_template(maker *m, const char *t, size_t len);

/* "{99}", "{A9 9AA}": 9 and 0 are digits (the first 9 is not 0), A is a capital. */
static bool put_pattern(maker *m, const char *name, size_t len) {
    for (size_t i = 0; i < len; i++)
        if (!memchr("09A -", name[i], 5)) return false;
    for (size_t i = 0; i < len; i++) {
        bool first = name[i] == '9' && (i == 0 || name[i - 1] != '9');
        char c = name[i];
        if (c == 'A') c = (char)('A' + ng_rng_below(&m->rng, 26));
        else if (c == '9' || c == '0') c = (char)('0' + first + ng_rng_below(&m->rng, first ? 9 : 10));
        ng_buf_putc(&m->out, c);
    }
    return true;
}

static ng_status put_item(maker *m, const list *l, const item *it) {
    if (!m->marked || l->filler) {
        ng_buf_put(&m->out, it->text, it->len);
        return NG_OK;
    }
    if (m->depth == DEPTH_MAX) return ng_fail(m->err, NG_EFORMAT, "%s: the list %s holds itself", m->path, l->name);
    m->depth++;
    ng_status s = put_template(m, it->text, it->len);
    m->depth--;
    return s;
}

static ng_status put_filler(maker *m, const char *name, size_t len) {
    char inline_name[32] = "@";
    if (m->marked && put_pattern(m, name, len)) return NG_OK;
    list *l = find_list(m, name, len);
    if (!l && len + 2 < sizeof inline_name) {
        memcpy(inline_name + 1, name, len);
        l = find_list(m, inline_name, len + 1);
    }
    if (!l || l->len == 0)
        return ng_fail(m->err, NG_EFORMAT, "%s: a template needs {%.*s}, which has no texts in the split %s", m->path,
                       (int)len, name, m->source->split);
    item it = {0};
    for (int tries = 0; tries < TRIES; tries++) {
        it = *draw(m, l);
        ng_status s = l->filler && l->filler->sentences.len ? some_sentences(m, &l->filler->sentences, &it) : NG_OK;
        if (s) return s;
        if (it.len && (!l->filler || it.len <= (size_t)l->filler->max_bytes)) return put_item(m, l, &it);
    }
    return ng_fail(m->err, NG_EFORMAT, "%s: filler %s: no text of at most %lld bytes in %d draws", m->path, l->name,
                   (long long)l->filler->max_bytes, TRIES);
}

static char lower_ascii(char c) { return c >= 'A' && c <= 'Z' ? (char)(c | 32) : c; }

static bool in_word(char c) { return (c | 32) >= 'a' && (c | 32) <= 'z'; }

/* A letter of the template: as it is, doubled, lost, or in the place of the next. */
static size_t put_letter(maker *m, const char *t, size_t i, size_t len) {
    bool slip = m->typos && i > 0 && i + 1 < len && in_word(t[i]) && in_word(t[i - 1]) && in_word(t[i + 1]) &&
                chance(m, m->spec.noise.typo * 3);
    switch (slip ? ng_rng_below(&m->rng, 3) : 3) {
    case 0: return 1;
    case 1: ng_buf_putc(&m->out, t[i]); break;
    case 2:
        ng_buf_putc(&m->out, t[i + 1]);
        ng_buf_putc(&m->out, t[i]);
        return 2;
    default: break;
    }
    ng_buf_putc(&m->out, m->lower ? lower_ascii(t[i]) : t[i]);
    return 1;
}

/* A space beside a filler may be a line break, or two. */
static bool put_break(maker *m, const char *t, size_t i, size_t len) {
    if (t[i] != ' ' || !((i + 1 < len && t[i + 1] == '{') || (i > 0 && t[i - 1] == '}'))) return false;
    if (!chance(m, m->spec.noise.line_break)) return false;
    ng_buf_puts(&m->out, chance(m, 0.5) ? "\n" : "\n\n");
    return true;
}

/* "[a|b|c]" at i: one of them, any may be empty. */
static ng_status put_alternative(maker *m, const char *t, size_t len) {
    const char *wording = ng_wording_draw(t, &len, '|', &m->rng);
    return put_template(m, wording, len);
}

/* "<kind:what is marked>" at t, *len bytes of it; *len 0: there is none. */
static ng_status put_marked(maker *m, const char *t, size_t *len) {
    const char *close = m->marked && *t == '<' ? memchr(t, '>', *len) : NULL;
    const char *colon = close ? memchr(t, ':', (size_t)(close - t)) : NULL;
    *len = 0;
    if (!colon) return NG_OK;
    if (m->marks.len == NG_MARKS_MAX)
        return ng_fail(m->err, NG_ELIMIT, "%s: over %d marks in one request", m->path, NG_MARKS_MAX);
    size_t start = m->out.len;
    ng_status s = put_template(m, colon + 1, (size_t)(close - colon) - 1);
    *len = (size_t)(close - t) + 1;
    m->marks.items[m->marks.len++] = (ng_mark){start, m->out.len, t + 1, (size_t)(colon - t) - 1};
    return s;
}

static ng_status put_template(maker *m, const char *t, size_t len) {
    for (size_t i = 0; i < len;) {
        size_t marked = len - i;
        ng_status of_mark = put_marked(m, t + i, &marked);
        if (of_mark) return of_mark;
        if (marked) {
            i += marked;
            continue;
        }
        const char *end = t[i] == '[' ? memchr(t + i, ']', len - i) : NULL;
        if (end) {
            ng_status s = put_alternative(m, t + i + 1, (size_t)(end - t) - i - 1);
            if (s) return s;
            i = (size_t)(end - t) + 1;
            continue;
        }
        const char *close = t[i] == '{' ? memchr(t + i, '}', len - i) : NULL;
        if (close) {
            ng_status s = put_filler(m, t + i + 1, (size_t)(close - t) - i - 1);
            if (s) return s;
            i = (size_t)(close - t) + 1;
        } else if (put_break(m, t, i, len)) {
            i++;
        } else if ((t[i] == '?' || t[i] == ',' || t[i] == '.') && m->lower && chance(m, 0.4)) {
            i++;
        } else {
            i += put_letter(m, t, i, len);
        }
    }
    return NG_OK;
}

static void put_from(maker *m, const char *name, double p) {
    const list *l = find_list(m, name, strlen(name));
    const item *it = l && chance(m, p) ? draw(m, l) : NULL;
    if (it) ng_buf_put(&m->out, it->text, it->len);
}

static ng_status put_request(maker *m, const item *t) {
    const char *text = t->text;
    size_t len = t->len;
    bool imperative = *text == '~';
    bool bare = *text == '{' && memchr(text, '}', len) == text + len - 1;
    m->lower = chance(m, m->spec.noise.lower);
    m->typos = chance(m, 0.33);
    ng_buf_reset(&m->out);
    m->marks.len = 0;
    if (bare) return put_template(m, text, len);
    if (imperative) text++, len--;
    put_from(m, "@greeting", m->spec.noise.greeting);
    if (imperative) put_from(m, "@polite", m->spec.noise.polite);
    size_t start = m->out.len;
    ng_status s = put_template(m, text, len);
    if (s) return s;
    put_from(m, "@closing", m->spec.noise.closing);
    if (start == 0 && !m->lower && m->out.len && chance(m, 0.7)) {
        char *c = m->out.data;
        if (*c >= 'a' && *c <= 'z') *c = (char)(*c & ~32);
    }
    return NG_OK;
}

static bool task_wanted(const maker *m, const list *l) {
    if (l->name[0] == '@' || l->filler) return false;
    for (size_t i = 0; i < m->spec.tasks.len; i++)
        if (!strcmp(l->name, m->spec.tasks.items[i])) return true;
    return m->spec.tasks.len == 0;
}

static ng_status make_rows(maker *m, ng_row_fn *row, void *ctx) {
    const list *tasks[LISTS_MAX];
    size_t n_tasks = 0;
    for (size_t i = 0; i < m->n_lists; i++)
        if (task_wanted(m, &m->lists[i])) tasks[n_tasks++] = &m->lists[i];
    if (n_tasks == 0)
        return ng_fail(m->err, NG_EFORMAT, "%s: no templates of the split %s", m->path, m->source->split);
    for (size_t i = 0; i < (size_t)m->source->limit; i++) {
        const list *task = tasks[i % n_tasks];
        ng_status s = put_request(m, draw(m, task));
        if (s) return s;
        if (m->out.status)
            return ng_fail(m->err, m->out.status, "%s: a request of over %d bytes", m->path, REQUEST_MAX);
        if (!m->out.len) continue;
        ng_row r = {.text = m->out.data, .label = task->name, .text_len = m->out.len,
                    .label_len = strlen(task->name), .line = i + 1};
        if (m->marked) {
            bool caps = m->spec.noise.caps > 0 && !m->lower && chance(m, m->spec.noise.caps);
            ng_letters letters = m->lower ? NG_LETTERS_SMALL : caps ? NG_LETTERS_CAPITAL : NG_LETTERS_AS_THEY_ARE;
            if (ng_marks_to_tags(&m->words, &m->tags, &m->marks, m->out.data, m->out.len, letters))
                return ng_fail(m->err, NG_ENOMEM, "%s: out of memory, or a request of over %d bytes", m->path,
                               REQUEST_MAX);
            if (!m->words.len) continue;
            r.text = m->words.data, r.text_len = m->words.len, r.label = m->tags.data, r.label_len = m->tags.len;
        }
        s = row(ctx, &r, m->err);
        if (s) return s;
    }
    return NG_OK;
}

ng_status ng_requests_make(const ng_source *s, const ng_recipe *r, const char *path, ng_row_fn *row, void *ctx,
                           ng_error *err) {
    if (!s->split || s->limit < 1)
        return ng_fail(err, NG_EINVALID, "%s:%d: a source of requests needs split and limit", r->path, s->line);
    maker *m = calloc(1, sizeof *m);
    if (!m) return ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    m->source = s, m->recipe = r, m->path = path, m->err = err;
    m->out = ng_buf_init(REQUEST_MAX), m->words = ng_buf_init(2 * REQUEST_MAX), m->tags = ng_buf_init(32 * REQUEST_MAX);
    m->marked = r->task == NG_RECIPE_EXTRACT;
    ng_status st = ng_arena_new(&m->arena, 0) ? no_memory(m) : NG_OK;
    if (!st) st = ng_config_read_file(&m->spec, &spec_schema, path, m->arena, err);
    if (!st) st = read_all_templates(m);
    if (!st) st = read_fillers(m);
    if (!st) {
        m->rng = ng_rng_seed((uint64_t)m->spec.seed ^ ng_hash64(s->split, strlen(s->split), 0));
        st = make_rows(m, row, ctx);
    }
    for (size_t i = 0; i < m->n_lists; i++) {
        free(m->lists[i].items);
        ng_dataset_clear(&m->lists[i].data);
    }
    for (size_t i = 0; i < FILES_MAX; i++) ng_map_close(&m->templates[i]);
    ng_arena_free(m->arena);
    ng_buf_clear(&m->out);
    ng_buf_clear(&m->words);
    ng_buf_clear(&m->tags);
    free(m);
    return st;
}

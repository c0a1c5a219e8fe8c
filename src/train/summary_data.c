/* summary_data.c: see summary_data.h.  A line that lacks its fields is an error that names it. */
#include "summary_data.h"

#include "core/file.h"
#include "train/rouge.h"
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { SENTENCES_MAX = 40 }; /* of a document: what follows is not read */

typedef struct data_group {
    ng_config_list train, test;
} data_group;
typedef struct training_group {
    int64_t epochs, seed;
    double rate;
} training_group;
typedef struct recipe_file {
    ng_summary_recipe r;
    data_group data;
    training_group training;
} recipe_file;

static const ng_config_field source_fields[] = {
    {"file", NG_CONFIG_STR, offsetof(ng_summary_source, file), .required = true},
    {"document", NG_CONFIG_STR, offsetof(ng_summary_source, document), .required = true},
    {"summary", NG_CONFIG_STR, offsetof(ng_summary_source, summary), .required = true},
    {"every", NG_CONFIG_INT, offsetof(ng_summary_source, every), .dflt = "1", .min = 1, .max = 1e6},
    {0}};
static const ng_config_schema source_schema = {"a source", sizeof(ng_summary_source), source_fields};
static const ng_config_field data_fields[] = {
    {"train", NG_CONFIG_LIST, offsetof(data_group, train), .sub = &source_schema, .required = true},
    {"test", NG_CONFIG_LIST, offsetof(data_group, test), .sub = &source_schema, .required = true},
    {0}};
static const ng_config_schema data_schema = {"data", sizeof(data_group), data_fields};
static const ng_config_field training_fields[] = {
    {"epochs", NG_CONFIG_INT, offsetof(training_group, epochs), .dflt = "12", .min = 1, .max = 1000},
    {"rate", NG_CONFIG_NUM, offsetof(training_group, rate), .dflt = "0.3", .min = 1e-6, .max = 100},
    {"seed", NG_CONFIG_INT, offsetof(training_group, seed), .dflt = "1", .min = 0, .max = 9e15},
    {0}};
static const ng_config_schema training_schema = {"training", sizeof(training_group), training_fields};
static const ng_config_field recipe_fields[] = {
    NG_ABOUT_FIELDS(recipe_file, r.about),
    {"task", NG_CONFIG_STR, offsetof(recipe_file, r.task), .required = true},
    {"data", NG_CONFIG_GROUP, offsetof(recipe_file, data), .sub = &data_schema, .required = true},
    {"training", NG_CONFIG_GROUP, offsetof(recipe_file, training), .sub = &training_schema},
    {0}};
static const ng_config_schema recipe_schema = {"the recipe", sizeof(recipe_file), recipe_fields};

ng_status ng_summary_recipe_read(ng_summary_recipe *out, const char *path, ng_arena *arena, ng_error *err) {
    recipe_file f;
    ng_status s = ng_config_read_file(&f, &recipe_schema, path, arena, err);
    if (s) return s;
    *out = f.r;
    out->train = f.data.train;
    out->test = f.data.test;
    out->epochs = f.training.epochs;
    out->seed = f.training.seed;
    out->rate = f.training.rate;
    out->path = path;
    return NG_OK;
}

/* ---- documents ---------------------------------------------------------------------------------- */

static ng_status join_sentences(ng_summary_doc *d, const json_t *list, ng_arena *arena) {
    ng_buf text = ng_buf_init(1 << 20);
    d->n = json_array_size(list);
    d->spans = ng_arena_array(arena, d->n, sizeof *d->spans);
    for (size_t i = 0; d->spans && i < d->n; i++) {
        if (i > 0) ng_buf_putc(&text, ' ');
        d->spans[i].start = text.len;
        const char *s = json_string_value(json_array_get(list, i));
        ng_buf_puts(&text, s ? s : "");
        d->spans[i].end = text.len;
    }
    d->text = text.status ? NULL : ng_arena_strndup(arena, text.data, text.len);
    ng_buf_clear(&text);
    return d->text && d->spans ? NG_OK : NG_ENOMEM;
}

static ng_status split_sentences(ng_summary_doc *d, const char *text, ng_arena *arena, ng_error *err) {
    ng_span *spans;
    ng_status s = ng_sentences(text, strlen(text), &spans, &d->n, err);
    if (s) return s;
    if (d->n > SENTENCES_MAX) d->n = SENTENCES_MAX;
    d->text = ng_arena_strdup(arena, text);
    d->spans = ng_arena_array(arena, d->n, sizeof *d->spans);
    if (d->spans && d->n) memcpy(d->spans, spans, d->n * sizeof *spans);
    free(spans);
    return d->text && d->spans ? NG_OK : NG_ENOMEM;
}

static ng_status take_references(ng_summary_doc *d, const json_t *v, ng_arena *arena) {
    bool list = json_is_array(v);
    d->n_references = list ? json_array_size(v) : 1;
    d->references = ng_arena_array(arena, d->n_references, sizeof *d->references);
    for (size_t i = 0; d->references && i < d->n_references; i++) {
        const char *s = json_string_value(list ? json_array_get(v, i) : v);
        d->references[i] = ng_arena_strdup(arena, s ? s : "");
        if (!d->references[i]) return NG_ENOMEM;
    }
    return d->references ? NG_OK : NG_ENOMEM;
}

static ng_status put_doc(ng_summary_docs *out, const ng_summary_doc *d) {
    if (out->len == out->cap) {
        size_t cap = out->cap ? out->cap * 2 : 256;
        ng_summary_doc *items = realloc(out->items, cap * sizeof *items);
        if (!items) return NG_ENOMEM;
        out->items = items;
        out->cap = cap;
    }
    out->items[out->len++] = *d;
    return NG_OK;
}

static ng_status read_line(ng_summary_docs *out, const ng_summary_source *s, size_t source, const char *line,
                           size_t len, ng_arena *arena, ng_error *err) {
    json_t *o = json_loadb(line, len, 0, NULL);
    const json_t *doc = json_object_get(o, s->document), *sum = json_object_get(o, s->summary);
    ng_summary_doc d = {.source = source};
    ng_status st = NG_OK;
    if (!(json_is_string(doc) || json_is_array(doc)) || !(json_is_string(sum) || json_is_array(sum)))
        st = ng_fail(err, NG_EFORMAT, "%s: a line without '%s' and '%s'", s->file, s->document, s->summary);
    if (!st)
        st = json_is_array(doc) ? join_sentences(&d, doc, arena)
                                : split_sentences(&d, json_string_value(doc), arena, err);
    if (!st) st = take_references(&d, sum, arena);
    if (!st && d.n > 0) st = put_doc(out, &d);
    json_decref(o);
    return st == NG_ENOMEM ? ng_fail(err, NG_ENOMEM, "%s: out of memory", s->file) : st;
}

static ng_status read_source(ng_summary_docs *out, const ng_summary_source *s, size_t source, ng_arena *arena,
                             ng_error *err) {
    const char *base = getenv("NANOGRID_DATA");
    if (!base || !*base)
        return ng_fail(err, NG_ENOTFOUND, "NANOGRID_DATA is not set; it must name the folder that holds %s", s->file);
    char *path = ng_arena_printf(arena, "%s/%s", base, s->file);
    if (!path) return ng_fail(err, NG_ENOMEM, "%s: out of memory", s->file);
    ng_map map;
    ng_status st = ng_map_open(&map, path, err);
    if (st) return st;
    const char *data = (const char *)map.data;
    size_t number = 0;
    for (size_t i = 0; !st && i < map.len;) {
        const char *nl = memchr(data + i, '\n', map.len - i);
        size_t n = nl ? (size_t)(nl - data) - i : map.len - i;
        if (n && number++ % (size_t)s->every == 0) st = read_line(out, s, source, data + i, n, arena, err);
        i += n + 1;
    }
    ng_map_close(&map);
    return st;
}

ng_status ng_summary_docs_read(ng_summary_docs *out, const ng_config_list *sources,
                               ng_arena *arena, ng_error *err) {
    *out = (ng_summary_docs){0};
    ng_status st = NG_OK;
    const ng_summary_source *s = sources->items;
    for (size_t i = 0; !st && i < sources->len; i++) st = read_source(out, &s[i], i, arena, err);
    if (st) {
        free(out->items);
        *out = (ng_summary_docs){0};
    }
    return st;
}

ng_status ng_summary_rouge(double f1[3], const ng_summary_doc *d, const char *text, size_t len) {
    f1[0] = f1[1] = f1[2] = 0;
    for (size_t i = 0; i < d->n_references; i++) {
        double f[NG_ROUGE_KINDS];
        if (ng_rouge(f, text, len, d->references[i], strlen(d->references[i]))) return NG_ENOMEM;
        for (int k = 0; k < NG_ROUGE_KINDS; k++)
            if (f[k] > f1[k]) f1[k] = f[k];
    }
    return NG_OK;
}

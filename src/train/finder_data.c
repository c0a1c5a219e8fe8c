/* finder_data.c: see finder_data.h.  A line that lacks its fields is an error that names it. */
#include "finder_data.h"

#include "core/file.h"
#include "core/hash.h"
#include <ctype.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { TOKENS_MAX = 4096 };

/* ---- recipes ------------------------------------------------------------------------------------ */

typedef struct data_group {
    ng_config_list train, dev, test;
} data_group;
typedef struct training_group {
    int64_t epochs, seed;
    double rate, decay, refuse;
} training_group;
typedef struct recipe_file {
    ng_finder_recipe r;
    data_group data;
    training_group training;
} recipe_file;

static const ng_config_field source_fields[] = {
    {"file", NG_CONFIG_STR, offsetof(ng_finder_source, file), .required = true},
    {"question", NG_CONFIG_STR, offsetof(ng_finder_source, question), .dflt = "question"},
    {"answers", NG_CONFIG_STR, offsetof(ng_finder_source, answers), .dflt = "answers"},
    {"passage", NG_CONFIG_STR, offsetof(ng_finder_source, passage), .dflt = "context"},
    {"stories", NG_CONFIG_STR, offsetof(ng_finder_source, stories)},
    {0}};
static const ng_config_schema source_schema = {"a source", sizeof(ng_finder_source), source_fields};
static const ng_config_field data_fields[] = {
    {"train", NG_CONFIG_LIST, offsetof(data_group, train), .sub = &source_schema, .required = true},
    {"dev", NG_CONFIG_LIST, offsetof(data_group, dev), .sub = &source_schema, .required = true},
    {"test", NG_CONFIG_LIST, offsetof(data_group, test), .sub = &source_schema, .required = true},
    {0}};
static const ng_config_schema data_schema = {"data", sizeof(data_group), data_fields};
static const ng_config_field training_fields[] = {
    {"epochs", NG_CONFIG_INT, offsetof(training_group, epochs), .dflt = "6", .min = 1, .max = 1000},
    {"rate", NG_CONFIG_NUM, offsetof(training_group, rate), .dflt = "0.1", .min = 1e-6, .max = 10},
    {"decay", NG_CONFIG_NUM, offsetof(training_group, decay), .dflt = "1e-6", .min = 0, .max = 1},
    {"refuse", NG_CONFIG_NUM, offsetof(training_group, refuse), .dflt = "0.88", .min = 0.01, .max = 0.999},
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

ng_status ng_finder_recipe_read(ng_finder_recipe *out, const char *path, ng_arena *arena, ng_error *err) {
    recipe_file f;
    ng_status s = ng_config_read_file(&f, &recipe_schema, path, arena, err);
    if (s) return s;
    *out = f.r;
    out->train = f.data.train, out->dev = f.data.dev, out->test = f.data.test;
    out->epochs = f.training.epochs, out->seed = f.training.seed;
    out->rate = f.training.rate, out->decay = f.training.decay, out->refuse = f.training.refuse;
    out->path = path;
    return NG_OK;
}

/* ---- answers in passages ------------------------------------------------------------------------ */

typedef struct token {
    uint64_t hash;
    size_t start, end;
} token;

static bool parts_words(unsigned char c) { return c <= ' ' || ispunct(c); }

/* The words of a text as the measure sees them; at most max. */
static size_t tokens(token *out, size_t max, const char *text, size_t len) {
    size_t n = 0;
    for (size_t i = 0; i < len && n < max;) {
        char lower[64];
        size_t start = i, k = 0;
        for (; i < len && !parts_words((unsigned char)text[i]); i++)
            if (k < sizeof lower) lower[k++] = (char)tolower((unsigned char)text[i]);
        if (i == start) {
            i++;
            continue;
        }
        bool article =
            (k == 1 && lower[0] == 'a') || (k == 2 && !memcmp(lower, "an", 2)) || (k == 3 && !memcmp(lower, "the", 3));
        if (!article) out[n++] = (token){ng_hash64(lower, k, 0), start, i};
    }
    return n;
}

static double f1_of(const token *a, size_t n, const token *b, size_t m) {
    bool used[TOKENS_MAX] = {0};
    size_t both = 0;
    if (!n || !m) return n == m;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < m; k++)
            if (!used[k] && a[i].hash == b[k].hash) {
                used[k] = true, both++;
                break;
            }
    return 2 * (double)both / (double)(n + m);
}

double ng_answer_f1(const char *text, size_t len, const ng_finder_example *e) {
    enum { MOST = 512 }; /* words of an answer that are compared */
    token a[MOST], b[MOST];
    size_t n = tokens(a, MOST, text, len);
    double best = 0;
    for (size_t i = 0; i < e->n_answers; i++) {
        double f = f1_of(a, n, b, tokens(b, MOST, e->answers[i], strlen(e->answers[i])));
        if (f > best) best = f;
    }
    return best;
}

bool ng_answer_place(const ng_finder_example *e, size_t a, size_t k, size_t *start, size_t *end) {
    enum { MOST = 64 };
    token want[MOST], *have = malloc(TOKENS_MAX * sizeof *have);
    size_t m = tokens(want, MOST, e->answers[a], strlen(e->answers[a]));
    size_t n = have && m && m < MOST ? tokens(have, TOKENS_MAX, e->passage, e->passage_len) : 0;
    bool found = false;
    for (size_t i = 0; i + m <= n && !found; i++) {
        size_t j = 0;
        while (j < m && have[i + j].hash == want[j].hash) j++;
        if (j < m || k--) continue;
        *start = have[i].start, *end = have[i + m - 1].end;
        found = true;
    }
    free(have);
    return found;
}

/* ---- reading ------------------------------------------------------------------------------------ */

typedef struct story {
    const char *name;
    const char **sections;
    size_t n;
} story;

typedef struct reading {
    ng_finder_examples *out;
    const ng_finder_source *source;
    ng_arena *arena;
    ng_error *err;
    story *stories;
    size_t n_stories;
    const char *file; /* being read */
    size_t line;
} reading;

static ng_status bad_line(const reading *r, const char *what) {
    return ng_fail(r->err, NG_EFORMAT, "%s:%zu: %s", r->file, r->line, what);
}

static ng_status no_memory(const reading *r) { return ng_fail(r->err, NG_ENOMEM, "%s: out of memory", r->file); }

/* Appends with every run of white space as one space. */
static void put_flat(ng_buf *b, const char *s) {
    for (; *s; s++) {
        bool blank = isspace((unsigned char)*s);
        if (!blank) ng_buf_putc(b, *s);
        else if (b->len && b->data[b->len - 1] != ' ') ng_buf_putc(b, ' ');
    }
}

static ng_status read_story(reading *r, const json_t *o) {
    const char *name = json_string_value(json_object_get(o, "story"));
    const json_t *sections = json_object_get(o, "sections");
    if (!name || !json_is_array(sections)) return bad_line(r, "a story has `story` and an array `sections`");
    story *all = realloc(r->stories, (r->n_stories + 1) * sizeof *all);
    if (!all) return no_memory(r);
    r->stories = all;
    story *s = &all[r->n_stories++];
    *s = (story){ng_arena_strdup(r->arena, name), NULL, json_array_size(sections)};
    s->sections = ng_arena_array(r->arena, s->n, sizeof *s->sections);
    for (size_t i = 0; s->sections && i < s->n; i++) {
        const char *text = json_string_value(json_array_get(sections, i));
        s->sections[i] = ng_arena_strdup(r->arena, text ? text : "");
        if (!s->sections[i]) return no_memory(r);
    }
    return s->name && s->sections ? NG_OK : no_memory(r);
}

static const story *find_story(const reading *r, const char *name) {
    for (size_t i = 0; name && i < r->n_stories; i++)
        if (!strcmp(r->stories[i].name, name)) return &r->stories[i];
    return NULL;
}

/* The sections "2,3" of the line's story. */
static ng_status put_sections(const reading *r, const json_t *o, ng_buf *passage) {
    const char *list = json_string_value(json_object_get(o, "sections"));
    const story *s = find_story(r, json_string_value(json_object_get(o, "story")));
    if (!s || !list) return bad_line(r, "`story` and `sections` name nothing in the stories");
    for (const char *c = list; *c;) {
        char *end;
        unsigned long k = strtoul(c, &end, 10);
        if (end == c || k < 1 || k > s->n) return bad_line(r, "`sections` names a section that the story lacks");
        put_flat(passage, s->sections[k - 1]);
        ng_buf_putc(passage, ' ');
        for (c = end; *c == ',' || *c == ' ';) c++;
    }
    return NG_OK;
}

static ng_status put_example(reading *r, const ng_finder_example *e) {
    ng_finder_examples *out = r->out;
    if (out->len == out->cap) {
        size_t cap = out->cap ? out->cap * 2 : 1024;
        ng_finder_example *items = realloc(out->items, cap * sizeof *items);
        if (!items) return no_memory(r);
        out->items = items, out->cap = cap;
    }
    out->items[out->len++] = *e;
    return NG_OK;
}

static ng_status take_answers(reading *r, ng_finder_example *e, const json_t *v) {
    bool list = json_is_array(v);
    e->n_answers = list ? json_array_size(v) : 1;
    e->answers = ng_arena_array(r->arena, e->n_answers, sizeof *e->answers);
    for (size_t i = 0; e->answers && i < e->n_answers; i++) {
        const char *s = json_string_value(list ? json_array_get(v, i) : v);
        e->answers[i] = ng_arena_strdup(r->arena, s ? s : "");
        if (!e->answers[i]) return no_memory(r);
    }
    return e->answers ? NG_OK : no_memory(r);
}

static ng_status read_example(reading *r, const json_t *o) {
    const ng_finder_source *s = r->source;
    const char *question = json_string_value(json_object_get(o, s->question));
    const json_t *answers = json_object_get(o, s->answers);
    const char *group = json_string_value(json_object_get(o, s->stories ? "story" : s->passage));
    if (!question || !group || !(json_is_string(answers) || json_is_array(answers)))
        return bad_line(r, "a line without its question, answers or passage");
    ng_buf passage = ng_buf_init(64u << 20);
    ng_status st = NG_OK;
    if (s->stories) st = put_sections(r, o, &passage);
    else put_flat(&passage, group);
    ng_finder_example e = {.question = ng_arena_strdup(r->arena, question),
                           .group = ng_hash64(group, strlen(group), 0)};
    if (!st) e.passage = ng_arena_strndup(r->arena, passage.data, passage.len);
    e.passage_len = passage.len;
    if (!st && (!e.passage || !e.question || passage.status)) st = no_memory(r);
    ng_buf_clear(&passage);
    if (!st) st = take_answers(r, &e, answers);
    for (size_t i = 0; !st && i < e.n_answers && !e.literal; i++)
        e.literal = ng_answer_place(&e, i, 0, &e.start, &e.end);
    return st ? st : put_example(r, &e);
}

static ng_status each_line(reading *r, const char *file, ng_status (*read)(reading *r, const json_t *o)) {
    const char *base = getenv("NANOGRID_DATA");
    if (!base || !*base)
        return ng_fail(r->err, NG_ENOTFOUND, "NANOGRID_DATA is not set; it must name the folder that holds %s", file);
    char *path = ng_arena_printf(r->arena, "%s/%s", base, file);
    if (!path) return no_memory(r);
    ng_map map;
    ng_status s = ng_map_open(&map, path, r->err);
    if (s) return s;
    const char *data = (const char *)map.data;
    r->file = file, r->line = 0;
    for (size_t i = 0; !s && i < map.len;) {
        const char *nl = memchr(data + i, '\n', map.len - i);
        size_t n = nl ? (size_t)(nl - data) - i : map.len - i;
        r->line++;
        if (n) {
            json_t *o = json_loadb(data + i, n, 0, NULL);
            s = json_is_object(o) ? read(r, o) : bad_line(r, "no JSON object");
            json_decref(o);
        }
        i += n + 1;
    }
    ng_map_close(&map);
    return s;
}

ng_status ng_finder_examples_read(ng_finder_examples *out, const ng_config_list *sources, ng_arena *arena,
                                  ng_error *err) {
    ng_status s = NG_OK;
    *out = (ng_finder_examples){0};
    for (size_t i = 0; !s && i < sources->len; i++) {
        reading r = {.out = out, .source = (const ng_finder_source *)sources->items + i, .arena = arena, .err = err, .file = ""};
        if (r.source->stories) s = each_line(&r, r.source->stories, read_story);
        if (!s) s = each_line(&r, r.source->file, read_example);
        free(r.stories);
    }
    if (s) {
        free(out->items);
        *out = (ng_finder_examples){0};
    }
    return s;
}

uint32_t *ng_finder_others(const ng_finder_examples *e, uint64_t seed, ng_arena *arena) {
    uint32_t *other = ng_arena_array(arena, e->len, sizeof *other);
    ng_rng rng = ng_rng_seed(seed);
    for (size_t i = 0; other && i < e->len; i++) {
        other[i] = (uint32_t)i;
        for (int tries = 0; tries < 100 && e->items[other[i]].group == e->items[i].group; tries++)
            other[i] = ng_rng_below(&rng, (uint32_t)e->len);
    }
    return other;
}

bool ng_finder_tunes(const ng_finder_example *e) { return ng_hash_mix(e->group) & 1; }

/* eval_extract.c: precision and recall of extraction, by type, on texts with marked spans.
 *
 * The recipe: name, task: extract, languages, description, licence, attribution, source as in
 * recipe.h, and
 *     data: {file: pii_presidio/synth_v2.jsonl, group: template, of: 3, test: 0, join: location}
 *     types: {CREDIT_CARD: {as: card}, ..}       marks of other types are not counted; several may be one of ours
 *     model: ../models/encoder-en/model.gguf     [none: rules alone] beside the recipe; what finds names, with the rules
 *     adapter: ../models/ner-pii/adapter.gguf    [none] beside the recipe; stands beside the model's weights, whose heads its own replace
 *     head: entities                             [the first that extracts] of the model
 * A line has `text` and `spans` [[start, end, type]] in characters.  Lines whose `group` modulo `of` is
 * `test` are the test; on the others rules may be tuned ("tuning_" figures).  A span is right when start,
 * end and type are.
 * `join: location` gives the figures a second time ("joined_"), where marks of that type that are pieces of one address count as one, as they are found
 * (ng_entities_join): sets mark street, town and code of the same address now as one and now as five, which no text tells.  "covered" is the share of
 * marks all of whose characters are in what was found, whatever it is called: what redaction asks for. */
#include "eval_ops.h"

#include "config/config.h"
#include "core/clock.h"
#include "core/file.h"
#include "task/entities.h"
#include "train/recipe.h"
#include <jansson.h>
#include <math.h>
#include <nanogrid/head.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TYPES_MAX = 16, TIMES_MAX = 20000, MARKS_MAX = 256 };

typedef struct type_map {
    const char *mark, *as;
} type_map;
typedef struct data_group {
    const char *file, *group, *join;
    int64_t of, test;
} data_group;
typedef struct recipe {
    ng_about about;
    const char *task, *model, *adapter, *head;
    data_group data;
    ng_config_list types; /* of type_map */
} recipe;

static const ng_config_field data_fields[] = {{"file", NG_CONFIG_STR, offsetof(data_group, file), .required = true},
                                              {"group", NG_CONFIG_STR, offsetof(data_group, group), .required = true},
                                              {"of", NG_CONFIG_INT, offsetof(data_group, of), .dflt = "3", .min = 2,
                                               .max = 1000},
                                              {"test", NG_CONFIG_INT, offsetof(data_group, test), .dflt = "0",
                                               .max = 1000},
                                              {"join", NG_CONFIG_STR, offsetof(data_group, join),
                                               .help = "our label whose pieces are one in the figures \"joined\""},
                                              {0}};
static const ng_config_schema data_schema = {"data", sizeof(data_group), data_fields};
static const ng_config_field type_fields[] = {
    {"as", NG_CONFIG_STR, offsetof(type_map, as), .help = "our label", .required = true}, {0}};
static const ng_config_schema type_schema = {"a type", sizeof(type_map), type_fields};
static const ng_config_field recipe_fields[] = {
    NG_ABOUT_FIELDS(recipe, about),
    {"task", NG_CONFIG_STR, offsetof(recipe, task), .required = true},
    {"model", NG_CONFIG_STR, offsetof(recipe, model)},
    {"adapter", NG_CONFIG_STR, offsetof(recipe, adapter)},
    {"head", NG_CONFIG_STR, offsetof(recipe, head)},
    {"data", NG_CONFIG_GROUP, offsetof(recipe, data), .sub = &data_schema, .required = true},
    {"types", NG_CONFIG_MAP, offsetof(recipe, types), .sub = &type_schema, .required = true},
    {0}};
static const ng_config_schema recipe_schema = {"the recipe", sizeof(recipe), recipe_fields};

typedef struct counts {
    size_t right, found, marked;
} counts;

typedef struct evaluation {
    ng_arena *arena;
    ng_error *err;
    ng_eval_result *out;
    const char *path;
    recipe recipe;
    ng_head *head;
    counts test[TYPES_MAX], tuning[TYPES_MAX], joined[TYPES_MAX], tuning_joined[TYPES_MAX]; /* by entry of recipe.types */
    counts covered, tuning_covered; /* right and marked */
    double ms[TIMES_MAX];
    size_t n_times, n_test;
    ng_energy_meter meter;
} evaluation;

static ng_status bad_line(const evaluation *e, size_t line) {
    return ng_fail(e->err, NG_EFORMAT, "%s:%zu: not {\"text\", \"spans\": [[start, end, type]], \"%s\": number}",
                   e->recipe.data.file, line, e->recipe.data.group);
}

/* The first entry with our label. */
static size_t type_of_label(const evaluation *e, const char *label) {
    const type_map *m = e->recipe.types.items;
    for (size_t i = 0; i < e->recipe.types.len; i++)
        if (!strcmp(m[i].as, label)) return i;
    return SIZE_MAX;
}

static size_t type_of_mark(const evaluation *e, const char *mark) {
    const type_map *m = e->recipe.types.items;
    for (size_t i = 0; mark && i < e->recipe.types.len; i++)
        if (!strcmp(m[i].mark, mark)) return type_of_label(e, m[i].as);
    return SIZE_MAX;
}

/* The byte offset of a character. */
static size_t byte_of(const char *text, size_t len, json_int_t chars) {
    size_t i = 0;
    while (i < len && (chars > 0 || ((unsigned char)text[i] & 0xC0) == 0x80))
        chars -= ((unsigned char)text[++i] & 0xC0) != 0x80;
    return i;
}

static int by_start(const void *a, const void *b) {
    size_t x = ((const ng_entity *)a)->start, y = ((const ng_entity *)b)->start;
    return x < y ? -1 : x > y;
}

/* The marks that count, in order, with our labels; how many, or SIZE_MAX when there are too many. */
static size_t read_marks(const evaluation *e, const json_t *spans, const char *text, size_t len, ng_entity *out) {
    const type_map *m = e->recipe.types.items;
    size_t n = 0;
    for (size_t i = 0; i < json_array_size(spans); i++) {
        const json_t *s = json_array_get(spans, i);
        size_t type = type_of_mark(e, json_string_value(json_array_get(s, 2)));
        if (type == SIZE_MAX) continue;
        if (n == MARKS_MAX) return SIZE_MAX;
        out[n++] = (ng_entity){byte_of(text, len, json_integer_value(json_array_get(s, 0))),
                               byte_of(text, len, json_integer_value(json_array_get(s, 1))), m[type].as, NULL, 1};
    }
    qsort(out, n, sizeof *out, by_start);
    return n;
}

static void count(const evaluation *e, counts *c, const ng_entity *marks, size_t n, const ng_answer *a) {
    for (size_t i = 0; i < n; i++) c[type_of_label(e, marks[i].label)].marked++;
    for (size_t i = 0; i < a->n_entities; i++) {
        const ng_entity *x = &a->entities[i];
        size_t type = type_of_label(e, x->label), k = 0;
        if (type == SIZE_MAX) continue;
        while (k < n &&
               (marks[k].start != x->start || marks[k].end != x->end || type_of_label(e, marks[k].label) != type))
            k++;
        c[type].found++;
        c[type].right += k < n;
    }
}

/* Marks whose letters and digits all stand in what was found. */
static void count_covered(counts *c, const ng_entity *marks, size_t n, const char *text, const ng_answer *a) {
    for (size_t i = 0; i < n; i++) {
        size_t k = 0, at = marks[i].start;
        for (; at < marks[i].end; at++) {
            unsigned byte = (unsigned char)text[at];
            if (byte < 0x80 && (byte | 32u) - 'a' >= 26u && byte - '0' >= 10u) continue;
            while (k < a->n_entities && a->entities[k].end <= at) k++;
            if (k == a->n_entities || a->entities[k].start > at) break;
        }
        c->marked++;
        c->right += at == marks[i].end;
    }
}

static ng_status count_line(evaluation *e, const json_t *spans, const char *text, size_t len, bool test,
                            const ng_answer *a) {
    ng_entity marks[MARKS_MAX];
    size_t n = read_marks(e, spans, text, len, marks);
    if (n == SIZE_MAX)
        return ng_fail(e->err, NG_ELIMIT, "%s: over %d marks in one line", e->recipe.data.file, MARKS_MAX);
    count(e, test ? e->test : e->tuning, marks, n, a);
    count_covered(test ? &e->covered : &e->tuning_covered, marks, n, text, a);
    if (e->recipe.data.join) n = ng_entities_join(marks, n, text, e->recipe.data.join);
    count(e, test ? e->joined : e->tuning_joined, marks, n, a);
    e->n_test += test;
    return NG_OK;
}

static ng_status take_line(evaluation *e, const char *line, size_t len, size_t number) {
    json_t *o = json_loadb(line, len, 0, NULL);
    const json_t *text = json_object_get(o, "text"), *spans = json_object_get(o, "spans");
    const json_t *group = json_object_get(o, e->recipe.data.group);
    ng_answer *a = NULL;
    ng_status s = NG_OK;
    if (!json_is_string(text) || !json_is_array(spans) || !json_is_integer(group)) s = bad_line(e, number);
    if (!s && ng_answer_new(&a)) s = ng_fail(e->err, NG_ENOMEM, "%s: out of memory", e->path);
    if (!s) {
        ng_part part = {NG_PART_TEXT, json_string_value(text), json_string_length(text)};
        ng_message message = {"user", &part, 1};
        ng_tier_request req = {.task = NG_TASK_EXTRACT, .messages = &message, .n_messages = 1};
        uint64_t start = ng_clock_ns();
        s = ng_head_apply(e->head, &req, a, e->err);
        if (e->n_times < TIMES_MAX) e->ms[e->n_times++] = (double)(ng_clock_ns() - start) / 1e6;
    }
    if (!s)
        s = count_line(e, spans, json_string_value(text), json_string_length(text),
                       json_integer_value(group) % e->recipe.data.of == e->recipe.data.test, a);
    ng_answer_free(a);
    json_decref(o);
    return s;
}

static ng_status read_texts(evaluation *e) {
    const char *base = getenv("NANOGRID_DATA"), *file = e->recipe.data.file;
    if (!base || !*base)
        return ng_fail(e->err, NG_ENOTFOUND, "%s: NANOGRID_DATA is not set; it must name the folder that holds %s",
                       e->path, file);
    const char *path = ng_arena_printf(e->arena, "%s/%s", base, file);
    if (!path) return ng_fail(e->err, NG_ENOMEM, "%s: out of memory", e->path);
    ng_map map;
    ng_status s = ng_map_open(&map, path, e->err);
    if (s) return s;
    const char *data = (const char *)map.data;
    size_t number = 0;
    for (size_t i = 0; !s && i < map.len;) {
        const char *nl = memchr(data + i, '\n', map.len - i);
        size_t n = nl ? (size_t)(nl - data) - i : map.len - i;
        number++;
        if (n) s = take_line(e, data + i, n, number);
        i += n + 1;
    }
    ng_map_close(&map);
    return s;
}

static void put_counts(const evaluation *e, const char *prefix, const char *label, const counts *c) {
    const struct {
        const char *what;
        double value;
    } figures[] = {{"marked", (double)c->marked},
                   {"precision", c->found ? (double)c->right / (double)c->found : NAN},
                   {"recall", c->marked ? (double)c->right / (double)c->marked : NAN}};
    for (size_t i = 0; i < 3; i++) {
        char name[48];
        snprintf(name, sizeof name, "%s%.20s.%s", prefix, label, figures[i].what);
        ng_eval_put(e->out, name, figures[i].value, false);
    }
}

/* F1, and the figures of all types together and of each, or of `only` one. */
static void put_table(const evaluation *e, const char *prefix, const counts *by_type, const char *only) {
    const type_map *m = e->recipe.types.items;
    counts all = {0};
    char name[32];
    for (size_t i = 0; i < e->recipe.types.len; i++) {
        all.right += by_type[i].right;
        all.found += by_type[i].found;
        all.marked += by_type[i].marked;
    }
    snprintf(name, sizeof name, "%sf1", prefix);
    ng_eval_put(e->out, name, 2.0 * (double)all.right / (double)(all.found + all.marked), false);
    put_counts(e, prefix, "all", &all);
    for (size_t i = 0; i < e->recipe.types.len; i++)
        if (type_of_label(e, m[i].as) == i && (!only || !strcmp(only, m[i].as)))
            put_counts(e, prefix, m[i].as, &by_type[i]);
}

static void put_figures(const evaluation *e) {
    ng_eval_put(e->out, "texts", (double)e->n_test, false);
    put_table(e, "", e->test, NULL);
    ng_eval_put(e->out, "covered", (double)e->covered.right / (double)e->covered.marked, false);
    if (e->recipe.data.join) put_table(e, "joined_", e->joined, e->recipe.data.join);
    put_table(e, "tuning_", e->tuning, NULL);
    ng_eval_put(e->out, "tuning_covered", (double)e->tuning_covered.right / (double)e->tuning_covered.marked, false);
    if (e->recipe.data.join) put_table(e, "tuning_joined_", e->tuning_joined, e->recipe.data.join);
}

static ng_status write_card(const evaluation *e, const ng_eval_options *opt) {
    const recipe *r = &e->recipe;
    char *dir = ng_package_folder(e->path, r->about.name, opt->model_dir, e->arena);
    char *card = dir ? ng_arena_printf(e->arena, "%s/card.json", dir) : NULL;
    if (!card) return ng_fail(e->err, NG_ENOMEM, "%s: out of memory", e->path);
    ng_status s = ng_dir_make(dir, e->err);
    if (s) return s;
    const char *labels[TYPES_MAX];
    const type_map *m = r->types.items;
    size_t n_labels = 0;
    for (size_t i = 0; i < r->types.len; i++)
        if (type_of_label(e, m[i].as) == i) labels[n_labels++] = m[i].as;
    return ng_card_write(&(ng_card){&r->about, r->task, e->path, labels, n_labels}, e->out, card, e->err);
}

/* *out: `file` beside the recipe, NULL where it is. */
static ng_status beside(const char **out, const evaluation *e, const char *file) {
    if (file && !(*out = ng_beside_recipe(e->path, file, e->arena)))
        return ng_fail(e->err, NG_ENOMEM, "%s: out of memory", e->path);
    return NG_OK;
}

static ng_status run_all(evaluation *e, const ng_eval_options *opt) {
    ng_head_spec spec = {.task = NG_TASK_EXTRACT, .adapter_scale = 1};
    ng_status s = ng_config_read_file(&e->recipe, &recipe_schema, e->path, e->arena, e->err);
    if (s) return s;
    spec.head = e->recipe.head;
    if ((s = beside(&spec.path, e, e->recipe.model)) || (s = beside(&spec.adapter, e, e->recipe.adapter))) return s;
    if (e->recipe.types.len > TYPES_MAX)
        return ng_fail(e->err, NG_ELIMIT, "%s: more than %d types", e->path, TYPES_MAX);
    if ((s = ng_head_open(&e->head, &spec, e->err))) return s;
    ng_energy_start(&e->meter);
    if ((s = read_texts(e))) return s;
    put_figures(e);
    ng_eval_put_speed(e->out, e->ms, e->n_times, &e->meter);
    return opt->card ? write_card(e, opt) : NG_OK;
}

static bool serves(const char *task) { return !strcmp(task, "extract"); }

static ng_status run(ng_eval_result *out, const char *path, const ng_eval_options *opt, ng_error *err) {
    evaluation *e = calloc(1, sizeof *e);
    if (!e || ng_arena_new(&e->arena, 0)) {
        free(e);
        return ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    }
    e->out = out, e->err = err, e->path = path;
    ng_status s = run_all(e, opt);
    ng_head_close(e->head);
    ng_arena_free(e->arena);
    free(e);
    return s;
}

const ng_eval_ops ng_eval_extract = {serves, run};

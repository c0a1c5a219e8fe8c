/* Tests of src/train/data*.c and recipe.c: rows, conditions, splits, labels, and what is refused. */
#include "fault.h"
#include "train/data.h"
#include "train/dev_score.h"
#include "train/near.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[64];

static void put_file(const char *name, const char *text) {
    char p[128];
    snprintf(p, sizeof p, "%s/%s", dir, name);
    FILE *f = fopen(p, "wb");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static const char *recipe_path(void) {
    static char p[128];
    snprintf(p, sizeof p, "%s/r.yaml", dir);
    return p;
}

typedef struct loaded {
    ng_arena *arena;
    ng_recipe recipe;
    ng_labels labels;
    ng_dataset data;
} loaded;

static void unload(loaded *l) {
    ng_dataset_clear(&l->data);
    ng_labels_clear(&l->labels);
    ng_arena_free(l->arena);
    *l = (loaded){0};
}

/* Reads the training set of the recipe that is written now. */
static ng_status load(loaded *l, ng_error *err) {
    *l = (loaded){0};
    ng_status s = ng_arena_new(&l->arena, 0);
    if (s) return s;
    if ((s = ng_recipe_read(&l->recipe, recipe_path(), l->arena, err)) ||
        (s = ng_labels_read(&l->labels, &l->recipe, err)))
        return s;
    return ng_dataset_read(&l->data, &l->recipe.data.train, &l->labels, &l->recipe, err);
}

static void put_recipe(const char *task, const char *train) {
    char text[2048];
    snprintf(text, sizeof text, "name: t\ntask: %s\ndata:\n  train:\n    - %s\n", task, train);
    put_file("r.yaml", text);
}

/* Loads a one-source recipe over `file` and expects an error that names `what`. */
static void refused(const char *source, const char *what) {
    loaded l;
    ng_error err = {0};
    put_recipe("classify", source);
    ng_status s = load(&l, &err);
    unload(&l);
    if (!s) fail_msg("accepted: %s", source);
    if (!strstr(err.text, what)) fail_msg("'%s' does not name '%s'", err.text, what);
}

static void tsv_columns_by_name(void **state) {
    (void)state;
    loaded l;
    put_file("a.tsv", "id\tclass\tbody\r\n1\tx\tone\r\n2\ty\ttwo words\r\n3\tx\tthree\n");
    put_recipe("classify", "{file: ./a.tsv, text: body, label: class}");
    assert_int_equal(load(&l, NULL), NG_OK);
    assert_int_equal(l.labels.len, 2);
    assert_string_equal(l.labels.names[0], "x");
    assert_int_equal(l.data.len, 3);
    assert_string_equal(l.data.items[1].text, "two words");
    assert_int_equal(l.data.items[1].label, 1);
    assert_int_equal(l.data.items[2].len, 5); /* the carriage return is gone */
    unload(&l);
}

static void jsonl_and_lines(void **state) {
    (void)state;
    loaded l;
    put_file("a.jsonl",
             "{\"text\": \"caf\\u00e9\", \"n\": 3, \"ok\": true}\n\n{\"text\": \"b\", \"n\": 10, \"ok\": false}\n");
    put_file("b.txt", "first line\nsecond\n\nthird");
    put_recipe("classify", "{file: ./a.jsonl, label: n, where: [\"ok=true\", \"n<9.5\"]}\n"
                           "    - {file: ./b.txt, value: line}");
    assert_int_equal(load(&l, NULL), NG_OK);
    assert_int_equal(l.data.len, 4);
    assert_string_equal(l.data.items[0].text, "caf\xC3\xA9");
    assert_string_equal(l.labels.names[l.data.items[0].label], "3");
    assert_string_equal(l.labels.names[l.data.items[3].label], "line");
    assert_string_equal(l.data.items[3].text, "third");
    assert_int_equal(l.data.items[3].source, 1);
    unload(&l);
}

static void conditions_and_names(void **state) {
    (void)state;
    loaded l;
    put_file("a.tsv", "label\tfold\ttext\n0\t1\ta\n1\t2\tb\n2\t9\tc\n1\t10\td\n0\t5\t\n");
    put_recipe("classify", "{file: ./a.tsv, where: [\"fold>=2\", \"text!=\"], rename: [\"1=one\", \"2=\"]}");
    assert_int_equal(load(&l, NULL), NG_OK);
    assert_int_equal(l.data.len, 2); /* 2 is dropped by its new name, the empty text by the condition */
    assert_int_equal(l.labels.len, 1);
    assert_string_equal(l.labels.names[0], "one");
    unload(&l);
    put_recipe("classify", "{file: ./a.tsv, where: [\"fold=1|9\"]}");
    assert_int_equal(load(&l, NULL), NG_OK);
    assert_int_equal(l.data.len, 2);
    unload(&l);
}

static void moderate_knows_what_it_knows(void **state) {
    (void)state;
    loaded l;
    put_file("a.txt", "bad words\n");
    put_file("b.tsv", "label\ttext\nx|z\tboth\n\tnone\n");
    put_recipe("moderate", "{file: ./a.txt, positive: [x], negative: [y]}\n    - {file: ./b.tsv}");
    assert_int_equal(load(&l, NULL), NG_OK);
    assert_int_equal(l.labels.len, 3); /* x y z */
    assert_int_equal(l.data.items[0].holds, 1);
    assert_int_equal(l.data.items[0].known, 3);
    assert_int_equal(l.data.items[1].holds, 5);
    assert_int_equal(l.data.items[1].known, 7);
    assert_int_equal(l.data.items[2].holds, 0);
    unload(&l);
}

static void splits_do_not_depend_on_order(void **state) {
    (void)state;
    char text[20000] = "label\ttext\n", back[20000] = "label\ttext\n";
    for (int i = 0; i < 400; i++) sprintf(text + strlen(text), "a\tsentence number %d\n", i);
    for (int i = 399; i >= 0; i--) sprintf(back + strlen(back), "a\tSentence, number %d!\n", i);
    loaded l;
    size_t total = 0, tunes = 0;
    for (int k = 0; k < 4; k++) {
        char source[100];
        size_t n[2];
        uint64_t sum[2] = {0, 0};
        snprintf(source, sizeof source, "{file: ./a.tsv, hash: {of: 4, keep: [%d]}}", k);
        put_recipe("classify", source);
        for (int side = 0; side < 2; side++) {
            put_file("a.tsv", side ? back : text);
            assert_int_equal(load(&l, NULL), NG_OK);
            n[side] = l.data.len;
            for (size_t i = 0; i < l.data.len; i++) sum[side] += l.data.items[i].hash;
            for (size_t i = 0; i < l.data.len && !side; i++) tunes += ng_text_tunes(l.data.items[i].hash);
            unload(&l);
        }
        assert_int_equal(n[0], n[1]); /* case, punctuation and order do not matter */
        assert_true(sum[0] == sum[1]);
        assert_in_range(n[0], 60, 140);
        total += n[0];
    }
    assert_int_equal(total, 400);
    assert_in_range(tunes, 150, 250); /* halves of every share, not one share */
    put_recipe("classify", "{file: ./a.tsv, limit: 17}");
    assert_int_equal(load(&l, NULL), NG_OK);
    assert_int_equal(l.data.len, 17);
    unload(&l);
}

static void duplicates_are_found(void **state) {
    (void)state;
    loaded a, b;
    bool keep[8];
    put_file("a.txt", "What's up?\nhello\n:-)\n");
    put_recipe("classify", "{file: ./a.txt, value: x}");
    assert_int_equal(load(&a, NULL), NG_OK);
    put_file("a.txt", "what s UP\nhello there\n:-(\n");
    assert_int_equal(load(&b, NULL), NG_OK);
    assert_int_equal(ng_dataset_duplicates(&b.data, &a.data, keep), 1);
    assert_false(keep[0]);
    assert_true(keep[1] && keep[2]); /* signs alone are compared as they are */
    ng_dataset_filter(&b.data, keep);
    assert_int_equal(b.data.len, 2);
    assert_string_equal(b.data.items[0].text, "hello there");
    unload(&a);
    unload(&b);
}

static void broken_data_name_file_and_line(void **state) {
    (void)state;
    put_file("bad.tsv", "label\ttext\na\tfine\na\ttoo\tmany\n");
    refused("{file: ./bad.tsv}", "bad.tsv:3: 3 columns");
    put_file("bad.tsv", "label\ttext\na\tfine\nb\t\n");
    refused("{file: ./bad.tsv}", "bad.tsv:3: the text is empty");
    put_file("bad.tsv", "label\ttext\na\tf\xFFne\n");
    refused("{file: ./bad.tsv}", "bad.tsv:2: the text is not UTF-8");
    refused("{file: ./bad.tsv, text: body}", "bad.tsv:2: the row has no text column 'body'");
    refused("{file: ./bad.tsv, where: [\"x=1\"]}", "no column for the condition");
    refused("{file: ./bad.tsv, where: [\"label\"]}", "is not column=value");
    refused("{file: ./bad.tsv, where: [\"label<3\"]}", "no number");
    put_file("bad.jsonl", "{\"text\": \"a\", \"label\": \"x\"}\n{\"text\": \n");
    refused("{file: ./bad.jsonl}", "bad.jsonl:2: no JSON object");
    put_file("bad.jsonl", "{\"text\": \"a\", \"label\": \"x\"}\n[1]\n");
    refused("{file: ./bad.jsonl}", "bad.jsonl:2: no JSON object");
    put_file("bad.jsonl", "{\"text\": \"a\"}\n");
    refused("{file: ./bad.jsonl}", "no label column");
    put_file("bad.jsonl", "{\"text\": \"a\\u0000b\", \"label\": \"x\"}\n");
    refused("{file: ./bad.jsonl}", "bad.jsonl:1");
    put_file("empty.tsv", "");
    refused("{file: ./empty.tsv}", "no labels");
    refused("{file: ./missing.tsv}", "missing.tsv");
    refused("{file: ./empty.tsv, rename: [x]}", "is not old=new");
    refused("{file: ./empty.tsv, positive: [x]}", "belong to the task moderate");
    refused("{file: ./empty.tsv, colour: red}", "unknown key 'colour'");
}

/* NANOGRID_DATA for one test: what it was comes back. */
typedef struct data_folder {
    char was[512];
} data_folder;

static data_folder use_data_folder(const char *path) {
    const char *was = getenv("NANOGRID_DATA");
    data_folder f;
    snprintf(f.was, sizeof f.was, "%s", was ? was : "");
    if (path) setenv("NANOGRID_DATA", path, 1);
    else unsetenv("NANOGRID_DATA");
    return f;
}

static void give_back_data_folder(const data_folder *f) {
    if (*f->was) setenv("NANOGRID_DATA", f->was, 1);
    else unsetenv("NANOGRID_DATA");
}

static void missing_data_folder_is_told(void **state) {
    (void)state;
    data_folder before = use_data_folder(NULL);
    refused("{file: somewhere/train.tsv}", "NANOGRID_DATA is not set");
    give_back_data_folder(&before);
}

static void recipes_are_checked(void **state) {
    (void)state;
    static const char *const bad[][2] = {
        {"name: ../x\ntask: classify\ndata: {train: [{file: a}]}\n", "no folder name"},
        {"name: x\ntask: classify\noutput: a/b.gguf\ndata: {train: [{file: a}]}\n", "output"},
        {"name: x\ntask: classify\ndata: {train: []}\n", "data.train is empty"},
        {"name: x\ntask: classify\ndata: {train: [{file: a}]}\ntraining: {weight_bits: 5}\n", "weight_bits"},
        {"name: x\ntask: translate\ndata: {train: [{file: a}]}\n", "translate"},
        {"name: x\ntask: classify\n", "data"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        ng_arena *arena;
        ng_recipe r;
        ng_error err = {0};
        put_file("r.yaml", bad[i][0]);
        assert_int_equal(ng_arena_new(&arena, 0), NG_OK);
        assert_int_not_equal(ng_recipe_read(&r, recipe_path(), arena, &err), NG_OK);
        if (!strstr(err.text, bad[i][1])) fail_msg("'%s' does not name '%s'", err.text, bad[i][1]);
        ng_arena_free(arena);
    }
}

static void files_of_a_package(void **state) {
    (void)state;
    ng_arena *arena;
    assert_int_equal(ng_arena_new(&arena, 0), NG_OK);
    ng_recipe r = {.about.name = "n", .output = "model.gguf", .path = "recipes/x.yaml"};
    assert_string_equal(ng_recipe_path(&r, NULL, "model", arena), "recipes/../models/n/model.gguf");
    assert_string_equal(ng_recipe_path(&r, "out", "card", arena), "out/card.json");
    r.output = "task.gguf";
    r.path = "x.yaml";
    assert_string_equal(ng_recipe_path(&r, NULL, "scores", arena), "./../models/n/task.scores.gguf");
    assert_string_equal(ng_recipe_path(&r, "out", "card", arena), "out/task.card.json");
    ng_arena_free(arena);
}

static void csv_as_spreadsheets_write_it(void **state) {
    (void)state;
    loaded l;
    put_file("a.csv", "\xEF\xBB\xBFtext,label\r\n\"one, \"\"two\"\"\",x\r\n\"a\nb\",y\n\nplain,x");
    put_recipe("classify", "{file: ./a.csv}");
    assert_int_equal(load(&l, NULL), NG_OK);
    assert_int_equal(l.data.len, 3);
    assert_string_equal(l.data.items[0].text, "one, \"two\"");
    assert_string_equal(l.data.items[1].text, "a\nb");
    assert_string_equal(l.data.items[2].text, "plain");
    unload(&l);
    put_file("b.csv", "text,label\n\"a\nb\",x\none,x,y\n");
    refused("{file: ./b.csv}", "b.csv:4: 3 columns, the header has 2");
    put_file("b.csv", "text,label\nx,y\n\"open,x\n");
    refused("{file: ./b.csv}", "b.csv:3: a quoted field does not end");
    put_file("b.csv", "text,label\n\"a\"b,x\n");
    refused("{file: ./b.csv}", "b.csv:2: text behind a closing quote");
    put_file("b.csv", "text,label\na\"b,x\n");
    refused("{file: ./b.csv}", "b.csv:2: a quote within a field");
}

static void conll_sentences_and_tags(void **state) {
    (void)state;
    loaded l;
    put_file("a.conll", "Ann\tB-PER\nLee\tI-PER\nin\tO\n\n\nRome\tB-LOC\r\nAcme\tx\tB-MISC\n");
    put_recipe("extract", "{file: ./a.conll, rename: [\"PER=person\", \"MISC=\"]}");
    assert_int_equal(load(&l, NULL), NG_OK);
    assert_int_equal(l.labels.len, 5);
    assert_string_equal(l.labels.names[0], "O");
    assert_string_equal(l.labels.names[1], "B-LOC");
    assert_string_equal(l.labels.names[4], "I-person");
    assert_int_equal(l.data.len, 2);
    assert_string_equal(l.data.items[0].text, "Ann Lee in");
    assert_int_equal(l.data.items[0].n_words, 3);
    assert_int_equal(l.data.items[0].tags[1], 4);
    assert_int_equal(l.data.items[1].tags[0], 1);
    assert_int_equal(l.data.items[1].tags[1], 0); /* a kind that is dropped */
    unload(&l);
    put_file("b.conll", "Ann\tB-PER\nLee\n");
    refused("{file: ./b.conll}", "b.conll:2: a word without a tag");
    put_file("b.conll", "Ann\tPER\n");
    refused("{file: ./b.conll}", "b.conll:1: the tag is not O, B-kind or I-kind");
    put_file("b.conll", "\tB-PER\n");
    refused("{file: ./b.conll}", "b.conll:1: the word is empty");
    put_file("b.conll", "a b\tB-PER\n");
    refused("{file: ./b.conll}", "b.conll:1: the word is empty or holds a space");
    put_file("a.conll", "Ann\tB-PER\n\tO\nLee\tO\n");
    put_recipe("extract", "{file: ./a.conll}");
    assert_int_equal(load(&l, NULL), NG_OK);
    assert_string_equal(l.data.items[0].text, "Ann Lee"); /* a word that was lost in the making */
    unload(&l);
}

static void mentions_are_glued(void **state) {
    (void)state;
    loaded l;
    put_file("a.conll", "RT\tO\n@\tO\nann\tB-PER\n:\tO\nme@\tO\nwork\tO\n@\tB-PER\n\nLee\tI-PER\n");
    put_recipe("extract", "{file: ./a.conll, glue: \"@\"}");
    assert_int_equal(load(&l, NULL), NG_OK);
    assert_int_equal(l.data.len, 2);
    assert_string_equal(l.data.items[0].text, "RT @ann : me@ work @"); /* the last one has no next word */
    const int16_t want[] = {0, 0, 0, 0, 0, 1};
    assert_int_equal(l.data.items[0].n_words, 6);
    assert_memory_equal(l.data.items[0].tags, want, sizeof want);
    assert_int_equal(l.data.items[1].tags[0], 2);
    unload(&l);
}

static void pieces_of_an_address_are_joined(void **state) {
    (void)state;
    loaded l;
    static const struct {
        const char *words, *tags, *want;
    } rows[] = {{"at 5 Elm Rd , Rome .", "O B I B O B O", "0 1 2 2 2 2 0"},
                {"> Rome > Italy > 123", "O B O B O B", "0 1 2 2 2 2"},
                {"Paris , France", "B O B", "1 0 1"},          /* no digit */
                {"5 Elm and 6 Oak", "B I O B I", "1 2 0 1 2"}, /* a word between */
                {"5 Elm ; Rome", "B I O B", "1 2 0 1"},
                {"5 , , , , , , , Rome", "B O O O O O O O B", "1 0 0 0 0 0 0 0 1"}, /* too far apart */
                {"Rome 7 Ann", "B I P", "1 2 3"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *w, *t, *save_w, *save_t, words[64], tags[64];
        ng_buf text = ng_buf_init(4096), got = ng_buf_init(256);
        snprintf(words, sizeof words, "%s", rows[i].words);
        snprintf(tags, sizeof tags, "%s", rows[i].tags);
        for (w = strtok_r(words, " ", &save_w), t = strtok_r(tags, " ", &save_t); w && t;
             w = strtok_r(NULL, " ", &save_w), t = strtok_r(NULL, " ", &save_t)) {
            bool person = *t == 'P';
            ng_buf_printf(&text, "%s\t%s%s\n", w, person ? "B" : t, *t == 'O' ? "" : person ? "-PER" : "-LOC");
        }
        ng_buf_puts(&text, "\nAnn\tB-PER\nRome\tB-LOC\n");
        put_file("a.conll", text.data);
        put_recipe("extract", "{file: ./a.conll, join: LOC}");
        assert_int_equal(load(&l, NULL), NG_OK);
        for (size_t k = 0; k < l.data.items[0].n_words; k++)
            ng_buf_printf(&got, "%s%d", k ? " " : "", l.data.items[0].tags[k]);
        assert_string_equal(got.data, rows[i].want);
        unload(&l);
        ng_buf_clear(&text);
        ng_buf_clear(&got);
    }
}

static void marked_spans_become_tags(void **state) {
    (void)state;
    loaded l;
    put_file("a.jsonl", "{\"text\": \"\u00c9va's from New\\nYork, Rome\", \"spans\": [[0, 3, \"PER\"], [11, 19, "
                        "\"LOC\"], [21, 25, \"LOC\"]], \"t\": 4}\n"
                        "{\"text\": \"none\", \"spans\": [], \"t\": 5}\n");
    put_recipe("extract", "{file: ./a.jsonl, label: spans, rename: [\"PER=person\"]}");
    assert_int_equal(load(&l, NULL), NG_OK);
    assert_int_equal(l.data.len, 2);
    const ng_sample *x = &l.data.items[0];
    assert_string_equal(x->text, "\xC3\x89va 's from New York , Rome");
    const int16_t want[] = {3, 0, 0, 1, 2, 0, 1}; /* O, B-LOC, I-LOC, B-person, I-person */
    assert_int_equal(x->n_words, 7);
    assert_memory_equal(x->tags, want, sizeof want);
    unload(&l);
    put_recipe("extract", "{file: ./a.jsonl, label: spans, hash: {of: 3, keep: [1], by: t}}");
    assert_int_equal(load(&l, NULL), NG_OK);
    assert_int_equal(l.data.len, 1); /* 4 modulo 3 */
    unload(&l);
    put_file("b.jsonl", "{\"text\": \"a\", \"spans\": [[0, 1]], \"t\": \"x\"}\n");
    put_recipe("extract", "{file: ./b.jsonl, label: spans}");
    ng_error err = {0};
    assert_int_equal(load(&l, &err), NG_EFORMAT);
    assert_non_null(strstr(err.text, "b.jsonl:1: a mark is not [start, end, kind]"));
    unload(&l);
    put_recipe("extract", "{file: ./b.jsonl, label: spans, hash: {of: 3, keep: [1], by: t}}");
    err = (ng_error){0};
    assert_int_equal(load(&l, &err), NG_EFORMAT);
    assert_non_null(strstr(err.text, "no number from 0 on in the column 't'"));
    unload(&l);
}

static void pairs_and_how_alike_they_are(void **state) {
    (void)state;
    loaded l;
    ng_error err = {0};
    put_file("p.tsv", "score\ts1\ts2\n5\ta\tb\n2.5\ta\tc\n");
    put_recipe("embed", "{file: ./p.tsv, text: s1, second: s2, label: score, scale: 5}");
    assert_int_equal(load(&l, NULL), NG_OK);
    assert_int_equal(l.data.len, 2);
    assert_string_equal(l.data.items[1].second, "c");
    assert_true(l.data.items[0].score == 1 && l.data.items[1].score == 0.5f);
    assert_true(l.data.items[0].hash != l.data.items[1].hash);
    unload(&l);
    put_recipe("embed", "{file: ./p.tsv, text: s1, second: s2, label: score, scale: 4}");
    assert_int_equal(load(&l, &err), NG_EFORMAT);
    assert_non_null(strstr(err.text, "line 2"));
    unload(&l);
    err = (ng_error){0};
    put_recipe("embed", "{file: ./p.tsv, text: s1, label: score, scale: 5}");
    assert_int_equal(load(&l, &err), NG_EINVALID);
    assert_non_null(strstr(err.text, "second"));
    unload(&l);
}

/* Two texts as one: the second is kept, the pair is hashed, and all sources have one or none. */
static void pairs_read_as_one(void **state) {
    (void)state;
    loaded l;
    ng_error err = {0};
    put_file("p.tsv", "label\ts1\ts2\n1\ta\tb\n0\ta\tc\n");
    put_recipe("classify", "{file: ./p.tsv, text: s1, second: s2}");
    assert_int_equal(load(&l, NULL), NG_OK);
    assert_true(l.data.len == 2 && ng_recipe_joins(&l.recipe));
    assert_string_equal(l.data.items[1].second, "c");
    assert_true(l.data.items[0].hash != l.data.items[1].hash && l.data.items[1].label == 0);
    unload(&l);
    put_file("p.tsv", "label\ts1\ts2\n1\ta\tb\n0\ta\t\n");
    assert_int_equal(load(&l, &err), NG_EFORMAT);
    assert_non_null(strstr(err.text, "p.tsv:3"));
    unload(&l);
    err = (ng_error){0};
    put_file("p.tsv", "label\ts1\ts2\n1\ta\tb\n");
    put_file("q.tsv", "label\ttext\n1\ta\n");
    put_recipe("classify", "{file: ./p.tsv, text: s1, second: s2}\n    - {file: ./q.tsv}");
    assert_int_equal(load(&l, &err), NG_EINVALID);
    assert_non_null(strstr(err.text, "cannot be mixed"));
    unload(&l);
}

/* The recipe of a task on pairs, with its two labels. */
static void put_pairs_recipe(const char *task, const char *good, const char *source) {
    char text[1024];
    snprintf(text, sizeof text, "name: t\ntask: %s\nlabels: [other, %s]\ndata: {train: [%s]}\n", task, good, source);
    put_file("r.yaml", text);
}

/* Windows of a question's passage: those with the answer are relevant, `others` thins out the rest and adds one of another story. */
static void questions_become_pairs(void **state) {
    (void)state;
    loaded l;
    ng_error err = {0};
    put_file(
        "q.jsonl",
        "{\"story\": \"a\", \"sections\": \"1\", \"q\": \"Who ate the cake?\", \"answers\": [\"the small mouse\"]}\n"
        "{\"story\": \"b\", \"sections\": \"1\", \"q\": \"Where was the ring?\", \"answers\": [\"under the bridge\"]}\n"
        "{\"story\": \"b\", \"sections\": \"1\", \"q\": \"Why did it rain?\", \"answers\": [\"nobody knows that at "
        "all\"]}\n");
    put_file("s.jsonl", "{\"story\": \"a\", \"sections\": [\"Once there was a house. The small mouse ate the cake. A "
                        "cat slept. It snowed. The dog ran away. Then they left. All was well. The end came.\"]}\n"
                        "{\"story\": \"b\", \"sections\": [\"A king lost a ring. He cried. It lay under the bridge. A "
                        "boy found it. He was poor. The king was glad. He paid well. They ate fish.\"]}\n");
    data_folder before = use_data_folder(dir);
    put_pairs_recipe("rerank", "relevant",
                     "{file: q.jsonl, format: questions, text: q, label: answers, stories: s.jsonl}");
    assert_int_equal(load(&l, NULL), NG_OK);
    size_t good[2] = {0}, all[2] = {0};
    for (size_t i = 0; i < l.data.len; i++) {
        const ng_sample *x = &l.data.items[i];
        bool cake = strstr(x->text, "cake") != NULL,
             holds = strstr(x->second, cake ? "The small mouse ate" : "under the bridge") != NULL;
        assert_true(x->label == (int32_t)holds && !strstr(x->text, "rain"));
        good[cake] += holds, all[cake]++;
    }
    assert_true(good[0] == 1 && good[1] == 1 && all[0] > 2 && all[1] > 2);
    unload(&l);
    put_pairs_recipe("rerank", "relevant",
                     "{file: q.jsonl, format: questions, text: q, label: answers, stories: s.jsonl, others: 2}");
    assert_int_equal(load(&l, NULL), NG_OK);
    assert_int_equal(l.data.len, 6); /* of each question the one with the answer, one beside it and one of the other story */
    unload(&l);
    put_pairs_recipe("classify", "relevant", "{file: q.jsonl, format: questions}");
    assert_int_equal(load(&l, &err), NG_EINVALID);
    assert_non_null(strstr(err.text, "rerank"));
    unload(&l);
    err = (ng_error){0};
    put_file("q.jsonl",
             "{\"story\": \"a\", \"sections\": \"1\", \"q\": \"Who?\", \"answers\": [\"x\"]}\n{\"story\": \"a\"}\n");
    put_pairs_recipe("rerank", "relevant",
                     "{file: q.jsonl, format: questions, text: q, label: answers, stories: s.jsonl}");
    assert_int_equal(load(&l, &err), NG_EFORMAT);
    assert_non_null(strstr(err.text, "q.jsonl:2"));
    unload(&l);
    give_back_data_folder(&before);
}

/* Sentences of a document with their places; the one that is the summary is good. */
static void documents_become_pairs(void **state) {
    (void)state;
    loaded l;
    data_folder before = use_data_folder(dir);
    put_file("d.jsonl", "{\"text\": [\"It was late.\", \"The bank raised its rate to five percent.\", \"Rain fell.\"], "
                        "\"short\": [\"Bank raised rate\", \"its rate to five percent\"]}\n"
                        "{\"text\": \"Nothing here. Nothing there.\", \"short\": \"xyz\"}\n");
    put_pairs_recipe("summarize", "summary", "{file: d.jsonl, format: documents, label: short}");
    assert_int_equal(load(&l, NULL), NG_OK);
    assert_int_equal(l.data.len, 3); /* a document whose sentences share no word with its summary teaches nothing */
    assert_string_equal(l.data.items[1].text, "2 of 3: The bank raised its rate to five percent.");
    assert_string_equal(l.data.items[1].second, "It was late. The bank raised its rate to five percent. Rain fell.");
    assert_true(l.data.items[0].label == 0 && l.data.items[1].label == 1 && l.data.items[2].label == 0);
    unload(&l);
    put_pairs_recipe("summarize", "summary", "{file: d.jsonl, format: documents, label: short, others: 1}");
    assert_int_equal(load(&l, NULL), NG_OK);
    assert_int_equal(l.data.len, 2);
    unload(&l);
    give_back_data_folder(&before);
}

/* Each text by one of the kinds, the same every time. */
static void texts_are_spoilt(void **state) {
    (void)state;
    loaded l, again;
    ng_error err = {0};
    put_file("t.tsv", "label\ttext\na\tthe estate is late\nb\tsome other words\n");
    put_recipe("classify", "{file: ./t.tsv, spoil: [leetspeak, spacing]}");
    assert_int_equal(load(&l, NULL), NG_OK);
    assert_int_equal(load(&again, NULL), NG_OK);
    assert_true(strcmp(l.data.items[0].text, "the estate is late") != 0 &&
                l.data.items[0].len == strlen(l.data.items[0].text));
    assert_string_equal(l.data.items[0].text, again.data.items[0].text);
    unload(&l);
    unload(&again);
    put_recipe("classify", "{file: ./t.tsv, spoil: [shouting]}");
    assert_int_equal(load(&l, &err), NG_EINVALID);
    assert_non_null(strstr(err.text, "shouting"));
    unload(&l);
}

static void near_copies_are_found(void **state) {
    (void)state;
    loaded l, test;
    ng_error err = {0};
    size_t n = 0;
    bool keep[5];
    put_file("test.tsv",
             "label\ttext\na\tplease freeze my account right now\na\tok\na\twhat is the weather in Paris today\n");
    put_file("train.tsv", "label\ttext\na\tPlease, freeze my account right now!\na\tplease freeze my accounts right "
                          "now\na\tplease close the account of my wife\n"
                          "a\tOK.\na\tweather\n");
    put_recipe("classify", "{file: ./test.tsv}");
    assert_int_equal(load(&test, NULL), NG_OK);
    put_recipe("classify", "{file: ./train.tsv}\nduplicates: refuse\nnear: 0.7");
    assert_int_equal(load(&l, NULL), NG_OK);
    assert_int_equal(ng_dataset_duplicates(&l.data, &test.data, keep), 2);
    assert_true(!keep[0] && keep[1] && !keep[3]);
    assert_int_equal(ng_dataset_near(&l.data, &test.data, 0.7, keep), 3);
    assert_true(!keep[0] && !keep[1] && keep[2] && !keep[3] && keep[4]);
    assert_int_equal(ng_dataset_near(&l.data, &test.data, 1, keep), 2);
    assert_int_equal(ng_dataset_separate(&l.data, &test.data, &l.recipe, &n, &err), NG_EFORMAT);
    assert_non_null(strstr(err.text, "3 training or dev texts also stand in the test set or are near it, the first: "
                                     "'Please, freeze"));
    l.recipe.duplicates = NG_DUPLICATES_KEEP;
    assert_int_equal(ng_dataset_separate(&l.data, &test.data, &l.recipe, &n, NULL), NG_OK);
    assert_true(n == 3 && l.data.len == 5);
    l.recipe.duplicates = NG_DUPLICATES_DROP; /* two of three test texts */
    err = (ng_error){0};
    assert_int_equal(ng_dataset_separate(&l.data, &test.data, &l.recipe, &n, &err), NG_EFORMAT);
    assert_non_null(strstr(err.text, "2 of the 3 test texts also stand in the training or dev texts: the split leaks"));
    FAULT_SWEEP(FAULT_ALLOC) if (ng_dataset_near(&l.data, &test.data, 0.7, keep) != SIZE_MAX) fault_passed();
    unload(&l);
    unload(&test);
}

static void separating_takes_copies_along_and_reads_pairs_whole(void **state) {
    (void)state;
    enum { N = 24 };
    char other[N][32];
    ng_sample tests[N], train[] = {
        {.text = "freeze my account right now", .len = 27, .hash = 1}, /* near a test text */
        {.text = "frezee my acount", .len = 16, .hash = 1},             /* made of it */
        {.text = "freeze my", .len = 9, .hash = 2},
        {.text = "who is it", .len = 9, .second = "the cat of the house", .second_len = 20, .hash = 3},
        {.text = "who is it", .len = 9, .second = "a dog in the garden", .second_len = 19, .hash = 4},
    };
    for (int i = 0; i < N; i++) {
        int len = snprintf(other[i], sizeof other[i], "something else %d%d", i, i * 7919);
        tests[i] = (ng_sample){.text = other[i], .len = (uint32_t)len, .hash = 100 + (uint64_t)i};
    }
    tests[0] = (ng_sample){.text = "please freeze my account right now", .len = 34, .hash = 5};
    tests[1] = (ng_sample){.text = "who is it", .len = 9, .second = "the cat of this house", .second_len = 21, .hash = 6};
    ng_dataset d = {NULL, train, 5, 5}, test = {NULL, tests, N, N};
    ng_recipe r = {.path = "r.yaml", .duplicates = NG_DUPLICATES_DROP, .near = 0.7};
    size_t n = 0;
    FAULT_SWEEP(FAULT_ALLOC) {
        ng_dataset copy = {NULL, (ng_sample[5]){train[0], train[1], train[2], train[3], train[4]}, 5, 5};
        if (ng_dataset_separate(&copy, &test, &r, &n, NULL) == NG_OK) fault_passed();
    }
    n = 0;
    assert_int_equal(ng_dataset_separate(&d, &test, &r, &n, NULL), NG_OK);
    assert_int_equal(n, 3);
    assert_int_equal(d.len, 2);
    assert_true(d.items[0].hash == 2 && d.items[1].hash == 4);
}

static void thinning_keeps_the_first_of_each_label(void **state) {
    (void)state;
    ng_sample train[] = {
        {.text = "turn on the light in the kitchen", .len = 32, .hash = 1, .label = 0},
        {.text = "turn on the light in the kitchn", .len = 31, .hash = 1, .label = 0},      /* made of the first */
        {.text = "turn on the light in the kitchen now", .len = 36, .hash = 2, .label = 0}, /* repeats it */
        {.text = "trun on teh ligth now", .len = 21, .hash = 2, .label = 0},                /* made of what goes */
        {.text = "turn on the light in the kitchens", .len = 33, .hash = 3, .label = 1},    /* another label */
        {.text = "what is the weather", .len = 19, .hash = 4, .label = 0},
    };
    ng_dataset d = {NULL, train, 6, 6};
    ng_recipe r = {.path = "r.yaml", .duplicates = NG_DUPLICATES_KEEP, .near = 0.7};
    size_t n = 0;
    assert_int_equal(ng_dataset_thin(&d, &r, &n, NULL), NG_OK);
    assert_true(n == 0 && d.len == 6);
    r.duplicates = NG_DUPLICATES_DROP;
    FAULT_SWEEP(FAULT_ALLOC) if (ng_dataset_thin(&d, &r, &n, NULL) == NG_OK) fault_passed();
    assert_true(n == 2 && d.len == 4);
    assert_true(d.items[1].hash == 1 && d.items[2].label == 1 && d.items[3].hash == 4);
}

/* Against the definition, over random texts of few letters, so that many are alike. */
static void nearness_is_exact(void **state) {
    (void)state;
    enum { N = 120 };
    char text[N][24];
    ng_sample items[N];
    uint64_t r = 7;
    bool keep[N];
    for (int i = 0; i < N; i++) {
        size_t len = 6 + i % 7;
        for (size_t k = 0; k < len; k++)
            r = r * 6364136223846793005u + 1442695040888963407u, text[i][k] = "ab c"[r >> 62];
        text[i][len] = 0, text[i][0] = 'a';
        items[i] = (ng_sample){.text = text[i], .len = (uint32_t)len};
    }
    ng_dataset a = {NULL, items, N / 2, N / 2}, b = {NULL, items + N / 2, N / 2, N / 2}, one = {NULL, NULL, 1, 1};
    for (int step = 1; step <= 4; step++) {
        double least = 0.2 * step + 0.1;
        size_t found = ng_dataset_near(&a, &b, least, keep), n = 0;
        for (int i = 0; i < N / 2; i++) {
            bool near = false;
            for (int k = 0; k < N / 2 && !near; k++) { /* pair by pair: no other text changes who is rare */
                bool apart;
                ng_dataset x = {NULL, items + i, 1, 1};
                one.items = items + N / 2 + k;
                near = ng_dataset_near(&x, &one, least, &apart) == 1;
            }
            n += near;
            assert_true(near == !keep[i]);
        }
        assert_int_equal(n, found);
        assert_true(step == 4 || found > 0);
    }
}

static void spans_and_ranks(void **state) {
    (void)state;
    static const char *const labels[] = {"O", "B-a", "I-a", "B-b", "I-b"};
    const int32_t gold[] = {1, 2, 0, 3, 4, 1, 1, 0}, said[] = {1, 2, 0, 3, 0, 2, 1, 0};
    ng_span_score s = {0};
    ng_span_score_add(&s, gold, said, 8, labels);
    assert_int_equal(s.n_gold, 4);
    assert_int_equal(s.n_said, 4);
    assert_int_equal(s.n_right, 3); /* b is cut short; an I- without a B- begins a span */
    assert_true(ng_span_f1(&s) == 0.75);
    assert_true(isnan(ng_span_f1(&(ng_span_score){0})));
    const float a[] = {1, 2, 3, 4}, up[] = {0.1f, 0.2f, 5, 9}, tied[] = {1, 1, 2, 2}, down[] = {4, 3, 2, 1},
                flat[] = {1, 1, 1, 1};
    assert_true(ng_spearman(a, up, 4) == 1 && ng_spearman(a, down, 4) == -1);
    assert_true(fabs(ng_spearman(a, tied, 4) - 0.894427190999916) < 1e-12); /* 4 / sqrt(20) */
    assert_true(isnan(ng_spearman(a, flat, 4)) && isnan(ng_spearman(a, up, 1)));
}

/* ---- copies as others would write them ----------------------------------------------------------------- */

static void put_phrases(void) {
    put_file("t.tsv", "label\ttext\nx\tOpen the door\ny\tblue sky\n");
    put_file("courtesy.txt", "# one\n< [hi|hello] you,\n> cheers[!|]\n");
    put_file("similar.tsv", "blue\tgreen red\nopen\tclose\n");
}

/* What stands between `before` and `behind` of a phrase is the text, whole. */
static bool is_courteous(const char *copy, const char *text) {
    const char *at = strstr(copy, text);
    bool before = !strncmp(copy, "hi you, ", 8) || !strncmp(copy, "hello you, ", 11),
         behind = strstr(copy, "cheers") != NULL;
    return at && (before || behind) && (before || at == copy) && (behind || !at[strlen(text)]);
}

static void copies_with_words_of_courtesy(void **state) {
    (void)state;
    loaded l, again;
    put_phrases();
    put_recipe("classify", "{file: ./t.tsv, courtesy: {file: ./courtesy.txt, copies: 8}}");
    assert_int_equal(load(&l, NULL), NG_OK);
    assert_int_equal(load(&again, NULL), NG_OK);
    assert_int_equal(l.data.len, 18);
    for (size_t i = 0; i < 18; i++) {
        const char *text = i < 9 ? "Open the door" : "blue sky";
        assert_true(i % 9 ? is_courteous(l.data.items[i].text, text) : !strcmp(l.data.items[i].text, text));
        assert_int_equal(l.data.items[i].label, i / 9);
        assert_true(l.data.items[i].hash == l.data.items[i / 9 * 9].hash); /* on the side of a split where its text stands */
        assert_string_equal(l.data.items[i].text, again.data.items[i].text);
    }
    unload(&l);
    unload(&again);
}

static void copies_with_similar_words(void **state) {
    (void)state;
    loaded l;
    size_t left_out = 0, replaced = 0;
    put_phrases();
    put_recipe("classify", "{file: ./t.tsv, similar: {file: ./similar.tsv, copies: 16, share: 1}}");
    assert_int_equal(load(&l, NULL), NG_OK);
    assert_int_equal(l.data.len, 34);
    for (size_t i = 18; i < 34; i++) {
        const char *t = l.data.items[i].text;
        left_out += !strcmp(t, "sky");
        replaced += !strcmp(t, "green sky") || !strcmp(t, "red sky");
    }
    assert_int_equal(left_out + replaced, 16);
    assert_true(left_out > 0 && left_out < 8);
    for (size_t i = 1; i < 17; i++)
        assert_true(!strcmp(l.data.items[i].text, "close the door") || !strcmp(l.data.items[i].text, "the door"));
    unload(&l);
}

static void pieces_are_runs_of_words(void **state) {
    (void)state;
    loaded l;
    static const char *const words[] = {"Where", "is", "the", "s\xC3\xA9jour", "now"};
    size_t one = 0, two = 0;
    put_file("t.tsv", "label\ttext\nx\t Where is  (the) \xE2\x80\x9Es\xC3\xA9jour\xE2\x80\x9C, now?\ny\tblue sky above\nz\t1 2 3 4 5 6\n");
    put_recipe("classify", "{file: ./t.tsv, pieces: {copies: 16, words: 2}}");
    assert_int_equal(load(&l, NULL), NG_OK);
    for (size_t i = 0; i < l.data.len; i++) {
        const ng_sample *x = &l.data.items[i];
        if (x->label != 0 || i == 0) continue;
        size_t k = 0;
        while (k < 5 && strncmp(x->text, words[k], strlen(words[k])) != 0) k++;
        assert_true(k < 5 && x->len == strlen(x->text) && x->hash == ng_text_hash(x->text, x->len));
        const char *rest = x->text + strlen(words[k]);
        one += !*rest, two += *rest != 0;
        assert_true(!*rest || (k < 4 && *rest == ' ' && !strcmp(rest + 1, words[k + 1])));
    }
    assert_true(one == 8 && two == 8);
    assert_int_equal(l.data.len, 17 + 1 + 8 + 1); /* three words have no run of two, numbers no letters */
    unload(&l);
    put_recipe("embed", "{file: ./t.tsv, second: label, pieces: {copies: 1}}");
    ng_error err = {0};
    assert_int_equal(load(&l, &err), NG_EINVALID);
    assert_non_null(strstr(err.text, "pieces"));
    unload(&l);
}

static void broken_phrases_and_words_are_refused(void **state) {
    (void)state;
    static const char *const courtesy[] = {"",   "< hi\n", "> bye\n", "hi\n", "< hi [a\n> bye\n", "< [a|[b]]\n> bye\n",
                                           "<\n"};
    static const char *const similar[] = {"no tab\n", "\tx\n", "a\t\n", "a\t x\n", "b\tx\na\tx\n", "a\tx\na\ty\n"};
    loaded l;
    put_phrases();
    for (size_t i = 0; i < sizeof courtesy / sizeof *courtesy; i++) {
        put_file("courtesy.txt", courtesy[i]);
        put_recipe("classify", "{file: ./t.tsv, courtesy: {file: ./courtesy.txt, copies: 1}}");
        ng_error err = {0};
        assert_int_not_equal(load(&l, &err), NG_OK);
        assert_non_null(strstr(err.text, "courtesy.txt"));
        unload(&l);
    }
    for (size_t i = 0; i < sizeof similar / sizeof *similar; i++) {
        put_file("similar.tsv", similar[i]);
        put_recipe("classify", "{file: ./t.tsv, similar: {file: ./similar.tsv, copies: 1}}");
        ng_error err = {0};
        assert_int_equal(load(&l, &err), NG_EFORMAT);
        assert_non_null(strstr(err.text, "line"));
        unload(&l);
    }
}

static void every_allocation_may_fail(void **state) {
    (void)state;
    put_file("a.conll", "Ann\tB-PER\nLee\tI-PER\n\nRome\tB-LOC\n");
    put_recipe("extract", "{file: ./a.conll, rename: [\"PER=person\"]}");
    FAULT_SWEEP(FAULT_ALLOC) {
        loaded l;
        ng_error err = {0};
        ng_status s = load(&l, &err);
        unload(&l);
        if (!s) fault_passed();
    }
    put_phrases();
    put_recipe("classify", "{file: ./t.tsv, courtesy: {file: ./courtesy.txt, copies: 1}, similar: {file: "
                           "./similar.tsv, copies: 1}}");
    FAULT_SWEEP(FAULT_ALLOC) {
        loaded l;
        ng_error err = {0};
        ng_status s = load(&l, &err);
        unload(&l);
        if (!s) fault_passed();
    }
    put_file("a.jsonl", "{\"text\": \"Ann Lee\", \"spans\": [[0, 3, \"PER\"]]}\n");
    put_recipe("extract", "{file: ./a.jsonl, label: spans}");
    FAULT_SWEEP(FAULT_ALLOC) {
        loaded l;
        ng_error err = {0};
        ng_status s = load(&l, &err);
        unload(&l);
        if (!s) fault_passed();
    }
    put_file("a.tsv", "label\ttext\na\tone\nb\ttwo\na\tthree\n");
    put_recipe("classify", "{file: ./a.tsv, rename: [\"a=x\"], limit: 2}");
    FAULT_SWEEP(FAULT_ALLOC) {
        loaded l;
        ng_error err = {0};
        ng_status s = load(&l, &err);
        unload(&l);
        if (!s) fault_passed();
    }
    assert_true(fault_sweep_rounds() > 5);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tsv_columns_by_name),          cmocka_unit_test(jsonl_and_lines),
        cmocka_unit_test(conditions_and_names),         cmocka_unit_test(moderate_knows_what_it_knows),
        cmocka_unit_test(splits_do_not_depend_on_order), cmocka_unit_test(duplicates_are_found),
        cmocka_unit_test(broken_data_name_file_and_line), cmocka_unit_test(missing_data_folder_is_told),
        cmocka_unit_test(recipes_are_checked),          cmocka_unit_test(files_of_a_package),
        cmocka_unit_test(csv_as_spreadsheets_write_it),  cmocka_unit_test(conll_sentences_and_tags),
        cmocka_unit_test(mentions_are_glued), cmocka_unit_test(pieces_of_an_address_are_joined),
        cmocka_unit_test(marked_spans_become_tags),
        cmocka_unit_test(pairs_and_how_alike_they_are), cmocka_unit_test(pairs_read_as_one),
        cmocka_unit_test(questions_become_pairs), cmocka_unit_test(documents_become_pairs), cmocka_unit_test(texts_are_spoilt),
        cmocka_unit_test(spans_and_ranks),
        cmocka_unit_test(near_copies_are_found), cmocka_unit_test(separating_takes_copies_along_and_reads_pairs_whole),
        cmocka_unit_test(thinning_keeps_the_first_of_each_label), cmocka_unit_test(nearness_is_exact), cmocka_unit_test(pieces_are_runs_of_words),
        cmocka_unit_test(copies_with_words_of_courtesy), cmocka_unit_test(copies_with_similar_words),
        cmocka_unit_test(broken_phrases_and_words_are_refused),
        cmocka_unit_test(every_allocation_may_fail),
    };
    snprintf(dir, sizeof dir, "/tmp/ng_test_data_%d", (int)getpid());
    mkdir(dir, 0700);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", dir);
    return system(command) ? 1 : failed;
}

/* fit_data.c: the texts of --data, split by their own hash: seven tenths train, one tunes and calibrates, one is chosen
 * on, one judges the choice.  Everything goes through a recipe that is written beside the models, so that what `fit`
 * made can be made again, and better, with `train`. */
#include "fit_parts.h"

#include "core/file.h"
#include <stdio.h>
#include <string.h>

enum { FEWEST_CHOOSE = 20 };

static void put_quoted(ng_buf *b, const char *text) {
    ng_json q = ng_json_init(b); /* JSON's quotes are YAML's */
    ng_json_str(&q, text);
}

/* The file's columns have no names where it is CoNLL: words and tags. */
static bool has_columns(const fit_job *j) {
    const char *dot = strrchr(j->opt->data, '.');
    return !dot || strcmp(dot, ".conll") != 0;
}

/* The recipe of the data: `about` its first lines, `rest` what a linear model wants besides. */
static ng_status write_recipe(fit_job *j, const char *file, const char *about, const char *rest) {
    static const char *const splits[] = {"train", "dev", "test"}, *const keep[] = {"0, 1, 2, 3, 4, 5, 6", "7", "8, 9"};
    char data[1024];
    ng_status s = ng_path_absolute(data, sizeof data, j->opt->data, j->err);
    const char *path = s ? NULL : ng_fit_make_file(j, file);
    if (!path) return s ? s : NG_ENOMEM;
    ng_buf b = ng_buf_init(1 << 16);
    ng_buf_printf(&b, "%stask: %s\ndata:\n", about, ng_task_name(j->opt->task));
    for (int i = 0; i < 3; i++) {
        ng_buf_printf(&b, "  %s: [{hash: {of: 10, keep: [%s]}, file: ", splits[i], keep[i]);
        put_quoted(&b, data);
        if (has_columns(j)) {
            ng_buf_puts(&b, ", text: "), put_quoted(&b, j->opt->text ? j->opt->text : "text");
            ng_buf_puts(&b, ", label: "), put_quoted(&b, j->opt->label ? j->opt->label : "label");
        }
        ng_buf_puts(&b, "}]\n");
    }
    ng_buf_puts(&b, rest);
    s = b.status ? ng_fit_no_memory(j) : ng_file_write_atomic(path, b.data, b.len, j->err);
    ng_buf_clear(&b);
    return s;
}

ng_status ng_fit_recipe_write(fit_job *j, const char *name, int rows, int bits) {
    char file[64], about[256], rest[256];
    bool language = j->opt->task == NG_TASK_DETECT_LANGUAGE;
    snprintf(file, sizeof file, "%s.yaml", name);
    snprintf(about, sizeof about,
             "# Written by nanogrid fit.  nanogrid train %s makes the model again.\nname: %s\noutput: %s.gguf\n", file, name, name);
    snprintf(rest, sizeof rest,
             "features: {bits: %d, words: %d, char_min: %d, char_max: 4, rows: %d}\n"
             "training: {epochs: 12, rate: 0.5, smoothing: 0.05, weight_bits: %d}\n",
             language ? 20 : 18, language ? 1 : 2, language ? 1 : 2, rows, bits);
    return write_recipe(j, file, about, rest);
}

ng_status ng_fit_data_write(fit_job *j, const char *name) {
    char file[64], about[256];
    snprintf(file, sizeof file, "%s.data.yaml", name);
    snprintf(about, sizeof about, "# Written by nanogrid fit: what %s.yaml learns from.\nname: %s\n", name, name);
    return write_recipe(j, file, about, "");
}

/* Texts are judged as lines. */
void ng_fit_on_one_line(const ng_sample *s) {
    for (char *c = (char *)(uintptr_t)s->text; *c; c++)
        if (*c == '\n' || *c == '\r') *c = ' ';
}

/* First those that are chosen on, then those of the test, at most FIT_TEXTS_MAX of each. */
static ng_status order_held(fit_job *j) {
    ng_sample *all = ng_arena_array(j->arena, j->held.len + 1, sizeof *all);
    size_t n[2] = {0, 0}, used = 0;
    if (!all) return ng_fit_no_memory(j);
    for (uint64_t part = 8; part < 10; part++)
        for (size_t i = 0; i < j->held.len; i++)
            if (j->held.items[i].hash % 10 == part && n[part - 8] < FIT_TEXTS_MAX) {
                ng_fit_on_one_line(&j->held.items[i]);
                all[used++] = j->held.items[i];
                n[part - 8]++;
            }
    memcpy(j->held.items, all, used * sizeof *all);
    j->held.len = used;
    j->out->n_choose = n[0];
    j->out->n_test = n[1];
    j->out->n_train = j->train.len;
    if (n[0] >= FEWEST_CHOOSE) return NG_OK;
    return ng_fail(j->err, NG_EINVALID, "%s: %zu texts are left to choose on, of %zu; give at least %d rows",
                   j->opt->data, n[0], j->train.len + used, 12 * FEWEST_CHOOSE);
}

ng_status ng_fit_data_read(fit_job *j) {
    if (j->opt->task == NG_TASK_GENERATE) return ng_fit_replies_read(j);
    bool tags = j->opt->task == NG_TASK_EXTRACT;
    if (tags && !has_columns(j) && (j->opt->text || j->opt->label))
        return ng_fail(j->err, NG_EINVALID, "%s: a CoNLL file has no columns with names; leave out --text and --label", j->opt->data);
    ng_status s = tags ? ng_fit_data_write(j, "texts") : ng_fit_recipe_write(j, "linear", 16384, 8);
    if (s) return s;
    s = ng_recipe_read(&j->recipe, ng_fit_path(j, tags ? "texts.data.yaml" : "linear.yaml"), j->arena, j->err);
    if (!s) s = ng_labels_read(&j->labels, &j->recipe, j->err);
    if (!s && j->labels.len < 2 && j->opt->task != NG_TASK_MODERATE)
        s = ng_fail(j->err, NG_EINVALID, "%s: all rows have the label '%s'; at least two labels are learned",
                    j->opt->data, j->labels.names[0]);
    if (!s) s = ng_dataset_read(&j->train, &j->recipe.data.train, &j->labels, &j->recipe, j->err);
    if (!s) s = ng_dataset_read(&j->held, &j->recipe.data.test, &j->labels, &j->recipe, j->err);
    return s ? s : order_held(j);
}

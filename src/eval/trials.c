/* trials.c: see trials.h.
 *
 * Several callers feed one scheduler, so that the model's weights are read once for all of them; what each generation says does
 * not depend on that (nanogrid/scheduler.h), so the trials are the same in any order.
 *
 * A file is run in parts, and what was said to a part is kept when it is there: a run of an hour that is stopped loses
 * a minute.  A kept part is named by its model, by the layers that were read and by its lines, so that no other run takes it. */
#include "trials.h"

#include "core/checked.h"
#include "core/file.h"
#include "core/hash.h"
#include "gguf/gguf.h"
#include <nanogrid/scheduler.h>

#include <ctype.h>
#include <jansson.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { CALLERS = 8, PART = 512, ANSWERS_MAX = 32, TOKENS_MAX = 1024, CTX = 2048 };
enum { FILE_MAX_BYTES = 256 << 20, PATH_CAP = 4096 };

/* ---- right or wrong ------------------------------------------------------------------------------------ */

static bool is_word(char c) { return isalnum((unsigned char)c) || (unsigned char)c >= 0x80; }

/* Where `word` stands in s as whole words; NULL: nowhere. */
static const char *find_word(const char *s, const char *word) {
    size_t len = strlen(word);
    for (const char *p = s; len && *p; p++) {
        bool begins = p == s || !is_word(p[-1]) || !is_word(word[0]);
        if (begins && !strncasecmp(p, word, len) && (!is_word(p[len]) || !is_word(word[len - 1]))) return p;
    }
    return NULL;
}

/* The last number of s, commas between digits left out; NaN: none. */
static double last_number(const char *s) {
    double found = NAN;
    for (const char *p = s; *p;) {
        if (!isdigit((unsigned char)*p)) {
            p++;
            continue;
        }
        char digits[40];
        size_t n = 0;
        bool minus = p > s && p[-1] == '-', point = false;
        for (; isdigit((unsigned char)*p) || ((*p == ',' || (*p == '.' && !point)) && isdigit((unsigned char)p[1]));
             p++) {
            point |= *p == '.';
            if (*p != ',' && n + 1 < sizeof digits) digits[n++] = *p;
        }
        digits[n] = 0;
        found = strtod(digits, NULL) * (minus ? -1 : 1);
    }
    return found;
}

bool ng_trial_is_right(ng_trial_match match, const char *said, const char *const *answers, size_t n_answers,
                       const char *const *labels, size_t n_labels) {
    if (match == NG_MATCH_NUMBER) {
        double x = last_number(said), gold = strtod(answers[0], NULL);
        return !isnan(x) && x - gold == 0;
    }
    if (match == NG_MATCH_CONTAINS) {
        for (size_t i = 0; i < n_answers; i++)
            if (find_word(said, answers[i])) return true;
        return false;
    }
    const char *first = NULL, *named = NULL;
    for (size_t i = 0; i < n_labels; i++) {
        const char *at = find_word(said, labels[i]);
        if (at && (!first || at < first)) first = at, named = labels[i];
    }
    return named && !strcmp(named, answers[0]);
}

/* ---- one trial ----------------------------------------------------------------------------------------- */

typedef struct running {
    ng_trials *t;
    const json_t *lines; /* an array */
    const ng_model *model;
    const ng_confidence *of;
    ng_scheduler *scheduler; /* NULL until a part has to be run */
    const ng_tokenizer *tokenizer;
    const ng_trials_options *opt;
    size_t end;           /* of the part that runs */
    pthread_mutex_t lock; /* guards what follows */
    size_t next, done;
    ng_error error;
} running;

static size_t strings(const json_t *list, const char *out[ANSWERS_MAX]) {
    size_t n = json_array_size(list);
    if (n > ANSWERS_MAX) n = ANSWERS_MAX;
    for (size_t i = 0; i < n; i++)
        if (!(out[i] = json_string_value(json_array_get(list, i)))) return 0;
    return n;
}

static ng_status judge(const running *r, size_t i, const char *said, ng_error *err) {
    static const char *const kinds[] = {"label", "number", "contains"};
    const json_t *line = json_array_get(r->lines, i);
    const char *answers[ANSWERS_MAX], *labels[ANSWERS_MAX], *match = json_string_value(json_object_get(line, "match"));
    size_t n = strings(json_object_get(line, "answers"), answers),
           n_labels = strings(json_object_get(line, "labels"), labels);
    for (int k = 0; n && match && k < 3; k++) {
        if (strcmp(match, kinds[k]) || (k == NG_MATCH_LABEL && !n_labels)) continue;
        r->t->correct[i] = ng_trial_is_right((ng_trial_match)k, said, answers, n, labels, n_labels);
        return NG_OK;
    }
    return ng_fail(err, NG_EFORMAT, "trial %zu: needs match label (with labels), number or contains, and answers",
                   i + 1);
}

static ng_status run_one(const running *r, size_t i, ng_error *err) {
    const json_t *line = json_array_get(r->lines, i);
    const char *prompt = json_string_value(json_object_get(line, "prompt"));
    json_int_t most = json_integer_value(json_object_get(line, "max_tokens"));
    if (!prompt || most < 1 || most > TOKENS_MAX)
        return ng_fail(err, NG_EFORMAT, "trial %zu: needs a prompt and max_tokens of 1 to %d", i + 1, TOKENS_MAX);
    ng_generate_options opt = ng_generate_options_default();
    ng_chat_message said = {"user", prompt};
    ng_generation g = {0};
    int32_t *ids = NULL;
    size_t n;
    opt.temp = 0;
    opt.n_predict = (uint32_t)most;
    ng_status s = ng_chat_tokenize(r->tokenizer, &said, 1, true, &ids, &n, err);
    ng_scheduled call = {.prompt = ids,
                         .n_prompt = n,
                         .options = &opt,
                         .features = r->t->features + i * r->t->n_features};
    if (!s) s = ng_scheduler_generate(r->scheduler, &g, &call, err);
    if (!s) s = judge(r, i, g.text, err);
    ng_generation_clear(&g);
    free(ids);
    return s;
}

static void *work(void *ctx) {
    running *r = ctx;
    pthread_mutex_lock(&r->lock);
    while (r->next < r->end && !r->error.code) {
        size_t i = r->next++;
        ng_error err = {0};
        pthread_mutex_unlock(&r->lock);
        ng_status s = run_one(r, i, &err);
        pthread_mutex_lock(&r->lock);
        if (s && !r->error.code) r->error = err;
        if (r->opt->on_step) r->opt->on_step(r->opt->ctx, ++r->done, r->t->n);
    }
    pthread_mutex_unlock(&r->lock);
    return NULL;
}

/* ---- all of them --------------------------------------------------------------------------------------- */

static ng_status read_lines(json_t **out, const char *path, ng_error *err) {
    ng_buf text = ng_buf_init(FILE_MAX_BYTES);
    json_t *list = json_array();
    ng_status s = ng_file_read(&text, path, err);
    if (!s && !list) s = ng_fail(err, NG_ENOMEM, "trials: out of memory");
    size_t at = 0, number = 1;
    for (; !s && at < text.len; number++) {
        const char *line = text.data + at, *end = memchr(line, '\n', text.len - at);
        size_t len = end ? (size_t)(end - line) : text.len - at;
        json_error_t why;
        json_t *v = len ? json_loadb(line, len, 0, &why) : NULL;
        at += len + 1;
        if (len && (!json_is_object(v) || json_array_append_new(list, v)))
            s = ng_fail(err, NG_EFORMAT, "%s:%zu: no JSON object: %s", path, number, v ? "another value" : why.text);
    }
    ng_buf_clear(&text);
    if (!s && !json_array_size(list)) s = ng_fail(err, NG_EFORMAT, "%s: no trial stands in it", path);
    if (s) json_decref(list);
    *out = s ? NULL : list;
    return s;
}

size_t ng_trials_task(ng_trials *t, const char *name) {
    size_t i = 0, len = strlen(name);
    while (i < t->n_names && strcmp(t->names[i], name)) i++;
    if (i < t->n_names) return i;
    if (i == NG_TRIAL_TASKS_MAX || len >= sizeof t->names[i]) return NG_TRIAL_TASKS_MAX;
    memcpy(t->names[t->n_names++], name, len + 1);
    return i;
}

static ng_status name_tasks(ng_trials *t, const json_t *lines, const char *path, ng_error *err) {
    for (size_t i = 0; i < t->n; i++) {
        const char *name = json_string_value(json_object_get(json_array_get(lines, i), "task"));
        if (!name || !*name || strlen(name) >= sizeof t->names[0])
            return ng_fail(err, NG_EFORMAT, "%s: trial %zu needs a task of 1 to %zu bytes", path, i + 1,
                           sizeof t->names[0] - 1);
        size_t k = ng_trials_task(t, name);
        if (k == NG_TRIAL_TASKS_MAX) return ng_fail(err, NG_ELIMIT, "%s: more than %d tasks", path, NG_TRIAL_TASKS_MAX);
        t->task[i] = (uint8_t)k;
    }
    return NG_OK;
}

static ng_status take_memory(ng_trials *t, ng_error *err) {
    size_t cells;
    bool ok = ng_mul_ok(&cells, t->n, t->n_features) && (t->features = calloc(cells, sizeof *t->features)) &&
              (t->correct = calloc(t->n, 1)) && (t->task = calloc(t->n, 1));
    return ok ? NG_OK : ng_fail(err, NG_ENOMEM, "trials: out of memory for %zu trials", t->n);
}

static ng_status start(running *r, ng_error *err) {
    uint32_t most = ng_model_get_info(r->model).n_ctx_train;
    ng_scheduler_options so = {.n_threads = r->opt->n_threads,
                               .confidence = r->of,
                               .n_ctx = most && most < CTX ? most : CTX};
    if (!(r->tokenizer = ng_model_tokenizer(r->model, err))) return err ? err->code : NG_EUNSUPPORTED;
    return ng_scheduler_new(&r->scheduler, r->model, &so, err);
}

static ng_status run_part(running *r, size_t begin, size_t end, ng_error *err) {
    pthread_t threads[CALLERS];
    size_t n = 0;
    ng_status s = r->scheduler ? NG_OK : start(r, err);
    if (s) return s;
    r->next = r->done = begin, r->end = end;
    pthread_mutex_init(&r->lock, NULL);
    while (n < CALLERS && !pthread_create(&threads[n], NULL, work, r)) n++;
    if (!n) work(r);
    while (n > 0) pthread_join(threads[--n], NULL);
    pthread_mutex_destroy(&r->lock);
    return r->error.code ? ng_fail(err, r->error.code, "%s", r->error.text) : NG_OK;
}

/* Where what is said to these lines is kept. */
static ng_status part_path(const running *r, size_t begin, size_t end, char out[PATH_CAP], ng_error *err) {
    uint64_t hash = ng_hash64(r->of->taps, r->of->n_taps * sizeof *r->of->taps, 0);
    for (size_t i = begin; i < end; i++) {
        char *line = json_dumps(json_array_get(r->lines, i), JSON_COMPACT | JSON_SORT_KEYS);
        if (!line) return ng_fail(err, NG_ENOMEM, "trials: out of memory");
        hash = ng_hash64(line, strlen(line), hash);
        free(line);
    }
    int n = snprintf(out, PATH_CAP, "%s-%016llx.trials.gguf", r->opt->keep, (unsigned long long)hash);
    return n > 0 && n < PATH_CAP ? NG_OK : ng_fail(err, NG_ELIMIT, "trials: the path of what is kept is too long");
}

static ng_status recall_part(const ng_trials *part, const char *path, ng_error *err) {
    ng_trials kept;
    ng_status s = ng_trials_read(&kept, path, part->n_features, err);
    if (s) return s;
    if (kept.n == part->n) {
        memcpy(part->features, kept.features, part->n * part->n_features * sizeof *part->features);
        memcpy(part->correct, kept.correct, part->n);
    } else s = ng_fail(err, NG_EFORMAT, "%s: %zu trials, not %zu; remove it", path, kept.n, part->n);
    ng_trials_clear(&kept);
    return s;
}

static ng_status take_part(running *r, size_t begin, size_t end, ng_error *err) {
    char path[PATH_CAP];
    ng_trials part = *r->t; /* of the same memory */
    part.n = end - begin;
    part.features += begin * part.n_features;
    part.correct += begin;
    part.task += begin;
    if (!r->opt->keep) return run_part(r, begin, end, err);
    ng_status s = part_path(r, begin, end, path, err);
    if (!s && ng_file_exists(path)) return recall_part(&part, path, err);
    if (!s) s = run_part(r, begin, end, err);
    return s ? s : ng_trials_write(&part, path, err);
}

ng_status ng_trials_run(ng_trials *out, const ng_model *m, const ng_confidence *of, const char *path,
                        const ng_trials_options *opt, ng_error *err) {
    static const ng_trials_options defaults = {0};
    json_t *lines;
    *out = (ng_trials){.n_features = of->n_features};
    ng_status s = read_lines(&lines, path, err);
    if (s) return s;
    out->n = json_array_size(lines);
    running r = {.t = out, .lines = lines, .model = m, .of = of, .opt = opt ? opt : &defaults};
    s = take_memory(out, err);
    if (!s) s = name_tasks(out, lines, path, err);
    for (size_t at = 0; !s && at < out->n; at += PART)
        s = take_part(&r, at, out->n - at < PART ? out->n : at + PART, err);
    ng_scheduler_free(r.scheduler);
    json_decref(lines);
    if (s) ng_trials_clear(out);
    return s;
}

void ng_trials_clear(ng_trials *t) {
    free(t->features);
    free(t->correct);
    free(t->task);
    *t = (ng_trials){0};
}

/* ---- files --------------------------------------------------------------------------------------------- */

ng_status ng_trials_write(const ng_trials *t, const char *path, ng_error *err) {
    ng_gguf_writer *w;
    ng_str names[NG_TRIAL_TASKS_MAX];
    const uint64_t dims[] = {t->n_features, t->n};
    if (ng_gguf_writer_new(&w)) return ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    for (size_t i = 0; i < t->n_names; i++) names[i] = (ng_str){t->names[i], strlen(t->names[i])};
    ng_gguf_put_str(w, "general.architecture", "nanogrid-trials");
    ng_gguf_put_strs(w, "nanogrid.trials.names", names, t->n_names);
    ng_gguf_put_array(w, "nanogrid.trials.task", NG_GGUF_U8, t->task, t->n);
    ng_gguf_put_array(w, "nanogrid.trials.correct", NG_GGUF_U8, t->correct, t->n);
    ng_gguf_put_tensor(w, "features", NG_TYPE_F32, 2, dims, t->features);
    return ng_gguf_writer_commit(w, path, err);
}

static ng_status take(ng_trials *t, const ng_gguf *g, ng_error *err) {
    ng_gguf_array task, correct, names;
    const ng_gguf_tensor *f = ng_gguf_find_tensor(g, "features");
    ng_status s = ng_gguf_get_array(g, "nanogrid.trials.task", &task, err);
    if (!s) s = ng_gguf_get_array(g, "nanogrid.trials.correct", &correct, err);
    if (!s) s = ng_gguf_get_array(g, "nanogrid.trials.names", &names, err);
    if (s) return s;
    bool ok = f && f->type == NG_TYPE_F32 && f->dims[0] == t->n_features && f->dims[1] && f->dims[1] == task.len &&
              correct.len == task.len && task.kind == NG_GGUF_U8 && correct.kind == NG_GGUF_U8 &&
              names.kind == NG_GGUF_STRING && names.len <= NG_TRIAL_TASKS_MAX;
    if (!ok) return ng_fail(err, NG_EFORMAT, "%s: no trials of %zu features", ng_gguf_path(g), t->n_features);
    t->n = task.len;
    if ((s = take_memory(t, err))) return s;
    memcpy(t->features, f->data, f->bytes);
    memcpy(t->task, task.data, t->n);
    memcpy(t->correct, correct.data, t->n);
    t->n_names = names.len;
    for (size_t i = 0; i < names.len; i++) {
        if (names.strs[i].len >= sizeof t->names[0])
            return ng_fail(err, NG_EFORMAT, "%s: a task's name is too long", ng_gguf_path(g));
        memcpy(t->names[i], names.strs[i].data, names.strs[i].len);
    }
    for (size_t i = 0; i < t->n; i++)
        if (t->task[i] >= t->n_names)
            return ng_fail(err, NG_EFORMAT, "%s: trial %zu is of no task", ng_gguf_path(g), i + 1);
    return NG_OK;
}

ng_status ng_trials_read(ng_trials *out, const char *path, size_t n_features, ng_error *err) {
    ng_gguf *g;
    *out = (ng_trials){.n_features = n_features};
    ng_status s = ng_gguf_open(&g, path, err);
    if (s) return s;
    s = take(out, g, err);
    ng_gguf_close(g);
    if (s) ng_trials_clear(out);
    return s;
}

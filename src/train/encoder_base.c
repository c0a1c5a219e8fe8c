/* encoder_base.c: see encoder_base.h. */
#include "encoder_base.h"

#include "core/file.h"
#include "kernel/dequant.h"
#include "model/token_spans.h"
#include "tokenizer/token_table.h"
#include "tokenizer/vocab.h"
#include <nanogrid/tools/weights.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static ng_status no_memory(const ng_encoder_base *b, ng_error *err) {
    return ng_fail(err, NG_ENOMEM, "%s: out of memory", b->recipe->path);
}

/* ---- opening ------------------------------------------------------------------------------------ */

/* A folder becomes a GGUF file of floats that is gone again once it is mapped. */
static ng_status open_folder(ng_encoder_base *b, const char *folder, const char *scratch_dir, ng_error *err) {
    char path[1200];
    snprintf(path, sizeof path, "%s/.base.%ld.gguf", scratch_dir, (long)getpid());
    ng_weights_report report;
    ng_weights_options opt = {.type = "F32"};
    ng_status s = ng_convert_folder(&report, folder, path, &opt, err);
    ng_weights_report_clear(&report);
    if (!s) s = ng_gguf_open(&b->g, path, err);
    ng_file_remove(path);
    return s;
}

static ng_status read_shape(ng_encoder_base *b, ng_error *err) {
    ng_str arch;
    uint32_t ctx, width, ff, heads, layers, head_width;
    float eps;
    ng_status s = ng_gguf_get_str(b->g, "general.architecture", &arch, err);
    if (!s && (arch.len != 4 || memcmp(arch.data, "bert", 4) != 0))
        s = ng_fail(err, NG_EUNSUPPORTED, "%s: architecture '%.*s' cannot be trained by this version; bert can",
                    ng_gguf_path(b->g), (int)(arch.len < 40 ? arch.len : 40), arch.data);
    if (s || (s = ng_gguf_get_u32(b->g, "bert.context_length", &ctx, err)) ||
        (s = ng_gguf_get_u32(b->g, "bert.embedding_length", &width, err)) ||
        (s = ng_gguf_get_u32(b->g, "bert.feed_forward_length", &ff, err)) ||
        (s = ng_gguf_get_u32(b->g, "bert.attention.head_count", &heads, err)) ||
        (s = ng_gguf_get_u32(b->g, "bert.block_count", &layers, err)) ||
        (s = ng_gguf_get_u32_or(b->g, "bert.attention.key_length", 0, &head_width, err)) ||
        (s = ng_gguf_get_f32(b->g, "bert.attention.layer_norm_epsilon", &eps, err)))
        return s;
    const ng_encoder_base_recipe *r = &b->recipe->base;
    size_t n = r->layers.len ? r->layers.len : layers;
    if (n > 64) return ng_fail(err, NG_EINVALID, "%s: %zu layers; at most 64", b->recipe->path, n);
    if (!(b->layers = calloc(n, sizeof *b->layers))) return no_memory(b, err);
    for (size_t i = 0; i < n; i++) {
        double k = r->layers.len ? r->layers.items[i] : (double)i;
        if (!(k >= 0 && k < layers) || k != (double)(uint32_t)k)
            return ng_fail(err, NG_EINVALID, "%s: base.layers: the base has layers 0 to %u, not %g", b->recipe->path,
                           layers - 1, k);
        b->layers[i] = (uint32_t)k;
    }
    size_t context = (size_t)r->context < ctx ? (size_t)r->context : ctx;
    b->shape = (ng_encoder_shape){b->n_words, context, width, n, heads, ff, eps, head_width};
    return ng_encoder_shape_check(&b->shape, err);
}

ng_status ng_encoder_base_open(ng_encoder_base *out, const ng_encoder_recipe *r, const char *scratch_dir,
                               ng_error *err) {
    ng_arena *arena;
    *out = (ng_encoder_base){.recipe = r};
    if (ng_arena_new(&arena, 0)) return no_memory(out, err);
    const char *path = ng_encoder_recipe_base(r, r->base.model, arena, err), *start = NULL;
    if (path && r->base.start) start = ng_encoder_recipe_base(r, r->base.start, arena, err);
    ng_status s = path && (start || !r->base.start) ? NG_OK : err && err->code ? err->code : NG_ENOTFOUND;
    if (!s) s = ng_dir_exists(path) ? open_folder(out, path, scratch_dir, err) : ng_gguf_open(&out->g, path, err);
    if (!s && start) s = ng_gguf_open(&out->start, start, err);
    ng_arena_free(arena);
    if (!s) s = ng_tokenizer_load(&out->teacher, out->g, err);
    if (!s) out->n_words = ng_tokenizer_n_vocab(out->teacher);
    if (!s) s = read_shape(out, err);
    if (!s && !(out->counts = calloc(out->n_words, sizeof *out->counts))) s = no_memory(out, err);
    if (s) ng_encoder_base_close(out);
    return s;
}

void ng_encoder_base_close(ng_encoder_base *b) {
    ng_tokenizer_close(b->teacher);
    ng_tokenizer_close(b->tokenizer);
    ng_gguf_close(b->g);
    ng_gguf_close(b->start);
    free(b->counts);
    free(b->kept);
    free(b->moved);
    free(b->layers);
    *b = (ng_encoder_base){0};
}

/* ---- words -------------------------------------------------------------------------------------- */

ng_status ng_encoder_base_count(ng_encoder_base *b, const char *text, size_t len, ng_error *err) {
    int32_t *ids;
    size_t n;
    ng_status s = ng_tokenize(b->teacher, text, len, NULL, &ids, &n, err);
    if (s) return s;
    for (size_t i = 0; i < n; i++) b->counts[ids[i]]++;
    free(ids);
    return NG_OK;
}

/* Special tokens and single ASCII characters stay whatever the texts say.  Unused places of the teacher
 * ("[unused7]") are normal words that no text has. */
static bool always_stays(const ng_encoder_base *b, int32_t id) {
    bool tail;
    size_t len;
    if (b->teacher->type[id] != NG_TOKEN_NORMAL) return b->teacher->type[id] != NG_TOKEN_UNUSED;
    const char *letters = ng_wordpiece_letters(b->teacher, id, &len, &tail);
    return len == 1 && letters[0] > 32;
}

typedef struct word {
    uint64_t count;
    int32_t id;
} word;

static int by_count(const void *a, const void *b) {
    const word *x = a, *y = b;
    if (x->count != y->count) return x->count < y->count ? 1 : -1;
    return (x->id > y->id) - (x->id < y->id);
}

static ng_status choose_words(ng_encoder_base *b, ng_error *err) {
    size_t want = (size_t)b->recipe->base.words, n = 0;
    word *all = malloc((b->n_words + 1) * sizeof *all);
    b->kept = malloc((b->n_words + 1) * sizeof *b->kept);
    b->moved = malloc((b->n_words + 1) * sizeof *b->moved);
    if (!all || !b->kept || !b->moved) {
        free(all);
        return no_memory(b, err);
    }
    for (size_t i = 0; i < b->n_words; i++) {
        bool stays = !want || want >= b->n_words || always_stays(b, (int32_t)i);
        all[i] = (word){stays ? UINT64_MAX : b->counts[i], (int32_t)i};
        n += stays || b->teacher->type[i] == NG_TOKEN_NORMAL; /* equals by id: the base's first words are its most frequent */
    }
    qsort(all, b->n_words, sizeof *all, by_count);
    if (want && n > want) n = want;
    for (size_t i = 0; i < b->n_words; i++) b->moved[i] = -1;
    for (size_t i = 0; i < n; i++) b->moved[all[i].id] = 0;
    free(all);
    b->shape.n_vocab = 0;
    for (size_t i = 0; i < b->n_words; i++) {
        if (b->moved[i] < 0) continue;
        b->moved[i] = (int32_t)b->shape.n_vocab;
        b->kept[b->shape.n_vocab++] = (int32_t)i;
    }
    return NG_OK;
}

ng_status ng_encoder_base_choose(ng_encoder_base *b, const char *scratch_dir, ng_error *err) {
    ng_status s = choose_words(b, err);
    ng_gguf_writer *w = NULL;
    ng_arena *arena = NULL;
    ng_gguf *g = NULL;
    char path[1200];
    if (s) return s;
    snprintf(path, sizeof path, "%s/.words.%ld.gguf", scratch_dir, (long)getpid());
    if (ng_arena_new(&arena, 0) || ng_gguf_writer_new(&w)) s = no_memory(b, err);
    if (!s) s = ng_encoder_base_put(b, w, arena, err);
    if (s) ng_gguf_writer_free(w);
    else s = ng_gguf_writer_commit(w, path, err);
    if (!s) s = ng_gguf_open(&g, path, err);
    if (!s) s = ng_tokenizer_load(&b->tokenizer, g, err);
    ng_gguf_close(g);
    ng_file_remove(path);
    ng_arena_free(arena);
    return s;
}

/* ---- keys --------------------------------------------------------------------------------------- */

static ng_status put_words(const ng_encoder_base *b, ng_gguf_writer *w, ng_arena *arena, ng_error *err) {
    ng_gguf_array tokens, types;
    size_t n = b->shape.n_vocab;
    ng_status s = ng_gguf_get_array(b->g, "tokenizer.ggml.tokens", &tokens, err);
    if (s) return s;
    ng_str *words = ng_arena_array(arena, n, sizeof *words);
    int32_t *kinds = ng_arena_array(arena, n, sizeof *kinds);
    if (!words || !kinds) return no_memory(b, err);
    bool has_types = !ng_gguf_get_array(b->g, "tokenizer.ggml.token_type", &types, NULL);
    for (size_t i = 0; i < n; i++) {
        words[i] = tokens.strs[b->kept[i]];
        kinds[i] = has_types ? (int32_t)ng_gguf_array_int(&types, (size_t)b->kept[i]) : NG_TOKEN_NORMAL;
    }
    ng_gguf_put_strs(w, "tokenizer.ggml.tokens", words, n);
    ng_gguf_put_array(w, "tokenizer.ggml.token_type", NG_GGUF_I32, kinds, n);
    return NG_OK;
}

/* tokenizer.ggml.X_token_id of the teacher, as the student's. */
static void put_ids(const ng_encoder_base *b, ng_gguf_writer *w) {
    static const char end[] = "_token_id";
    for (size_t i = 0; i < ng_gguf_n_keys(b->g); i++) {
        ng_gguf_kind kind;
        uint32_t id;
        const char *key = ng_gguf_key(b->g, i, &kind);
        size_t n = strlen(key);
        if (n < sizeof end || strcmp(key + n - (sizeof end - 1), end) != 0 || ng_gguf_get_u32(b->g, key, &id, NULL))
            continue;
        if (id < b->n_words && b->moved[id] >= 0) ng_gguf_put_u32(w, key, (uint32_t)b->moved[id]);
    }
}

ng_status ng_encoder_base_put(const ng_encoder_base *b, ng_gguf_writer *w, ng_arena *arena, ng_error *err) {
    ng_gguf_put_str(w, "general.architecture", "bert");
    ng_gguf_put_str(w, "general.name", b->recipe->about.name);
    ng_gguf_put_u32(w, "general.file_type", 0);
    ng_gguf_put_u32(w, "bert.block_count", (uint32_t)b->shape.n_layer);
    ng_gguf_put_u32(w, "bert.feed_forward_length", (uint32_t)b->shape.n_ff);
    ng_gguf_put_u32(w, "bert.attention.head_count", (uint32_t)b->shape.n_head);
    if (b->shape.head_width) {
        ng_gguf_put_u32(w, "bert.attention.key_length", (uint32_t)b->shape.head_width);
        ng_gguf_put_u32(w, "bert.attention.value_length", (uint32_t)b->shape.head_width);
    }
    ng_gguf_put_u32(w, "bert.context_length", (uint32_t)b->shape.n_ctx);
    ng_gguf_put_u32(w, "nanogrid.max_seq_length", (uint32_t)b->shape.n_ctx);
    ng_gguf_put_u32(w, "tokenizer.ggml.token_type_count", (uint32_t)ng_encoder_n_type(&b->shape));
    ng_status s = put_words(b, w, arena, err);
    if (s) return s;
    put_ids(b, w);
    ng_gguf_put_all(w, b->g);
    return NG_OK;
}

/* ---- weights ------------------------------------------------------------------------------------ */

/* Row `row` of the teacher's tensor, where it is one of width cols. */
static ng_status copy_row(const ng_encoder_base *b, const char *name, size_t row, float *out, size_t cols,
                          ng_error *err) {
    const ng_gguf_tensor *t = ng_gguf_find_tensor(b->g, name);
    if (!t || t->dims[0] != cols || t->dims[1] <= row || !ng_can_dequantize(t->type))
        return ng_fail(err, NG_EFORMAT, "%s: tensor %s must be %zu wide and have more than %zu rows",
                       ng_gguf_path(b->g), name, cols, row);
    ng_dequantize_row(t->type, (const char *)t->data + row * (t->bytes / t->dims[1]), out, cols);
    return NG_OK;
}

/* Rows of token_types.weight; where there is one, the second type begins as a copy of it. */
static size_t n_types(const ng_gguf *g) {
    const ng_gguf_tensor *t = ng_gguf_find_tensor(g, "token_types.weight");
    return t ? (size_t)t->dims[1] : 1;
}

void ng_encoder_base_pairs(ng_encoder_base *b) {
    bool stays = b->recipe->stage == NG_STAGE_FINETUNE; /* what the file has is what there is */
    b->shape.n_type = stays && n_types(b->g) < 2 ? 1 : 2;
}

static ng_status copy_teacher(const ng_encoder_base *b, ng_encoder *e, ng_error *err) {
    size_t n;
    const ng_encoder_tensor *t = ng_encoder_tensors(e, &n);
    float *weights = ng_encoder_weights(e);
    ng_status s = NG_OK;
    for (size_t i = 0; !s && i < n; i++) {
        char name[80];
        unsigned layer;
        int at = 0;
        bool tokens = !strcmp(t[i].name, "token_embd.weight"), types = !strcmp(t[i].name, "token_types.weight");
        if (sscanf(t[i].name, "blk.%u.%n", &layer, &at) == 1 && at)
            snprintf(name, sizeof name, "blk.%u.%s", b->layers[layer], t[i].name + at);
        else snprintf(name, sizeof name, "%s", t[i].name);
        for (size_t r = 0; !s && r < t[i].rows; r++)
            s = copy_row(b, name, tokens ? (size_t)b->kept[r] : types && r >= n_types(b->g) ? 0 : r, weights + t[i].at + r * t[i].cols, t[i].cols, err);
    }
    return s;
}

/* ---- weights of an encoder trained before ------------------------------------------------------------ */

/* Rows of the file's tensor `name` [rows, cols] to `out`; *has false where it has none of that shape. */
static void take_start(const ng_gguf *g, const char *name, size_t rows, size_t cols, float *out, bool *has) {
    const ng_gguf_tensor *t = ng_gguf_find_tensor(g, name);
    *has = t && t->dims[0] == cols && t->dims[1] == rows && t->dims[2] * t->dims[3] == 1 && ng_can_dequantize(t->type);
    for (size_t r = 0; *has && r < rows; r++)
        ng_dequantize_row(t->type, (const char *)t->data + r * (t->bytes / rows), out + r * cols, cols);
}

static void take_types(const ng_gguf *g, const ng_encoder_tensor *x, float *out, bool *has) {
    const ng_gguf_tensor *t = ng_gguf_find_tensor(g, x->name);
    *has = t && t->dims[0] == x->cols && ng_can_dequantize(t->type);
    for (size_t r = 0; *has && r < x->rows; r++)
        ng_dequantize_row(t->type, (const char *)t->data + (r < t->dims[1] ? r : 0) * (t->bytes / t->dims[1]),
                          out + r * x->cols, x->cols);
}

static ng_status take_words(const ng_encoder_base *b, float *table, size_t cols, ng_error *err) {
    ng_gguf_array mine, theirs;
    ng_arena *arena = NULL;
    ng_token_table index = {0};
    ng_status s = ng_gguf_get_array(b->g, "tokenizer.ggml.tokens", &mine, err);
    if (!s) s = ng_gguf_get_array(b->start, "tokenizer.ggml.tokens", &theirs, err);
    if (s) return s;
    const ng_gguf_tensor *t = ng_gguf_find_tensor(b->start, "token_embd.weight");
    if (!t || t->dims[0] != cols || t->dims[1] != theirs.len || theirs.kind != NG_GGUF_STRING ||
        !ng_can_dequantize(t->type))
        return ng_fail(err, NG_EFORMAT, "%s: base.start needs a token_embd.weight %zu wide for each of its words",
                       ng_gguf_path(b->start), cols);
    if (ng_arena_new(&arena, 0) || ng_token_table_init(&index, arena, theirs.len)) s = no_memory(b, err);
    for (size_t i = 0; !s && i < theirs.len; i++)
        ng_token_table_put(&index, theirs.strs[i].data, theirs.strs[i].len, (int32_t)i);
    for (size_t i = 0; !s && i < b->shape.n_vocab; i++) {
        ng_str w = mine.strs[b->kept[i]];
        int32_t id = ng_token_table_get(&index, w.data, w.len);
        if (id >= 0)
            ng_dequantize_row(t->type, (const char *)t->data + (size_t)id * (t->bytes / theirs.len), table + i * cols,
                              cols);
    }
    ng_arena_free(arena);
    return s;
}

ng_status ng_encoder_base_copy(const ng_encoder_base *b, ng_encoder *e, ng_error *err) {
    size_t n;
    const ng_encoder_tensor *t = ng_encoder_tensors(e, &n);
    float *weights = ng_encoder_weights(e);
    ng_status s = copy_teacher(b, e, err);
    for (size_t i = 0; !s && b->start && i < n; i++) {
        bool has = true;
        if (!strcmp(t[i].name, "token_embd.weight")) s = take_words(b, weights + t[i].at, t[i].cols, err);
        else if (!strcmp(t[i].name, "token_types.weight")) take_types(b->start, &t[i], weights + t[i].at, &has);
        else take_start(b->start, t[i].name, t[i].rows, t[i].cols, weights + t[i].at, &has);
        if (!has)
            s = ng_fail(err, NG_EFORMAT, "%s: base.start has no tensor %s of [%zu, %zu]", ng_gguf_path(b->start),
                        t[i].name, t[i].cols, t[i].rows);
    }
    return s;
}

ng_status ng_encoder_base_copy_head(const ng_encoder_base *b, const char *name, const ng_labels *labels, bool *shapes,
                                    float *out, ng_error *err) {
    char key[128];
    ng_gguf_array a;
    const ng_gguf *from = b->start ? b->start : b->g;
    size_t width = b->shape.width, n = labels->len;
    bool has = false, wanted = *shapes;
    *shapes = false;
    snprintf(key, sizeof key, "nanogrid.head.%s.labels", name);
    if (!ng_gguf_has(from, key)) return NG_OK;
    ng_status s = ng_gguf_get_array(from, key, &a, err);
    if (s || a.kind != NG_GGUF_STRING || a.len != n) return s;
    for (size_t i = 0; i < n; i++)
        if (strlen(labels->names[i]) != a.strs[i].len || memcmp(labels->names[i], a.strs[i].data, a.strs[i].len) != 0)
            return NG_OK;
    snprintf(key, sizeof key, "head.%s.weight", name);
    take_start(from, key, n, width, out, &has);
    snprintf(key, sizeof key, "head.%s.bias", name);
    if (has) take_start(from, key, 1, n, out + n * width, &has);
    snprintf(key, sizeof key, "head.%s.shapes", name);
    if (has && wanted) take_start(from, key, n, NG_SHAPE_INPUTS, out + n * (width + 1), shapes);
    return has ? NG_OK : ng_fail(err, NG_EFORMAT, "%s: head '%s' lacks its weights", ng_gguf_path(from), name);
}

ng_status ng_encoder_base_whole(const ng_encoder_base *b, bool all_words, ng_encoder **out, ng_error *err) {
    uint32_t n, ff, heads;
    ng_encoder_base whole = *b;
    *out = NULL;
    ng_status s = ng_gguf_get_u32(b->g, "bert.block_count", &n, err);
    if (!s) s = ng_gguf_get_u32(b->g, "bert.feed_forward_length", &ff, err);
    if (!s) s = ng_gguf_get_u32(b->g, "bert.attention.head_count", &heads, err);
    if (s) return s;
    whole.start = NULL;
    whole.shape.n_layer = n;
    whole.shape.n_ff = ff;
    whole.shape.n_head = heads;
    if (all_words) whole.shape.n_vocab = b->n_words;
    whole.layers = malloc((n + 1) * sizeof *whole.layers);
    whole.kept = malloc((whole.shape.n_vocab + 1) * sizeof *whole.kept);
    if (!whole.layers || !whole.kept) {
        free(whole.layers), free(whole.kept);
        return no_memory(b, err);
    }
    for (uint32_t i = 0; i < n; i++) whole.layers[i] = i;
    for (size_t i = 0; i < whole.shape.n_vocab; i++) whole.kept[i] = all_words ? (int32_t)i : b->kept[i];
    s = ng_encoder_new(out, &whole.shape, 0, err);
    if (!s) s = ng_encoder_base_copy(&whole, *out, err);
    free(whole.layers), free(whole.kept);
    if (s) ng_encoder_free(*out), *out = NULL;
    return s;
}

/* encoder_recipe.c: see encoder_recipe.h. */
#include "encoder_recipe.h"

#include "config/yaml_tree.h"
#include "core/file.h"
#include "quant/quantize_row.h"
#include "train/encoder.h"
#include <stdlib.h>
#include <string.h>

#define AT(type, member) offsetof(type, member)

static const ng_config_field base_fields[] = {
    {"model", NG_CONFIG_STR, AT(ng_encoder_base_recipe, model), .help = "a BERT: GGUF or folder", .required = true},
    {"start", NG_CONFIG_STR, AT(ng_encoder_base_recipe, start), .help = "an encoder trained before: first weights"},
    {"layers", NG_CONFIG_NUMS, AT(ng_encoder_base_recipe, layers), .help = "which layers; all when left out"},
    {"words", NG_CONFIG_INT, AT(ng_encoder_base_recipe, words), .dflt = "0", .min = 0, .max = 1 << 20},
    {"context", NG_CONFIG_INT, AT(ng_encoder_base_recipe, context), .dflt = "128", .min = 8, .max = NG_NN_LENGTH_MAX},
    {"inner", NG_CONFIG_NUM, AT(ng_encoder_base_recipe, inner), .dflt = "0", .min = 0, .max = 0.95},
    {0}};
static const ng_config_schema base_schema = {"base", sizeof(ng_encoder_base_recipe), base_fields};

static const ng_config_field head_fields[] =
    {{"name", NG_CONFIG_STR, AT(ng_encoder_head_recipe, name), .required = true},
     {"recipe", NG_CONFIG_STR, AT(ng_encoder_head_recipe, recipe), .help = "data and labels, beside this file",
      .required = true},
     {"weight", NG_CONFIG_NUM, AT(ng_encoder_head_recipe, weight), .dflt = "1", .min = 1e-6, .max = 1e6},
     {"repeat", NG_CONFIG_INT, AT(ng_encoder_head_recipe, repeat), .dflt = "1", .min = 1, .max = 1000},
     {"share", NG_CONFIG_NUM, AT(ng_encoder_head_recipe, share), .dflt = "1", .min = 1e-3, .max = 1},
     {"pooling", NG_CONFIG_ENUM, AT(ng_encoder_head_recipe, pooling), .dflt = "mean", .choices = "mean|first"},
     {"smoothing", NG_CONFIG_NUM, AT(ng_encoder_head_recipe, smoothing), .dflt = "0", .min = 0, .max = 0.5},
     {"vectors", NG_CONFIG_BOOL, AT(ng_encoder_head_recipe, vectors), .dflt = "true"},
     {"teachers", NG_CONFIG_STRS, AT(ng_encoder_head_recipe, teachers),
      .help = "GGUF files with such a head, or recorded answers"},
     {"teacher_head", NG_CONFIG_STR, AT(ng_encoder_head_recipe, teacher_head)},
     {"", NG_CONFIG_LINE, AT(ng_encoder_head_recipe, line)},
     {0}};
static const ng_config_schema head_schema = {"a head", sizeof(ng_encoder_head_recipe), head_fields};

static const ng_config_field training_fields[] =
    {{"epochs", NG_CONFIG_INT, AT(ng_encoder_training, epochs), .dflt = "4", .min = 1, .max = 10000},
     {"freeze", NG_CONFIG_INT, AT(ng_encoder_training, freeze), .dflt = "0", .min = 0, .max = 64},
     {"batch", NG_CONFIG_INT, AT(ng_encoder_training, batch), .dflt = "32", .min = 1, .max = 4096},
     {"accumulate", NG_CONFIG_INT, AT(ng_encoder_training, accumulate), .dflt = "1", .min = 1, .max = 4096},
     {"rate", NG_CONFIG_NUM, AT(ng_encoder_training, rate), .dflt = "1e-4", .min = 1e-9, .max = 1},
     {"warmup", NG_CONFIG_NUM, AT(ng_encoder_training, warmup), .dflt = "0.06", .min = 0, .max = 1},
     {"schedule", NG_CONFIG_ENUM, AT(ng_encoder_training, schedule), .dflt = "linear",
      .choices = "linear|cosine|constant"},
     {"decay", NG_CONFIG_NUM, AT(ng_encoder_training, decay), .dflt = "0.01", .min = 0, .max = 1},
     {"clip", NG_CONFIG_NUM, AT(ng_encoder_training, clip), .dflt = "1", .min = 0, .max = 1e6},
     {"dropout", NG_CONFIG_NUM, AT(ng_encoder_training, dropout), .dflt = "0.1", .min = 0, .max = 0.9},
     {"seed", NG_CONFIG_INT, AT(ng_encoder_training, seed), .dflt = "1", .min = 0, .max = 9e15},
     {"precision", NG_CONFIG_ENUM, AT(ng_encoder_training, precision), .dflt = "auto", .choices = "auto|f32|bf16"},
     {"patience", NG_CONFIG_INT, AT(ng_encoder_training, patience), .dflt = "0", .min = 0, .max = 10000},
     {"checkpoint", NG_CONFIG_MS, AT(ng_encoder_training, checkpoint_ms), .dflt = "10m", .min = 0, .max = 1.2e6},
     {"shuffle", NG_CONFIG_BOOL, AT(ng_encoder_training, shuffle), .dflt = "true"},
     {"rounded", NG_CONFIG_BOOL, AT(ng_encoder_training, rounded), .dflt = "false"},
     {"steps", NG_CONFIG_INT, AT(ng_encoder_training, steps), .dflt = "0", .min = 0, .max = 9e15},
     {"settle", NG_CONFIG_INT, AT(ng_encoder_training, settle), .dflt = "0", .min = 0, .max = 9e15},
     {"scores", NG_CONFIG_INT, AT(ng_encoder_training, scores), .dflt = "1", .min = 1, .max = 1000},
     {0}};
static const ng_config_schema training_schema = {"training", sizeof(ng_encoder_training), training_fields};

static const ng_config_field distill_fields[] = {
    {"temperature", NG_CONFIG_NUM, AT(ng_distill_recipe, temperature), .dflt = "2", .min = 0.1, .max = 100},
    {"soft", NG_CONFIG_NUM, AT(ng_distill_recipe, soft), .dflt = "0.5", .min = 0, .max = 1},
    {"hidden", NG_CONFIG_NUM, AT(ng_distill_recipe, hidden), .dflt = "0", .min = 0, .max = 1e6},
    {"attention", NG_CONFIG_NUM, AT(ng_distill_recipe, attention), .dflt = "0", .min = 0, .max = 1e6},
    {"vectors", NG_CONFIG_NUM, AT(ng_distill_recipe, vectors), .dflt = "0", .min = 0, .max = 1e6},
    {0}};
static const ng_config_schema distill_schema = {"distill", sizeof(ng_distill_recipe), distill_fields};

static const ng_config_field prune_fields[] = {
    {"inner", NG_CONFIG_NUM, AT(ng_prune_recipe, inner), .dflt = "0", .min = 0, .max = 0.95},
    {"heads", NG_CONFIG_INT, AT(ng_prune_recipe, heads), .dflt = "0", .min = 0, .max = 255},
    {"layers", NG_CONFIG_INT, AT(ng_prune_recipe, layers), .dflt = "0", .min = 0, .max = 63},
    {"texts", NG_CONFIG_INT, AT(ng_prune_recipe, texts), .dflt = "1024", .min = 1, .max = 1e6},
    {0}};
static const ng_config_schema prune_schema = {"prune", sizeof(ng_prune_recipe), prune_fields};

static const ng_config_field lora_fields[] = {
    {"rank", NG_CONFIG_INT, AT(ng_lora_recipe, rank), .dflt = "8", .min = 1, .max = 256},
    {"alpha", NG_CONFIG_NUM, AT(ng_lora_recipe, alpha), .dflt = "16", .min = 1e-3, .max = 4096},
    {"targets", NG_CONFIG_STRS, AT(ng_lora_recipe, targets), .help = "attn_q, attn_v when left out"},
    {"layers", NG_CONFIG_NUMS, AT(ng_lora_recipe, layers), .help = "which layers, from 0; all when left out"},
    {"merged", NG_CONFIG_BOOL, AT(ng_lora_recipe, merged), .dflt = "true",
     .help = "the output is the base with the adapter in it; false: the adapter alone"},
    {0}};
static const ng_config_schema lora_schema = {"lora", sizeof(ng_lora_recipe), lora_fields};

static const ng_config_field limit_fields[] = {
    {"against", NG_CONFIG_STR, AT(ng_limit_recipe, against), .help = "the model that the new one is compared with"},
    {"drop", NG_CONFIG_NUM, AT(ng_limit_recipe, drop), .dflt = "1", .min = -100, .max = 100},
    {"speed", NG_CONFIG_NUM, AT(ng_limit_recipe, speed), .dflt = "0", .min = 0, .max = 1000},
    {0}};
static const ng_config_schema limit_schema = {"limit", sizeof(ng_limit_recipe), limit_fields};

static const ng_config_field fields[] =
    {NG_ABOUT_FIELDS(ng_encoder_recipe, about),
     {"task", NG_CONFIG_STR, AT(ng_encoder_recipe, task), .required = true},
     {"output", NG_CONFIG_STR, AT(ng_encoder_recipe, output), .dflt = "model.gguf"},
     {"weights", NG_CONFIG_STR, AT(ng_encoder_recipe, weights), .dflt = "F32"},
     {"head_weights", NG_CONFIG_STR, AT(ng_encoder_recipe, head_weights),
      .help = "of the heads; as weights when left out"},
     {"base", NG_CONFIG_GROUP, AT(ng_encoder_recipe, base), .sub = &base_schema, .required = true},
     {"heads", NG_CONFIG_LIST, AT(ng_encoder_recipe, heads), .sub = &head_schema, .required = true},
     {"training", NG_CONFIG_GROUP, AT(ng_encoder_recipe, training), .sub = &training_schema},
     {"distill", NG_CONFIG_GROUP, AT(ng_encoder_recipe, distill), .sub = &distill_schema},
     {"prune", NG_CONFIG_GROUP, AT(ng_encoder_recipe, prune), .sub = &prune_schema},
     {"lora", NG_CONFIG_GROUP, AT(ng_encoder_recipe, lora), .sub = &lora_schema},
     {"limit", NG_CONFIG_GROUP, AT(ng_encoder_recipe, limit), .sub = &limit_schema},
     {0}};
static const ng_config_schema schema = {"the recipe", sizeof(ng_encoder_recipe), fields};

/* Whether the file has the key, with that value when it is not NULL. */
static bool has_key(const char *path, const char *key, const char *value) {
    ng_buf text = ng_buf_init(1 << 20);
    ng_arena *arena = NULL;
    ng_yaml_node *root = NULL;
    bool is = false;
    if (!ng_arena_new(&arena, 0) && !ng_file_read(&text, path, NULL) &&
        !ng_yaml_parse(&root, text.data, text.len, path, arena, NULL) && root && root->kind == NG_YAML_MAPPING)
        for (const ng_yaml_node *c = root->child; c; c = c->next)
            is |= !strcmp(c->key, key) && (!value || (c->kind == NG_YAML_SCALAR && !strcmp(c->text, value)));
    ng_buf_clear(&text);
    ng_arena_free(arena);
    return is;
}

bool ng_encoder_recipe_is(const char *path) { return has_key(path, "task", "encoder"); }

const char *ng_encoder_stage_name(ng_encoder_stage s) {
    return s == NG_STAGE_FINETUNE  ? "finetune"
           : s == NG_STAGE_PRUNE   ? "prune"
           : s == NG_STAGE_DISTILL ? "distill"
                                   : "train";
}

static ng_status check_lora(ng_encoder_recipe *r, ng_error *err) {
    r->lora.mask = r->lora.targets.len ? 0 : NG_LORA_Q | NG_LORA_V;
    for (size_t i = 0; i < r->lora.targets.len; i++) {
        size_t k = 0;
        while (k < NG_LORA_TARGETS && strcmp(ng_lora_names[k], r->lora.targets.items[i]) != 0) k++;
        if (k == NG_LORA_TARGETS)
            return ng_fail(err, NG_EINVALID,
                           "%s: lora.targets: '%s' is none of attn_q, attn_k, attn_v, attn_output, ffn_up, ffn_down",
                           r->path, r->lora.targets.items[i]);
        r->lora.mask |= 1u << k;
    }
    for (size_t i = 0; i < r->lora.layers.len; i++) {
        double layer = r->lora.layers.items[i];
        if (!(layer >= 0 && layer < 64) || layer != (double)(int)layer)
            return ng_fail(err, NG_EINVALID, "%s: lora.layers: %g is no layer; they count from 0", r->path, layer);
        r->lora.layer_mask |= 1ull << (int)layer;
    }
    const ng_encoder_training *t = &r->training;
    if (r->base.layers.len || r->base.words || r->base.inner > 0 || r->base.start || r->head_weights || t->freeze || t->rounded)
        return ng_fail(err, NG_EINVALID,
                       "%s: with lora the base stays as it is: no base.layers, .words, .inner, .start, "
                       "head_weights, freeze nor rounded",
                       r->path);
    ng_type type;
    size_t row;
    if (!ng_type_parse(&type, r->weights) || !ng_can_quantize(type) || !ng_type_row_bytes(type, (uint64_t)r->lora.rank, &row))
        return ng_fail(err, NG_EINVALID, "%s: weights: %s cannot hold an adapter of rank %lld (F32, F16; Q8_0 from rank 32 on)",
                       r->path, r->weights, (long long)r->lora.rank);
    return NG_OK;
}

static ng_status check_stage(ng_encoder_recipe *r, ng_error *err) {
    ng_encoder_head_recipe *h = r->heads.items;
    r->stage = has_key(r->path, "prune", NULL)     ? NG_STAGE_PRUNE
               : has_key(r->path, "distill", NULL) ? NG_STAGE_DISTILL
                                                   : NG_STAGE_TRAIN;
    if (has_key(r->path, "lora", NULL)) {
        if (r->stage != NG_STAGE_TRAIN)
            return ng_fail(err, NG_EINVALID, "%s: lora stands without distill: and prune:", r->path);
        r->stage = NG_STAGE_FINETUNE;
        ng_status s = check_lora(r, err);
        if (s) return s;
    }
    if (r->stage == NG_STAGE_PRUNE && !r->limit.against) r->limit.against = r->base.model;
    if (r->stage == NG_STAGE_PRUNE &&
        (!(r->prune.inner > 0 || r->prune.heads > 0 || r->prune.layers > 0) || r->base.start))
        return ng_fail(err, NG_EINVALID, "%s: prune needs inner, heads or layers above 0, and no base.start", r->path);
    if (r->prune.heads > 0 && r->distill.attention > 0)
        return ng_fail(err, NG_EINVALID,
                       "%s: with prune.heads there is no distill.attention: the heads that went have no counterpart",
                       r->path);
    if (r->base.inner > 0 && (r->base.start || r->base.layers.len || r->stage == NG_STAGE_PRUNE))
        return ng_fail(err, NG_EINVALID, "%s: base.inner stands without base.start, base.layers and prune:", r->path);
    if (r->stage != NG_STAGE_PRUNE && has_key(r->path, "limit", NULL) && !r->limit.against)
        return ng_fail(err, NG_EINVALID, "%s: limit needs against: the model that the new one is compared with",
                       r->path);
    if (r->training.rounded && !strcmp(r->weights, "F32"))
        return ng_fail(err, NG_EINVALID, "%s: training.rounded needs weights: a type that rounds", r->path);
    if (r->training.settle > r->training.steps || (r->training.steps && r->training.patience))
        return ng_fail(err, NG_EINVALID, "%s: training.settle is at most training.steps, which stands without patience",
                       r->path);
    bool teaches = r->distill.hidden > 0 || r->distill.attention > 0 || r->distill.vectors > 0;
    for (size_t i = 0; i < r->heads.len; i++) {
        if (h[i].teachers.len && r->stage != NG_STAGE_DISTILL && r->stage != NG_STAGE_PRUNE)
            return ng_fail(err, NG_EINVALID, "%s:%d: teachers need a section distill: or prune:", r->path, h[i].line);
        if (r->stage == NG_STAGE_PRUNE && !h[i].teachers.len) h[i].teachers = (ng_config_strs){&r->base.model, 1};
        teaches |= h[i].teachers.len > 0;
    }
    if (r->stage == NG_STAGE_DISTILL && !teaches)
        return ng_fail(err, NG_EINVALID,
                       "%s: nothing to distil from: give heads teachers, or distill.hidden, .attention or .vectors",
                       r->path);
    return NG_OK;
}

static bool is_file_name(const char *s) {
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");
    return n && !s[n] && s[0] != '.';
}

ng_status ng_encoder_recipe_read(ng_encoder_recipe *out, const char *path, ng_arena *arena, ng_error *err) {
    ng_status s = ng_config_read_file(out, &schema, path, arena, err);
    if (s) return s;
    if (!(out->path = ng_arena_strdup(arena, path))) return ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    size_t n = strlen(out->output);
    if (!is_file_name(out->about.name) || !is_file_name(out->output) || n < 6 ||
        strcmp(out->output + n - 5, ".gguf") != 0)
        return ng_fail(err, NG_EINVALID,
                       "%s: name '%s' must be a folder name and output '%s' a file name that ends in .gguf", path,
                       out->about.name, out->output);
    const ng_encoder_head_recipe *h = out->heads.items;
    if (!out->heads.len || out->heads.len > 32) return ng_fail(err, NG_EINVALID, "%s: heads must be 1 to 32", path);
    for (size_t i = 0; i < out->heads.len; i++) {
        if (!is_file_name(h[i].name) || strlen(h[i].name) > 40)
            return ng_fail(err, NG_EINVALID, "%s:%d: a head's name is at most 40 letters, digits, '-', '_' and '.'",
                           path, h[i].line);
        for (size_t k = 0; k < i; k++)
            if (!strcmp(h[i].name, h[k].name))
                return ng_fail(err, NG_EINVALID, "%s:%d: two heads are called '%s'", path, h[i].line, h[i].name);
    }
    return check_stage(out, err);
}

char *ng_encoder_recipe_base(const ng_encoder_recipe *r, const char *m, ng_arena *arena, ng_error *err) {
    const char *name = m[0] == '$' ? m + 1 : "NANOGRID_DATA";
    char *path;
    if (m[0] == '/') path = ng_arena_strdup(arena, m);
    else if (!strncmp(m, "./", 2)) path = ng_beside_recipe(r->path, m + 2, arena);
    else {
        size_t n = m[0] == '$' ? strcspn(name, "/") : strlen(name);
        char *variable = ng_arena_strndup(arena, name, n);
        const char *value = variable ? getenv(variable) : NULL;
        if (variable && (!value || !*value)) {
            (void)ng_fail(err, NG_ENOTFOUND, "%s: base %s: the environment has no %s", r->path, m, variable);
            return NULL;
        }
        path = !variable     ? NULL
               : m[0] == '$' ? ng_arena_printf(arena, "%s%s", value, name + n)
                             : ng_arena_printf(arena, "%s/%s", value, m);
    }
    if (!path) (void)ng_fail(err, NG_ENOMEM, "%s: out of memory", r->path);
    return path;
}

char *ng_encoder_recipe_head(const ng_encoder_recipe *r, const ng_encoder_head_recipe *h, ng_arena *arena,
                             ng_error *err) {
    char *path = h->recipe[0] == '/' ? ng_arena_strdup(arena, h->recipe) : ng_beside_recipe(r->path, h->recipe, arena);
    if (!path) (void)ng_fail(err, NG_ENOMEM, "%s: out of memory", r->path);
    return path;
}

char *ng_encoder_recipe_file(const ng_encoder_recipe *r, const char *dir, const char *what, ng_arena *arena) {
    ng_recipe x = {.about = r->about, .output = r->output, .path = r->path};
    return ng_recipe_path(&x, dir, what, arena);
}

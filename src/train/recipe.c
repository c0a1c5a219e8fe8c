/* recipe.c: the schema of recipes.  See recipe.h. */
#include "recipe.h"

#include "config/yaml_tree.h"
#include "core/file.h"
#include "model/linear.h"
#include <string.h>

#define AT(type, member) offsetof(type, member)

static const ng_config_field hash_fields[] = {
    {"of", NG_CONFIG_INT, AT(ng_source_hash, of), .help = "modulus", .min = 2, .max = 1e6, .required = true},
    {"keep", NG_CONFIG_NUMS, AT(ng_source_hash, keep), .help = "remainders that stay", .required = true},
    {"by", NG_CONFIG_STR, AT(ng_source_hash, by), .help = "a column's number instead of the text's hash"},
    {0}};
static const ng_config_schema hash_schema = {"hash", sizeof(ng_source_hash), hash_fields};

static const ng_config_field typos_fields[] = {{"copies", NG_CONFIG_INT, AT(ng_source_typos, copies),
                                                .help = "of each text", .min = 1, .max = 16, .required = true},
                                               {"share", NG_CONFIG_NUM, AT(ng_source_typos, share),
                                                .help = "of the words", .dflt = "0.3", .min = 0, .max = 1},
                                               {0}};
static const ng_config_schema typos_schema = {"typos", sizeof(ng_source_typos), typos_fields};

static const ng_config_field pieces_fields[] = {{"copies", NG_CONFIG_INT, AT(ng_source_pieces, copies),
                                                 .help = "of each text", .min = 1, .max = 64, .required = true},
                                                {"words", NG_CONFIG_INT, AT(ng_source_pieces, words),
                                                 .help = "at most in a run", .dflt = "2", .min = 1, .max = 64},
                                                {0}};
static const ng_config_schema pieces_schema = {"pieces", sizeof(ng_source_pieces), pieces_fields};

static const ng_config_field courtesy_fields[] = {{"file", NG_CONFIG_STR, AT(ng_source_courtesy, file),
                                                   .help = "phrases before and behind a text", .required = true},
                                                  {"copies", NG_CONFIG_INT, AT(ng_source_courtesy, copies),
                                                   .help = "of each text", .min = 1, .max = 16, .required = true},
                                                  {0}};
static const ng_config_schema courtesy_schema = {"courtesy", sizeof(ng_source_courtesy), courtesy_fields};

static const ng_config_field similar_fields[] = {{"file", NG_CONFIG_STR, AT(ng_source_similar, file),
                                                  .help = "words and similar words", .required = true},
                                                 {"copies", NG_CONFIG_INT, AT(ng_source_similar, copies),
                                                  .help = "of each text", .min = 1, .max = 16, .required = true},
                                                 {"share", NG_CONFIG_NUM, AT(ng_source_similar, share),
                                                  .help = "of the words", .dflt = "0.2", .min = 0, .max = 1},
                                                 {0}};
static const ng_config_schema similar_schema = {"similar", sizeof(ng_source_similar), similar_fields};

static const ng_config_field source_fields[] = {
    {"file", NG_CONFIG_STR, AT(ng_source, file), .help = "below NANOGRID_DATA; ./x is beside the recipe", .required = true},
    {"format", NG_CONFIG_ENUM, AT(ng_source, format), .help = "by extension unless given", .dflt = "auto", .choices = "auto|tsv|jsonl|lines|requests|csv|conll|questions|documents"},
    {"text", NG_CONFIG_STR, AT(ng_source, text), .help = "column or key of the text", .dflt = "text"},
    {"label", NG_CONFIG_STR, AT(ng_source, label), .help = "column or key of the label", .dflt = "label"},
    {"value", NG_CONFIG_STR, AT(ng_source, value), .help = "one label for every row"},
    {"positive", NG_CONFIG_STRS, AT(ng_source, positive), .help = "labels that hold for every row (moderate)"},
    {"negative", NG_CONFIG_STRS, AT(ng_source, negative), .help = "labels that do not (moderate)"},
    {"rename", NG_CONFIG_STRS, AT(ng_source, rename), .help = "old=new; old= drops the row"},
    {"where", NG_CONFIG_STRS, AT(ng_source, where), .help = "conditions on columns; all must hold"},
    {"hash", NG_CONFIG_GROUP, AT(ng_source, hash), .help = "a share of the rows by text hash", .sub = &hash_schema},
    {"typos", NG_CONFIG_GROUP, AT(ng_source, typos), .help = "copies with typing errors beside each text", .sub = &typos_schema},
    {"pieces", NG_CONFIG_GROUP, AT(ng_source, pieces), .help = "runs of a few words beside each text", .sub = &pieces_schema},
    {"courtesy", NG_CONFIG_GROUP, AT(ng_source, courtesy), .help = "copies with words of courtesy around each text", .sub = &courtesy_schema},
    {"similar", NG_CONFIG_GROUP, AT(ng_source, similar), .help = "copies with words replaced by similar ones", .sub = &similar_schema},
    {"split", NG_CONFIG_STR, AT(ng_source, split), .help = "of the format requests: train, dev or test"},
    {"second", NG_CONFIG_STR, AT(ng_source, second), .help = "column of a pair's other text"},
    {"scale", NG_CONFIG_NUM, AT(ng_source, scale), .help = "greatest label (embed)", .dflt = "1", .min = 1e-6, .max = 1e6},
    {"join", NG_CONFIG_STR, AT(ng_source, join), .help = "kind whose neighbours become one where a digit is within (extract)"},
    {"glue", NG_CONFIG_STR, AT(ng_source, glue), .help = "a word that is one with the next (extract, CoNLL)"},
    {"others", NG_CONFIG_INT, AT(ng_source, others), .help = "most pairs labelled other (questions, documents)", .dflt = "0", .min = 0, .max = 256},
    {"every", NG_CONFIG_INT, AT(ng_source, every), .help = "each so many lines one is read (documents)", .dflt = "1", .min = 1, .max = 1e6},
    {"stories", NG_CONFIG_STR, AT(ng_source, stories), .help = "file of the passages' stories (questions)"},
    {"spoil", NG_CONFIG_STRS, AT(ng_source, spoil), .help = "kinds of noise, one for each text"},
    {"limit", NG_CONFIG_INT, AT(ng_source, limit), .help = "most rows", .dflt = "0", .min = 0, .max = 1e9},
    {"", NG_CONFIG_LINE, AT(ng_source, line)},
    {0}};
const ng_config_schema ng_source_schema = {"a data source", sizeof(ng_source), source_fields};

static const ng_config_field data_fields[] = {
    {"train", NG_CONFIG_LIST, AT(ng_recipe_data, train), .sub = &ng_source_schema, .required = true},
    {"dev", NG_CONFIG_LIST, AT(ng_recipe_data, dev), .sub = &ng_source_schema},
    {"test", NG_CONFIG_LIST, AT(ng_recipe_data, test), .sub = &ng_source_schema},
    {"oos_dev", NG_CONFIG_LIST, AT(ng_recipe_data, oos_dev), .sub = &ng_source_schema},
    {"oos_test", NG_CONFIG_LIST, AT(ng_recipe_data, oos_test), .sub = &ng_source_schema},
    {0}};
static const ng_config_schema data_schema = {"data", sizeof(ng_recipe_data), data_fields};

static const ng_config_field feature_fields[] =
    {{"bits", NG_CONFIG_INT, AT(ng_recipe_features, bits), .dflt = "18", .min = NG_FEATURE_BITS_MIN,
      .max = NG_FEATURE_BITS_MAX},
     {"words", NG_CONFIG_INT, AT(ng_recipe_features, words), .dflt = "2", .min = 0, .max = NG_FEATURE_WORD_MAX},
     {"char_min", NG_CONFIG_INT, AT(ng_recipe_features, char_min), .dflt = "3", .min = 0, .max = NG_FEATURE_CHAR_MAX},
     {"char_max", NG_CONFIG_INT, AT(ng_recipe_features, char_max), .dflt = "5", .min = 0, .max = NG_FEATURE_CHAR_MAX},
     {"lower", NG_CONFIG_BOOL, AT(ng_recipe_features, lower), .dflt = "true"},
     {"fold", NG_CONFIG_BOOL, AT(ng_recipe_features, fold), .dflt = "false"},
     {"cross", NG_CONFIG_BOOL, AT(ng_recipe_features, cross), .dflt = "true"},
     {"log_tf", NG_CONFIG_BOOL, AT(ng_recipe_features, log_tf), .dflt = "true"},
     {"rows", NG_CONFIG_INT, AT(ng_recipe_features, rows), .dflt = "16384", .min = 1, .max = NG_LINEAR_ROWS_MAX},
     {"min_count", NG_CONFIG_INT, AT(ng_recipe_features, min_count), .dflt = "1", .min = 1, .max = 1e6},
     {"unknown", NG_CONFIG_NUM, AT(ng_recipe_features, unknown), .dflt = "0", .min = 0, .max = 15},
     {0}};
static const ng_config_schema feature_schema = {"features", sizeof(ng_recipe_features), feature_fields};

static const ng_config_field training_fields[] = {
    {"epochs", NG_CONFIG_INT, AT(ng_recipe_training, epochs), .dflt = "20", .min = 1, .max = 1000},
    {"rate", NG_CONFIG_NUM, AT(ng_recipe_training, rate), .dflt = "0.5", .min = 1e-6, .max = 100},
    {"l2", NG_CONFIG_NUM, AT(ng_recipe_training, l2), .dflt = "0", .min = 0, .max = 1},
    {"dropout", NG_CONFIG_NUM, AT(ng_recipe_training, dropout), .dflt = "0", .min = 0, .max = 0.95},
    {"smoothing", NG_CONFIG_NUM, AT(ng_recipe_training, smoothing), .dflt = "0", .min = 0, .max = 0.5},
    {"balance", NG_CONFIG_NUM, AT(ng_recipe_training, balance), .dflt = "0", .min = 0, .max = 1},
    {"seed", NG_CONFIG_INT, AT(ng_recipe_training, seed), .dflt = "1", .min = 0, .max = 9e15},
    {"patience", NG_CONFIG_INT, AT(ng_recipe_training, patience), .dflt = "0", .min = 0, .max = 1000},
    {"weight_bits", NG_CONFIG_INT, AT(ng_recipe_training, weight_bits), .dflt = "8", .min = 4, .max = 8},
    {"prune_epochs", NG_CONFIG_INT, AT(ng_recipe_training, prune_epochs), .dflt = "3", .min = 1, .max = 1000},
    {0}};
static const ng_config_schema training_schema = {"training", sizeof(ng_recipe_training), training_fields};

static const ng_config_field oos_fields[] = {
    {"in_scope", NG_CONFIG_NUM, AT(ng_recipe_oos, in_scope), .dflt = "0.95", .min = 0.5, .max = 1,
     .help = "share of in-scope dev texts that the threshold keeps"},
    {0}};
static const ng_config_schema oos_schema = {"oos", sizeof(ng_recipe_oos), oos_fields};

static const ng_config_field vectors_fields[] = {
    {"encoder", NG_CONFIG_STR, AT(ng_recipe_vectors, encoder), .help = "a package, or a .gguf relative to the recipe", .required = true},
    {"texts", NG_CONFIG_INT, AT(ng_recipe_vectors, texts), .dflt = "3000", .min = 100, .max = 1e6,
     .help = "of elsewhere that are read, in training and in dev"},
    {0}};
static const ng_config_schema vectors_schema = {"vectors", sizeof(ng_recipe_vectors), vectors_fields};

static const ng_config_field recipe_fields[] =
    {NG_ABOUT_FIELDS(ng_recipe, about),
     {"task", NG_CONFIG_ENUM, AT(ng_recipe, task),
      .choices = "classify|moderate|detect-language|extract|embed|spelling|compress|rerank|summarize",
      .required = true},
     {"output", NG_CONFIG_STR, AT(ng_recipe, output), .dflt = "model.gguf"},
     {"labels", NG_CONFIG_STRS, AT(ng_recipe, labels)},
     {"duplicates", NG_CONFIG_ENUM, AT(ng_recipe, duplicates), .dflt = "drop", .choices = "keep|drop|refuse"},
     {"near", NG_CONFIG_NUM, AT(ng_recipe, near), .help = "similarity that counts as a duplicate; 0: copies alone",
      .dflt = "0.9", .min = 0, .max = 1},
     {"data", NG_CONFIG_GROUP, AT(ng_recipe, data), .sub = &data_schema, .required = true},
     {"features", NG_CONFIG_GROUP, AT(ng_recipe, features), .sub = &feature_schema},
     {"training", NG_CONFIG_GROUP, AT(ng_recipe, training), .sub = &training_schema},
     {"oos", NG_CONFIG_GROUP, AT(ng_recipe, oos), .sub = &oos_schema},
     {"vectors", NG_CONFIG_GROUP, AT(ng_recipe, vectors), .sub = &vectors_schema},
     {0}};
const ng_config_schema ng_recipe_schema = {"the recipe", sizeof(ng_recipe), recipe_fields};

bool ng_source_joins(const ng_source *s, const ng_recipe *r) {
    if (r->task == NG_RECIPE_RERANK || r->task == NG_RECIPE_SUMMARIZE) return true;
    return s->second && (r->task == NG_RECIPE_CLASSIFY || r->task == NG_RECIPE_MODERATE);
}

bool ng_recipe_joins(const ng_recipe *r) {
    const ng_config_list *lists[] = {&r->data.train, &r->data.dev, &r->data.test, &r->data.oos_dev, &r->data.oos_test};
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
        for (size_t k = 0; k < lists[i]->len; k++)
            if (ng_source_joins((const ng_source *)lists[i]->items + k, r)) return true;
    return false;
}

const char *ng_recipe_task_name(const ng_recipe *r) {
    static const char *const names[] = {"classify", "moderate", "detect-language", "extract",  "embed",
                                        "spelling", "compress", "rerank",          "summarize"};
    return names[r->task];
}

/* A name that becomes a folder: letters, digits, '-', '_', '.', not beginning with a dot. */
static bool is_file_name(const char *s) {
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");
    return n && !s[n] && s[0] != '.';
}

ng_status ng_recipe_read(ng_recipe *out, const char *path, ng_arena *arena, ng_error *err) {
    ng_status s = ng_config_read_file(out, &ng_recipe_schema, path, arena, err);
    if (s) return s;
    out->path = ng_arena_strdup(arena, path);
    if (!out->path) return ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    if (!is_file_name(out->about.name))
        return ng_fail(err, NG_EINVALID, "%s: name '%s' is no folder name", path, out->about.name);
    size_t n = strlen(out->output);
    if (!is_file_name(out->output) || n < 6 || strcmp(out->output + n - 5, ".gguf") != 0)
        return ng_fail(err, NG_EINVALID, "%s: output '%s' is no file name that ends in .gguf", path, out->output);
    if (out->training.weight_bits != 8 && out->training.weight_bits != 4)
        return ng_fail(err, NG_EINVALID, "%s: weight_bits is %d, use 8 or 4", path, (int)out->training.weight_bits);
    if (out->vectors.encoder && out->task != NG_RECIPE_CLASSIFY)
        return ng_fail(err, NG_EINVALID, "%s: `vectors` is for routing weights, of the task classify", path);
    if (!out->data.train.len) return ng_fail(err, NG_EINVALID, "%s: data.train is empty", path);
    return NG_OK;
}

char *ng_package_folder(const char *recipe_path, const char *name, const char *dir, ng_arena *arena) {
    if (dir) return ng_arena_strdup(arena, dir);
    const char *slash = strrchr(recipe_path, '/');
    return ng_arena_printf(arena, "%.*s/../models/%s", slash ? (int)(slash - recipe_path) : 1,
                           slash ? recipe_path : ".", name);
}

char *ng_package_file(const char *recipe_path, const char *name, const char *dir, const char *file, ng_arena *arena) {
    const char *folder = ng_package_folder(recipe_path, name, dir, arena);
    return folder ? ng_arena_printf(arena, "%s/%s", folder, file) : NULL;
}

char *ng_beside_recipe(const char *recipe, const char *file, ng_arena *arena) {
    const char *slash = strrchr(recipe, '/');
    return ng_arena_printf(arena, "%.*s/%s", slash ? (int)(slash - recipe) : 1, slash ? recipe : ".", file);
}

char *ng_recipe_path(const ng_recipe *r, const char *dir, const char *what, ng_arena *arena) {
    const int stem = (int)strlen(r->output) - 5;
    const char *ext = strcmp(what, "card") ? "gguf" : "json";
    char *folder = ng_package_folder(r->path, r->about.name, dir, arena);
    if (!folder) return NULL;
    if (!strcmp(what, "model")) return ng_arena_printf(arena, "%s/%s", folder, r->output);
    if (!strcmp(r->output, "model.gguf")) return ng_arena_printf(arena, "%s/%s.%s", folder, what, ext);
    return ng_arena_printf(arena, "%s/%.*s.%s.%s", folder, stem, r->output, what, ext);
}

bool ng_recipe_has_task(const char *path, const char *task) {
    ng_buf text = ng_buf_init(1 << 20);
    ng_yaml_node *root = NULL;
    ng_arena *arena = NULL;
    bool is = false;
    if (!ng_arena_new(&arena, 0) && !ng_file_read(&text, path, NULL) &&
        !ng_yaml_parse(&root, text.data, text.len, path, arena, NULL) && root && root->kind == NG_YAML_MAPPING)
        for (const ng_yaml_node *c = root->child; c; c = c->next)
            is |= !strcmp(c->key, "task") && c->kind == NG_YAML_SCALAR && !strcmp(c->text, task);
    ng_buf_clear(&text);
    ng_arena_free(arena);
    return is;
}

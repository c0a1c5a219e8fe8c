/* hf_folder.h: a Hugging Face model folder: its JSON files and its weights.
 *
 *     ng_hf *hf;
 *     if (ng_hf_open(&hf, "MiniLM-L6", &err)) ..
 *     uint32_t n;  s = ng_hf_u32(hf, "num_hidden_layers", 1, 1024, &n, &err);
 *     const ng_st_tensor *t = ng_hf_find(hf, "model.norm.weight");
 *     ng_hf_close(hf);
 *
 * Weights are model.safetensors or the files of model.safetensors.index.json.  File names in the
 * index are names in this folder, never paths.  Belongs to one thread. */
#ifndef NG_QUANT_HF_FOLDER_H
#define NG_QUANT_HF_FOLDER_H

#include "core/arena.h"
#include "safetensors.h"

#include <jansson.h>

enum { NG_HF_JSON_BYTES_MAX = 64 << 20, NG_HF_SHARDS_MAX = 256 };

typedef struct ng_hf {
    const char *path;
    ng_arena *arena;
    json_t *config;          /* config.json, an object */
    ng_safetensors **shards; /* [n_shards] */
    size_t n_shards;
    bool *used[NG_HF_SHARDS_MAX]; /* per shard [its tensors]: ng_hf_find met it */
} ng_hf;

ng_status ng_hf_open(ng_hf **out, const char *path, ng_error *err) NG_MUST_USE;
void ng_hf_close(ng_hf *hf);

/* One JSON file of the folder; *out is the caller's (json_decref), NULL without error when the file
 * is absent and not `required`. */
ng_status ng_hf_json(const ng_hf *hf, const char *name, bool required, json_t **out,
                     ng_error *err) NG_MUST_USE;
/* A text file into the folder's arena; *out NULL when it is absent. */
ng_status ng_hf_text(const ng_hf *hf, const char *name, const char **out,
                     ng_error *err) NG_MUST_USE;

const ng_st_tensor *ng_hf_find(ng_hf *hf,
                               const char *name); /* marks it as used; NULL when absent */
/* A tensor that nobody found, or NULL. */
const ng_st_tensor *ng_hf_unused(const ng_hf *hf);
size_t ng_hf_n_tensors(const ng_hf *hf);

/* Numbers of config.json.  Missing or out of [least, most]: NG_EFORMAT naming file and key. */
ng_status ng_hf_u32(const ng_hf *hf, const char *key, uint32_t least, uint32_t most, uint32_t *out,
                    ng_error *err) NG_MUST_USE;
ng_status ng_hf_f32(const ng_hf *hf, const char *key, float *out, ng_error *err) NG_MUST_USE;
bool ng_hf_has(const ng_hf *hf, const char *key); /* present and not null */
bool ng_hf_true(const ng_hf *hf, const char *key);

#endif

/* hf_folder.c: see hf_folder.h.
 *
 * Invariant: every JSON document is bounded in bytes before it is parsed, and every name that leads
 * to another file is checked to be a plain file name, so a folder cannot point outside itself. */
#include "hf_folder.h"

#include "core/file.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static ng_status no_memory(const char *path, ng_error *err) {
    return ng_fail(err, NG_ENOMEM, "convert: %.200s: no memory", path);
}

static ng_status join(const ng_hf *hf, const char *name, const char **out, ng_error *err) {
    *out = ng_arena_printf(hf->arena, "%s/%s", hf->path, name);
    return *out ? NG_OK : no_memory(hf->path, err);
}

ng_status ng_hf_json(const ng_hf *hf, const char *name, bool required, json_t **out,
                     ng_error *err) {
    const char *path;
    *out = NULL;
    ng_status s = join(hf, name, &path, err);
    if (s || (!required && !ng_file_exists(path))) return s;
    ng_buf b = ng_buf_init(NG_HF_JSON_BYTES_MAX);
    s = ng_file_read(&b, path, err);
    json_error_t why;
    if (!s && !(*out = json_loadb(b.data, b.len, JSON_REJECT_DUPLICATES, &why)))
        s = ng_fail(err, json_error_code(&why) == json_error_out_of_memory ? NG_ENOMEM : NG_EFORMAT,
                    "convert: %.200s:%d: %.120s", path, why.line, why.text);
    ng_buf_clear(&b);
    return s;
}

ng_status ng_hf_text(const ng_hf *hf, const char *name, const char **out, ng_error *err) {
    const char *path;
    *out = NULL;
    ng_status s = join(hf, name, &path, err);
    if (s || !ng_file_exists(path)) return s;
    ng_buf b = ng_buf_init(NG_HF_JSON_BYTES_MAX);
    s = ng_file_read(&b, path, err);
    if (!s && !(*out = ng_arena_strndup(hf->arena, b.data, b.len))) s = no_memory(path, err);
    ng_buf_clear(&b);
    return s;
}

/* ---- weights -------------------------------------------------------------------------------- */

static ng_status open_shard(ng_hf *hf, const char *name, ng_error *err) {
    if (!name[0] || strchr(name, '/') || name[0] == '.')
        return ng_fail(err, NG_EFORMAT,
                       "convert: %.200s/model.safetensors.index.json: \"%.60s\" is no file name",
                       hf->path, name);
    const char *path;
    ng_status s = join(hf, name, &path, err);
    for (size_t i = 0; !s && i < hf->n_shards; i++)
        if (!strcmp(ng_safetensors_path(hf->shards[i]), path)) return NG_OK;
    if (s) return s;
    if (hf->n_shards == NG_HF_SHARDS_MAX)
        return ng_fail(err, NG_ELIMIT, "convert: %.200s: more than %d weight files", hf->path,
                       NG_HF_SHARDS_MAX);
    ng_safetensors *f;
    if ((s = ng_safetensors_open(&f, path, err))) return s;
    hf->shards[hf->n_shards++] = f;
    hf->used[hf->n_shards - 1] =
        ng_arena_array(hf->arena, ng_safetensors_n_tensors(f) + 1, sizeof(bool));
    return hf->used[hf->n_shards - 1] ? NG_OK : no_memory(path, err);
}

static ng_status open_weights(ng_hf *hf, ng_error *err) {
    json_t *index, *file;
    const char *name;
    ng_status s = ng_hf_json(hf, "model.safetensors.index.json", false, &index, err);
    if (s) return s;
    if (!index) {
        s = open_shard(hf, "model.safetensors", err);
        if (s == NG_ENOTFOUND && err) {
            *err = (ng_error){0};
            return ng_fail(
                err, NG_ENOTFOUND,
                "convert: %.200s has neither model.safetensors nor model.safetensors.index.json; "
                "save the model with safe_serialization",
                hf->path);
        }
        return s;
    }
    json_t *map = json_object_get(index, "weight_map");
    if (!json_is_object(map))
        s = ng_fail(err, NG_EFORMAT,
                    "convert: %.200s/model.safetensors.index.json: weight_map is missing",
                    hf->path);
    json_object_foreach(map, name, file) {
        if (s) break;
        s = json_is_string(file) ? open_shard(hf, json_string_value(file), err)
                                 : ng_fail(err, NG_EFORMAT,
                                           "convert: %.200s/model.safetensors.index.json: the file "
                                           "of %.60s is no string",
                                           hf->path, name);
    }
    json_decref(index);
    return s;
}

const ng_st_tensor *ng_hf_find(ng_hf *hf, const char *name) {
    for (size_t i = 0; i < hf->n_shards; i++) {
        const ng_st_tensor *t = ng_safetensors_find(hf->shards[i], name);
        if (!t) continue;
        hf->used[i][t - ng_safetensors_at(hf->shards[i], 0)] = true;
        return t;
    }
    return NULL;
}

const ng_st_tensor *ng_hf_unused(const ng_hf *hf) {
    for (size_t i = 0; i < hf->n_shards; i++)
        for (size_t k = 0; k < ng_safetensors_n_tensors(hf->shards[i]); k++)
            if (!hf->used[i][k]) return ng_safetensors_at(hf->shards[i], k);
    return NULL;
}

size_t ng_hf_n_tensors(const ng_hf *hf) {
    size_t n = 0;
    for (size_t i = 0; i < hf->n_shards; i++) n += ng_safetensors_n_tensors(hf->shards[i]);
    return n;
}

/* ---- opening, config ------------------------------------------------------------------------ */

ng_status ng_hf_open(ng_hf **out, const char *path, ng_error *err) {
    *out = NULL;
    ng_hf *hf = calloc(1, sizeof *hf);
    if (!hf || ng_arena_new(&hf->arena, 0)) {
        free(hf);
        return no_memory(path, err);
    }
    hf->path = ng_arena_strdup(hf->arena, path);
    hf->shards = ng_arena_array(hf->arena, NG_HF_SHARDS_MAX, sizeof *hf->shards);
    ng_status s = hf->path && hf->shards ? NG_OK : no_memory(path, err);
    if (!s && !ng_dir_exists(path))
        s = ng_fail(err, NG_ENOTFOUND, "convert: %.200s is no folder", path);
    if (!s) s = ng_hf_json(hf, "config.json", true, &hf->config, err);
    if (!s && !json_is_object(hf->config))
        s = ng_fail(err, NG_EFORMAT, "convert: %.200s/config.json is no JSON object", path);
    if (!s) s = open_weights(hf, err);
    if (s) ng_hf_close(hf);
    else *out = hf;
    return s;
}

void ng_hf_close(ng_hf *hf) {
    if (!hf) return;
    for (size_t i = 0; i < hf->n_shards; i++) ng_safetensors_close(hf->shards[i]);
    json_decref(hf->config);
    ng_arena_free(hf->arena);
    free(hf);
}

bool ng_hf_has(const ng_hf *hf, const char *key) {
    const json_t *v = json_object_get(hf->config, key);
    return v && !json_is_null(v);
}

bool ng_hf_true(const ng_hf *hf, const char *key) {
    return json_is_true(json_object_get(hf->config, key));
}

ng_status ng_hf_u32(const ng_hf *hf, const char *key, uint32_t least, uint32_t most, uint32_t *out,
                    ng_error *err) {
    const json_t *v = json_object_get(hf->config, key);
    if (!json_is_integer(v) || json_integer_value(v) < least || json_integer_value(v) > most)
        return ng_fail(
            err, NG_EFORMAT,
            "convert: %.200s/config.json: %s is missing or no whole number from %u to %u", hf->path,
            key, (unsigned)least, (unsigned)most);
    *out = (uint32_t)json_integer_value(v);
    return NG_OK;
}

ng_status ng_hf_f32(const ng_hf *hf, const char *key, float *out, ng_error *err) {
    const json_t *v = json_object_get(hf->config, key);
    if (!json_is_number(v) || !isfinite((float)json_number_value(v)))
        return ng_fail(err, NG_EFORMAT, "convert: %.200s/config.json: %s is missing or no number",
                       hf->path, key);
    *out = (float)json_number_value(v);
    return NG_OK;
}

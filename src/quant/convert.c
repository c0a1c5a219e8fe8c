/* convert.c: a Hugging Face folder to GGUF.  See nanogrid/tools/weights.h.
 *
 * How.  The architecture (a table of rules, convert_arch.h) names every tensor that it reads with
 * its shape; each is looked up, checked and planned, and the writer then streams them through
 * transcode.c.  A tensor of the folder that no rule met is an error, not a shrug: a model with a
 * part left out would load and answer wrongly.
 *
 * Names and keys are llama.cpp's (convert_hf_to_gguf.py), so that llama.cpp reads the output. */
#include "convert_arch.h"

#include "core/checked.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { EXTRA_TENSORS = 4, NAME_MAX_BYTES = 160 };

static const ng_convert_arch *const archs[] = {&ng_convert_bert, &ng_convert_llama, NULL};

static ng_status find_arch(const ng_hf *hf, const ng_convert_arch **out, ng_error *err) {
    const char *name =
        json_string_value(json_array_get(json_object_get(hf->config, "architectures"), 0));
    for (size_t i = 0; name && archs[i]; i++)
        for (size_t k = 0; archs[i]->classes[k]; k++)
            if (!strcmp(archs[i]->classes[k], name)) {
                *out = archs[i];
                return NG_OK;
            }
    return ng_fail(
        err, NG_EUNSUPPORTED,
        "convert: %.200s/config.json: the architecture %.60s is not read, only BertModel, "
        "BertForMaskedLM and LlamaForCausalLM",
        hf->path, name ? name : "(none)");
}

/* ---- general.* ------------------------------------------------------------------------------ */

/* The part of a path or repository name after the last slash. */
static const char *last_part(const ng_hf *hf, const char *path) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    size_t from = n;
    while (from > 0 && path[from - 1] != '/') from--;
    return ng_arena_strndup(hf->arena, path + from, n - from);
}

static ng_status put_name(const ng_convert *c, ng_error *err) {
    const char *name = c->opt ? c->opt->name : NULL,
               *origin = json_string_value(json_object_get(c->hf->config, "_name_or_path"));
    if (!name && origin && origin[0]) name = last_part(c->hf, origin);
    if (!name || !name[0]) name = last_part(c->hf, c->hf->path);
    if (!name) return ng_fail(err, NG_ENOMEM, "convert: %.200s: no memory", c->hf->path);
    ng_gguf_put_str(c->plan->writer, "general.name", name);
    return NG_OK;
}

/* "license: apache-2.0" of the model card's front matter. */
static ng_status put_license(const ng_convert *c, ng_error *err) {
    const char *text;
    ng_status s = ng_hf_text(c->hf, "README.md", &text, err);
    if (s || !text || strncmp(text, "---", 3)) return s;
    for (const char *line = strchr(text, '\n'); line && strncmp(line, "\n---", 4);
         line = strchr(line + 1, '\n')) {
        if (strncmp(line, "\nlicense:", 9)) continue;
        const char *from = line + 9;
        while (*from == ' ') from++;
        size_t n = strcspn(from, "\r\n");
        if (n && n < 64) ng_gguf_put_strn(c->plan->writer, "general.license", from, n);
        break;
    }
    return NG_OK;
}

/* "135M": two significant digits at least, as llama.cpp labels sizes. */
static void put_size_label(const ng_convert *c, uint64_t parameters) {
    static const struct {
        double unit;
        const char *letter;
    } units[] = {{1e12, "T"}, {1e9, "B"}, {1e6, "M"}, {1e3, "K"}};
    size_t k = 0;
    while (k < 3 && (double)parameters < units[k].unit) k++;
    double scaled = (double)parameters / units[k].unit;
    char text[40];
    snprintf(text, sizeof text, "%.*f%s", scaled < 9.5 ? 1 : 0, scaled, units[k].letter);
    ng_gguf_put_str(c->plan->writer, "general.size_label", text);
}

/* ---- tensors -------------------------------------------------------------------------------- */

static const ng_st_tensor *find_tensor(const ng_convert *c, const ng_convert_arch *arch,
                                       const char *name) {
    char full[NAME_MAX_BYTES + 16];
    for (size_t i = 0; arch->prefixes[i]; i++) {
        snprintf(full, sizeof full, "%s%s", arch->prefixes[i], name);
        const ng_st_tensor *t = ng_hf_find(c->hf, full);
        if (t) return t;
    }
    return NULL;
}

static ng_status check_shape(const ng_convert *c, const ng_convert_rule *r, const ng_st_tensor *t,
                             ng_error *err) {
    uint32_t n_dims = r->shape[1] ? 2 : 1;
    bool good = t->n_dims == n_dims && t->dims[0] == c->sizes[r->shape[0]] &&
                (n_dims == 1 || t->dims[1] == c->sizes[r->shape[1]]);
    if (!good)
        return ng_fail(err, NG_EFORMAT,
                       "convert: %.200s: tensor %.80s has the shape %" PRIu64 " x %" PRIu64
                       " (%u dimensions), but config.json "
                       "gives %" PRIu64 " x %" PRIu64,
                       c->hf->path, t->name, t->dims[0], n_dims > 1 ? t->dims[1] : 1,
                       (unsigned)t->n_dims, c->sizes[r->shape[0]],
                       n_dims > 1 ? c->sizes[r->shape[1]] : 1);
    if (t->type != NG_TYPE_F32 && t->type != NG_TYPE_F16 && t->type != NG_TYPE_BF16)
        return ng_fail(err, NG_EUNSUPPORTED,
                       "convert: %.200s: tensor %.80s is stored as %s; F32, F16 and BF16 are read",
                       c->hf->path, t->name, t->dtype);
    return NG_OK;
}

static bool is_planned(const ng_convert *c, const char *name) {
    const ng_weights_report *r = c->plan->report;
    for (size_t i = r->n_tensors; i-- > 0;)
        if (!strcmp(r->tensors[i].name, name)) return true;
    return false;
}

static ng_status add_tensor(ng_convert *c, const ng_convert_arch *arch, const ng_convert_rule *r,
                            uint32_t layer, ng_error *err) {
    char from[NAME_MAX_BYTES], to[NAME_MAX_BYTES];
    /* The rules are constants of ours, each with at most one %u. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
    snprintf(from, sizeof from, r->from, (unsigned)layer);
    snprintf(to, sizeof to, r->to, (unsigned)layer);
#pragma GCC diagnostic pop
    if (r->flags & NG_CONVERT_ELSE && is_planned(c, to)) return NG_OK;
    const ng_st_tensor *t = find_tensor(c, arch, from);
    if (r->flags & NG_CONVERT_UNTIED && c->tied)
        return NG_OK; /* found, so that it is not called unknown */
    if (!t && r->flags & NG_CONVERT_OPTIONAL) return NG_OK;
    if (!t)
        return ng_fail(err, NG_EFORMAT, "convert: %.200s: tensor %s is missing", c->hf->path, from);
    ng_status s = check_shape(c, r, t, err);
    if (s) return s;
    ng_transcode item = {.name = to,
                         .src = t->data,
                         .from = (ng_type)t->type,
                         .n_dims = t->n_dims,
                         .dims = {1, 1, 1, 1}};
    for (uint32_t d = 0; d < t->n_dims; d++) item.dims[d] = t->dims[t->n_dims - 1 - d];
    item.rope_heads = r->flags & NG_CONVERT_ROPE_Q    ? c->n_heads
                      : r->flags & NG_CONVERT_ROPE_KV ? c->n_heads_kv
                                                      : 0;
    return ng_weights_plan_add(c->plan, &item, err);
}

static bool is_ignored(const ng_convert_arch *arch, const char *name) {
    for (size_t p = 0; arch->prefixes[p]; p++) {
        if (strncmp(name, arch->prefixes[p], strlen(arch->prefixes[p]))) continue;
        const char *rest = name + strlen(arch->prefixes[p]);
        for (size_t i = 0; arch->ignored[i]; i++) {
            const char *want = arch->ignored[i];
            /* "*" in front: the end of the name, else its head */
            size_t n = strlen(want), m = strlen(rest);
            if (want[0] == '*' ? m >= n - 1 && !strcmp(rest + m - (n - 1), want + 1)
                               : !strncmp(rest, want, n))
                return true;
        }
    }
    return false;
}

static ng_status check_unused(const ng_convert *c, const ng_convert_arch *arch, ng_error *err) {
    for (size_t i = 0; i < c->hf->n_shards; i++)
        for (size_t k = 0; k < ng_safetensors_n_tensors(c->hf->shards[i]); k++) {
            const char *name = ng_safetensors_at(c->hf->shards[i], k)->name;
            if (!c->hf->used[i][k] && !is_ignored(arch, name))
                return ng_fail(err, NG_EUNSUPPORTED,
                               "convert: %.200s: tensor %.80s is unknown in the architecture %s; "
                               "without it the "
                               "model would answer wrongly",
                               c->hf->path, name, arch->name);
        }
    return NG_OK;
}

static ng_status add_tensors(ng_convert *c, const ng_convert_arch *arch, ng_error *err) {
    ng_status s = arch->put_extra ? arch->put_extra(c, err) : NG_OK;
    for (size_t r = 0; !s && arch->rules[r].from; r++) {
        uint32_t n = strstr(arch->rules[r].from, "%u") ? c->n_layers : 1;
        for (uint32_t layer = 0; !s && layer < n; layer++)
            s = add_tensor(c, arch, &arch->rules[r], layer, err);
    }
    return s ? s : check_unused(c, arch, err);
}

/* ---- all together --------------------------------------------------------------------------- */

static ng_status convert(ng_convert *c, const ng_convert_arch *arch, const char *out_path,
                         ng_error *err) {
    ng_gguf_writer *w = c->plan->writer;
    c->plan->report->arch = arch->name;
    for (size_t i = 0; i < c->hf->n_shards; i++)
        c->plan->report->bytes_before += ng_safetensors_file_bytes(c->hf->shards[i]);
    ng_gguf_put_str(w, "general.architecture", arch->name);
    ng_gguf_put_str(w, "general.type", "model");
    ng_status s = put_name(c, err);
    if (!s) s = put_license(c, err);
    if (!s) s = arch->put_keys(c, err);
    if (!s) s = add_tensors(c, arch, err);
    if (s) return s;
    put_size_label(c, c->plan->report->parameters);
    return ng_weights_plan_commit(c->plan, out_path, err);
}

ng_status ng_convert_folder(ng_weights_report *out, const char *folder, const char *out_path,
                            const ng_weights_options *opt, ng_error *err) {
    const ng_format *f = opt && opt->type ? ng_format_find(opt->type) : NULL;
    *out = (ng_weights_report){0};
    if (f && f->base != f->other)
        return ng_fail(err, NG_EINVALID, "%s is a mix: convert to F16, then quantize that file to it", f->name);
    ng_hf *hf;
    ng_status s = ng_hf_open(&hf, folder, err);
    if (s) return s;
    const ng_convert_arch *arch = NULL;
    ng_weights_plan plan;
    s = find_arch(hf, &arch, err);
    if (!s)
        s = ng_weights_plan_new(&plan, out, folder, opt, "F16", ng_hf_n_tensors(hf) + EXTRA_TENSORS,
                                err);
    if (!s) {
        ng_convert c = {.hf = hf, .plan = &plan, .opt = opt};
        s = convert(&c, arch, out_path, err);
        ng_weights_plan_clear(&plan);
        if (s) ng_weights_report_clear(out);
    }
    ng_hf_close(hf);
    return s;
}

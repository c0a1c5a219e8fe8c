/* head.c: finds the kind that serves a task and a file, and forwards to it.  See nanogrid/head.h. */
#include "head_ops.h"

#include "gguf/gguf.h"
#include "model/adapter.h"
#include "text/words.h"
#include <nanogrid/model.h>
#include <nanogrid/buf.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEAD(name) extern const ng_head_ops ng_head_##name;
#include "heads.def"
#undef HEAD

static const ng_head_ops *const kinds[] = {
#define HEAD(name) &ng_head_##name,
#include "heads.def"
#undef HEAD
    NULL};

struct ng_head {
    const ng_head_ops *ops;
    void *self;
};

static ng_status read_arch(char out[64], const char *path, ng_error *err) {
    ng_gguf *g;
    ng_str arch;
    out[0] = 0;
    ng_status s = ng_gguf_open(&g, path, err);
    if (s) return s;
    s = ng_gguf_get_str(g, "general.architecture", &arch, err);
    if (!s && arch.len < 64) {
        memcpy(out, arch.data, arch.len);
        out[arch.len] = 0;
    }
    ng_gguf_close(g);
    return s;
}

static const ng_head_ops *find_kind(ng_task task, const char *arch) {
    for (size_t i = 0; kinds[i]; i++)
        if (kinds[i]->serves(task, arch)) return kinds[i];
    return NULL;
}

/* The key that names the task of one of the file's heads (model/encoder_heads.h), or of the file. */
static ng_status task_key(char key[128], const ng_gguf *g, const char *head, ng_error *err) {
    ng_gguf_array names;
    strcpy(key, "nanogrid.task");
    if (!ng_gguf_has(g, "nanogrid.heads")) return NG_OK;
    ng_status s = ng_gguf_get_array(g, "nanogrid.heads", &names, err);
    if (s || names.kind != NG_GGUF_STRING || !names.len) return s;
    if (head) snprintf(key, 128, "nanogrid.head.%s.task", head);
    else
        snprintf(key, 128, "nanogrid.head.%.*s.task", (int)(names.strs[0].len < 64 ? names.strs[0].len : 64),
                 names.strs[0].data);
    if (ng_gguf_has(g, key)) return NG_OK;
    ng_buf known = ng_buf_init(4096);
    for (size_t i = 0; i < names.len; i++)
        ng_buf_printf(&known, "%s%.*s", i ? ", " : "", (int)names.strs[i].len, names.strs[i].data);
    s = ng_fail(err, NG_ENOTFOUND, "%s: the model has no head '%s'; it has %s", ng_gguf_path(g), head ? head : "",
                known.len ? known.data : "none");
    ng_buf_clear(&known);
    return s;
}

static ng_status named_task(ng_task *out, const char *path, const char *head, ng_error *err) {
    ng_gguf *g;
    ng_str name = {0};
    char text[32] = "", key[128];
    *out = NG_TASK_AUTO;
    ng_status s = ng_gguf_open(&g, path, err);
    if (s) return s;
    s = task_key(key, g, head, err);
    if (!s && ng_gguf_has(g, key)) s = ng_gguf_get_str(g, key, &name, err);
    if (!s && name.len && name.len < sizeof text) memcpy(text, name.data, name.len);
    if (!s && name.len && !ng_task_parse(out, text))
        s = ng_fail(err, NG_EUNSUPPORTED, "%s: this version does not know the task '%s'", path, text);
    ng_gguf_close(g);
    return s;
}

ng_status ng_head_task(ng_task *out, const char *path, const char *head, ng_error *err) {
    char arch[64];
    ng_model_kind kind;
    ng_status s = named_task(out, path, head, err);
    if (s || *out != NG_TASK_AUTO) return s;
    if ((s = read_arch(arch, path, err))) return s;
    if (ng_model_arch_kind(&kind, arch))
        return *out = kind == NG_MODEL_CAUSAL ? NG_TASK_GENERATE : NG_TASK_EMBED, NG_OK;
    for (int t = NG_TASK_AUTO + 1; t < NG_TASK_COUNT; t++)
        if (find_kind((ng_task)t, arch)) return *out = (ng_task)t, NG_OK;
    return ng_fail(err, NG_EUNSUPPORTED, "%s: architecture '%s' serves no task of this version", path, arch);
}

static bool takes_adapter(const char *arch) {
    ng_model_kind kind;
    return ng_model_arch_kind(&kind, arch) && kind == NG_MODEL_ENCODER;
}

static ng_status refuse_adapter(const ng_head_spec *spec, ng_error *err) {
    return ng_fail(err, NG_EINVALID, "%s: adapters stand beside encoders; %s is none", spec->adapter,
                   spec->path ? spec->path : "an expert without a model");
}

ng_status ng_head_check_adapter(const ng_head_spec *spec, ng_error *err) {
    char arch[64] = "";
    ng_gguf *base;
    ng_adapter *a = NULL;
    ng_status s = spec->path ? read_arch(arch, spec->path, err) : NG_OK;
    if (s) return s;
    if (!takes_adapter(arch)) return refuse_adapter(spec, err);
    if ((s = ng_gguf_open(&base, spec->path, err))) return s;
    s = ng_adapter_open(&a, spec->adapter, base, spec->adapter_scale, err);
    ng_adapter_close(a);
    ng_gguf_close(base);
    return s;
}

ng_status ng_head_open(ng_head **out, const ng_head_spec *spec, ng_error *err) {
    char arch[64] = "";
    *out = NULL;
    if (spec->path) {
        ng_status s = read_arch(arch, spec->path, err);
        if (s) return s;
    }
    const ng_head_ops *ops = find_kind(spec->task, arch);
    if (!ops)
        return ng_fail(err, NG_EUNSUPPORTED, "%s: architecture '%s' cannot serve the task %s",
                       spec->path ? spec->path : "(no model)", arch, ng_task_name(spec->task));
    if (spec->adapter && !takes_adapter(arch)) return refuse_adapter(spec, err);
    ng_head *h = calloc(1, sizeof *h);
    if (!h) return ng_fail(err, NG_ENOMEM, "head: out of memory");
    h->ops = ops;
    ng_status s = ops->open(&h->self, spec, err);
    if (s) free(h);
    else *out = h;
    return s;
}

void ng_head_close(ng_head *h) {
    if (!h) return;
    h->ops->close(h->self);
    free(h);
}

ng_status ng_head_apply(ng_head *h, const ng_tier_request *req, ng_answer *answer, ng_error *err) {
    return h->ops->apply(h->self, req, answer, err);
}

bool ng_head_is_big(const ng_head_spec *spec) {
    char arch[64];
    ng_model_kind kind;
    return spec->path && !read_arch(arch, spec->path, NULL) && ng_model_arch_kind(&kind, arch);
}

bool ng_head_look(ng_head *h, ng_tier_look *out) {
    if (h->ops->look) h->ops->look(h->self, out);
    return h->ops->look != NULL;
}

const char *ng_head_kind(const ng_head *h) { return h->ops->kind; }

ng_status ng_request_text(const ng_tier_request *req, const char **text, size_t *len, ng_error *err) {
    for (size_t i = req->n_messages; i-- > 0;) {
        const ng_message *m = &req->messages[i];
        if (strcmp(m->role, "user")) continue;
        for (size_t k = 0; k < m->n_parts; k++)
            if (m->parts[k].type != NG_PART_TEXT)
                return ng_fail(err, NG_EUNSUPPORTED, "parts of type '%s' are not served by this version",
                               ng_part_type_name(m->parts[k].type));
        if (m->n_parts != 1)
            return ng_fail(err, NG_EINVALID, "the request needs one text part, it has %zu", m->n_parts);
        *text = m->parts[0].text;
        *len = m->parts[0].len;
        return NG_OK;
    }
    return ng_fail(err, NG_EINVALID, "the request has no message of the user");
}

uint32_t ng_words_count(const char *text, size_t len) {
    size_t pos = 0;
    uint32_t n = 0;
    for (ng_word w; n < UINT32_MAX && ng_word_next(text, len, &pos, &w);) n++;
    return n;
}

/* cli_model.c: see cli_model.h. */
#include "cli_model.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

static ng_status whole(long v, long least, long most, const char *name, ng_error *err) {
    if (v >= least && v <= most) return NG_OK;
    return ng_fail(err, NG_EINVALID, "%s is %ld, it must lie in %ld to %ld", name, v, least, most);
}

ng_status cli_sampling_read(ng_generate_options *out, const cli_sampling *s, ng_error *err) {
    *out = ng_generate_options_default();
    if (whole(s->n, 1, INT32_MAX, "-n", err) || whole(s->top_k, 0, INT32_MAX, "--top-k", err) ||
        whole(s->seed, 0, LONG_MAX, "--seed", err) || whole(s->keep, 0, INT32_MAX, "--keep", err))
        return NG_EINVALID;
    out->n_predict = (uint32_t)s->n;
    out->top_k = (uint32_t)s->top_k;
    out->seed = (uint64_t)s->seed;
    out->temp = (float)s->temp;
    out->top_p = (float)s->top_p;
    out->min_p = (float)s->min_p;
    out->repeat_penalty = (float)s->repeat;
    out->frequency_penalty = (float)s->frequency;
    out->presence_penalty = (float)s->presence;
    out->shift = s->shift;
    out->n_keep = (uint32_t)s->keep;
    out->stop = s->stop.items;
    out->n_stop = (size_t)s->stop.len;
    return ng_generate_options_check(out, err);
}

ng_status cli_kv_read(ng_kv_precision *out, const char *text, ng_error *err) {
    bool q8 = text && !strcmp(text, "q8");
    *out = q8 ? NG_KV_8BIT : NG_KV_DEFAULT;
    if (!text || q8 || !strcmp(text, "f16")) return NG_OK;
    return ng_fail(err, NG_EINVALID, "--kv: '%.40s' is not one of f16|q8", text);
}

void cli_model_note(const ng_model *m) {
    ng_model_info info = ng_model_get_info(m);
    if (*info.kernel_note) fprintf(stderr, "nanogrid: %s\n", info.kernel_note);
    if (*info.repack_note) fprintf(stderr, "nanogrid: %s\n", info.repack_note);
}

void cli_prefix_note(const ng_prefix_stats *s, const char *dir) {
    if (*s->note) fprintf(stderr, "nanogrid: prefix cache: %s\n", s->note);
    if (s->foreign && !s->disk_tok && !s->written)
        fprintf(stderr,
                "nanogrid: prefix cache: %llu files in %s are of other models, builds or KV types, and not used\n",
                (unsigned long long)s->foreign, dir);
}

ng_status cli_session_open(cli_session *out, const cli_run *run, ng_error *err) {
    *out = (cli_session){0};
    if (!run->model) return ng_fail(err, NG_EINVALID, "no model: give one with -m FILE");
    if (whole(run->threads, 0, 256, "-t", err) || whole(run->n_ctx, 0, INT32_MAX, "--ctx", err)) return NG_EINVALID;
    ng_session_options opt = {.n_ctx = (uint32_t)run->n_ctx, .n_threads = (int)run->threads};
    ng_prefix_options prefix = {.dir = run->prefix_dir, .eager = true};
    if (run->prefix_dir) opt.prefix = &prefix;
    ng_status s = cli_kv_read(&opt.kv, run->kv, err);
    if (!s) s = ng_model_open_adapted(&out->model, run->model, run->adapter, run->scale, err);
    if (!s) cli_model_note(out->model);
    if (!s) s = ng_session_new(&out->session, out->model, &opt, err);
    if (s) cli_session_close(out);
    return s;
}

void cli_session_close(cli_session *s) {
    ng_session_free(s->session);
    ng_model_close(s->model);
    *s = (cli_session){0};
}

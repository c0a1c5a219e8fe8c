/* checkpoint.c: see checkpoint.h. */
#include "checkpoint.h"

#include "gguf/gguf.h"
#include <string.h>

ng_status ng_checkpoint_write(const ng_checkpoint *c, const char *path, ng_error *err) {
    ng_gguf_writer *w;
    uint64_t n = c->n, n2 = 2 * n, bits[2];
    if (ng_gguf_writer_new(&w)) return ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    memcpy(bits, (double[]){c->best_score, c->loss}, sizeof bits);
    ng_gguf_put_str(w, "general.architecture", "nanogrid-checkpoint");
    ng_gguf_put_u64(w, "nanogrid.checkpoint.digest", c->digest);
    ng_gguf_put_u64(w, "nanogrid.checkpoint.step", c->step);
    if (*c->kernel) ng_gguf_put_str(w, "nanogrid.checkpoint.kernel", c->kernel);
    ng_gguf_put_i32(w, "nanogrid.checkpoint.best_epoch", (int32_t)c->best_epoch);
    ng_gguf_put_u64(w, "nanogrid.checkpoint.best_score", bits[0]);
    ng_gguf_put_u64(w, "nanogrid.checkpoint.loss", bits[1]);
    ng_gguf_put_array(w, "nanogrid.checkpoint.curve", NG_GGUF_F64, c->curve, c->n_curve);
    ng_gguf_put_tensor(w, "weights", NG_TYPE_F32, 1, &n, c->weights);
    ng_gguf_put_tensor(w, "moments", NG_TYPE_F32, 1, &n2, c->moments);
    if (c->best) ng_gguf_put_tensor(w, "best", NG_TYPE_F32, 1, &n, c->best);
    return ng_gguf_writer_commit(w, path, err);
}

static ng_status take(const ng_gguf *g, const char *name, float *out, size_t n, ng_error *err) {
    const ng_gguf_tensor *t = ng_gguf_find_tensor(g, name);
    if (!t || t->type != NG_TYPE_F32 || t->dims[0] != n || t->n_dims != 1)
        return ng_fail(err, NG_EFORMAT, "%s: no tensor %s of %zu floats; remove the file to start anew",
                       ng_gguf_path(g), name, n);
    memcpy(out, t->data, t->bytes);
    return NG_OK;
}

static ng_status read_kernel(ng_checkpoint *c, const ng_gguf *g, ng_error *err) {
    static const char key[] = "nanogrid.checkpoint.kernel";
    ng_str kernel;
    c->kernel[0] = 0;
    if (!ng_gguf_has(g, key)) return NG_OK;
    ng_status s = ng_gguf_get_str(g, key, &kernel, err);
    if (s) return s;
    if (kernel.len >= sizeof c->kernel)
        return ng_fail(err, NG_EFORMAT, "%s: %s is damaged; remove the file to start anew", ng_gguf_path(g), key);
    memcpy(c->kernel, kernel.data, kernel.len);
    c->kernel[kernel.len] = 0;
    return NG_OK;
}

ng_status ng_checkpoint_read(ng_checkpoint *c, const char *path, ng_error *err) {
    ng_gguf *g;
    uint64_t digest, bits[2];
    int64_t best;
    ng_gguf_array curve;
    ng_status s = ng_gguf_open(&g, path, err);
    if (s) return s;
    s = ng_gguf_get_u64(g, "nanogrid.checkpoint.digest", &digest, err);
    if (!s) s = read_kernel(c, g, err);
    if (!s && digest != c->digest)
        s = ng_fail(err, NG_EINVALID,
                    "%s: this checkpoint is of another run (recipe, data, seed or base differ, or what teachers say by another "
                    "kernel: this was %s); remove it to start anew",
                    path, *c->kernel ? c->kernel : "not told");
    if (!s) s = ng_gguf_get_u64(g, "nanogrid.checkpoint.step", &c->step, err);
    if (!s) s = ng_gguf_get_i64(g, "nanogrid.checkpoint.best_epoch", &best, err);
    if (!s) s = ng_gguf_get_u64(g, "nanogrid.checkpoint.best_score", &bits[0], err);
    if (!s) s = ng_gguf_get_u64(g, "nanogrid.checkpoint.loss", &bits[1], err);
    if (!s) s = ng_gguf_get_array(g, "nanogrid.checkpoint.curve", &curve, err);
    if (!s && (curve.kind != NG_GGUF_F64 || curve.len > c->n_curve_max))
        s = ng_fail(err, NG_EFORMAT, "%s: the loss curve is damaged; remove the file to start anew", path);
    if (!s) s = take(g, "weights", c->weights, c->n, err);
    if (!s) s = take(g, "moments", c->moments, 2 * c->n, err);
    if (!s && c->best) s = take(g, "best", c->best, c->n, err);
    if (!s) {
        c->best_epoch = best;
        memcpy(&c->best_score, &bits[0], sizeof c->best_score);
        memcpy(&c->loss, &bits[1], sizeof c->loss);
        c->n_curve = curve.len;
        memcpy(c->curve, curve.data, curve.len * sizeof *c->curve);
    }
    ng_gguf_close(g);
    return s;
}

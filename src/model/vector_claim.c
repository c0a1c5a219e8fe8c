/* vector_claim.c: see vector_claim.h.
 *
 * Why on top of the linear claim and not beside it: an encoder knows what words mean and forgets what instructions look like, n-grams
 * the other way round; each alone chooses worse than both (docs/decisions/022-claims.md).  How much either counts is the package's
 * own, fitted on its held-out texts, so nothing has to be agreed on with other experts. */
#include "vector_claim.h"

#include "core/hash.h"
#include "core/math.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char ARCH[] = "nanogrid-vector-claim";

struct ng_vector_claim {
    char *path, *encoder;
    char digest[NG_VECTOR_DIGEST];
    float linear, bias;
    float *weight; /* [n] */
    size_t n;
};

/* ---- reading ------------------------------------------------------------------------------------- */

static ng_status bad(const ng_gguf *g, ng_error *err, const char *what) {
    return ng_fail(err, NG_EFORMAT, "%s: %s", ng_gguf_path(g), what);
}

static char *copy(ng_str s) {
    char *out = malloc(s.len + 1);
    if (!out) return NULL;
    if (s.len) memcpy(out, s.data, s.len);
    out[s.len] = 0;
    return out;
}

static ng_status read_names(ng_vector_claim *c, const ng_gguf *g, ng_error *err) {
    ng_str arch, encoder;
    ng_gguf_array requires;
    uint32_t version;
    ng_status s;
    if ((s = ng_gguf_get_str(g, "general.architecture", &arch, err))) return s;
    if (arch.len != strlen(ARCH) || memcmp(arch.data, ARCH, arch.len))
        return bad(g, err, "general.architecture is not nanogrid-vector-claim");
    if ((s = ng_gguf_get_u32(g, "nanogrid.claim.version", &version, err))) return s;
    if (version != 1)
        return ng_fail(err, NG_EUNSUPPORTED, "%s: nanogrid.claim.version is %u, this program reads 1", ng_gguf_path(g),
                       version);
    if ((s = ng_gguf_get_str(g, "nanogrid.claim.encoder", &encoder, err)) ||
        (s = ng_gguf_get_array(g, "nanogrid.requires", &requires, err)))
        return s;
    if (requires.kind != NG_GGUF_STRING || requires.len != 1 || requires.strs[0].len != NG_VECTOR_DIGEST - 1)
        return bad(g, err, "nanogrid.requires must be the digest of one encoder");
    memcpy(c->digest, requires.strs[0].data, NG_VECTOR_DIGEST - 1);
    c->path = strdup(ng_gguf_path(g));
    c->encoder = copy(encoder);
    return c->path && c->encoder ? NG_OK : ng_fail(err, NG_ENOMEM, "%s: out of memory", ng_gguf_path(g));
}

static ng_status read_weights(ng_vector_claim *c, const ng_gguf *g, ng_error *err) {
    const ng_gguf_tensor *t = ng_gguf_find_tensor(g, "claim.weight");
    ng_status s;
    if ((s = ng_gguf_get_f32(g, "nanogrid.claim.linear", &c->linear, err)) ||
        (s = ng_gguf_get_f32(g, "nanogrid.claim.bias", &c->bias, err)))
        return s;
    if (!isfinite(c->linear) || c->linear < 0) return bad(g, err, "nanogrid.claim.linear must be a number of at least 0");
    if (!isfinite(c->bias)) return bad(g, err, "nanogrid.claim.bias is not finite");
    if (!t || t->type != NG_TYPE_F32 || t->n_dims != 1 || !t->dims[0] || t->dims[0] > NG_VECTOR_CLAIM_MAX)
        return bad(g, err, "claim.weight must be F32 of one dimension, 1 to 65536 weights");
    c->n = (size_t)t->dims[0];
    if (!(c->weight = malloc(c->n * sizeof *c->weight)))
        return ng_fail(err, NG_ENOMEM, "%s: out of memory", ng_gguf_path(g));
    memcpy(c->weight, t->data, c->n * sizeof *c->weight);
    for (size_t i = 0; i < c->n; i++)
        if (!isfinite(c->weight[i])) return bad(g, err, "claim.weight holds a number that is not finite");
    return NG_OK;
}

ng_status ng_vector_claim_read(ng_vector_claim **out, const ng_gguf *g, ng_error *err) {
    ng_vector_claim *c = calloc(1, sizeof *c);
    ng_status s = c ? read_names(c, g, err) : ng_fail(err, NG_ENOMEM, "%s: out of memory", ng_gguf_path(g));
    if (!s) s = read_weights(c, g, err);
    if (s) ng_vector_claim_free(c);
    *out = s ? NULL : c;
    return s;
}

ng_status ng_vector_claim_open(ng_vector_claim **out, const char *path, ng_error *err) {
    ng_gguf *g;
    *out = NULL;
    ng_status s = ng_gguf_open(&g, path, err);
    if (s) return s;
    s = ng_vector_claim_read(out, g, err);
    ng_gguf_close(g);
    return s;
}

void ng_vector_claim_free(ng_vector_claim *c) {
    if (!c) return;
    free(c->path);
    free(c->encoder);
    free(c->weight);
    free(c);
}

/* ---- asking -------------------------------------------------------------------------------------- */

bool ng_vector_claim_fits(const ng_vector_claim *c, const char *digest, size_t n, ng_error *err) {
    if (n == c->n && !strcmp(digest, c->digest)) return true;
    ng_fail(err, NG_EINVALID,
            "%s was learnt on %zu numbers of %s (digest %.8s); the vectors here have %zu (digest %.8s): learn it anew with "
            "`nanogrid train RECIPE --vectors`",
            c->path, c->n, c->encoder, c->digest, n, digest);
    return false;
}

double ng_log_odds(double p) {
    const double least = 1e-6;
    p = p < least ? least : p > 1 - least ? 1 - least : p;
    return ng_log(p / (1 - p));
}

double ng_vector_claim_apply(const ng_vector_claim *c, double linear, const float *vector) {
    double sum = 0;
    for (size_t i = 0; i < c->n; i++) sum += (double)c->weight[i] * (double)vector[i];
    return ng_sigmoid((double)c->linear * ng_log_odds(linear) + sum + (double)c->bias);
}

void ng_vector_digest(char out[NG_VECTOR_DIGEST], const float *vector, size_t n) {
    ng_digest d = ng_digest_of(vector, n * sizeof *vector);
    snprintf(out, NG_VECTOR_DIGEST, "%016llx%016llx", (unsigned long long)d.h[0], (unsigned long long)d.h[1]);
}

/* ---- writing ------------------------------------------------------------------------------------- */

ng_status ng_vector_claim_write(const ng_vector_claim_parts *c, const char *path, ng_error *err) {
    ng_gguf_writer *w;
    ng_str digest = {c->digest, strlen(c->digest)};
    if (ng_gguf_writer_new(&w)) return ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    ng_gguf_put_str(w, "general.architecture", ARCH);
    ng_gguf_put_str(w, "general.name", c->name);
    ng_gguf_put_u32(w, "nanogrid.claim.version", 1);
    ng_gguf_put_str(w, "nanogrid.claim.encoder", c->encoder);
    ng_gguf_put_strs(w, "nanogrid.requires", &digest, 1);
    ng_gguf_put_f32(w, "nanogrid.claim.linear", (float)c->linear);
    ng_gguf_put_f32(w, "nanogrid.claim.bias", (float)c->bias);
    ng_gguf_put_tensor(w, "claim.weight", NG_TYPE_F32, 1, (uint64_t[1]){c->n}, c->weight);
    return ng_gguf_writer_commit(w, path, err);
}

/* nn_loss.c: losses and their gradients.  See nn.h.  Heads have few outputs, so these take doubles and one
 * thread; exp and log are the project's own, for the same bits everywhere. */
#include "nn.h"

#include "core/math.h"
#include <math.h>

double ng_nn_cross_entropy(const ng_nn_loss *o) {
    double sum = 0, rest = o->smoothing / (double)o->n_labels;
    for (size_t i = 0; i < o->n; i++) {
        const float *z = o->z + i * o->n_labels;
        float *dz = o->dz + i * o->n_labels;
        if (o->label[i] < 0) {
            for (size_t c = 0; c < o->n_labels; c++) dz[c] = 0;
            continue;
        }
        double top = (double)z[0], all = 0, loss = 0;
        for (size_t c = 1; c < o->n_labels; c++) top = (double)z[c] > top ? (double)z[c] : top;
        for (size_t c = 0; c < o->n_labels; c++) all += ng_exp((double)z[c] - top);
        double log_all = ng_log(all);
        for (size_t c = 0; c < o->n_labels; c++) {
            double log_p = (double)z[c] - top - log_all;
            double want = rest + ((int32_t)c == o->label[i] ? 1 - o->smoothing : 0);
            loss -= want * log_p;
            dz[c] = (float)(o->scale * (ng_exp(log_p) - want));
        }
        sum += loss;
    }
    return sum;
}

double ng_nn_sigmoid_loss(const ng_nn_loss *o) {
    double sum = 0;
    for (size_t i = 0; i < o->n; i++) {
        double n_known = 0, loss = 0;
        for (size_t c = 0; c < o->n_labels; c++) n_known += (double)(o->known[i] >> c & 1);
        for (size_t c = 0; c < o->n_labels; c++) {
            double z = (double)o->z[i * o->n_labels + c], want = (double)(o->holds[i] >> c & 1);
            float *dz = o->dz + i * o->n_labels + c;
            *dz = 0;
            if (!(o->known[i] >> c & 1)) continue;
            /* log(1 + e^z) - want z, safe at both ends */
            loss += (z > 0 ? z : 0) + ng_log(1 + ng_exp(-fabs(z))) - want * z;
            *dz = (float)(o->scale / n_known * (ng_sigmoid(z) - want));
        }
        if (n_known > 0) sum += loss / n_known;
    }
    return sum;
}

double ng_nn_cosine_loss(const ng_nn_cosine *o) {
    double sum = 0;
    for (size_t i = 0; i < o->n; i++) {
        const float *a = o->x + 2 * i * o->width, *b = a + o->width;
        float *da = o->dx + 2 * i * o->width, *db = da + o->width;
        double aa = 1e-12, bb = 1e-12, ab = 0;
        for (size_t c = 0; c < o->width; c++) {
            aa += (double)a[c] * (double)a[c];
            bb += (double)b[c] * (double)b[c];
            ab += (double)a[c] * (double)b[c];
        }
        double length = sqrt(aa * bb), cosine = ab / length, off = cosine - (double)o->score[i];
        double g = 2 * o->scale * off;
        for (size_t c = 0; c < o->width; c++) {
            da[c] = (float)(g * ((double)b[c] / length - cosine * (double)a[c] / aa));
            db[c] = (float)(g * ((double)a[c] / length - cosine * (double)b[c] / bb));
        }
        if (o->cosine) o->cosine[i] = (float)cosine;
        sum += off * off;
    }
    return sum;
}

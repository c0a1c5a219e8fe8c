/* model_label.c: see model_label.h.  Two series with one name and the same labels make a scrape fail, and packages all call their
 * file model.gguf; whole paths would tell a reader of metrics what the machine's folders are called. */
#include "model_label.h"

#include <string.h>

/* The end of a path from its k-th last part on (k > 0); NULL: it has no more than k parts, so all of it was taken before. */
static const char *tail(const char *path, size_t k) {
    const char *p = path + strlen(path);
    for (;; p--) {
        if (p > path && p[-1] != '/') continue;
        if (p == path) return k > 1 ? NULL : path;
        if (--k == 0) return p;
    }
}

static bool is_taken(const char *const *paths, size_t n, const char *path, size_t k, const char *label) {
    for (size_t i = 0; i < n; i++) {
        const char *other = strcmp(paths[i], path) ? tail(paths[i], k) : NULL;
        if (other && !strcmp(other, label)) return true;
    }
    return false;
}

void ng_model_label(ng_buf *b, const char *const *paths, size_t n, size_t i) {
    const char *label = tail(paths[i], 1);
    for (size_t k = 1; label && is_taken(paths, n, paths[i], k, label); k++) label = tail(paths[i], k + 1);
    size_t same = 1;
    for (size_t k = 0; k < i; k++) same += !strcmp(paths[k], paths[i]);
    for (const char *p = label ? label : paths[i]; *p; p++)
        if (*p == '"' || *p == '\\') ng_buf_printf(b, "\\%c", *p);
        else ng_buf_putc(b, *p == '\n' ? ' ' : *p);
    if (same > 1) ng_buf_printf(b, "#%zu", same);
}

/* courtesy.c: see courtesy.h.  The lines stay where they are in the mapped file; wordings are drawn when a phrase is put. */
#include "courtesy.h"

#include "core/file.h"
#include "train/wording.h"

#include <stdlib.h>
#include <string.h>

enum { PHRASES_MAX = 4096 };

typedef struct phrase {
    const char *text;
    size_t len;
} phrase;

typedef struct phrases {
    phrase *items;
    size_t n;
} phrases;

struct ng_courtesy {
    ng_map file;
    phrase items[PHRASES_MAX]; /* those before a text first */
    phrases before, behind;
};

static bool brackets_pair(const char *s, size_t len) {
    bool open = false;
    for (size_t i = 0; i < len; i++) {
        if ((s[i] == '[' && open) || (s[i] == ']' && !open)) return false;
        if (s[i] == '[' || s[i] == ']') open = !open;
    }
    return !open;
}

/* The lines of one kind, after those that are there. */
static ng_status collect(ng_courtesy *c, phrases *out, size_t *n, char kind, ng_error *err) {
    const char *data = (const char *)c->file.data;
    *out = (phrases){.items = c->items + *n};
    for (size_t i = 0, line = 1; i < c->file.len; line++) {
        const char *nl = memchr(data + i, '\n', c->file.len - i), *s = data + i;
        size_t len = nl ? (size_t)(nl - s) : c->file.len - i;
        i += len + 1;
        if (!len || *s == '#') continue;
        if (len < 3 || (*s != '<' && *s != '>') || s[1] != ' ' || !brackets_pair(s, len))
            return ng_fail(err, NG_EFORMAT, "line %zu: not `< words` or `> words`, wordings as [a|b]", line);
        if (*s != kind) continue;
        if (*n == PHRASES_MAX) return ng_fail(err, NG_ELIMIT, "line %zu: more than %d phrases", line, PHRASES_MAX);
        c->items[(*n)++] = (phrase){s + 2, len - 2};
        out->n++;
    }
    return out->n ? NG_OK : ng_fail(err, NG_EFORMAT, "no line begins with `%c `", kind);
}

ng_status ng_courtesy_open(ng_courtesy **out, const char *path, ng_error *err) {
    ng_error why = {0};
    size_t n = 0;
    ng_courtesy *c = *out = calloc(1, sizeof *c);
    if (!c) return ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    ng_status s = ng_map_open(&c->file, path, err);
    if (!s && (s = collect(c, &c->before, &n, '<', &why)) == NG_OK) s = collect(c, &c->behind, &n, '>', &why);
    if (!s) return NG_OK;
    if (why.code) (void)ng_fail(err, s, "%s: %s", path, why.text);
    ng_courtesy_close(c);
    *out = NULL;
    return s;
}

void ng_courtesy_close(ng_courtesy *c) {
    if (c) ng_map_close(&c->file);
    free(c);
}

static void put_phrase(ng_buf *out, const phrases *from, ng_rng *rng) {
    const phrase *p = &from->items[ng_rng_below(rng, (uint32_t)from->n)];
    for (size_t i = 0; i < p->len; i++) {
        const char *end = p->text[i] == '[' ? memchr(p->text + i, ']', p->len - i) : NULL;
        if (!end) {
            ng_buf_putc(out, p->text[i]);
            continue;
        }
        size_t len = (size_t)(end - p->text) - i - 1;
        const char *wording = ng_wording_draw(p->text + i + 1, &len, '|', rng);
        ng_buf_put(out, wording, len);
        i = (size_t)(end - p->text);
    }
}

void ng_courtesy_put(ng_buf *out, const ng_courtesy *c, const char *text, size_t len, ng_rng *rng) {
    static const char *const gaps[] = {" ", " ", " ", ", ", ". "};
    double where = ng_rng_unit(rng);
    if (where < 0.6) {
        put_phrase(out, &c->before, rng);
        ng_buf_putc(out, ' ');
    }
    ng_buf_put(out, text, len);
    if (where >= 0.4) {
        ng_buf_puts(out, gaps[ng_rng_below(rng, sizeof gaps / sizeof *gaps)]);
        put_phrase(out, &c->behind, rng);
    }
}

/* similar.c: see similar.h.  The lines stay in the mapped file and are found by halving. */
#include "similar.h"

#include "core/file.h"
#include "train/wording.h"

#include <stdlib.h>
#include <string.h>

enum { LINES_MAX = 1 << 20, WORD_MAX = 64, LEFT_OUT_OF = 7 };

typedef struct line {
    const char *word, *similar;
    size_t word_len, similar_len;
} line;

struct ng_similar {
    ng_map file;
    line *lines;
    size_t n;
};

static int compare(const char *a, size_t a_len, const char *b, size_t b_len) {
    int c = memcmp(a, b, a_len < b_len ? a_len : b_len);
    return c ? c : (a_len > b_len) - (a_len < b_len);
}

static ng_status read_lines(ng_similar *s, ng_error *err) {
    const char *data = (const char *)s->file.data;
    for (size_t i = 0; i < s->file.len;) {
        const char *at = data + i, *nl = memchr(at, '\n', s->file.len - i);
        size_t len = nl ? (size_t)(nl - at) : s->file.len - i;
        const char *tab = memchr(at, '\t', len);
        i += len + 1;
        if (!tab || tab == at || tab + 1 == at + len || tab[1] == ' ' || at[len - 1] == ' ')
            return ng_fail(err, NG_EFORMAT, "line %zu: not a word, a tab and similar words", s->n + 1);
        if (s->n == LINES_MAX) return ng_fail(err, NG_ELIMIT, "more than %d lines", LINES_MAX);
        line l = {at, tab + 1, (size_t)(tab - at), len - (size_t)(tab - at) - 1};
        if (s->n && compare(s->lines[s->n - 1].word, s->lines[s->n - 1].word_len, l.word, l.word_len) >= 0)
            return ng_fail(err, NG_EFORMAT, "line %zu: '%.*s' is not after the word above it", s->n + 1,
                           (int)(l.word_len < 40 ? l.word_len : 40), l.word);
        s->lines[s->n++] = l;
    }
    return NG_OK;
}

static size_t count_lines(const ng_map *file) {
    size_t n = 1;
    for (size_t i = 0; i < file->len; i++) n += file->data[i] == '\n';
    return n;
}

ng_status ng_similar_open(ng_similar **out, const char *path, ng_error *err) {
    ng_error why = {0};
    ng_similar *s = *out = calloc(1, sizeof *s);
    if (!s) return ng_fail(err, NG_ENOMEM, "%s: out of memory", path);
    ng_status st = ng_map_open(&s->file, path, err);
    if (!st) {
        s->lines = calloc(count_lines(&s->file), sizeof *s->lines);
        st = s->lines ? read_lines(s, &why) : ng_fail(&why, NG_ENOMEM, "out of memory");
    }
    if (!st) return NG_OK;
    if (why.code) (void)ng_fail(err, st, "%s: %s", path, why.text);
    ng_similar_close(s);
    *out = NULL;
    return st;
}

void ng_similar_close(ng_similar *s) {
    if (!s) return;
    ng_map_close(&s->file);
    free(s->lines);
    free(s);
}

static const line *find(const ng_similar *s, const char *word, size_t len) {
    char lower[WORD_MAX];
    if (len > sizeof lower) return NULL;
    for (size_t i = 0; i < len; i++) lower[i] = (char)(word[i] >= 'A' && word[i] <= 'Z' ? word[i] | 32 : word[i]);
    size_t from = 0, to = s->n;
    while (from < to) {
        size_t middle = from + (to - from) / 2;
        int c = compare(s->lines[middle].word, s->lines[middle].word_len, lower, len);
        if (!c) return &s->lines[middle];
        if (c < 0) from = middle + 1;
        else to = middle;
    }
    return NULL;
}

static void put_one(ng_buf *out, const line *l, ng_rng *rng) {
    size_t len = l->similar_len;
    const char *word = ng_wording_draw(l->similar, &len, ' ', rng);
    ng_buf_put(out, word, len);
}

void ng_similar_put(ng_buf *out, const ng_similar *s, const char *text, size_t len, double share, ng_rng *rng) {
    size_t begin = out->len;
    for (size_t i = 0, end; i < len; i = end) {
        const char *space = memchr(text + i, ' ', len - i);
        size_t word = space ? (size_t)(space - text) - i : len - i;
        const line *l = word && ng_rng_unit(rng) < share ? find(s, text + i, word) : NULL;
        end = i + word;
        if (!l) ng_buf_put(out, text + i, word);
        else if (ng_rng_below(rng, LEFT_OUT_OF)) put_one(out, l, rng);
        else {
            while (end < len && text[end] == ' ') end++;
            continue;
        }
        for (; end < len && text[end] == ' '; end++) ng_buf_putc(out, ' ');
    }
    if (out->len == begin) ng_buf_put(out, text, len); /* never a text of nothing */
}

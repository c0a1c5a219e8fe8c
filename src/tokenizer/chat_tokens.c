/* chat_tokens.c: a conversation as ids, in which nobody can forge a turn.
 *
 * A rendered chat is one string, and in it the template's <|im_end|> and one that a user typed look the
 * same.  So special tokens inside messages are masked before rendering: each becomes a mark that occurs
 * in no message, and after rendering the text between marks is tokenized with special tokens and what
 * the marks stand for without.  Conversations without special tokens in them take the plain way. */
#include "vocab.h"

#include "core/hash.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MARK_LEN = 26, RENDERED_MAX = 64 << 20 };

typedef struct masked {
    char mark[20]; /* \2, 16 hex digits, \3: followed by 6 digits and \3 */
    ng_str *words; /* [n_words] what the marks stand for, borrowed from the messages */
    size_t n_words, n_words_max;
} masked;

static bool next_special(const ng_tokenizer *t, ng_str s, size_t from, ng_added_hit *hit) {
    ng_added_hit plain;
    for (; ng_added_find(&t->added, s.data, s.len, from, true, hit); from = hit->end) {
        /* What is matched in plain text too is a word of the vocabulary, not a control token. */
        bool word = ng_added_find(&t->added, s.data, s.len, hit->start, false, &plain) && plain.start == hit->start;
        if (!word) return true;
    }
    return false;
}

static void choose_mark(masked *m, const ng_chat_message *messages, size_t n) {
    for (uint64_t salt = 1;; salt++) {
        bool taken = false;
        snprintf(m->mark, sizeof m->mark, "\2%016llx\3", (unsigned long long)ng_hash_mix(salt));
        for (size_t i = 0; i < n && !taken; i++)
            taken = strstr(messages[i].text, m->mark) || strstr(messages[i].role, m->mark);
        if (!taken) return;
    }
}

/* Appends `text` to out with its special tokens masked. */
static ng_status mask(masked *m, const ng_tokenizer *t, const char *text, ng_buf *out) {
    ng_str s = {text, strlen(text)};
    ng_added_hit hit;
    size_t at = 0;
    while (next_special(t, s, at, &hit)) {
        if (m->n_words == m->n_words_max) {
            size_t max = m->n_words_max ? m->n_words_max * 2 : 16;
            ng_str *grown = max <= 999999 ? realloc(m->words, max * sizeof *grown) : NULL;
            if (!grown) return NG_ENOMEM;
            m->words = grown;
            m->n_words_max = max;
        }
        ng_buf_put(out, text + at, hit.start - at);
        ng_buf_printf(out, "%s%06zu\3", m->mark, m->n_words);
        m->words[m->n_words++] = (ng_str){text + hit.start, hit.end - hit.start};
        at = hit.end;
    }
    ng_buf_put(out, text + at, s.len - at);
    return ng_buf_putc(out, 0);
}

static ng_status append(const ng_tokenizer *t, ng_str text, bool special, int32_t **ids, size_t *n, ng_error *err) {
    ng_tokenize_options opt = {.parse_special = special};
    int32_t *more, *grown;
    size_t n_more;
    if (text.len == 0 && *ids) return NG_OK;
    ng_status s = ng_tokenize(t, text.data, text.len, &opt, &more, &n_more, err);
    if (s) return s;
    grown = realloc(*ids, (*n + n_more + 1) * sizeof *grown);
    if (grown) {
        memcpy(grown + *n, more, n_more * sizeof *more);
        *ids = grown;
        *n += n_more;
    }
    free(more);
    return grown ? NG_OK : ng_fail(err, NG_ENOMEM, "tokenizer: %zu ids", *n + n_more);
}

/* The rendered text, cut at the marks. */
static ng_status tokenize_masked(const masked *m, const ng_tokenizer *t, const ng_buf *text, int32_t **ids, size_t *n,
                                 ng_error *err) {
    const char *at = text->data, *end = text->data + text->len, *cut;
    ng_status s = NG_OK;
    while (!s && (cut = m->n_words ? strstr(at, m->mark) : NULL) && end - cut >= MARK_LEN - 1) {
        size_t word = strtoul(cut + strlen(m->mark), NULL, 10);
        s = append(t, (ng_str){at, (size_t)(cut - at)}, true, ids, n, err);
        if (!s && word < m->n_words) s = append(t, m->words[word], false, ids, n, err);
        at = cut + strlen(m->mark) + 7;
    }
    return s ? s : append(t, (ng_str){at, (size_t)(end - at)}, true, ids, n, err);
}

ng_status ng_chat_tokenize(const ng_tokenizer *t, const ng_chat_message *messages, size_t n, bool open, int32_t **ids,
                           size_t *n_ids, ng_error *err) {
    masked m = {.words = NULL};
    ng_buf texts = ng_buf_init(RENDERED_MAX), rendered = ng_buf_init(RENDERED_MAX);
    ng_chat_message *list = calloc(n ? n : 1, sizeof *list);
    size_t *offsets = calloc(2 * n + 1, sizeof *offsets);
    ng_status s = list && offsets ? NG_OK : NG_ENOMEM;
    *ids = NULL;
    *n_ids = 0;
    choose_mark(&m, messages, n);
    for (size_t i = 0; i < n && !s; i++) {
        offsets[2 * i] = texts.len;
        s = mask(&m, t, messages[i].role, &texts);
        offsets[2 * i + 1] = texts.len;
        if (!s) s = mask(&m, t, messages[i].text, &texts);
    }
    if (s) ng_fail(err, s, "the conversation: %s", ng_status_text(s));
    for (size_t i = 0; i < n && !s; i++)
        list[i] = (ng_chat_message){texts.data + offsets[2 * i], texts.data + offsets[2 * i + 1]};
    if (!s) s = ng_chat_render(t, list, n, open, &rendered, err);
    if (!s) s = tokenize_masked(&m, t, &rendered, ids, n_ids, err);
    if (s) {
        free(*ids);
        *ids = NULL;
        *n_ids = 0;
    }
    free(m.words);
    free(list);
    free(offsets);
    ng_buf_clear(&texts);
    ng_buf_clear(&rendered);
    return s;
}

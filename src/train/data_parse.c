/* data_parse.c: rows of TSV, CSV, JSONL, CoNLL and plain-line files.  See data.h.
 *
 * TSV has a header line with the columns' names and no quoting: a tab ends a field, a newline a row.
 * CSV is RFC 4180: fields may be quoted, "" is a quote, a quoted field may hold newlines; a row is named
 * by the line it begins in.  CoNLL has a word and a tag (IOB2) a line, tabs between; a sentence becomes a
 * row of words and one of tags, joined by spaces.  JSONL has one object a line; strings, numbers and
 * booleans count as text; marked spans become words and tags as CoNLL has them.  Every row has the same number of columns, its text is UTF-8 and not empty; what
 * breaks that is an error with its line. */
#include "data.h"

#include "core/hash.h"
#include "core/utf8.h"
#include "text/unicode.h"
#include <nanogrid/text.h>

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS_MAX = 64, NUMBER_TEXT_MAX = 40, SCALARS_MAX = 16, FIELD_BYTES_MAX = 64 << 20 };

typedef struct text_ref {
    const char *data;
    size_t len;
} text_ref;

typedef struct parser {
    const ng_source *source;
    const char *name;
    ng_error *err;
    size_t line;
    text_ref columns[COLUMNS_MAX], values[COLUMNS_MAX];
    size_t n_columns;
    json_t *object;                              /* JSONL: the row */
    char scalars[SCALARS_MAX][NUMBER_TEXT_MAX];  /* texts of its numbers */
    size_t n_scalars;
    ng_buf words, tags;                          /* of marked spans */
} parser;

static ng_status bad_row(parser *p, const char *what, const char *name) {
    return ng_fail(p->err, NG_EFORMAT, "%s:%zu: %s%s%s%s", p->name, p->line, what, name ? " '" : "", name ? name : "",
                   name ? "'" : "");
}

static bool same(text_ref a, const char *b, size_t len) { return a.len == len && !memcmp(a.data, b, len); }

/* The row's value of a column; false when it has none of that name. */
static bool lookup(parser *p, const char *name, size_t name_len, text_ref *out) {
    if (!p->object) {
        for (size_t i = 0; i < p->n_columns; i++)
            if (same(p->columns[i], name, name_len)) return *out = p->values[i], true;
        return false;
    }
    char key[128];
    if (name_len >= sizeof key) return false;
    memcpy(key, name, name_len);
    key[name_len] = 0;
    const json_t *v = json_object_get(p->object, key);
    if (json_is_string(v)) {
        *out = (text_ref){json_string_value(v), json_string_length(v)};
        return true;
    }
    char *at = p->scalars[p->n_scalars];
    if (p->n_scalars == SCALARS_MAX) return false;
    if (json_is_integer(v)) snprintf(at, NUMBER_TEXT_MAX, "%lld", (long long)json_integer_value(v));
    else if (json_is_real(v)) snprintf(at, NUMBER_TEXT_MAX, "%.17g", json_real_value(v));
    else if (json_is_boolean(v)) snprintf(at, NUMBER_TEXT_MAX, json_is_true(v) ? "true" : "false");
    else return false;
    p->n_scalars++;
    *out = (text_ref){at, strlen(at)};
    return true;
}

/* ---- conditions --------------------------------------------------------------------------------- */

static bool one_of(text_ref value, const char *list) {
    for (;; list++) {
        size_t n = strcspn(list, "|");
        if (same(value, list, n)) return true;
        list += n;
        if (!*list) return false;
    }
}

static bool to_number(text_ref v, double *out) {
    char text[NUMBER_TEXT_MAX], *end;
    if (!v.len || v.len >= sizeof text) return false;
    memcpy(text, v.data, v.len);
    text[v.len] = 0;
    *out = strtod(text, &end);
    return !*end;
}

/* Whether the row passes "column OP value". */
static ng_status condition(parser *p, const char *c, bool *pass) {
    size_t at = strcspn(c, "=!<>"), op_len = c[at] && c[at + 1] == '=' ? 2 : 1;
    text_ref v;
    if (!at || !c[at] || (c[at] == '!' && op_len == 1))
        return ng_fail(p->err, NG_EINVALID, "recipe line %d: where: '%s' is not column=value, !=, <, <=, >, >=",
                       p->source->line, c);
    if (!lookup(p, c, at, &v)) return bad_row(p, "the row has no column for the condition", c);
    const char *rhs = c + at + op_len;
    if (c[at] == '=' || c[at] == '!') {
        *pass = one_of(v, rhs) == (c[at] == '=');
        return NG_OK;
    }
    double a, b;
    if (!to_number(v, &a) || !to_number((text_ref){rhs, strlen(rhs)}, &b))
        return bad_row(p, "no number for the condition", c);
    *pass = c[at] == '<' ? (op_len == 2 ? a <= b : a < b) : (op_len == 2 ? a >= b : a > b);
    return NG_OK;
}

static bool in_share(const ng_source *s, uint64_t hash) {
    if (!s->hash.of) return true;
    for (size_t i = 0; i < s->hash.keep.len; i++)
        if (hash % (uint64_t)s->hash.of == (uint64_t)s->hash.keep.items[i]) return true;
    return false;
}

/* Whether the row is in the source's share. */
static ng_status share_of(parser *p, text_ref text, bool *in) {
    const ng_source *s = p->source;
    text_ref v;
    double number;
    if (!s->hash.of || !s->hash.by) return *in = in_share(s, ng_text_hash(text.data, text.len)), NG_OK;
    if (!lookup(p, s->hash.by, strlen(s->hash.by), &v)) return bad_row(p, "the row has no column for hash", s->hash.by);
    if (!to_number(v, &number) || !(number >= 0 && number < 9e15))
        return bad_row(p, "no number from 0 on in the column", s->hash.by);
    return *in = in_share(s, (uint64_t)number), NG_OK;
}

/* ---- marked spans ------------------------------------------------------------------------------- */

typedef struct span_mark {
    json_int_t start, end;
    const char *kind;
} span_mark;

/* The mark that holds the character; the last of those that do.  NG_EFORMAT: the list is no list of marks. */
static ng_status mark_at(parser *p, const json_t *list, json_int_t at, span_mark *out) {
    *out = (span_mark){0};
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *m = json_array_get(list, i), *start = json_array_get(m, 0), *end = json_array_get(m, 1),
                     *kind = json_array_get(m, 2);
        if (!json_is_integer(start) || !json_is_integer(end) || !json_is_string(kind) || !json_string_length(kind) ||
            strchr(json_string_value(kind), ' '))
            return bad_row(p, "a mark is not [start, end, kind]", NULL);
        if (json_integer_value(start) <= at && at < json_integer_value(end))
            *out = (span_mark){json_integer_value(start), json_integer_value(end), json_string_value(kind)};
    }
    return NG_OK;
}

/* The text as words that one space parts, cut at the ends of marks too, and a tag each. */
static ng_status spans_to_tags(parser *p, const json_t *list, text_ref *text, text_ref *label) {
    span_mark open = {0};
    json_int_t at = 0;
    bool inside = false; /* a word */
    ng_status s = NG_OK;
    ng_buf_reset(&p->words);
    ng_buf_reset(&p->tags);
    for (size_t i = 0, n; !s && i < text->len; i += n, at++) {
        uint32_t cp;
        span_mark m;
        n = ng_utf8_decode(&cp, text->data + i, text->len - i);
        if ((s = mark_at(p, list, at, &m))) return s;
        if (ng_unicode(cp) & NG_U_SPACE) {
            inside = false;
            continue;
        }
        if (!inside || m.kind != open.kind) {
            const char *gap = p->words.len ? " " : "";
            ng_buf_puts(&p->words, gap);
            ng_buf_puts(&p->tags, gap);
            if (m.kind) ng_buf_printf(&p->tags, "%c-%s", m.kind == open.kind ? 'I' : 'B', m.kind);
            else ng_buf_puts(&p->tags, "O");
        }
        s = ng_buf_put(&p->words, text->data + i, n);
        inside = true;
        open = m;
    }
    if (s || p->words.status || p->tags.status)
        return ng_fail(p->err, NG_ENOMEM, "%s:%zu: the row is too long", p->name, p->line);
    *text = (text_ref){p->words.data, p->words.len};
    *label = (text_ref){p->tags.data, p->tags.len};
    return p->words.len ? NG_OK : bad_row(p, "the text is empty", NULL);
}

/* ---- one row ------------------------------------------------------------------------------------ */

static ng_status emit(parser *p, bool need_label, ng_row_fn *fn, void *ctx) {
    const ng_source *s = p->source;
    text_ref text = {0}, label = {0};
    for (size_t i = 0; i < s->where.len; i++) {
        bool pass = false;
        ng_status st = condition(p, s->where.items[i], &pass);
        if (st) return st;
        if (!pass) return NG_OK;
    }
    if (!lookup(p, s->text, strlen(s->text), &text)) return bad_row(p, "the row has no text column", s->text);
    if (!text.len) return bad_row(p, "the text is empty", NULL);
    size_t wrong = ng_utf8_invalid_at(text.data, text.len);
    if (wrong < text.len || memchr(text.data, 0, text.len)) return bad_row(p, "the text is not UTF-8 text", NULL);
    bool own = need_label && !s->value && !s->positive.len && !s->negative.len, in = false;
    const json_t *marks = own && p->object ? json_object_get(p->object, s->label) : NULL;
    if (own && !json_is_array(marks) && !lookup(p, s->label, strlen(s->label), &label))
        return bad_row(p, "the row has no label column", s->label);
    ng_status shared = share_of(p, text, &in);
    if (shared || !in) return shared;
    if (json_is_array(marks) && (shared = spans_to_tags(p, marks, &text, &label))) return shared;
    text_ref second = {0};
    if (s->second && !lookup(p, s->second, strlen(s->second), &second))
        return bad_row(p, "the row has no column", s->second);
    if (s->second && (!second.len || ng_utf8_invalid_at(second.data, second.len) < second.len))
        return bad_row(p, "no UTF-8 text in the column", s->second);
    ng_row row = {text.data, own ? label.data : NULL, s->second ? second.data : NULL, text.len, label.len, second.len,
                  p->line};
    return fn(ctx, &row, p->err);
}

static ng_status split_tabs(parser *p, const char *line, size_t len, text_ref *out, size_t *n) {
    *n = 0;
    for (size_t i = 0;; i++) {
        const char *tab = memchr(line + i, '\t', len - i);
        size_t end = tab ? (size_t)(tab - line) : len;
        if (*n == COLUMNS_MAX) return bad_row(p, "the line has over 64 columns", NULL);
        out[(*n)++] = (text_ref){line + i, end - i};
        i = end;
        if (!tab) return NG_OK;
    }
}

static ng_status tsv_line(parser *p, const char *line, size_t len, bool need_label, ng_row_fn *fn, void *ctx) {
    size_t n;
    if (p->line == 1) return split_tabs(p, line, len, p->columns, &p->n_columns);
    ng_status st = split_tabs(p, line, len, p->values, &n);
    if (st) return st;
    if (n != p->n_columns)
        return ng_fail(p->err, NG_EFORMAT, "%s:%zu: %zu columns, the header has %zu", p->name, p->line, n,
                       p->n_columns);
    return emit(p, need_label, fn, ctx);
}

static ng_status json_line(parser *p, const char *line, size_t len, bool need_label, ng_row_fn *fn, void *ctx) {
    json_error_t why;
    p->n_scalars = 0;
    p->object = json_loadb(line, len, JSON_REJECT_DUPLICATES, &why);
    if (!p->object) return bad_row(p, "no JSON object:", why.text);
    ng_status st = json_is_object(p->object) ? emit(p, need_label, fn, ctx) : bad_row(p, "no JSON object", NULL);
    json_decref(p->object);
    p->object = NULL;
    return st;
}

static ng_source_format format_of(const ng_source *s, const char *name) {
    const char *dot = strrchr(name, '.');
    if (s->format != NG_FORMAT_AUTO) return (ng_source_format)s->format;
    if (dot && !strcmp(dot, ".tsv")) return NG_FORMAT_TSV;
    if (dot && !strcmp(dot, ".csv")) return NG_FORMAT_CSV;
    if (dot && !strcmp(dot, ".conll")) return NG_FORMAT_CONLL;
    return dot && !strcmp(dot, ".jsonl") ? NG_FORMAT_JSONL : NG_FORMAT_LINES;
}

/* ---- CSV ---------------------------------------------------------------------------------------- */

/* One field from *i on, unquoted, behind what `out` holds; *more when a comma follows. */
static ng_status csv_field(parser *p, text_ref in, size_t *i, ng_buf *out, bool *more) {
    bool quoted = *i < in.len && in.data[*i] == '"', closed = !quoted;
    size_t newlines = 0;
    for (*i += quoted; *i < in.len; (*i)++) {
        char c = in.data[*i];
        if (quoted && !closed) {
            if (c == '"' && *i + 1 < in.len && in.data[*i + 1] == '"') (*i)++;
            else if (c == '"') {
                closed = true;
                continue;
            }
            newlines += c == '\n';
        } else if (c == ',' || c == '\n' || (c == '\r' && (*i + 1 == in.len || in.data[*i + 1] == '\n'))) {
            break;
        } else if (quoted) {
            return bad_row(p, "text behind a closing quote; quotes within a field are doubled", NULL);
        } else if (c == '"') {
            return bad_row(p, "a quote within a field that is not quoted", NULL);
        }
        if (ng_buf_putc(out, c)) return ng_fail(p->err, out->status, "%s:%zu: the row is too long", p->name, p->line);
    }
    if (!closed) return bad_row(p, "a quoted field does not end", NULL);
    *more = *i < in.len && in.data[*i] == ',';
    *i += !*more && *i < in.len && in.data[*i] == '\r';
    *i += *i < in.len;
    p->line += newlines;
    return NG_OK;
}

/* The row at *i into fields[n]; *line becomes the line behind it. */
static ng_status csv_row(parser *p, text_ref in, size_t *i, ng_buf *bytes, text_ref *fields, size_t *n) {
    size_t ends[COLUMNS_MAX];
    bool more = true;
    ng_buf_reset(bytes);
    for (*n = 0; more; (*n)++) {
        if (*n == COLUMNS_MAX) return bad_row(p, "the line has over 64 columns", NULL);
        ng_status s = csv_field(p, in, i, bytes, &more);
        if (s) return s;
        ends[*n] = bytes->len;
    }
    for (size_t k = 0; k < *n; k++) {
        size_t from = k ? ends[k - 1] : 0;
        fields[k] = (text_ref){bytes->data ? bytes->data + from : "", ends[k] - from};
    }
    return NG_OK;
}

static ng_status parse_csv(parser *p, text_ref in, bool need_label, ng_row_fn *fn, void *ctx) {
    ng_buf header = ng_buf_init(1 << 20), bytes = ng_buf_init(FIELD_BYTES_MAX);
    ng_status s = NG_OK;
    size_t n;
    p->line = 1;
    size_t bom = in.len >= 3 && !memcmp(in.data, "\xEF\xBB\xBF", 3) ? 3 : 0; /* spreadsheets write one */
    for (size_t i = bom; !s && i < in.len;) {
        size_t line = p->line;
        bool first = !p->n_columns;
        s = csv_row(p, in, &i, first ? &header : &bytes, first ? p->columns : p->values, first ? &p->n_columns : &n);
        size_t next = p->line + 1;
        p->line = line;
        bool blank = !first && !s && n == 1 && !p->values[0].len;
        if (!s && !first && !blank && n != p->n_columns)
            s = ng_fail(p->err, NG_EFORMAT, "%s:%zu: %zu columns, the header has %zu", p->name, line, n, p->n_columns);
        if (!s && !first && !blank) s = emit(p, need_label, fn, ctx);
        p->line = next;
    }
    ng_buf_clear(&header);
    ng_buf_clear(&bytes);
    return s;
}

/* ---- CoNLL -------------------------------------------------------------------------------------- */

static bool is_tag(text_ref t) {
    return (t.len == 1 && *t.data == 'O') || (t.len > 2 && t.data[1] == '-' && (*t.data == 'B' || *t.data == 'I'));
}

static ng_status end_sentence(parser *p, ng_buf *words, ng_buf *tags, bool need_label, ng_row_fn *fn, void *ctx) {
    if (!words->len) return NG_OK;
    p->values[0] = (text_ref){words->data, words->len};
    p->values[1] = (text_ref){tags->data, tags->len};
    ng_status s = emit(p, need_label, fn, ctx);
    ng_buf_reset(words);
    ng_buf_reset(tags);
    return s;
}

static bool ends_with_word(const ng_buf *words, const char *word) {
    size_t n = word ? strlen(word) : 0;
    return n && words->len >= n && !memcmp(words->data + words->len - n, word, n) &&
           (words->len == n || words->data[words->len - n - 1] == ' ');
}

static ng_status put_word(parser *p, text_ref line, ng_buf *words, ng_buf *tags) {
    text_ref fields[COLUMNS_MAX];
    size_t n;
    ng_status s = split_tabs(p, line.data, line.len, fields, &n);
    if (s) return s;
    text_ref word = fields[0], tag = fields[n - 1];
    if (n < 2) return bad_row(p, "a word without a tag (they are parted by a tab)", NULL);
    if (!is_tag(tag) || memchr(tag.data, ' ', tag.len)) return bad_row(p, "the tag is not O, B-kind or I-kind", NULL);
    bool outside = *tag.data == 'O';
    if (!word.len && outside) return NG_OK; /* published files have these where a character was lost */
    if (!word.len || (memchr(word.data, ' ', word.len) && !outside))
        return bad_row(p, "the word is empty or holds a space", NULL);
    for (size_t i = 0, part; i < word.len && !s; i += part + 1) { /* and some where a space is within a word */
        const char *gap = memchr(word.data + i, ' ', word.len - i);
        part = gap ? (size_t)(gap - word.data) - i : word.len - i;
        bool glued = ends_with_word(words, p->source->glue);
        if (part && !glued &&
            ((words->len && (ng_buf_putc(words, ' ') || ng_buf_putc(tags, ' '))) ||
             ng_buf_put(tags, tag.data, tag.len)))
            s = NG_ENOMEM;
        if (part && !s) s = ng_buf_put(words, word.data + i, part);
        if (s) return ng_fail(p->err, NG_ENOMEM, "%s:%zu: the sentence is too long", p->name, p->line);
    }
    return s;
}

static ng_status parse_conll(parser *p, text_ref in, bool need_label, ng_row_fn *fn, void *ctx) {
    ng_buf words = ng_buf_init(FIELD_BYTES_MAX), tags = ng_buf_init(FIELD_BYTES_MAX);
    ng_status s = NG_OK;
    p->columns[0] = (text_ref){p->source->text, strlen(p->source->text)};
    p->columns[1] = (text_ref){p->source->label, strlen(p->source->label)};
    p->n_columns = 2;
    for (size_t i = 0; !s && i < in.len;) {
        const char *nl = memchr(in.data + i, '\n', in.len - i);
        size_t end = nl ? (size_t)(nl - in.data) : in.len, n = end - i;
        p->line++;
        if (n && in.data[end - 1] == '\r') n--;
        s = n ? put_word(p, (text_ref){in.data + i, n}, &words, &tags)
              : end_sentence(p, &words, &tags, need_label, fn, ctx);
        i = end + 1;
    }
    if (!s) s = end_sentence(p, &words, &tags, need_label, fn, ctx);
    ng_buf_clear(&words);
    ng_buf_clear(&tags);
    return s;
}

static ng_status parse_lines(parser *p, text_ref in, ng_source_format format, bool need_label, ng_row_fn *row,
                             void *ctx) {
    for (size_t i = 0; i < in.len;) {
        const char *line = in.data + i, *nl = memchr(line, '\n', in.len - i);
        size_t end = nl ? (size_t)(nl - in.data) : in.len, n = end - i;
        ng_status st;
        p->line++;
        i = end + 1;
        if (n && line[n - 1] == '\r') n--;
        if (format == NG_FORMAT_TSV) {
            st = tsv_line(p, line, n, need_label, row, ctx);
        } else if (!n) {
            continue; /* blank lines are no texts */
        } else if (format == NG_FORMAT_JSONL) {
            st = json_line(p, line, n, need_label, row, ctx);
        } else {
            p->values[0] = (text_ref){line, n};
            st = emit(p, need_label, row, ctx);
        }
        if (st) return st;
    }
    return NG_OK;
}

ng_status ng_source_parse(const ng_source *s, const char *name, const char *data, size_t len, bool need_label,
                          ng_row_fn *row, void *ctx, ng_error *err) {
    parser p = {.source = s, .name = name, .err = err, .words = ng_buf_init(FIELD_BYTES_MAX), .tags = ng_buf_init(FIELD_BYTES_MAX)};
    ng_source_format format = format_of(s, name);
    text_ref in = {data, len};
    if (format == NG_FORMAT_LINES) p.columns[0] = (text_ref){s->text, strlen(s->text)}, p.n_columns = 1;
    ng_status st = format == NG_FORMAT_CSV     ? parse_csv(&p, in, need_label, row, ctx)
                   : format == NG_FORMAT_CONLL ? parse_conll(&p, in, need_label, row, ctx)
                                               : parse_lines(&p, in, format, need_label, row, ctx);
    ng_buf_clear(&p.words);
    ng_buf_clear(&p.tags);
    return st;
}

uint64_t ng_text_hash(const char *text, size_t len) {
    uint64_t h = 0x6e616e6f67726964ULL;
    bool gap = false, any = false;
    for (size_t i = 0; i < len;) {
        uint32_t cp;
        i += ng_utf8_decode(&cp, text + i, len - i);
        if (!(ng_unicode(cp) & (NG_U_LETTER | NG_U_NUMBER | NG_U_MARK))) {
            gap = true;
            continue;
        }
        if (gap && any) h = ng_hash_mix(h ^ ' ');
        h = ng_hash_mix(h ^ ng_unicode_lower(cp));
        gap = false;
        any = true;
    }
    return any ? ng_hash_mix(h) : ng_hash64(text, len, h);
}

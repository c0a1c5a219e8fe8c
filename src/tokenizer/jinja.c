/* jinja.c: statements and white space.  See jinja.h; expressions are in jinja_expr.c.
 *
 * The source is cut once into segments (text, {{ }}, {% %}); running is walking over the segments.
 * A block's end is found by counting, so that what is not taken is never looked into: templates hold
 * branches for tools and images that this interpreter need not understand to render a plain chat. */
#include "jinja.h"

#include <string.h>

typedef enum seg_kind { SEG_TEXT, SEG_EXPR, SEG_STMT } seg_kind;
typedef struct seg {
    seg_kind kind;
    ng_jcursor code;
} seg;

typedef struct program {
    seg *segs;
    size_t n;
} program;

/* ---- values ------------------------------------------------------------------------------------ */

ng_jval ng_jval_bool(bool v) { return (ng_jval){.kind = NG_J_BOOL, .number = v}; }
ng_jval ng_jval_int(int64_t v) { return (ng_jval){.kind = NG_J_INT, .number = v}; }
ng_jval ng_jval_str(const char *s) { return ng_jval_strn(s, strlen(s)); }
ng_jval ng_jval_strn(const char *s, size_t len) { return (ng_jval){.kind = NG_J_STR, .str = s, .len = len}; }
ng_jval ng_jval_list(ng_jval *items, size_t len) { return (ng_jval){.kind = NG_J_LIST, .items = items, .len = len}; }

ng_jval ng_jval_map(ng_jinja *j) {
    ng_jval v = {.kind = NG_J_MAP};
    v.items = ng_arena_array(j->arena, 2 * NG_J_MAP_MAX, sizeof *v.items);
    v.map_len = ng_arena_alloc(j->arena, sizeof *v.map_len);
    if (!v.items || !v.map_len) j->status = ng_fail(j->err, NG_ENOMEM, "chat template: out of memory");
    return v;
}

void ng_jval_put(ng_jinja *j, ng_jval *map, ng_jval name, ng_jval value) {
    if (j->status) return;
    size_t i = 0;
    while (i < *map->map_len &&
           (map->items[2 * i].len != name.len || memcmp(map->items[2 * i].str, name.str, name.len)))
        i++;
    if (i == NG_J_MAP_MAX) {
        ng_jinja_fail(j, NG_EUNSUPPORTED, "a mapping of so many keys", name.str, name.len);
        return;
    }
    map->items[2 * i] = name;
    map->items[2 * i + 1] = value;
    if (i == *map->map_len) ++*map->map_len;
}

bool ng_jval_truth(const ng_jval *v) {
    switch (v->kind) {
    case NG_J_UNDEFINED:
    case NG_J_NONE: return false;
    case NG_J_BOOL:
    case NG_J_INT: return v->number != 0;
    case NG_J_MAP: return *v->map_len > 0;
    default: return v->len > 0;
    }
}

ng_jval *ng_jinja_get(ng_jinja *j, const char *name, size_t len) {
    for (int i = j->n_vars; i-- > 0;)
        if (j->vars[i].name.len == len && !memcmp(j->vars[i].name.str, name, len)) return &j->vars[i].value;
    return NULL;
}

void ng_jinja_setn(ng_jinja *j, const char *name, size_t len, ng_jval v) {
    ng_jval *old = ng_jinja_get(j, name, len);
    if (old) {
        *old = v;
    } else if (j->n_vars == NG_J_VARS_MAX) {
        ng_jinja_fail(j, NG_EUNSUPPORTED, "so many variables", name, len);
    } else {
        j->vars[j->n_vars].name = ng_jval_strn(name, len);
        j->vars[j->n_vars++].value = v;
    }
}

void ng_jinja_set(ng_jinja *j, const char *name, ng_jval v) { ng_jinja_setn(j, name, strlen(name), v); }

void ng_jinja_fail(ng_jinja *j, ng_status status, const char *what, const char *at, size_t len) {
    if (j->status) return;
    j->status = ng_fail(j->err, status, "chat template: %s is not supported, at \"%.*s\"", what,
                        len < 80 ? (int)len : 80, at);
}

/* ---- cutting the source ------------------------------------------------------------------------ */

static const char *find(const char *p, const char *end, const char *what) {
    return p < end ? memmem(p, (size_t)(end - p), what, strlen(what)) : NULL;
}

/* The end of a {{ or {% part: its closing mark outside of strings. */
static const char *find_close(const char *p, const char *end, const char *mark) {
    for (char quote = 0; p + 1 < end; p++) {
        if (quote) {
            if (*p == '\\') p++;
            else if (*p == quote) quote = 0;
        } else if (*p == '"' || *p == '\'') {
            quote = *p;
        } else if (p[0] == mark[0] && p[1] == mark[1]) {
            return p;
        }
    }
    return NULL;
}

static bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

/* Text [p, end) before a tag: `-` drops all white space at its end; a statement or comment that stands
 * first on its line drops the spaces before it (lstrip_blocks). */
static const char *text_end(const char *start, const char *p, const char *end, bool dash, bool block) {
    const char *e = end;
    if (dash) {
        while (e > p && is_blank(e[-1])) e--;
    } else if (block) {
        while (e > p && (e[-1] == ' ' || e[-1] == '\t')) e--;
        if (!(e == start || (e > start && e[-1] == '\n'))) e = end;
    }
    return e;
}

static void add_seg(program *prog, seg_kind kind, const char *p, const char *end) {
    if (kind != SEG_TEXT || end > p) prog->segs[prog->n++] = (seg){kind, {p, end}};
}

static void cut(ng_jinja *j, program *prog, const char *start, size_t len) {
    const char *p = start, *end = start + len;
    if (len && end[-1] == '\n') end--; /* keep_trailing_newline is off */
    size_t tags = 1;
    for (const char *t = p; t + 1 < end; t++) tags += *t == '{' && (t[1] == '{' || t[1] == '%' || t[1] == '#');
    prog->segs = ng_arena_array(j->arena, 2 * tags + 1, sizeof *prog->segs);
    if (!prog->segs) {
        j->status = ng_fail(j->err, NG_ENOMEM, "chat template: out of memory");
        return;
    }
    while (p < end) {
        const char *tag = p;
        while (tag + 1 < end && !(*tag == '{' && (tag[1] == '{' || tag[1] == '%' || tag[1] == '#'))) tag++;
        if (tag + 1 >= end) break;
        const char *open = tag + 2, *close;
        bool block = tag[1] != '{', comment = tag[1] == '#', dash = open < end && *open == '-';
        add_seg(prog, SEG_TEXT, p, text_end(start, p, tag, dash, block && !(open < end && *open == '+')));
        open += dash || (open < end && *open == '+');
        close = comment ? find(open, end, "#}") : find_close(open, end, block ? "%}" : "}}");
        if (!close) {
            ng_jinja_fail(j, NG_EUNSUPPORTED, "a tag without end", tag, (size_t)(end - tag));
            return;
        }
        p = close + 2;
        dash = close > open && close[-1] == '-';
        if (!comment)
            add_seg(prog, block ? SEG_STMT : SEG_EXPR, open, close - (dash || (close > open && close[-1] == '+')));
        if (dash) {
            while (p < end && is_blank(*p)) p++;
        } else if (block && p < end && *p == '\n') {
            p++; /* trim_blocks */
        }
    }
    add_seg(prog, SEG_TEXT, p, end);
}

/* ---- running ----------------------------------------------------------------------------------- */

static void run(ng_jinja *j, const program *prog, size_t from, size_t to);

static bool begins(const seg *s, const char *word) {
    ng_jcursor c = s->code;
    return s->kind == SEG_STMT && ng_jinja_word(&c, word);
}

/* From the segment behind an opening one: the next that ends or divides this block. */
static size_t block_next(const program *prog, size_t i, size_t to, bool divided) {
    for (int depth = 0; i < to; i++) {
        const seg *s = &prog->segs[i];
        if (!depth && (begins(s, "endfor") || begins(s, "endif") ||
                       (divided && (begins(s, "else") || begins(s, "elif"))))) return i;
        if (begins(s, "for") || begins(s, "if")) depth++;
        if (begins(s, "endfor") || begins(s, "endif")) depth--;
    }
    return to;
}

static void at_end(ng_jinja *j, ng_jcursor *c) {
    ng_jinja_spaces(c);
    if (c->p < c->end) ng_jinja_fail(j, NG_EUNSUPPORTED, "this part of an expression", c->p, (size_t)(c->end - c->p));
}

static void run_if(ng_jinja *j, const program *prog, size_t *i, size_t to) {
    bool taken = false;
    while (!j->status) {
        const seg *s = &prog->segs[*i];
        ng_jcursor c = s->code;
        bool last = ng_jinja_word(&c, "else"), now = last;
        size_t next = block_next(prog, *i + 1, to, !last);
        if (!last && !taken) {
            if (!ng_jinja_word(&c, "elif")) (void)ng_jinja_word(&c, "if");
            ng_jval v = ng_jinja_expression(j, &c);
            at_end(j, &c);
            now = ng_jval_truth(&v);
        }
        if (next == to)
            ng_jinja_fail(j, NG_EUNSUPPORTED, "an if without endif", s->code.p, (size_t)(s->code.end - s->code.p));
        if (now && !taken) run(j, prog, *i + 1, next);
        taken |= now;
        *i = next;
        if (!j->status && begins(&prog->segs[next], "endif")) return;
    }
}

static ng_jval loop_value(ng_jinja *j, size_t k, size_t n) {
    ng_jval loop = ng_jval_map(j);
    ng_jval_put(j, &loop, ng_jval_str("first"), ng_jval_bool(k == 0));
    ng_jval_put(j, &loop, ng_jval_str("last"), ng_jval_bool(k + 1 == n));
    ng_jval_put(j, &loop, ng_jval_str("index"), ng_jval_int((int64_t)k + 1));
    ng_jval_put(j, &loop, ng_jval_str("index0"), ng_jval_int((int64_t)k));
    ng_jval_put(j, &loop, ng_jval_str("length"), ng_jval_int((int64_t)n));
    return loop;
}

/* A loop has a scope: what it sets is gone behind it, its own names hide outer ones. */
static void run_for(ng_jinja *j, const program *prog, size_t *i, size_t to) {
    const seg *s = &prog->segs[*i];
    ng_jcursor c = s->code;
    (void)ng_jinja_word(&c, "for");
    ng_jinja_spaces(&c);
    const char *name = c.p;
    size_t len = ng_jinja_name(&c), body = *i + 1;
    c.p += len;
    *i = block_next(prog, body, to, true);
    if (!len || !ng_jinja_word(&c, "in") || *i == to || !begins(&prog->segs[*i], "endfor")) {
        ng_jinja_fail(j, NG_EUNSUPPORTED, "this for", s->code.p, (size_t)(s->code.end - s->code.p));
        return;
    }
    ng_jval list = ng_jinja_operand(j, &c);
    at_end(j, &c);
    if (!j->status && list.kind != NG_J_LIST && list.kind != NG_J_UNDEFINED) /* Jinja walks over nothing */
        ng_jinja_fail(j, NG_EUNSUPPORTED, "a for over no list", s->code.p, (size_t)(s->code.end - s->code.p));
    int scope = j->n_vars;
    for (size_t k = 0; k < list.len && !j->status; k++) {
        if (scope + 2 > NG_J_VARS_MAX) {
            ng_jinja_fail(j, NG_EUNSUPPORTED, "so many variables", name, len);
            break;
        }
        j->n_vars = scope + 2;
        j->vars[scope].name = ng_jval_strn(name, len);
        j->vars[scope].value = list.items[k];
        j->vars[scope + 1].name = ng_jval_str("loop");
        j->vars[scope + 1].value = loop_value(j, k, list.len);
        run(j, prog, body, *i);
    }
    j->n_vars = scope;
}

static void run_set(ng_jinja *j, ng_jcursor c) {
    ng_jcursor whole = c;
    ng_jinja_spaces(&c);
    const char *name = c.p, *attribute = NULL;
    size_t len = ng_jinja_name(&c), attribute_len = 0;
    c.p += len;
    if (ng_jinja_accept(&c, ".")) {
        attribute = c.p;
        c.p += attribute_len = ng_jinja_name(&c);
    }
    ng_jinja_spaces(&c);
    ng_jval *map = attribute ? ng_jinja_get(j, name, len) : NULL;
    if (!len || !ng_jinja_accept(&c, "=") || (attribute && (!attribute_len || !map || map->kind != NG_J_MAP))) {
        ng_jinja_fail(j, NG_EUNSUPPORTED, "this set", whole.p, (size_t)(whole.end - whole.p));
        return;
    }
    ng_jval v = ng_jinja_expression(j, &c);
    at_end(j, &c);
    if (map) ng_jval_put(j, map, ng_jval_strn(attribute, attribute_len), v);
    else ng_jinja_setn(j, name, len, v);
}

static void write_value(ng_jinja *j, const ng_jval *v, const seg *s) {
    if (v->kind == NG_J_STR) ng_buf_put(j->out, v->str, v->len);
    else if (v->kind == NG_J_INT) ng_buf_printf(j->out, "%lld", (long long)v->number);
    else if (v->kind == NG_J_BOOL) ng_buf_puts(j->out, v->number ? "True" : "False");
    else if (v->kind == NG_J_NONE) ng_buf_puts(j->out, "None");
    else if (v->kind != NG_J_UNDEFINED)
        ng_jinja_fail(j, NG_EUNSUPPORTED, "writing a list", s->code.p, (size_t)(s->code.end - s->code.p));
}

static void run(ng_jinja *j, const program *prog, size_t from, size_t to) {
    if (++j->depth > NG_J_DEPTH_MAX) ng_jinja_fail(j, NG_EUNSUPPORTED, "so deep a nesting", "", 0);
    for (size_t i = from; i < to && !j->status; i++) {
        const seg *s = &prog->segs[i];
        ng_jcursor c = s->code;
        size_t len = (size_t)(c.end - c.p);
        if (++j->steps > NG_J_STEPS_MAX) ng_jinja_fail(j, NG_ELIMIT, "so long a run", c.p, len);
        if (s->kind == SEG_TEXT) {
            ng_buf_put(j->out, c.p, len);
        } else if (s->kind == SEG_EXPR) {
            ng_jval v = ng_jinja_expression(j, &c);
            at_end(j, &c);
            if (!j->status) write_value(j, &v, s);
        } else if (begins(s, "if")) {
            run_if(j, prog, &i, to);
        } else if (begins(s, "for")) {
            run_for(j, prog, &i, to);
        } else if (begins(s, "generation") || begins(s, "endgeneration")) {
            continue; /* transformers' marks for training: no text */
        } else if (begins(s, "macro")) { /* a definition does nothing; a call of it is refused */
            while (i < to && !begins(&prog->segs[i], "endmacro")) i++;
        } else if (ng_jinja_word(&c, "set")) {
            run_set(j, c);
        } else {
            ng_jinja_fail(j, NG_EUNSUPPORTED, "this statement", c.p, len);
        }
        if (!j->status && j->out->status) j->status = ng_fail(j->err, j->out->status, "chat template: too much text");
    }
    j->depth--;
}

ng_status ng_jinja_render(ng_jinja *j, const char *source, size_t len) {
    program prog = {0};
    cut(j, &prog, source, len);
    if (!j->status) run(j, &prog, 0, prog.n);
    return j->status;
}

/* jinja_expr.c: expressions by recursive descent, evaluated as they are read.  See jinja.h.
 *
 * One function a level of precedence, the weakest first: conditional, or, and, not, comparison, sum,
 * prefix, postfix, primary.  What a short circuit leaves out is still read, with `dry` raised: then
 * nothing is looked up and nothing can fail but syntax. */
#include "jinja.h"

#include "core/checked.h"
#include "core/utf8.h"
#include "text/unicode.h"

#include <string.h>

static const ng_jval undefined = {.kind = NG_J_UNDEFINED};

static void fail_here(ng_jinja *j, const char *what, const ng_jcursor *c) {
    ng_jinja_fail(j, NG_EUNSUPPORTED, what, c->p, (size_t)(c->end - c->p));
}

void ng_jinja_spaces(ng_jcursor *c) {
    while (c->p < c->end && (*c->p == ' ' || *c->p == '\t' || *c->p == '\n' || *c->p == '\r')) c->p++;
}

bool ng_jinja_accept(ng_jcursor *c, const char *symbol) {
    size_t n = strlen(symbol);
    ng_jinja_spaces(c);
    if ((size_t)(c->end - c->p) < n || memcmp(c->p, symbol, n)) return false;
    c->p += n;
    return true;
}

static bool name_byte(char ch, bool first) {
    return ch == '_' || ((ch | 32) >= 'a' && (ch | 32) <= 'z') || (!first && ch >= '0' && ch <= '9');
}

size_t ng_jinja_name(const ng_jcursor *c) {
    size_t n = 0;
    while (c->p + n < c->end && name_byte(c->p[n], n == 0)) n++;
    return n;
}

bool ng_jinja_word(ng_jcursor *c, const char *word) {
    ng_jinja_spaces(c);
    size_t n = ng_jinja_name(c);
    if (n != strlen(word) || memcmp(c->p, word, n)) return false;
    c->p += n;
    return true;
}

static bool is_word(const ng_jval *name, const char *word) {
    return name->len == strlen(word) && !memcmp(name->str, word, name->len);
}

/* The map's value of that name, or undefined. */
static ng_jval lookup(const ng_jval *map, const ng_jval *name) {
    for (size_t i = 0; i < *map->map_len; i++)
        if (map->items[2 * i].len == name->len && !memcmp(map->items[2 * i].str, name->str, name->len))
            return map->items[2 * i + 1];
    return undefined;
}

static bool equal(const ng_jval *a, const ng_jval *b) {
    bool numbers = (a->kind == NG_J_BOOL || a->kind == NG_J_INT) && (b->kind == NG_J_BOOL || b->kind == NG_J_INT);
    if (numbers) return a->number == b->number;
    if (a->kind != b->kind) return false;
    if (a->kind == NG_J_STR) return a->len == b->len && !memcmp(a->str, b->str, a->len);
    return a->kind <= NG_J_NONE || (a->items == b->items && a->len == b->len);
}

/* ---- primary ----------------------------------------------------------------------------------- */

static ng_jval read_string(ng_jinja *j, ng_jcursor *c) {
    char quote = *c->p++;
    const char *start = c->p;
    while (c->p < c->end && *c->p != quote) c->p += *c->p == '\\' && c->p + 1 < c->end ? 2 : 1;
    if (c->p >= c->end) {
        fail_here(j, "a string without end", &(ng_jcursor){start - 1, c->end});
        return undefined;
    }
    char *out = ng_arena_alloc(j->arena, (size_t)(c->p - start) + 1);
    size_t n = 0;
    if (!out) {
        j->status = ng_fail(j->err, NG_ENOMEM, "chat template: out of memory");
        return undefined;
    }
    for (const char *p = start; p < c->p; p++) {
        char ch = *p;
        if (ch == '\\' && p + 1 < c->p) {
            ch = *++p;
            if (ch == 'n') ch = '\n';
            else if (ch == 't') ch = '\t';
            else if (ch == 'r') ch = '\r';
            else if (ch != '\\' && ch != '\'' && ch != '"') fail_here(j, "this escape", &(ng_jcursor){p - 1, c->end});
        }
        out[n++] = ch;
    }
    c->p++;
    return ng_jval_strn(out, n);
}

enum { ARGS_MAX = 16 };
/* "a, b)" or "name=a, ..)" after the opening bracket; names[] of those that have one. */
static size_t read_items(ng_jinja *j, ng_jcursor *c, const char *close, ng_jval *items, ng_jval *names) {
    size_t n = 0;
    while (!j->status && !ng_jinja_accept(c, close)) {
        if (n == ARGS_MAX || (n && !ng_jinja_accept(c, ","))) {
            fail_here(j, "this list", c);
            break;
        }
        if (n && ng_jinja_accept(c, close)) break;
        ng_jcursor ahead = *c;
        ng_jinja_spaces(&ahead);
        size_t len = ng_jinja_name(&ahead);
        ng_jval name = ng_jval_strn(ahead.p, len);
        ahead.p += len;
        names[n] = undefined;
        if (len && ng_jinja_accept(&ahead, "=") && !(ahead.p < ahead.end && *ahead.p == '='))
            names[n] = name, *c = ahead;
        items[n++] = ng_jinja_expression(j, c);
    }
    return n;
}

static ng_jval *new_items(ng_jinja *j, size_t n) {
    ng_jval *items = ng_arena_array(j->arena, n, sizeof *items);
    if (!items) j->status = ng_fail(j->err, NG_ENOMEM, "chat template: out of memory");
    return items;
}

static ng_jval read_list(ng_jinja *j, ng_jcursor *c) {
    ng_jval items[ARGS_MAX], names[ARGS_MAX], *kept;
    size_t n = read_items(j, c, "]", items, names);
    if (j->status) return undefined;
    if (!(kept = new_items(j, n))) return undefined;
    memcpy(kept, items, n * sizeof *kept);
    return ng_jval_list(kept, n);
}

static ng_jval call(ng_jinja *j, ng_jcursor *c, const ng_jval *name) {
    ng_jval items[ARGS_MAX], names[ARGS_MAX];
    ng_jcursor here = {name->str, c->end};
    size_t n = read_items(j, c, ")", items, names);
    if (j->status || j->dry) return undefined;
    if (is_word(name, "namespace")) {
        ng_jval map = ng_jval_map(j);
        for (size_t i = 0; i < n; i++) {
            if (names[i].kind != NG_J_STR) fail_here(j, "this namespace", &here);
            else ng_jval_put(j, &map, names[i], items[i]);
        }
        return map;
    }
    if (is_word(name, "raise_exception") && n == 1 && items[0].kind == NG_J_STR)
        j->status = ng_fail(j->err, NG_EINVALID, "chat template: %.*s", items[0].len < 200 ? (int)items[0].len : 200,
                            items[0].str);
    else fail_here(j, "this function", &here);
    return undefined;
}

static ng_jval primary(ng_jinja *j, ng_jcursor *c) {
    ng_jinja_spaces(c);
    if (c->p >= c->end) return fail_here(j, "an expression that ends here", c), undefined;
    if (*c->p == '"' || *c->p == '\'') return read_string(j, c);
    if (*c->p >= '0' && *c->p <= '9') {
        int64_t v = 0;
        while (c->p < c->end && *c->p >= '0' && *c->p <= '9' && v < 1000000000) v = 10 * v + (*c->p++ - '0');
        return ng_jval_int(v);
    }
    if (ng_jinja_accept(c, "(")) {
        ng_jval v = ng_jinja_expression(j, c);
        if (!ng_jinja_accept(c, ")")) fail_here(j, "this bracket", c);
        return v;
    }
    if (ng_jinja_accept(c, "[")) return read_list(j, c);
    size_t len = ng_jinja_name(c);
    ng_jval name = ng_jval_strn(c->p, len);
    if (!len) return fail_here(j, "this part of an expression", c), undefined;
    c->p += len;
    if (is_word(&name, "true") || is_word(&name, "True")) return ng_jval_bool(true);
    if (is_word(&name, "false") || is_word(&name, "False")) return ng_jval_bool(false);
    if (is_word(&name, "none") || is_word(&name, "None")) return (ng_jval){.kind = NG_J_NONE};
    if (ng_jinja_accept(c, "(")) return call(j, c, &name);
    const ng_jval *v = j->dry ? NULL : ng_jinja_get(j, name.str, name.len);
    return v ? *v : undefined;
}

/* ---- postfix ----------------------------------------------------------------------------------- */

/* Length of the character at the beginning or end of s[0..n) if Python's strip() would drop it, or 0. */
static size_t stripped_char(const char *s, size_t n, bool at_end, const ng_jval *set) {
    if (!n) return 0;
    const char *p = at_end ? s + n - 1 : s;
    if (set) return memchr(set->str, *p, set->len) ? 1 : 0; /* ASCII in all templates there are */
    while (p > s && ((unsigned char)*p & 0xC0) == 0x80) p--;
    uint32_t cp;
    size_t len = ng_utf8_decode(&cp, p, (size_t)(s + n - p));
    return (ng_unicode(cp) & NG_U_SPACE) || (cp >= 0x1C && cp <= 0x1F) ? len : 0;
}

/* Without the characters of `set` (white space where it is NULL) at the sides asked for. */
static ng_jval stripped(ng_jval v, const ng_jval *set, bool left, bool right) {
    size_t n;
    while (left && (n = stripped_char(v.str, v.len, false, set))) v.str += n, v.len -= n;
    while (right && (n = stripped_char(v.str, v.len, true, set))) v.len -= n;
    return v;
}

static ng_jval split(ng_jinja *j, const ng_jval *v, const ng_jval *by) {
    size_t n = 1;
    const char *end = v->str + v->len, *p = v->str, *hit;
    for (const char *q = p; (hit = memmem(q, (size_t)(end - q), by->str, by->len)); q = hit + by->len) n++;
    ng_jval *items = new_items(j, n);
    if (!items) return undefined;
    for (size_t i = 0; i < n; i++) {
        hit = i + 1 < n ? memmem(p, (size_t)(end - p), by->str, by->len) : end;
        items[i] = ng_jval_strn(p, (size_t)(hit - p));
        p = hit + by->len;
    }
    return ng_jval_list(items, n);
}

static ng_jval changed_case(ng_jinja *j, ng_jval v, bool upper) {
    char *out = ng_arena_strndup(j->arena, v.str, v.len);
    if (!out) {
        j->status = ng_fail(j->err, NG_ENOMEM, "chat template: out of memory");
        return undefined;
    }
    for (size_t i = 0; i < v.len; i++) {
        if ((unsigned char)out[i] >= 0x80)
            ng_jinja_fail(j, NG_EUNSUPPORTED, "changing the case of this text", v.str, v.len);
        if (upper ? out[i] >= 'a' && out[i] <= 'z' : out[i] >= 'A' && out[i] <= 'Z') out[i] ^= 32;
    }
    return ng_jval_strn(out, v.len);
}

/* Every `from` in v becomes `to`. */
static ng_jval replaced(ng_jinja *j, const ng_jval *v, const ng_jval *from, const ng_jval *to) {
    ng_jval parts = split(j, v, from);
    size_t n = 0, all;
    if (j->status || !ng_mul_ok(&all, parts.len, to->len) || !ng_add_ok(&all, all, v->len)) return undefined;
    char *text = ng_arena_alloc(j->arena, all + 1);
    if (!text) {
        j->status = ng_fail(j->err, NG_ENOMEM, "chat template: out of memory");
        return undefined;
    }
    for (size_t i = 0; i < parts.len; i++) {
        if (i) memcpy(text + n, to->str, to->len), n += to->len;
        memcpy(text + n, parts.items[i].str, parts.items[i].len), n += parts.items[i].len;
    }
    return ng_jval_strn(text, n);
}

static ng_jval filter(ng_jinja *j, ng_jcursor *c, ng_jval v) {
    ng_jinja_spaces(c);
    ng_jcursor here = *c;
    ng_jval items[ARGS_MAX], names[ARGS_MAX], name = ng_jval_strn(c->p, ng_jinja_name(c));
    size_t n = 0;
    c->p += name.len;
    if (ng_jinja_accept(c, "(")) n = read_items(j, c, ")", items, names);
    if (j->status || j->dry) return undefined;
    if (is_word(&name, "default") && n >= 1)
        return v.kind == NG_J_UNDEFINED || (n == 2 && ng_jval_truth(&items[1]) && !ng_jval_truth(&v)) ? items[0] : v;
    if (!n && v.kind == NG_J_STR && is_word(&name, "trim")) return stripped(v, NULL, true, true);
    if (!n && v.kind == NG_J_STR && (is_word(&name, "upper") || is_word(&name, "lower")))
        return changed_case(j, v, name.str[0] == 'u');
    if (!n && (is_word(&name, "length") || is_word(&name, "count")) && (v.kind == NG_J_LIST || v.kind == NG_J_MAP))
        return ng_jval_int((int64_t)(v.kind == NG_J_LIST ? v.len : *v.map_len));
    if (!n && v.kind == NG_J_STR && is_word(&name, "length")) { /* in characters; the text is UTF-8 */
        int64_t chars = 0;
        for (size_t i = 0; i < v.len; i++) chars += ((unsigned char)v.str[i] & 0xC0) != 0x80;
        return ng_jval_int(chars);
    }
    fail_here(j, "this filter", &here);
    return undefined;
}

static ng_jval method(ng_jinja *j, ng_jcursor *c, ng_jval v, const ng_jval *name) {
    ng_jval items[ARGS_MAX], names[ARGS_MAX];
    ng_jcursor here = {name->str, c->end};
    size_t n = read_items(j, c, ")", items, names);
    if (j->status || j->dry) return undefined;
    const ng_jval *first = n == 1 && items[0].kind == NG_J_STR ? &items[0] : NULL;
    if (v.kind == NG_J_STR && (!n || first)) {
        if (is_word(name, "strip")) return stripped(v, first, true, true);
        if (is_word(name, "lstrip")) return stripped(v, first, true, false);
        if (is_word(name, "rstrip")) return stripped(v, first, false, true);
    }
    if (v.kind == NG_J_MAP && first && is_word(name, "get")) {
        ng_jval got = lookup(&v, first);
        return got.kind == NG_J_UNDEFINED ? (ng_jval){.kind = NG_J_NONE} : got;
    }
    if (v.kind == NG_J_STR && first) {
        if (is_word(name, "split") && first->len) return split(j, &v, first);
        bool fits = items[0].len <= v.len;
        if (is_word(name, "startswith")) return ng_jval_bool(fits && !memcmp(v.str, items[0].str, items[0].len));
        if (is_word(name, "endswith"))
            return ng_jval_bool(fits && !memcmp(v.str + v.len - items[0].len, items[0].str, items[0].len));
    }
    if (v.kind == NG_J_STR && n == 2 && is_word(name, "replace") && items[0].kind == NG_J_STR && items[0].len &&
        items[1].kind == NG_J_STR)
        return replaced(j, &v, &items[0], &items[1]);
    fail_here(j, "this method", &here);
    return undefined;
}

static ng_jval attribute(ng_jinja *j, ng_jcursor *c, ng_jval v) {
    ng_jinja_spaces(c);
    ng_jcursor here = *c;
    ng_jval name = ng_jval_strn(c->p, ng_jinja_name(c));
    if (!name.len) return fail_here(j, "this attribute", &here), undefined;
    c->p += name.len;
    if (ng_jinja_accept(c, "(")) return method(j, c, v, &name);
    if (j->dry) return undefined;
    if (v.kind == NG_J_MAP) return lookup(&v, &name);
    fail_here(j, "an attribute of this value", &here);
    return undefined;
}

/* Python's index: negative ones count from the end; clamped to 0 .. len. */
static size_t clamped(int64_t i, size_t len) {
    if (i < 0) i += (int64_t)len;
    return i < 0 ? 0 : i > (int64_t)len ? len : (size_t)i;
}

static ng_jval reversed(ng_jinja *j, ng_jval v, const ng_jcursor *here) {
    if (j->dry) return undefined;
    if (v.kind != NG_J_LIST) return fail_here(j, "a subscript of this value", here), undefined;
    ng_jval *items = new_items(j, v.len);
    for (size_t i = 0; items && i < v.len; i++) items[i] = v.items[v.len - 1 - i];
    return items ? ng_jval_list(items, v.len) : undefined;
}

static ng_jval subscript(ng_jinja *j, ng_jcursor *c, ng_jval v) {
    ng_jcursor here = *c;
    ng_jval from = ng_jval_int(0), to = ng_jval_int((int64_t)v.len);
    if (ng_jinja_accept(c, "::-1]")) return reversed(j, v, &here);
    bool slice = ng_jinja_accept(c, ":");
    if (!slice) {
        from = ng_jinja_expression(j, c);
        slice = ng_jinja_accept(c, ":");
    }
    if (slice && !ng_jinja_accept(c, "]")) {
        to = ng_jinja_expression(j, c);
        if (!ng_jinja_accept(c, "]")) fail_here(j, "this subscript", &here);
    } else if (!slice && !ng_jinja_accept(c, "]")) {
        fail_here(j, "this subscript", &here);
    }
    if (j->status || j->dry) return undefined;
    if (!slice && v.kind == NG_J_MAP && from.kind == NG_J_STR) return lookup(&v, &from);
    if (v.kind == NG_J_LIST && from.kind == NG_J_INT && to.kind == NG_J_INT) {
        size_t a = clamped(from.number, v.len), b = clamped(to.number, v.len);
        if (slice) return ng_jval_list(v.items + a, b > a ? b - a : 0);
        return from.number < -(int64_t)v.len || a >= v.len ? undefined : v.items[a];
    }
    fail_here(j, "a subscript of this value", &here);
    return undefined;
}

static ng_jval postfix(ng_jinja *j, ng_jcursor *c) {
    ng_jval v = primary(j, c);
    while (!j->status) {
        if (ng_jinja_accept(c, ".")) v = attribute(j, c, v);
        else if (ng_jinja_accept(c, "[")) v = subscript(j, c, v);
        else if (ng_jinja_accept(c, "|")) v = filter(j, c, v);
        else break;
    }
    return v;
}

/* ---- operators --------------------------------------------------------------------------------- */

static ng_jval prefix(ng_jinja *j, ng_jcursor *c) {
    if (!ng_jinja_accept(c, "-")) return postfix(j, c);
    ng_jcursor here = *c;
    ng_jval v = postfix(j, c);
    if (!j->dry && !j->status && v.kind != NG_J_INT) fail_here(j, "minus", &here);
    v.number = -v.number;
    return v;
}

static ng_jval joined(ng_jinja *j, const ng_jval *a, const ng_jval *b) {
    size_t n;
    char *out = ng_add_ok(&n, a->len, b->len) ? ng_arena_alloc(j->arena, n + 1) : NULL;
    if (!out) {
        j->status = ng_fail(j->err, NG_ENOMEM, "chat template: out of memory");
        return undefined;
    }
    memcpy(out, a->str, a->len);
    memcpy(out + a->len, b->str, b->len);
    return ng_jval_strn(out, n);
}

static ng_jval sum(ng_jinja *j, ng_jcursor *c) {
    ng_jval a = prefix(j, c);
    for (char op; !j->status; ) {
        ng_jcursor here = *c;
        op = ng_jinja_accept(c, "+") ? '+' : ng_jinja_accept(c, "-") ? '-' : ng_jinja_accept(c, "~") ? '~'
           : ng_jinja_accept(c, "%") ? '%' : 0;
        if (!op) break;
        ng_jval b = prefix(j, c);
        if (j->status || j->dry) continue;
        if (a.kind == NG_J_STR && b.kind == NG_J_STR && (op == '+' || op == '~')) a = joined(j, &a, &b);
        else if (a.kind == NG_J_INT && b.kind == NG_J_INT && (op == '+' || op == '-'))
            a.number = op == '+' ? a.number + b.number : a.number - b.number;
        else if (a.kind == NG_J_INT && b.kind == NG_J_INT && op == '%' && a.number >= 0 && b.number > 0)
            a.number %= b.number;
        else fail_here(j, "this sum", &here);
    }
    return a;
}

static ng_jval contains(ng_jinja *j, const ng_jval *a, const ng_jval *b, const ng_jcursor *here) {
    bool found = false;
    if (b->kind == NG_J_STR && a->kind == NG_J_STR) {
        found = !a->len || memmem(b->str, b->len, a->str, a->len) != NULL;
    } else if (b->kind == NG_J_LIST) {
        for (size_t i = 0; i < b->len; i++) found |= equal(a, &b->items[i]);
    } else if (b->kind == NG_J_MAP && a->kind == NG_J_STR) {
        found = lookup(b, a).kind != NG_J_UNDEFINED;
    } else {
        fail_here(j, "this `in`", here);
    }
    return ng_jval_bool(found);
}

static ng_jval test(ng_jinja *j, ng_jcursor *c, const ng_jval *v) {
    bool negated = ng_jinja_word(c, "not"), is = false;
    ng_jcursor here = *c;
    if (ng_jinja_word(c, "defined")) is = v->kind != NG_J_UNDEFINED;
    else if (ng_jinja_word(c, "undefined")) is = v->kind == NG_J_UNDEFINED;
    else if (ng_jinja_word(c, "none")) is = v->kind == NG_J_NONE;
    else if (ng_jinja_word(c, "string")) is = v->kind == NG_J_STR;
    else if (ng_jinja_word(c, "mapping")) is = v->kind == NG_J_MAP;
    else if (ng_jinja_word(c, "iterable") || ng_jinja_word(c, "sequence"))
        is = v->kind == NG_J_STR || v->kind == NG_J_LIST || v->kind == NG_J_MAP;
    else if (ng_jinja_word(c, "true")) is = v->kind == NG_J_BOOL && v->number;
    else if (ng_jinja_word(c, "false")) is = v->kind == NG_J_BOOL && !v->number;
    else fail_here(j, "this test", &here);
    return ng_jval_bool(is != negated);
}

static ng_jval comparison(ng_jinja *j, ng_jcursor *c) {
    ng_jval a = sum(j, c);
    while (!j->status) {
        ng_jcursor here = *c, not_in = *c;
        static const char *const ops[] = {"==", "!=", "<=", ">=", "<", ">"};
        size_t op = 0;
        if (ng_jinja_word(c, "is")) {
            a = test(j, c, &a);
            continue;
        }
        bool negated = ng_jinja_word(&not_in, "not") && ng_jinja_word(&not_in, "in");
        if (negated) *c = not_in;
        if (negated || ng_jinja_word(c, "in")) {
            ng_jval b = sum(j, c);
            if (!j->dry && !j->status) a = contains(j, &a, &b, &here);
            if (negated) a.number = !a.number;
            continue;
        }
        while (op < 6 && !ng_jinja_accept(c, ops[op])) op++;
        if (op == 6) break;
        ng_jval b = sum(j, c);
        if (j->dry || j->status) continue;
        if (op >= 2 && (a.kind != NG_J_INT || b.kind != NG_J_INT)) fail_here(j, "this comparison", &here);
        bool is = op == 0 ? equal(&a, &b) : op == 1 ? !equal(&a, &b) : op == 2 ? a.number <= b.number
                : op == 3 ? a.number >= b.number : op == 4 ? a.number < b.number : a.number > b.number;
        a = ng_jval_bool(is);
    }
    return a;
}

static ng_jval negation(ng_jinja *j, ng_jcursor *c) {
    if (!ng_jinja_word(c, "not")) return comparison(j, c);
    if (++j->depth > NG_J_DEPTH_MAX) fail_here(j, "so deep a nesting", c);
    ng_jval v = j->status ? undefined : negation(j, c);
    j->depth--;
    return ng_jval_bool(!ng_jval_truth(&v));
}

/* Python's `and` and `or` give one of their operands. */
static ng_jval conjunction(ng_jinja *j, ng_jcursor *c) {
    ng_jval a = negation(j, c);
    while (!j->status && ng_jinja_word(c, "and")) {
        bool skip = !ng_jval_truth(&a);
        j->dry += skip;
        ng_jval b = negation(j, c);
        j->dry -= skip;
        if (!skip) a = b;
    }
    return a;
}

ng_jval ng_jinja_operand(ng_jinja *j, ng_jcursor *c) {
    ng_jval a = conjunction(j, c);
    while (!j->status && ng_jinja_word(c, "or")) {
        bool skip = ng_jval_truth(&a);
        j->dry += skip;
        ng_jval b = conjunction(j, c);
        j->dry -= skip;
        if (!skip) a = b;
    }
    return a;
}

/* A conditional's value stands before its condition: it is read dry, and again when it is wanted. */
ng_jval ng_jinja_expression(ng_jinja *j, ng_jcursor *c) {
    if (++j->depth > NG_J_DEPTH_MAX) fail_here(j, "so deep a nesting", c);
    if (++j->steps > NG_J_STEPS_MAX) ng_jinja_fail(j, NG_ELIMIT, "so long a run", c->p, (size_t)(c->end - c->p));
    ng_jcursor start = *c;
    ng_jval v = undefined;
    j->dry++;
    if (!j->status) ng_jinja_operand(j, c);
    j->dry--;
    if (!j->status && ng_jinja_word(c, "if")) {
        ng_jval cond = ng_jinja_operand(j, c);
        bool yes = ng_jval_truth(&cond);
        if (yes && !j->dry) v = ng_jinja_operand(j, &start);
        j->dry += yes;
        if (!j->status && ng_jinja_word(c, "else")) {
            ng_jval other = ng_jinja_expression(j, c);
            if (!yes) v = other;
        }
        j->dry -= yes;
    } else if (!j->dry && !j->status) {
        *c = start;
        v = ng_jinja_operand(j, c);
    }
    j->depth--;
    return v;
}

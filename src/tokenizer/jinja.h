/* jinja.h: the part of Jinja that chat templates are written in, rendered; anything else is refused.
 *
 *     ng_jinja j = {.arena = a, .out = &buf, .err = &err};
 *     ng_jinja_set(&j, "add_generation_prompt", ng_jval_bool(true));
 *     ng_jinja_set(&j, "messages", ng_jval_list(items, n));
 *     ng_status s = ng_jinja_render(&j, source, len);
 *
 * Statements: for, if / elif / else, set (also of a namespace's attribute).  Expressions: literals,
 * lists, or and not, comparisons, in, is, + - % ~, the conditional, attributes, subscripts, slices of
 * lists, the filters trim, length, upper, lower and default, the methods strip, lstrip, rstrip, split,
 * replace, get, startswith and endswith, namespace() and raise_exception().  White space is treated as transformers does it
 * (trim_blocks, lstrip_blocks).  NG_EUNSUPPORTED names what is not known; parts of the template that
 * are not reached may hold anything. */
#ifndef NG_TOKENIZER_JINJA_H
#define NG_TOKENIZER_JINJA_H

#include "core/arena.h"

#include <nanogrid/buf.h>

typedef enum ng_jkind { NG_J_UNDEFINED, NG_J_NONE, NG_J_BOOL, NG_J_INT, NG_J_STR, NG_J_LIST, NG_J_MAP } ng_jkind;

typedef struct ng_jval ng_jval;
struct ng_jval {
    ng_jkind kind;
    int64_t number;   /* BOOL, INT */
    const char *str;  /* STR: len bytes */
    size_t len;       /* of STR, LIST and MAP */
    ng_jval *items;   /* LIST: [len]; MAP: [2 * len], name and value in turn */
    size_t *map_len;  /* MAP: its length, which `set` may raise up to NG_J_MAP_MAX */
};

enum { NG_J_VARS_MAX = 32, NG_J_MAP_MAX = 16, NG_J_DEPTH_MAX = 48, NG_J_STEPS_MAX = 1 << 20 };

typedef struct ng_jinja {
    ng_arena *arena;
    ng_buf *out;
    ng_error *err;
    ng_status status;
    struct {
        ng_jval name, value;
    } vars[NG_J_VARS_MAX];
    int n_vars;
    int dry;   /* > 0: expressions are parsed, not evaluated */
    int depth;
    size_t steps;
} ng_jinja;

ng_jval ng_jval_bool(bool v);
ng_jval ng_jval_int(int64_t v);
ng_jval ng_jval_str(const char *s);
ng_jval ng_jval_strn(const char *s, size_t len);
ng_jval ng_jval_list(ng_jval *items, size_t len);
ng_jval ng_jval_map(ng_jinja *j); /* empty */
void ng_jval_put(ng_jinja *j, ng_jval *map, ng_jval name, ng_jval value);
bool ng_jval_truth(const ng_jval *v);

void ng_jinja_set(ng_jinja *j, const char *name, ng_jval v);
void ng_jinja_setn(ng_jinja *j, const char *name, size_t len, ng_jval v);
/* NULL when there is no such variable. */
ng_jval *ng_jinja_get(ng_jinja *j, const char *name, size_t len);
ng_status ng_jinja_render(ng_jinja *j, const char *source, size_t len) NG_MUST_USE;

/* ---- between the two files ---- */
typedef struct ng_jcursor {
    const char *p, *end;
} ng_jcursor;
ng_jval ng_jinja_expression(ng_jinja *j, ng_jcursor *c);
ng_jval ng_jinja_operand(ng_jinja *j, ng_jcursor *c); /* without the conditional: what follows `in` of a for */
void ng_jinja_fail(ng_jinja *j, ng_status status, const char *what, const char *at, size_t len);
void ng_jinja_spaces(ng_jcursor *c);
bool ng_jinja_accept(ng_jcursor *c, const char *symbol);
bool ng_jinja_word(ng_jcursor *c, const char *word);
size_t ng_jinja_name(const ng_jcursor *c); /* length of the identifier at the cursor, or 0 */

#endif

/* structure.h: what a text is made of besides sentences.
 *
 *     ng_structure s = ng_structure_of(text, len);
 *     if (s.code || s.table) ..                      s.numbers, s.list_items: how many
 *
 * code: a fence, or lines as programs have them; list: two items or more; table: two rows of cells or more; maths: an operator between
 * numbers, or LaTeX.  Of a long text the first NG_STRUCTURE_MAX bytes count.  No allocation, about a microsecond; thread-safe. */
#ifndef NG_ROUTE_STRUCTURE_H
#define NG_ROUTE_STRUCTURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NG_STRUCTURE_MAX = 8192 };

typedef struct ng_structure {
    bool code, list, table, maths;
    uint32_t numbers, list_items, lines;
} ng_structure;

ng_structure ng_structure_of(const char *text, size_t len);
/* More than sentences: code, a table or maths. */
bool ng_structure_is_technical(const ng_structure *s);

#endif

/* complexity.h: how much a text asks for, 0 .. 1.
 *
 *     ng_structure s = ng_structure_of(text, len);
 *     double c = ng_complexity_of(text, len, &s);    "turn on the light" 0.1; a page with code and conditions 0.9
 *
 * Length, long words, words that ask for reasoning or set conditions (English), questions, numbers and structure, added up and bent into
 * 0 .. 1.  A hint from the outside of a text, no probability: the cascade learns what it is worth (gain.h), no threshold reads it.
 * Of a long text the first NG_STRUCTURE_MAX bytes count.  The same bits everywhere; thread-safe. */
#ifndef NG_ROUTE_COMPLEXITY_H
#define NG_ROUTE_COMPLEXITY_H

#include "structure.h"

double ng_complexity_of(const char *text, size_t len, const ng_structure *s);

#endif

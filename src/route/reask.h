/* reask.h: does a turn of a conversation say that the answer before was no good?
 *
 *     ng_reask r = ng_reask_of(before, before_len, now, now_len);      two messages of the user, the older first
 *     if (r == NG_REASK_REPEATED) ..                                   much the same question again
 *
 * Repeated: at least three words, and of the words of both seven in ten shared; any language that parts words.
 * Dissatisfied: a short turn with a phrase like "that's wrong" or "not what I asked"; English.  No allocation, a few
 * microseconds; thread-safe. */
#ifndef NG_ROUTE_REASK_H
#define NG_ROUTE_REASK_H

#include <stddef.h>

typedef enum ng_reask { NG_REASK_NO, NG_REASK_REPEATED, NG_REASK_DISSATISFIED } ng_reask;

ng_reask ng_reask_of(const char *before, size_t before_len, const char *now, size_t now_len);
const char *ng_reask_name(ng_reask r); /* "repeated", "dissatisfied"; NULL for no */

#endif

/* stop.h: holds text back until it is certain that no stop text begins in it.
 *
 *     ng_stop s;
 *     ng_stop_init(&s, texts, n);
 *     size_t sure;
 *     bool hit = ng_stop_scan(&s, text, len, &sure);    text: all so far, sure: what may be shown
 *
 * `texts` is borrowed.  Offsets only grow, so each byte is looked at a bounded number of times.  As
 * text and stop texts are UTF-8, `sure` never falls inside a character. */
#ifndef NG_DECODE_STOP_H
#define NG_DECODE_STOP_H

#include <stdbool.h>
#include <stddef.h>

typedef struct ng_stop {
    const char *const *texts;
    size_t n;
    size_t sure; /* text[0..sure) was released */
} ng_stop;

void ng_stop_init(ng_stop *s, const char *const *texts, size_t n);
/* True when a stop text stands in text[0..len): *sure is then where it begins (of several, the one
 * that was complete first).  Otherwise *sure leaves out the longest ending that some stop text
 * begins with. */
bool ng_stop_scan(ng_stop *s, const char *text, size_t len, size_t *sure);

#endif

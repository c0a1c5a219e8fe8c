/* plain.h: a text without the dirt that hides what it says: what routers and classifiers read instead of it.
 *
 *     ng_buf b = ng_buf_init(max);
 *     if (ng_text_plain(&b, text, len)) use(b.data, b.len); else use(text, len);   false: it is plain already
 *
 * What goes: invisible characters beside ASCII (zero width, soft hyphens, marks of direction, tags); full-width forms
 * become ASCII; Cyrillic and Greek letters that look like Latin ones become these, in words whose other letters are all
 * Latin; three or more of one punctuation mark become one, or nothing where they stand alone.  Texts in other scripts
 * stay as they are, and no text gets longer. */
#ifndef NG_TEXT_PLAIN_H
#define NG_TEXT_PLAIN_H

#include <nanogrid/buf.h>

/* Appends the plain form of valid UTF-8; false, and nothing appended, when it is the same (or memory is out). */
bool ng_text_plain(ng_buf *out, const char *text, size_t len);

#endif

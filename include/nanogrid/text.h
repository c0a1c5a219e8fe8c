/* text.h: is this UTF-8?  The one question about bytes that every way in asks. */
#ifndef NANOGRID_TEXT_H
#define NANOGRID_TEXT_H

#include <nanogrid/status.h>

/* The index of the first byte that is not part of a valid UTF-8 sequence (RFC 3629: no surrogates,
 * no overlong forms, at most U+10FFFF), or len when all are. */
NG_API size_t ng_utf8_invalid_at(const char *text, size_t len);

#endif

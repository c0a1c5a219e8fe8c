/* utf8.h: walking over UTF-8.
 *
 *     for (size_t i = 0; i < len; i += n) {
 *         uint32_t cp;
 *         n = ng_utf8_decode(&cp, text + i, len - i);   0 < n <= 4; invalid bytes: n 1, cp U+FFFD
 *     }
 * See nanogrid/text.h for the check. */
#ifndef NG_CORE_UTF8_H
#define NG_CORE_UTF8_H

#include <nanogrid/text.h>

enum { NG_UTF8_REPLACEMENT = 0xFFFD };

/* Decodes one code point at s[0..len), len > 0.  An invalid sequence gives U+FFFD and length 1. */
size_t ng_utf8_decode(uint32_t *cp, const char *s, size_t len);
/* Length of the valid sequence at s, 0 when there is none. */
size_t ng_utf8_sequence(const char *s, size_t len);
/* Writes 1..4 bytes of a valid code point; returns how many. */
size_t ng_utf8_encode(char out[4], uint32_t cp);
/* Bytes at the end of s[0..len) that begin a sequence not yet complete (0..3): what a streaming
 * writer must hold back. */
size_t ng_utf8_tail(const char *s, size_t len);

#endif

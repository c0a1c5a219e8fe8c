/* encoder_text.h: the text as a head of an encoder reads it.
 *
 *     ng_buf b = ng_buf_init(2 * len + 64);
 *     if (ng_encoder_text(&b, head, tokenizer, text, len)) text = b.data, len = b.len;      false: as it stands
 *
 * Heads that judge (moderate) read what a person would: letters apart are joined, look-alikes, digits and signs that stand for
 * letters become these (text/evasion.h), where the encoder's own vocabulary knows the word.  All others read the text as it is. */
#ifndef NG_MODEL_ENCODER_TEXT_H
#define NG_MODEL_ENCODER_TEXT_H

#include "encoder_heads.h"
#include <nanogrid/buf.h>

/* Appends to out; false, and nothing appended, where the text is read as it stands (or memory is out). */
bool ng_encoder_text(ng_buf *out, const ng_encoder_head *h, const ng_tokenizer *t, const char *text, size_t len);

#endif

/* summary_input.h: what a head that picks sentences reads of one: "2 of 7: The sentence." beside its document (pair_ids.h).
 *
 *     ng_summary_sentence(&buf, 1, 7, sentence, len);
 *
 * The place is told because an encoder that reads a sentence and its document as a pair cannot count to where it stands. */
#ifndef NG_MODEL_SUMMARY_INPUT_H
#define NG_MODEL_SUMMARY_INPUT_H

#include <nanogrid/buf.h>

/* Replaces what buf holds. */
ng_status ng_summary_sentence(ng_buf *buf, size_t index, size_t n, const char *sentence, size_t len) NG_MUST_USE;

#endif

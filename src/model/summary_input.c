/* summary_input.c: see summary_input.h. */
#include "summary_input.h"

ng_status ng_summary_sentence(ng_buf *buf, size_t index, size_t n, const char *sentence, size_t len) {
    ng_buf_reset(buf);
    ng_buf_printf(buf, "%zu of %zu: ", index + 1, n);
    return ng_buf_put(buf, sentence, len);
}

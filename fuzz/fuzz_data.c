/* fuzz_data.c: rows of TSV, JSONL, lines, CSV and CoNLL.  The first byte chooses the format and the conditions. */
#include "train/data.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static ng_status row(void *ctx, const ng_row *r, ng_error *err) {
    size_t *bytes = ctx;
    (void)err;
    for (size_t i = 0; i < r->text_len; i++) *bytes += (unsigned char)r->text[i];
    for (size_t i = 0; r->label && i < r->label_len; i++) *bytes += (unsigned char)r->label[i];
    *bytes += ng_text_hash(r->text, r->text_len) & 1;
    return NG_OK;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const where[] = {"n<5", "label!=x|y"};
    if (!size) return 0;
    ng_source s = {.file = "fuzz", .text = "text", .label = "label", .format = NG_FORMAT_TSV + data[0] % 3};
    if (data[0] & 16) s.format = data[0] & 1 ? NG_FORMAT_CSV : NG_FORMAT_CONLL;
    if (data[0] & 32) s.second = "text";
    if (data[0] & 4) s.where = (ng_config_strs){(const char **)(uintptr_t)where, 2};
    if (data[0] & 8) s.value = "fixed";
    ng_error err = {0};
    size_t bytes = 0;
    char *copy = malloc(size); /* exactly as long, so that a read past the end is seen */
    if (!copy) return 0;
    memcpy(copy, data + 1, size - 1);
    (void)!ng_source_parse(&s, "fuzz", copy, size - 1, true, row, &bytes, &err);
    free(copy);
    return 0;
}

/* fuzz_hf_vocab.c: any JSON as {"config", "tokenizer", "settings", "bpe"} of a Hugging Face folder:
 * the vocabulary must become keys or a refusal. */
#include "quant/hf_vocab.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void convert(ng_hf *hf, json_t *all, ng_gguf_writer *w) {
    ng_hf_vocab v;
    ng_error err = {0};
    json_t *tokenizer = json_incref(json_object_get(all, "tokenizer"));
    json_t *settings = json_incref(json_object_get(all, "settings"));
    bool bpe = json_is_true(json_object_get(all, "bpe"));
    ng_status s = ng_hf_vocab_read_json(&v, hf, 40, tokenizer, settings, &err);
    if (!s) {
        s = ng_hf_vocab_put(&v, w, bpe ? NG_HF_BPE : NG_HF_WORDPIECE, NULL, &err);
        ng_hf_vocab_clear(&v);
    }
    if (s && (!err.code || !err.text[0])) abort(); /* a refusal says why */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_error_t why;
    json_t *all = json_loadb((const char *)data, size, JSON_REJECT_DUPLICATES, &why);
    if (!all) return 0;
    ng_hf hf = {.path = "/nonexistent", .config = json_object_get(all, "config")};
    ng_gguf_writer *w = NULL;
    if (!ng_arena_new(&hf.arena, 0) && !ng_gguf_writer_new(&w)) convert(&hf, all, w);
    ng_gguf_writer_free(w);
    ng_arena_free(hf.arena);
    json_decref(all);
    return 0;
}

/* hf_vocab.h: the tokenizer of a Hugging Face folder as GGUF keys.
 *
 *     ng_hf_vocab v;
 *     s = ng_hf_vocab_read(&v, hf, vocab_size, &err);             tokens and their types
 *     s = ng_hf_vocab_put(&v, w, NG_HF_BPE, opt->pre, &err);      tokenizer.ggml.*
 *     ng_hf_vocab_clear(&v);
 *
 * Conventions are llama.cpp's: convert_hf_to_gguf.py get_vocab_base, gguf-py SpecialVocab. */
#ifndef NG_QUANT_HF_VOCAB_H
#define NG_QUANT_HF_VOCAB_H

#include "hf_folder.h"

typedef enum ng_hf_vocab_kind { NG_HF_WORDPIECE, NG_HF_BPE } ng_hf_vocab_kind;

typedef struct ng_hf_vocab {
    ng_hf *hf;
    json_t *tokenizer;   /* tokenizer.json or NULL */
    json_t *settings;    /* tokenizer_config.json or NULL */
    const char **tokens; /* [n], in the folder's arena or borrowed from the JSON */
    int32_t *types;      /* [n]: ggml's 1 normal, 3 control, 4 user-defined, 5 unused */
    uint32_t n;
} ng_hf_vocab;

/* From the folder's tokenizer.json, or vocab.txt, and tokenizer_config.json. */
ng_status ng_hf_vocab_read(ng_hf_vocab *v, ng_hf *hf, uint32_t vocab_size,
                           ng_error *err) NG_MUST_USE;
/* The same from JSON that is at hand (fuzzing); takes both trees, either may be NULL. */
ng_status ng_hf_vocab_read_json(ng_hf_vocab *v, ng_hf *hf, uint32_t vocab_size, json_t *tokenizer,
                                json_t *settings, ng_error *err) NG_MUST_USE;
/* `pre` NULL: found from the tokenizer's pattern (BPE); NG_EUNSUPPORTED when it is not a known
 * one. */
ng_status ng_hf_vocab_put(ng_hf_vocab *v, ng_gguf_writer *w, ng_hf_vocab_kind kind, const char *pre,
                          ng_error *err) NG_MUST_USE;
void ng_hf_vocab_clear(ng_hf_vocab *v);

#endif

/* convert_arch.h: one architecture's way from a Hugging Face folder to GGUF; a line in convert.c.
 *
 *     static const ng_convert_rule rules[] = {
 *         {"norm.weight", "output_norm.weight", {NG_SIZE_EMBD}, 0}, .., {0}};
 *     const ng_convert_arch ng_convert_llama = {"llama", classes, .., rules, put_keys, NULL};
 */
#ifndef NG_QUANT_CONVERT_ARCH_H
#define NG_QUANT_CONVERT_ARCH_H

#include "hf_folder.h"
#include "hf_vocab.h"
#include "weights_report.h"

/* Sizes that shapes are checked against; read from config.json by put_keys. */
typedef enum ng_convert_size {
    NG_SIZE_NONE,
    NG_SIZE_VOCAB,
    NG_SIZE_EMBD,
    NG_SIZE_FF,
    NG_SIZE_CTX,
    NG_SIZE_TYPES, /* BERT's token types */
    NG_SIZE_Q,     /* heads x head size */
    NG_SIZE_KV,
    NG_SIZE_COUNT
} ng_convert_size;

typedef enum ng_convert_flag {
    NG_CONVERT_OPTIONAL = 1,
    NG_CONVERT_ROPE_Q = 2,  /* rows are interleaved over the query heads */
    NG_CONVERT_ROPE_KV = 4, /* .. over the key heads */
    NG_CONVERT_UNTIED = 8,  /* left out when the embeddings are tied */
    NG_CONVERT_ELSE = 16,   /* another name of a tensor that an earlier rule may have met */
} ng_convert_flag;

typedef struct ng_convert_rule {
    const char *from, *to;    /* "%u" is the layer: such a rule stands once a layer */
    ng_convert_size shape[2]; /* slowest first; NONE ends it */
    uint32_t flags;           /* of ng_convert_flag */
} ng_convert_rule;

typedef struct ng_convert {
    ng_hf *hf;
    ng_weights_plan *plan;
    const ng_weights_options *opt;
    uint64_t sizes[NG_SIZE_COUNT];
    uint32_t n_layers, n_heads, n_heads_kv;
    bool tied;
} ng_convert;

typedef struct ng_convert_arch {
    const char *name;
    const char *const *classes; /* config.json's architectures, NULL ends it */
    const char *const
        *prefixes; /* that may stand before the rules' names: "", "bert."; NULL ends it */
    const char *const *ignored;   /* heads of names that are left out; NULL ends it */
    const ng_convert_rule *rules; /* from NULL ends it */
    ng_status (*put_keys)(ng_convert *c, ng_error *err); /* also fills sizes; general.* is done */
    ng_status (*put_extra)(ng_convert *c,
                           ng_error *err); /* tensors that the folder lacks; or NULL */
} ng_convert_arch;

extern const ng_convert_arch ng_convert_bert, ng_convert_llama;

#endif

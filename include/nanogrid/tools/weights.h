/* weights.h: what the weights of a model are stored as: `convert` and `quantize`.
 *
 *     ng_weights_options o = {.type = "Q8_0"};
 *     ng_weights_report r;
 *     ng_quantize_file(&r, "model-f16.gguf", "model-q8_0.gguf", &o, &err);
 *     printf("%zu -> %zu bytes\n", r.bytes_before, r.bytes_after);
 *     ng_weights_report_clear(&r);
 *
 * Both write their output atomically: OUT is whole and new, or as it was.  docs/formats.md describes the
 * types.  Without an importance matrix blocks of Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0 are the same bytes as
 * ggml's reference quantisers give; all others are searched for.
 *
 * Which tensors change: matrices named ".weight" that are no norms, no position or token-type table
 * and no expert router, the token embedding and the output head included.  All others are stored as
 * F32.  In the mixes Q4_K_M and Q5_K_M the head, and attn_v and ffn_down of some layers, get Q6_K; NG4_M gives
 * attn_v and attn_output Q8_0, NG3 gives ffn_gate and ffn_up NG3_S.  A
 * matrix whose rows are no multiple of the type's block gets the next type that fits, and is marked in
 * the report.  Integer tensors are copied.  A NaN or an infinity is refused with the tensor's name. */
#ifndef NANOGRID_TOOLS_WEIGHTS_H
#define NANOGRID_TOOLS_WEIGHTS_H

#include <nanogrid/json.h>
#include <nanogrid/status.h>

typedef void ng_progress_fn(void *ctx, double done, double total);

typedef struct ng_weights_options {
    const char *type; /* F32, F16, BF16, Q8_0, Q6_K, Q5_K_M, Q5_K, Q5_1, Q5_0, Q4_K_M, Q4_K, Q4_1, Q4_0, NG4_M, NG4,
                         NG3, any case; convert: no mix, NULL is F16 */
    const char *heads; /* quantize: type of an encoder's heads (tensors head.*); NULL: as the others */
    const char *imatrix; /* quantize: file of an importance matrix (tools/imatrix.h), or NULL */
    const char *pre; /* convert: tokenizer.ggml.pre; NULL: found from the tokenizer's own pattern */
    const char *name; /* convert: general.name; NULL: from config.json or the folder's name */
    ng_progress_fn *progress; /* or NULL */
    void *progress_ctx;
} ng_weights_options;

typedef struct ng_weights_tensor {
    const char *name, *from, *to; /* types: "F32", "Q8_0" */
    uint64_t elements;
    size_t bytes_before, bytes_after;
    bool fell_back; /* its rows do not fit the blocks of the type asked for */
} ng_weights_tensor;

typedef struct ng_weights_report {
    void *arena; /* owns all that is pointed to */
    const char *arch, *type;
    ng_weights_tensor *tensors; /* [n_tensors] in file order */
    size_t n_tensors, n_fell_back,
        n_requantized; /* requantized: from one quantised type to another */
    size_t n_weighted; /* that the importance matrix knew */
    double kl_max, cosine_min; /* what this type may lose against its input: KL in nats a token (decoders),
                                  mean cosine of embeddings (encoders) */
    uint64_t parameters;
    size_t bytes_before, bytes_after; /* whole files (convert: all safetensors files) */
} ng_weights_report;

/* A GGUF file to another precision.  IN and OUT may be the same file.  NG_EINVALID: no such type;
 * NG_EUNSUPPORTED: a tensor of IN has a type that cannot be read back to floats. */
NG_API ng_status ng_quantize_file(ng_weights_report *out, const char *in_path, const char *out_path,
                                  const ng_weights_options *opt, ng_error *err) NG_MUST_USE;
/* A Hugging Face folder (config.json, *.safetensors, tokenizer.json or vocab.txt) to GGUF, with the
 * names and conventions of llama.cpp's convert_hf_to_gguf.py.  Architectures: BertModel and
 * BertForMaskedLM (sentence-transformers folders with their pooling; heads are left out), and
 * LlamaForCausalLM with a byte-level BPE tokenizer.  NG_EUNSUPPORTED names what is not read. */
NG_API ng_status ng_convert_folder(ng_weights_report *out, const char *folder, const char *out_path,
                                   const ng_weights_options *opt, ng_error *err) NG_MUST_USE;
NG_API void ng_weights_report_clear(ng_weights_report *r);

/* {"arch", "type", "parameters", "bytes_before", "bytes_after", "types": {"Q8_0": n, ..},
 * "requantized", "weighted", "fell_back": ["name", ..]}; the caller may add keys before ng_json_end. */
NG_API void ng_weights_report_json(ng_json *j, const ng_weights_report *r);
/* A table for people, one line a tensor and the sums. */
NG_API void ng_weights_report_text(ng_buf *out, const ng_weights_report *r);

#endif

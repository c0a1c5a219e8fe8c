/* model.h: a loaded model, and a session on it.
 *
 *     ng_model *m; ng_session *s; float *logits = ..[n_vocab];
 *     ng_model_open(&m, "SmolLM2-135M.gguf", &err);
 *     ng_session_new(&s, m, NULL, &err);
 *     ng_session_eval(s, ids, n, logits, &err);      prefill n tokens; logits of the last position
 *     ng_session_eval(s, &next, 1, logits, &err);    decode one
 *     ng_session_free(s);  ng_model_close(m);
 *
 * A model is immutable and may be shared by any number of sessions and threads; a session is one
 * mutable timeline (its KV cache) and belongs to one thread at a time.  Results are the same bits
 * whatever the number of threads, the chunking of the prompt and the instruction set. */
#ifndef NANOGRID_MODEL_H
#define NANOGRID_MODEL_H

#include <nanogrid/status.h>
#include <nanogrid/tokenizer.h>

typedef struct ng_model ng_model;
typedef struct ng_session ng_session;

typedef enum ng_model_kind {
    NG_MODEL_CAUSAL,  /* a decoder: ng_session_eval */
    NG_MODEL_ENCODER, /* ng_session_encode */
} ng_model_kind;

typedef struct ng_model_info {
    const char *path, *arch, *name; /* borrowed from the model; name may be "" */
    const char *file_type;          /* "Q4_1": the type of most weight bytes */
    ng_model_kind kind;
    uint32_t n_vocab, n_embd, n_layer, n_head, n_head_kv, n_ff, n_ctx_train;
    uint32_t n_seq_max; /* encoders: tokens of a text that are read (sentence-transformers' max_seq_length),
                           at most n_ctx_train; decoders: n_ctx_train */
    uint64_t n_params, weight_bytes, file_bytes;
    uint64_t kv_bytes_per_tok; /* 0 for encoders */
    const char *repack;      /* where the repacked weights lie: "none" (used as stored), "cache" (the shared
                                cache file), "written" (the same, made by this open), "memory" (this process) */
    const char *repack_note; /* why a cache file was refused or could not be written; else "" */
    const char *kernel_note; /* why its kernels are less than the hardware has (system.h); else "" */
} ng_model_info;

/* Maps the file and checks every tensor's presence, shape and type before use.  A tokenizer that is
 * not supported does not fail the open (see ng_model_tokenizer).  NG_EUNSUPPORTED names an
 * architecture or tensor type that this version does not run. */
NG_API ng_status ng_model_open(ng_model **out, const char *path, ng_error *err) NG_MUST_USE;
/* The same with a LoRA adapter beside the weights, `scale` times (an encoder's, as `nanogrid finetune` makes it): the file of the base is neither
 * changed nor copied.  The adapter's heads take the place of the base's.  adapter NULL or scale 0: the base, bit for bit.
 * NG_EINVALID: the adapter was made for another base. */
NG_API ng_status ng_model_open_adapted(ng_model **out, const char *path, const char *adapter, double scale,
                                       ng_error *err) NG_MUST_USE;
/* What a file with this general.architecture would be; false: this version does not run it. */
NG_API bool ng_model_arch_kind(ng_model_kind *out, const char *arch);
NG_API void ng_model_close(ng_model *m); /* NULL is fine; its sessions must be gone */
NG_API ng_model_info ng_model_get_info(const ng_model *m);
/* Borrowed; NULL with the reason in err when the file has none that this version knows. */
NG_API const ng_tokenizer *ng_model_tokenizer(const ng_model *m, ng_error *err);
/* "avx512": the kernel level in use. */
NG_API const char *ng_model_kernel(const ng_model *m);

/* How keys and values of past tokens are held.  8 bits take 0.55 of the memory of the default (halves; floats for
 * models with float weights) and read as much less. */
typedef enum ng_kv_precision { NG_KV_DEFAULT, NG_KV_8BIT } ng_kv_precision;

typedef struct ng_session_options {
    uint32_t n_ctx;  /* most tokens the session can hold; 0: min(n_ctx_train, 4096) */
    int n_threads;   /* 0: chosen for each size of step by measuring the first ones; at most the processors */
    bool unfused;    /* decoders: run one operation at a time, as a general graph would: the same results, only slower */
    ng_kv_precision kv;
    const struct ng_prefix_options *prefix; /* decoders: keeps what was read (nanogrid/prefix.h); NULL: nothing */
} ng_session_options;

/* KV pages are committed as they are used, not here. */
NG_API ng_status ng_session_new(ng_session **out, const ng_model *m, const ng_session_options *opt,
                                ng_error *err) NG_MUST_USE;
NG_API void ng_session_free(ng_session *s);

/* Appends n > 0 tokens (prompt in chunks, or one decoded token) and, where logits is not NULL, writes
 * the last position's [n_vocab].  An id outside the vocabulary is NG_EINVALID; more than n_ctx tokens
 * in all is NG_ELIMIT with both counts; on error the session is as before the call. */
NG_API ng_status ng_session_eval(ng_session *s, const int32_t *tokens, size_t n, float *logits,
                                 ng_error *err) NG_MUST_USE;
/* As above, but logits for every one of the n positions: [n, n_vocab] row-major. */
NG_API ng_status ng_session_eval_all(ng_session *s, const int32_t *tokens, size_t n, float *logits,
                                     ng_error *err) NG_MUST_USE;
/* The model it runs, borrowed. */
NG_API const ng_model *ng_session_model(const ng_session *s);
/* Tokens held. */
NG_API size_t ng_session_len(const ng_session *s);
NG_API uint32_t ng_session_n_ctx(const ng_session *s);
/* Encoders: tokens of a text that are read; a longer one is cut there (the model's n_seq_max, or n_ctx where that is less). */
NG_API size_t ng_session_n_seq(const ng_session *s);
/* How many threads a step of n_tok tokens takes; all that there may be until enough steps were measured. */
NG_API int ng_session_threads(const ng_session *s, size_t n_tok);
/* Forgets everything after the first n tokens. */
NG_API void ng_session_rewind(ng_session *s, size_t n);

/* An encoder's pooled, L2-normalised vector of one sequence: out[n_embd].  Sequences longer than
 * n_ctx_train are NG_ELIMIT with both counts, damaged weights (a vector that is not finite) NG_EFORMAT. */
NG_API ng_status ng_session_encode(ng_session *s, const int32_t *tokens, size_t n, float *out,
                                   ng_error *err) NG_MUST_USE;

/* An encoder's last layer, one vector a token: hidden[n, n_embd], what heads read; errors as above. */
NG_API ng_status ng_session_hidden(ng_session *s, const int32_t *tokens, size_t n, float *hidden,
                                   ng_error *err) NG_MUST_USE;
/* Both from one forward: hidden[n, n_embd] and the vector pooled[n_embd] that ng_session_encode gives, the same bits. */
NG_API ng_status ng_session_hidden_pooled(ng_session *s, const int32_t *tokens, size_t n, float *hidden, float *pooled,
                                          ng_error *err) NG_MUST_USE;
/* The same of two texts as one sequence: the first n_first tokens are of type 0, the others of type 1, where the
 * file has a row for it; n_first 0: all are of type 0. */
NG_API ng_status ng_session_hidden_pair(ng_session *s, const int32_t *tokens, size_t n, size_t n_first, float *hidden,
                                        ng_error *err) NG_MUST_USE;

/* Text to vector in one call: tokenizes with the model's special tokens and encodes.  A text of more
 * than n_seq_max tokens is cut there, which *n_tokens (the whole text's count; may be NULL) shows; of
 * more than n_ctx_train tokens it is NG_ELIMIT with both counts unless `truncate` is set. */
NG_API ng_status ng_session_embed(ng_session *s, const char *text, size_t len, bool truncate,
                                  float *out, size_t *n_tokens, ng_error *err) NG_MUST_USE;

/* Many at once: packed into forwards without padding, which reads each weight once for all of them.  The
 * same bits as one by one.  out[n, n_embd]; on error out is undefined. */
typedef struct ng_sequence {
    const int32_t *ids;
    size_t n;
} ng_sequence;
NG_API ng_status ng_session_encode_batch(ng_session *s, const ng_sequence *seqs, size_t n, float *out,
                                         ng_error *err) NG_MUST_USE;

typedef struct ng_embed_text {
    const char *data;
    size_t len;
    size_t n_tokens; /* set: of the whole text */
    bool failed;     /* set: err is about this text */
} ng_embed_text;
/* ng_session_embed for n texts; an empty text has its special tokens.  The first text that fails ends it. */
NG_API ng_status ng_session_embed_batch(ng_session *s, ng_embed_text *texts, size_t n, bool truncate, float *out,
                                        ng_error *err) NG_MUST_USE;

#endif

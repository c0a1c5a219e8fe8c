/* tokenizer.h: text to ids and back.
 *
 *     ng_tokenizer *t;
 *     if (ng_tokenizer_open(&t, "model.gguf", &err)) ..
 *     int32_t *ids; size_t n;
 *     ng_tokenize(t, "hello", 5, NULL, &ids, &n, &err);
 *     free(ids);  ng_tokenizer_close(t);
 *
 * A tokenizer is immutable and may be shared by threads.  Vocabulary and rules come from the GGUF
 * keys `tokenizer.ggml.*` (ggml docs/gguf.md). */
#ifndef NANOGRID_TOKENIZER_H
#define NANOGRID_TOKENIZER_H

#include <nanogrid/buf.h>
#include <nanogrid/status.h>

typedef struct ng_tokenizer ng_tokenizer;

/* Reads only the vocabulary of a GGUF file.  NG_EUNSUPPORTED names a model or pre-tokenizer that
 * this version does not know. */
NG_API ng_status ng_tokenizer_open(ng_tokenizer **out, const char *path, ng_error *err) NG_MUST_USE;
NG_API void ng_tokenizer_close(ng_tokenizer *t);

/* Zero means: no BOS/EOS is added, special tokens in the text are plain text. */
typedef struct ng_tokenize_options {
    bool add_special;   /* BOS/EOS or [CLS]/[SEP] as the model's own policy says */
    bool parse_special; /* <|im_start|> and its like in the text become their ids */
} ng_tokenize_options;

/* Any bytes are accepted, invalid UTF-8 too; opt may be NULL.  *ids ends with free() (never NULL on
 * success).  Input longer than 256 MiB, or 32 MiB without any break for BPE, is NG_ELIMIT. */
NG_API ng_status ng_tokenize(const ng_tokenizer *t, const char *text, size_t len,
                             const ng_tokenize_options *opt, int32_t **ids, size_t *n,
                             ng_error *err) NG_MUST_USE;
/* Appends the text of the ids.  special: write control tokens' text too.  An id outside the
 * vocabulary is NG_EINVALID. */
NG_API ng_status ng_detokenize(const ng_tokenizer *t, const int32_t *ids, size_t n, bool special,
                               ng_buf *out, ng_error *err) NG_MUST_USE;

/* Token by token, never splitting a UTF-8 character: bytes of an unfinished one wait for the next
 * call.  Zero-initialise; ng_detokenizer_flush writes what is left (U+FFFD for a broken tail). */
typedef struct ng_detokenizer {
    const ng_tokenizer *tokenizer;
    char held[16];
    size_t n_held;
    bool started; /* the first piece may lose a leading space (SPM) */
} ng_detokenizer;
NG_API ng_status ng_detokenizer_put(ng_detokenizer *d, int32_t id, ng_buf *out, ng_error *err) NG_MUST_USE;
NG_API ng_status ng_detokenizer_flush(ng_detokenizer *d, ng_buf *out);

NG_API size_t ng_tokenizer_n_vocab(const ng_tokenizer *t);
/* -1 where the vocabulary has none. */
NG_API int32_t ng_tokenizer_bos(const ng_tokenizer *t);
NG_API int32_t ng_tokenizer_eos(const ng_tokenizer *t);
/* EOS, EOT (<|im_end|>, <|eot_id|>, ..): ids that end a generation. */
NG_API bool ng_tokenizer_is_eog(const ng_tokenizer *t, int32_t id);
/* The id of a token's exact text (for byte-level vocabularies the bytes it stands for), or -1.  Walks
 * the vocabulary: ask once, not per token. */
NG_API int32_t ng_tokenizer_find(const ng_tokenizer *t, const char *text, size_t len);
/* The raw bytes that `id` stands for, borrowed; "" for control tokens or a bad id. */
NG_API const char *ng_tokenizer_piece(const ng_tokenizer *t, int32_t id, size_t *len);

typedef struct ng_chat_message {
    const char *role; /* "system", "user", "assistant", "tool" */
    const char *text; /* NUL-terminated UTF-8 */
} ng_chat_message;

/* Renders messages as the model was trained to see them, by running the file's own
 * tokenizer.chat_template (Jinja); `open` adds the header of the assistant's turn.  A file without a
 * template, or one that this version cannot render, is NG_EUNSUPPORTED with the place; what the
 * template itself refuses (roles that do not alternate, say) is NG_EINVALID with its words. */
NG_API ng_status ng_chat_render(const ng_tokenizer *t, const ng_chat_message *messages, size_t n,
                                bool open, ng_buf *out, ng_error *err) NG_MUST_USE;
/* The same as ids, safe against forged turns: special tokens are the template's alone, one that stands
 * in a message's text (or role) is tokenized as the plain text it is.  *ids ends with free(). */
NG_API ng_status ng_chat_tokenize(const ng_tokenizer *t, const ng_chat_message *messages, size_t n,
                                  bool open, int32_t **ids, size_t *n_ids, ng_error *err) NG_MUST_USE;

#endif

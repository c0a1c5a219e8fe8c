/* memory.h: what a model will need, said before any of it is taken.
 *
 *     ng_memory_need n;
 *     ng_session_options opt = {.n_ctx = 8192};
 *     if (ng_memory_predict(&n, "model.gguf", &opt, &err)) ..    reads the header, no weights
 *     printf("%llu MiB\n", ng_memory_resident(&n) >> 20);         the peak resident set to come
 *     if (ng_memory_check(&n, "model.gguf", &err)) ..            NG_ENOMEM: what, how much, the mend
 *
 * The numbers come from the code that allocates: the architecture's own load() runs over the header and its
 * own scratch() over memory that is only reserved, so they follow the code when it changes.  They are for the
 * context full, every row of the embedding used and prompts of at least a batch; less use holds less.
 * ng_model_open and ng_session_new make the same check on their own. */
#ifndef NANOGRID_MEMORY_H
#define NANOGRID_MEMORY_H

#include <nanogrid/model.h>

typedef struct ng_memory_need {
    uint64_t weights_bytes; /* of the file, read where they lie: float weights, looked-up rows */
    uint64_t panels_bytes;  /* repacked for the kernels */
    uint64_t tables_bytes;  /* tokenizer, vectors, names */
    uint64_t kv_bytes;      /* n_ctx tokens of keys and values */
    uint64_t scratch_bytes; /* of one session */
    uint64_t process_bytes; /* held by this process already, and its code */
    uint64_t os_bytes;      /* the system's share: page tables, and files that it must keep at hand */
    uint64_t kv_bytes_per_tok, weights_file_bytes;
    uint32_t n_ctx;
    int n_threads;
    const char *file_type; /* type of most weights; static */
} ng_memory_need;

/* For one session with these options (NULL: defaults; n_threads 0: all cores).  Fails as ng_model_open does
 * for a file that could not be run. */
NG_API ng_status ng_memory_predict(ng_memory_need *out, const char *path, const ng_session_options *opt,
                                   ng_error *err) NG_MUST_USE;
/* Peak resident set: everything but the system's share. */
NG_API uint64_t ng_memory_resident(const ng_memory_need *n);
/* Whether what is not held yet fits what is available (ng_machine); NG_ENOMEM with the sum, its parts, what is
 * available and the mend.  `path` is for the message. */
NG_API ng_status ng_memory_check(const ng_memory_need *n, const char *path, ng_error *err) NG_MUST_USE;

#endif

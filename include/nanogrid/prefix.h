/* prefix.h: what was read once is not read again: the keys and values of how texts began, kept in memory and in
 * files.
 *
 *     ng_prefix_options p = {.dir = "prefixes"};
 *     ng_session_options o = {.prefix = &p};
 *     ng_session_new(&s, model, &o, &err);
 *     size_t held = ng_session_recall(s, ids, n - 1);             found, not computed; the last token is always read
 *     ng_session_eval(s, ids + held, n - held, logits, &err);
 *     ng_session_keep(s, ids);                                    s holds ids[0 .. ng_session_len(s))
 *
 * Results are the same bits with and without it: what is kept is what a forward wrote, and a forward writes the
 * same however it is run.  Keys and values are shared by pages of 64 tokens and copied when one is written.  The
 * longest common beginning is found, to the token: in memory, and among the files that stood in `dir` when it was
 * opened; of files written since, whole pages are.
 *
 * In memory, what was not used for longest goes first when memory_max is reached.  A file holds one page: the
 * tokens from the start of the text to its end, so that nothing rests on a hash being free of collisions, and the
 * page with its digest.  It is written behind the answer, to a temporary name, synced and renamed.  A file that
 * another model, another build, another KV type or another tenant wrote is not used; one that is cut, damaged or
 * of another form is refused, named in `note`, and removed.  A full disk, or a folder that cannot be
 * used, costs the files, never the answer, and `note` says so.
 *
 * Privacy: the files hold prompts.  Nothing is written unless `dir` is set; folder and files are for their owner
 * alone (0700, 0600); what is kept as private goes to memory only. */
#ifndef NANOGRID_PREFIX_H
#define NANOGRID_PREFIX_H

#include <nanogrid/model.h>

typedef struct ng_prefix_options {
    uint64_t memory_max; /* bytes of pages kept beside those of running sequences (0: none) */
    const char *dir;     /* folder of the files, made when missing; NULL: no files */
    uint64_t disk_max;   /* bytes of files in dir, of all models together (0: 1 GiB) */
    bool eager;          /* writes all that is kept; else only pages that a second text began with */
    /* Told, as one line, what goes wrong with a file: at once, and then every ten seconds at most.  On any thread of the
     * store, while the session or the scheduler works: it must not block.  NULL: the note alone. */
    void (*warn)(void *ctx, const char *line);
    void *warn_ctx;
} ng_prefix_options;

enum { NG_PREFIX_NOTE_MAX = 320 };

typedef struct ng_prefix_stats {
    uint64_t memory_bytes;          /* of pages kept now */
    uint64_t memory_tok, disk_tok;  /* tokens that were found there and not read again */
    uint64_t memory_hits, disk_hits; /* texts whose beginning was found there */
    uint64_t written, failed;       /* files written; files that could not be */
    uint64_t refused;               /* files that were damaged, cut or of another form */
    uint64_t foreign;               /* files of other models, builds or KV types in dir when it was opened */
    char note[NG_PREFIX_NOTE_MAX];  /* what last went wrong, naming the file; "" when nothing has */
} ng_prefix_stats;

/* The session, which must be empty, becomes the longest known beginning of ids[0 .. n); returns its length.  0 on
 * a session without a store.  An id outside the vocabulary is never found. */
NG_API size_t ng_session_recall(ng_session *s, const int32_t *ids, size_t n);
/* Keeps what the session holds; ids are its tokens. */
NG_API void ng_session_keep(ng_session *s, const int32_t *ids);
/* Waits until files are written. */
NG_API ng_prefix_stats ng_session_prefix_stats(ng_session *s);

#endif

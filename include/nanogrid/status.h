/* status.h: what every call that can fail returns, and the sentence that goes with it.
 *
 *     ng_error err = {0};
 *     if (ng_model_open(&model, path, NULL, &err)) {
 *         fprintf(stderr, "nanogrid: %s\n", err.text);
 *         return ng_status_exit_code(err.code);
 *     }
 *
 * The code says what the *caller* can do differently; the sentence says what happened, where, and
 * the mend.  The first cause wins: a second ng_fail() on the same ng_error keeps the first text.
 *
 * The ownership rule of the whole API, in one sentence: what comes through `T **out` is yours and
 * ends with its `_free` (or `_close`); what is returned as a pointer is borrowed from the first
 * argument and dies with it; what you pass in stays yours unless the header says "takes". */
#ifndef NANOGRID_STATUS_H
#define NANOGRID_STATUS_H

#include <stddef.h>
#include <stdint.h>
#include <stdbool.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define NG_API          __attribute__((visibility("default")))
#define NG_MUST_USE     __attribute__((warn_unused_result))
#define NG_PRINTF(f, a) __attribute__((format(printf, f, a)))
#else
#define NG_API
#define NG_MUST_USE
#define NG_PRINTF(f, a)
#endif

/* X(name, text, exit code of a verb, HTTP status, OpenAI error type) */
#define NG_STATUS_MAP(X)                                                                           \
    X(OK, "ok", 0, 200, "")                                                                        \
    X(ENOMEM, "out of memory", 1, 503, "server_error")                                             \
    X(EINVALID, "invalid argument", 2, 400, "invalid_request_error")                               \
    X(EFORMAT, "malformed input", 1, 400, "invalid_request_error")                                 \
    X(EUNSUPPORTED, "not supported", 1, 501, "not_supported")                                      \
    X(ENOTFOUND, "not found", 1, 404, "not_found_error")                                           \
    X(EIO, "input/output error", 1, 500, "server_error")                                           \
    X(ENET, "network error", 1, 502, "upstream_error")                                             \
    X(ETIMEOUT, "timed out", 1, 504, "timeout_error")                                              \
    X(EBUSY, "busy", 1, 503, "overloaded_error")                                                   \
    X(ELIMIT, "limit exceeded", 1, 400, "invalid_request_error")                                   \
    X(EDENIED, "denied", 1, 403, "permission_error")                                               \
    X(ECANCELLED, "cancelled", 1, 499, "cancelled")                                                \
    X(ENOEXPERT, "no expert", 1, 422, "no_expert")                                                 \
    X(EINTERNAL, "internal error", 1, 500, "server_error")

typedef enum ng_status {
#define NG_STATUS_ENUM(name, text, exit, http, type) NG_##name,
    NG_STATUS_MAP(NG_STATUS_ENUM)
#undef NG_STATUS_ENUM
} ng_status;

enum { NG_ERROR_TEXT_MAX = 512 };

/* Zero-initialise before use.  Plain data: copy freely, nothing to free. */
typedef struct ng_error {
    ng_status code;
    char text[NG_ERROR_TEXT_MAX]; /* "" when code is NG_OK; always NUL-terminated UTF-8 */
} ng_error;

/* Records code and text in `err` unless it holds an earlier cause; `err` may be NULL.  Returns the
 * code that the caller should return: `return ng_fail(err, NG_EFORMAT, "gguf: ..", ..);` */
NG_API ng_status ng_fail(ng_error *err, ng_status code, const char *fmt, ...) NG_PRINTF(3, 4);

/* "EFORMAT" for NG_EFORMAT; never NULL. */
NG_API const char *ng_status_name(ng_status s);
/* "malformed input" for NG_EFORMAT; never NULL. */
NG_API const char *ng_status_text(ng_status s);
/* 0 done, 1 failed, 2 wrong usage. */
NG_API int ng_status_exit_code(ng_status s);
/* The HTTP status and the `type` of OpenAI's error object that stand for this code. */
NG_API int ng_status_http(ng_status s);
NG_API const char *ng_status_type(ng_status s);

/* The version of the library, "0.1.0". */
NG_API const char *ng_version(void);

#ifdef __cplusplus
}
#endif
#endif

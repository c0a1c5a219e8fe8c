/* json.h: an append-only JSON writer over ng_buf.  (Reading is jansson's job.)
 *
 *     ng_json j = ng_json_init(&buf);
 *     ng_json_object(&j);
 *     ng_json_key(&j, "label");  ng_json_str(&j, "greet");
 *     ng_json_key(&j, "p");      ng_json_num(&j, 0.97);
 *     ng_json_end(&j);                               {"label": "greet", "p": 0.97}
 *
 * Output stands on one line, ", " and ": " as separators.  Numbers are the shortest decimal that
 * reads back as the same float/double (0.1, not 0.10000000000000001); NaN and infinities become
 * null.  Strings must be valid UTF-8 (bytes that are not are written as U+FFFD); control
 * characters, quotes and backslashes are escaped.  Errors are the buffer's (sticky). */
#ifndef NANOGRID_JSON_H
#define NANOGRID_JSON_H

#include <nanogrid/buf.h>

enum { NG_JSON_DEPTH_MAX = 32 };

typedef struct ng_json {
    ng_buf *buf;
    int depth;
    bool first;                    /* no comma needed before the next element */
    char close[NG_JSON_DEPTH_MAX]; /* '}' or ']' per open level */
} ng_json;

NG_API ng_json ng_json_init(ng_buf *buf);
NG_API void ng_json_object(ng_json *j);
NG_API void ng_json_array(ng_json *j);
NG_API void ng_json_end(ng_json *j); /* closes the innermost object or array */
NG_API void ng_json_key(ng_json *j, const char *key);
NG_API void ng_json_str(ng_json *j, const char *s); /* NULL writes null */
NG_API void ng_json_strn(ng_json *j, const char *s, size_t len);
NG_API void ng_json_num(ng_json *j, double v);   /* 17 digits at most */
NG_API void ng_json_f32(ng_json *j, float v);    /* 9 digits at most */
NG_API void ng_json_fixed(ng_json *j, double v, int decimals); /* trailing zeros dropped: 1.5, 0.42, 3 */
NG_API void ng_json_int(ng_json *j, int64_t v);
NG_API void ng_json_uint(ng_json *j, uint64_t v);
NG_API void ng_json_bool(ng_json *j, bool v);
NG_API void ng_json_null(ng_json *j);
/* `text` is itself valid JSON. */
NG_API void ng_json_raw(ng_json *j, const char *text);

#endif

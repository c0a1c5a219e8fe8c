/* status.c: the table of NG_STATUS_MAP as text.  See nanogrid/status.h. */
#include <nanogrid/status.h>

#include <stdarg.h>
#include <stdio.h>

static const struct {
    const char *name, *text, *type;
    int exit_code, http;
} rows[] = {
#define ROW(name, text, exit_code, http, type) {#name, text, type, exit_code, http},
    NG_STATUS_MAP(ROW)
#undef ROW
};

static size_t row(ng_status s) {
    size_t i = (size_t)s;
    return i < sizeof rows / sizeof rows[0] ? i : (size_t)NG_EINTERNAL;
}

const char *ng_status_name(ng_status s) { return rows[row(s)].name; }
const char *ng_status_text(ng_status s) { return rows[row(s)].text; }
int ng_status_exit_code(ng_status s) { return rows[row(s)].exit_code; }
int ng_status_http(ng_status s) { return rows[row(s)].http; }
const char *ng_status_type(ng_status s) { return rows[row(s)].type; }
const char *ng_version(void) { return NG_VERSION_TEXT; }

ng_status ng_fail(ng_error *err, ng_status code, const char *fmt, ...) {
    if (!err) return code;
    if (err->code != NG_OK) return err->code; /* the first cause wins */
    err->code = code;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    return code;
}

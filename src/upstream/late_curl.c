/* late_curl.c: libcurl's functions, from the library as it is first needed.  See late_curl.h.
 *
 * The program is not linked with libcurl; what it calls are the functions below.  All but the first are only called once
 * that has succeeded. */
#include "late_curl.h"

#include "core/library.h"
#include <stdarg.h>

static struct {
#define POINTER(f) __typeof__(&ng_curl_##f) f;
    NG_CURL_FUNCTIONS(POINTER)
} real;
#define NAME(f) "curl_" #f,
static const char *const names[] = {NG_CURL_FUNCTIONS(NAME)};

ng_status ng_curl_load(ng_error *err) {
    ng_status s = ng_library_load(NG_LIBCURL, names, sizeof names / sizeof *names, &real, err);
    if (!s && real.global_init(CURL_GLOBAL_DEFAULT)) s = ng_fail(err, NG_EUNSUPPORTED, NG_LIBCURL " does not start");
    return s;
}

CURL *ng_curl_easy_init(void) { return real.easy_init(); }
void ng_curl_easy_reset(CURL *h) { real.easy_reset(h); }
void ng_curl_easy_cleanup(CURL *h) { real.easy_cleanup(h); }
CURLcode ng_curl_easy_perform(CURL *h) { return real.easy_perform(h); }
const char *ng_curl_easy_strerror(CURLcode c) { return real.easy_strerror(c); }
struct curl_slist *ng_curl_slist_append(struct curl_slist *l, const char *s) { return real.slist_append(l, s); }
void ng_curl_slist_free_all(struct curl_slist *l) { real.slist_free_all(l); }

/* The kind of the one argument follows from the number of the option (curl.h). */
CURLcode ng_curl_easy_setopt(CURL *h, CURLoption o, ...) {
    va_list ap;
    CURLcode c;
    va_start(ap, o);
    if (o < CURLOPTTYPE_OBJECTPOINT) c = real.easy_setopt(h, o, va_arg(ap, long));
    else if (o >= CURLOPTTYPE_OFF_T && o < CURLOPTTYPE_BLOB) c = real.easy_setopt(h, o, va_arg(ap, curl_off_t));
    else c = real.easy_setopt(h, o, va_arg(ap, void *)); /* functions too: one size (core/os_library.c) */
    va_end(ap);
    return c;
}

CURLcode ng_curl_easy_getinfo(CURL *h, CURLINFO info, ...) {
    va_list ap;
    va_start(ap, info);
    CURLcode c = real.easy_getinfo(h, info, va_arg(ap, void *));
    va_end(ap);
    return c;
}

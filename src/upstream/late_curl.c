/* late_curl.c: libcurl's functions by their own names, from the library as it is first needed.  See late_curl.h.
 *
 * The program is not linked with libcurl; what it calls are the functions below.  All but the first are only called once
 * that has succeeded. */
#include "late_curl.h"

#include "core/library.h"
#include <curl/curl.h>
#include <stdarg.h>

#undef curl_easy_setopt /* macros that check types */
#undef curl_easy_getinfo

#define FUNCTIONS(X)                                                                                                    \
    X(curl_global_init) X(curl_easy_init) X(curl_easy_reset) X(curl_easy_cleanup) X(curl_easy_setopt) X(curl_easy_getinfo) \
    X(curl_easy_perform) X(curl_easy_strerror) X(curl_slist_append) X(curl_slist_free_all)

static struct {
#define POINTER(f) __typeof__(&f) f;
    FUNCTIONS(POINTER)
} real;
#define NAME(f) #f,
static const char *const names[] = {FUNCTIONS(NAME)};

ng_status ng_curl_load(ng_error *err) {
    ng_status s = ng_library_load(NG_LIBCURL, names, sizeof names / sizeof *names, &real, err);
    if (!s && real.curl_global_init(CURL_GLOBAL_DEFAULT)) s = ng_fail(err, NG_EUNSUPPORTED, NG_LIBCURL " does not start");
    return s;
}

CURL *curl_easy_init(void) { return real.curl_easy_init(); }
void curl_easy_reset(CURL *h) { real.curl_easy_reset(h); }
void curl_easy_cleanup(CURL *h) { real.curl_easy_cleanup(h); }
CURLcode curl_easy_perform(CURL *h) { return real.curl_easy_perform(h); }
const char *curl_easy_strerror(CURLcode c) { return real.curl_easy_strerror(c); }
struct curl_slist *curl_slist_append(struct curl_slist *l, const char *s) { return real.curl_slist_append(l, s); }
void curl_slist_free_all(struct curl_slist *l) { real.curl_slist_free_all(l); }

/* The kind of the one argument follows from the number of the option (curl.h). */
CURLcode curl_easy_setopt(CURL *h, CURLoption o, ...) {
    va_list ap;
    CURLcode c;
    va_start(ap, o);
    if (o < CURLOPTTYPE_OBJECTPOINT) c = real.curl_easy_setopt(h, o, va_arg(ap, long));
    else if (o >= CURLOPTTYPE_OFF_T && o < CURLOPTTYPE_BLOB) c = real.curl_easy_setopt(h, o, va_arg(ap, curl_off_t));
    else c = real.curl_easy_setopt(h, o, va_arg(ap, void *)); /* functions too: one size (core/os_library.c) */
    va_end(ap);
    return c;
}

CURLcode curl_easy_getinfo(CURL *h, CURLINFO info, ...) {
    va_list ap;
    va_start(ap, info);
    CURLcode c = real.curl_easy_getinfo(h, info, va_arg(ap, void *));
    va_end(ap);
    return c;
}

/* late_curl.h: loads libcurl.
 *
 *     if (ng_curl_load(&err)) ..               once, before any other function of curl.h
 *     CURL *h = curl_easy_init();              as ever
 *
 * In place of curl.h: the functions below are ours, ng_curl_*, under the names of the library, so that an application
 * may be linked with libcurl itself.  Only those are there that http_client.c calls. */
#ifndef NG_UPSTREAM_LATE_CURL_H
#define NG_UPSTREAM_LATE_CURL_H

#include <nanogrid/status.h>

#include <curl/curl.h>
#undef curl_easy_setopt /* macros that check types */
#undef curl_easy_getinfo

#define NG_CURL_FUNCTIONS(X)                                                                                        \
    X(global_init) X(easy_init) X(easy_reset) X(easy_cleanup) X(easy_setopt) X(easy_getinfo) X(easy_perform)        \
    X(easy_strerror) X(slist_append) X(slist_free_all)
#define NG_CURL_DECLARE(f) extern __typeof__(curl_##f) ng_curl_##f;
NG_CURL_FUNCTIONS(NG_CURL_DECLARE)
#undef NG_CURL_DECLARE
#define curl_easy_init ng_curl_easy_init
#define curl_easy_reset ng_curl_easy_reset
#define curl_easy_cleanup ng_curl_easy_cleanup
#define curl_easy_setopt ng_curl_easy_setopt
#define curl_easy_getinfo ng_curl_easy_getinfo
#define curl_easy_perform ng_curl_easy_perform
#define curl_easy_strerror ng_curl_easy_strerror
#define curl_slist_append ng_curl_slist_append
#define curl_slist_free_all ng_curl_slist_free_all

/* NG_EUNSUPPORTED: the library is not here, and the mend. */
ng_status ng_curl_load(ng_error *err) NG_MUST_USE;

#endif

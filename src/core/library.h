/* library.h: a shared library that is loaded when it is first needed.
 *
 *     static const char *const names[] = {"curl_easy_init", "curl_easy_perform"};
 *     static struct { CURL *(*easy_init)(void); CURLcode (*easy_perform)(CURL *); } real;
 *     if (ng_library_load("libcurl.so.4", names, 2, &real, &err)) ..      NG_EUNSUPPORTED: it is not here
 *
 * Why: libcurl and libmicrohttpd bring thirty libraries along, 5 MB of every process that maps them.  It stays
 * loaded.  Call it once, or from one thread at a time. */
#ifndef NG_CORE_LIBRARY_H
#define NG_CORE_LIBRARY_H

#include <nanogrid/status.h>

/* Writes the address of each name into pointers, which holds n function pointers and nothing else. */
ng_status ng_library_load(const char *library, const char *const *names, size_t n, void *pointers,
                          ng_error *err) NG_MUST_USE;

#endif

/* late_curl.h: loads libcurl.
 *
 *     if (ng_curl_load(&err)) ..               once, before any other function of curl.h
 *     CURL *h = curl_easy_init();              as ever
 *
 * Only those functions are there that http_client.c calls; the linker names what is missing. */
#ifndef NG_UPSTREAM_LATE_CURL_H
#define NG_UPSTREAM_LATE_CURL_H

#include <nanogrid/status.h>

/* NG_EUNSUPPORTED: the library is not here, and the mend. */
ng_status ng_curl_load(ng_error *err) NG_MUST_USE;

#endif

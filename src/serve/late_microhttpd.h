/* late_microhttpd.h: loads libmicrohttpd.
 *
 *     if (ng_microhttpd_load(&err)) ..         once, before any other function of microhttpd.h
 *
 * Only those functions are there that http*.c call; the linker names what is missing. */
#ifndef NG_SERVE_LATE_MICROHTTPD_H
#define NG_SERVE_LATE_MICROHTTPD_H

#include <nanogrid/status.h>

/* NG_EUNSUPPORTED: the library is not here, and the mend.  Any thread. */
ng_status ng_microhttpd_load(ng_error *err) NG_MUST_USE;

#endif

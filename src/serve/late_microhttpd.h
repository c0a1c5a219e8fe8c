/* late_microhttpd.h: loads libmicrohttpd.
 *
 *     if (ng_microhttpd_load(&err)) ..         once, before any other function of microhttpd.h
 *
 * In place of microhttpd.h: the functions below are ours, ng_mhd_*, under the names of the library, so that an
 * application may be linked with libmicrohttpd itself.  Only those are there that http*.c call. */
#ifndef NG_SERVE_LATE_MICROHTTPD_H
#define NG_SERVE_LATE_MICROHTTPD_H

#include <nanogrid/status.h>

#include <microhttpd.h>

#define NG_MHD_FUNCTIONS(X) \
    X(start_daemon_va) X(stop_daemon) X(suspend_connection) X(resume_connection) \
    X(get_connection_info) X(get_connection_values) X(lookup_connection_value) X(queue_response) \
    X(create_response_from_buffer) X(create_response_from_buffer_with_free_callback) \
    X(create_response_from_callback) X(add_response_header) X(destroy_response)
#define NG_MHD_DECLARE(f) extern __typeof__(MHD_##f) ng_mhd_##f;
NG_MHD_FUNCTIONS(NG_MHD_DECLARE)
NG_MHD_DECLARE(start_daemon)
#undef NG_MHD_DECLARE
#define MHD_start_daemon ng_mhd_start_daemon
#define MHD_stop_daemon ng_mhd_stop_daemon
#define MHD_suspend_connection ng_mhd_suspend_connection
#define MHD_resume_connection ng_mhd_resume_connection
#define MHD_get_connection_info ng_mhd_get_connection_info
#define MHD_get_connection_values ng_mhd_get_connection_values
#define MHD_lookup_connection_value ng_mhd_lookup_connection_value
#define MHD_queue_response ng_mhd_queue_response
#define MHD_create_response_from_buffer ng_mhd_create_response_from_buffer
#define MHD_create_response_from_buffer_with_free_callback ng_mhd_create_response_from_buffer_with_free_callback
#define MHD_create_response_from_callback ng_mhd_create_response_from_callback
#define MHD_add_response_header ng_mhd_add_response_header
#define MHD_destroy_response ng_mhd_destroy_response

/* NG_EUNSUPPORTED: the library is not here, and the mend.  Any thread. */
ng_status ng_microhttpd_load(ng_error *err) NG_MUST_USE;

#endif

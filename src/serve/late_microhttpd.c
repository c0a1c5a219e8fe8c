/* late_microhttpd.c: libmicrohttpd's functions, from the library as it is first needed.  See
 * late_microhttpd.h.
 *
 * The program is not linked with libmicrohttpd; what it calls are the functions below, each handing on its arguments. */
#include "late_microhttpd.h"

#include "core/library.h"
#include <pthread.h>
#include <stdarg.h>

static struct {
#define POINTER(f) __typeof__(&MHD_##f) f;
    NG_MHD_FUNCTIONS(POINTER)
} real;
#define NAME(f) "MHD_" #f,
static const char *const names[] = {NG_MHD_FUNCTIONS(NAME)};

static ng_error why; /* of the only try */

static void load(void) {
    if (ng_library_load(NG_LIBMICROHTTPD, names, sizeof names / sizeof *names, &real, &why)) return; /* `why` says it */
}

ng_status ng_microhttpd_load(ng_error *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
    return why.code ? ng_fail(err, why.code, "%s", why.text) : NG_OK;
}

struct MHD_Daemon *ng_mhd_start_daemon(unsigned int flags, uint16_t port, MHD_AcceptPolicyCallback accept,
                                       void *accept_ctx, MHD_AccessHandlerCallback handler, void *handler_ctx, ...) {
    va_list ap;
    va_start(ap, handler_ctx);
    struct MHD_Daemon *d = real.start_daemon_va(flags, port, accept, accept_ctx, handler, handler_ctx, ap);
    va_end(ap);
    return d;
}

void ng_mhd_stop_daemon(struct MHD_Daemon *d) { real.stop_daemon(d); }
void ng_mhd_suspend_connection(struct MHD_Connection *c) { real.suspend_connection(c); }
void ng_mhd_resume_connection(struct MHD_Connection *c) { real.resume_connection(c); }

/* What we ask for needs no further argument. */
const union MHD_ConnectionInfo *ng_mhd_get_connection_info(struct MHD_Connection *c, enum MHD_ConnectionInfoType type,
                                                           ...) {
    return real.get_connection_info(c, type);
}

int ng_mhd_get_connection_values(struct MHD_Connection *c, enum MHD_ValueKind kind, MHD_KeyValueIterator each,
                                 void *ctx) {
    return real.get_connection_values(c, kind, each, ctx);
}

const char *ng_mhd_lookup_connection_value(struct MHD_Connection *c, enum MHD_ValueKind kind, const char *key) {
    return real.lookup_connection_value(c, kind, key);
}

enum MHD_Result ng_mhd_queue_response(struct MHD_Connection *c, unsigned int status, struct MHD_Response *r) {
    return real.queue_response(c, status, r);
}

struct MHD_Response *ng_mhd_create_response_from_buffer(size_t size, void *data, enum MHD_ResponseMemoryMode mode) {
    return real.create_response_from_buffer(size, data, mode);
}

struct MHD_Response *ng_mhd_create_response_from_buffer_with_free_callback(size_t size, void *data,
                                                                           MHD_ContentReaderFreeCallback end) {
    return real.create_response_from_buffer_with_free_callback(size, data, end);
}

struct MHD_Response *ng_mhd_create_response_from_callback(uint64_t size, size_t block, MHD_ContentReaderCallback read,
                                                          void *ctx, MHD_ContentReaderFreeCallback end) {
    return real.create_response_from_callback(size, block, read, ctx, end);
}

enum MHD_Result ng_mhd_add_response_header(struct MHD_Response *r, const char *header, const char *content) {
    return real.add_response_header(r, header, content);
}

void ng_mhd_destroy_response(struct MHD_Response *r) { real.destroy_response(r); }

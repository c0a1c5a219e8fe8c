/* late_microhttpd.c: libmicrohttpd's functions by their own names, from the library as it is first needed.  See
 * late_microhttpd.h.
 *
 * The program is not linked with libmicrohttpd; what it calls are the functions below, each handing on its arguments. */
#include "late_microhttpd.h"

#include "core/library.h"
#include <microhttpd.h>
#include <pthread.h>
#include <stdarg.h>

#define FUNCTIONS(X)                                                                                                     \
    X(MHD_start_daemon_va) X(MHD_quiesce_daemon) X(MHD_stop_daemon) X(MHD_suspend_connection) X(MHD_resume_connection)   \
    X(MHD_get_connection_info) X(MHD_get_connection_values) X(MHD_lookup_connection_value) X(MHD_queue_response)         \
    X(MHD_create_response_from_buffer) X(MHD_create_response_from_buffer_with_free_callback)                             \
    X(MHD_create_response_from_callback) X(MHD_add_response_header) X(MHD_destroy_response)

static struct {
#define POINTER(f) __typeof__(&f) f;
    FUNCTIONS(POINTER)
} real;
#define NAME(f) #f,
static const char *const names[] = {FUNCTIONS(NAME)};

static ng_error why; /* of the only try */

static void load(void) {
    if (ng_library_load(NG_LIBMICROHTTPD, names, sizeof names / sizeof *names, &real, &why)) return; /* `why` says it */
}

ng_status ng_microhttpd_load(ng_error *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
    return why.code ? ng_fail(err, why.code, "%s", why.text) : NG_OK;
}

struct MHD_Daemon *MHD_start_daemon(unsigned int flags, uint16_t port, MHD_AcceptPolicyCallback accept, void *accept_ctx,
                                    MHD_AccessHandlerCallback handler, void *handler_ctx, ...) {
    va_list ap;
    va_start(ap, handler_ctx);
    struct MHD_Daemon *d = real.MHD_start_daemon_va(flags, port, accept, accept_ctx, handler, handler_ctx, ap);
    va_end(ap);
    return d;
}

MHD_socket MHD_quiesce_daemon(struct MHD_Daemon *d) { return real.MHD_quiesce_daemon(d); }
void MHD_stop_daemon(struct MHD_Daemon *d) { real.MHD_stop_daemon(d); }
void MHD_suspend_connection(struct MHD_Connection *c) { real.MHD_suspend_connection(c); }
void MHD_resume_connection(struct MHD_Connection *c) { real.MHD_resume_connection(c); }

/* What we ask for needs no further argument. */
const union MHD_ConnectionInfo *MHD_get_connection_info(struct MHD_Connection *c, enum MHD_ConnectionInfoType type, ...) {
    return real.MHD_get_connection_info(c, type);
}

int MHD_get_connection_values(struct MHD_Connection *c, enum MHD_ValueKind kind, MHD_KeyValueIterator each, void *ctx) {
    return real.MHD_get_connection_values(c, kind, each, ctx);
}

const char *MHD_lookup_connection_value(struct MHD_Connection *c, enum MHD_ValueKind kind, const char *key) {
    return real.MHD_lookup_connection_value(c, kind, key);
}

enum MHD_Result MHD_queue_response(struct MHD_Connection *c, unsigned int status, struct MHD_Response *r) {
    return real.MHD_queue_response(c, status, r);
}

struct MHD_Response *MHD_create_response_from_buffer(size_t size, void *data, enum MHD_ResponseMemoryMode mode) {
    return real.MHD_create_response_from_buffer(size, data, mode);
}

struct MHD_Response *MHD_create_response_from_buffer_with_free_callback(size_t size, void *data, MHD_ContentReaderFreeCallback end) {
    return real.MHD_create_response_from_buffer_with_free_callback(size, data, end);
}

struct MHD_Response *MHD_create_response_from_callback(uint64_t size, size_t block, MHD_ContentReaderCallback read, void *ctx,
                                                       MHD_ContentReaderFreeCallback end) {
    return real.MHD_create_response_from_callback(size, block, read, ctx, end);
}

enum MHD_Result MHD_add_response_header(struct MHD_Response *r, const char *header, const char *content) {
    return real.MHD_add_response_header(r, header, content);
}

void MHD_destroy_response(struct MHD_Response *r) { real.MHD_destroy_response(r); }

/* build_id.h: which build this is.
 *
 *     ng_build_id id;
 *     if (ng_build_id_get(&id, &err)) ..             another for any change of code or of how it is linked
 *
 * What one build computes and stores, another must not take for its own result: the same version number may
 * stand on both. */
#ifndef NG_CORE_BUILD_ID_H
#define NG_CORE_BUILD_ID_H

#include <nanogrid/status.h>

enum { NG_BUILD_ID_MAX = 32 };
typedef struct ng_build_id {
    uint8_t bytes[NG_BUILD_ID_MAX];
    size_t len;
} ng_build_id;

/* The linker's build id of the program or library that holds this code.  NG_EUNSUPPORTED, with the mend, when it
 * was linked without one. */
ng_status ng_build_id_get(ng_build_id *out, ng_error *err) NG_MUST_USE;

#endif

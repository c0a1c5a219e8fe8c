/* os_library.c: dlopen.  See library.h. */
#include "library.h"

#include <dlfcn.h>
#include <string.h>

_Static_assert(sizeof(void *) == sizeof(void (*)(void)), "POSIX: dlsym gives functions too");

ng_status ng_library_load(const char *library, const char *const *names, size_t n, void *pointers, ng_error *err) {
    void *lib = dlopen(library, RTLD_NOW | RTLD_LOCAL);
    if (!lib) return ng_fail(err, NG_EUNSUPPORTED, "%s cannot be loaded (%.160s): install it", library, dlerror());
    for (size_t i = 0; i < n; i++) {
        void *symbol = dlsym(lib, names[i]);
        if (!symbol)
            return ng_fail(err, NG_EUNSUPPORTED, "%s has no %s: install the version that this program was built with",
                           library, names[i]);
        memcpy((char *)pointers + i * sizeof symbol, &symbol, sizeof symbol);
    }
    return NG_OK;
}

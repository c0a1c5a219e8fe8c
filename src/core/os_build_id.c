/* os_build_id.c: finds the note NT_GNU_BUILD_ID among the loaded segments of the object that holds this code.  See
 * build_id.h; ELF gABI, "Note Section". */
#include "build_id.h"

#include <elf.h>
#include <link.h>
#include <string.h>

/* Notes of one segment: name and description follow a header, each filled up to 4 bytes. */
static bool read_notes(ng_build_id *out, const uint8_t *p, size_t len) {
    ElfW(Nhdr) h;
    while (len >= sizeof h) {
        memcpy(&h, p, sizeof h);
        size_t name = ((size_t)h.n_namesz + 3) / 4 * 4, desc = ((size_t)h.n_descsz + 3) / 4 * 4;
        if (name > len - sizeof h || desc > len - sizeof h - name) return false;
        bool ours = h.n_type == NT_GNU_BUILD_ID && h.n_namesz == 4 && !memcmp(p + sizeof h, "GNU", 4);
        if (ours && h.n_descsz > 0 && h.n_descsz <= NG_BUILD_ID_MAX) {
            memcpy(out->bytes, p + sizeof h + name, h.n_descsz);
            out->len = h.n_descsz;
            return true;
        }
        p += sizeof h + name + desc;
        len -= sizeof h + name + desc;
    }
    return false;
}

static int look_at(struct dl_phdr_info *o, size_t size, void *ctx) {
    uintptr_t here = (uintptr_t)&ng_build_id_get;
    bool holds = false;
    (void)size;
    for (int i = 0; i < o->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &o->dlpi_phdr[i];
        holds |= ph->p_type == PT_LOAD && here - (o->dlpi_addr + ph->p_vaddr) < ph->p_memsz;
    }
    for (int i = 0; holds && i < o->dlpi_phnum; i++) {
        const ElfW(Phdr) *ph = &o->dlpi_phdr[i];
        if (ph->p_type == PT_NOTE && read_notes(ctx, (const uint8_t *)(o->dlpi_addr + ph->p_vaddr), ph->p_memsz)) break;
    }
    return holds;
}

ng_status ng_build_id_get(ng_build_id *out, ng_error *err) {
    *out = (ng_build_id){0};
    dl_iterate_phdr(look_at, out);
    if (out->len) return NG_OK;
    return ng_fail(err, NG_EUNSUPPORTED, "this program does not say which build it is; link it with -Wl,--build-id");
}

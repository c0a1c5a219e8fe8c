/* repack.c: the shared cache of repacked weights.  See repack.h.
 *
 * A file, in the byte order of its machine (the version tells another order apart):
 *     head     magic, version, number of matrices, digest and length of the model file, length of this
 *              file, digest of the panels, sum of the header with this field 0
 *     entries  for each matrix with panels: type and form, rows, columns, offset, bytes
 *     panels   from the next multiple of 4096, in the order of use, each matrix at a multiple of 64
 *
 * The key is the content of the model file, all of it: a name, a size or a time can stay while bytes
 * change.  That costs one pass over bytes that are in the page cache anyway, and the panels' digest a
 * second; both are split over the cores.  The offsets are computed from the matrices, never read, so a
 * file that passes cannot make a kernel read outside it.  The panels' bytes themselves may be anything:
 * they are numbers to a kernel.
 *
 * The model file's digest is taken again before a new cache file is kept, so that a model that changed
 * while it was repacked leaves nothing behind. */
#include "repack.h"

#include "core/checked.h"
#include "core/cpu.h"
#include "kernel/panel.h"
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { PIECE = 1 << 20, ALIGN = 4096, VERSION = 1, TEMP_STALE_S = 3600, DIGEST_HEX = 32 };
static const char magic[8] = {'N', 'G', 'P', 'A', 'N', 'E', 'L', '\n'};

/* No padding: both are written as they lie. */
typedef struct head {
    char magic[8];
    uint32_t version, n_entries;
    uint64_t source[2], source_bytes, file_bytes;
    uint64_t panels[2], sum;
} head;

typedef struct entry {
    uint32_t type, w8; /* w8: 1 for rows of int8 (kernel/w8.h) */
    uint64_t n_rows, n_cols, offset, bytes;
} entry;

_Static_assert(sizeof(head) == 72 && sizeof(entry) == 40, "written as they lie in memory");

/* Loads of one process take turns: they use all cores, and two must not write one temp file. */
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

/* ---- digests -------------------------------------------------------------------------------------- */

typedef struct digest_job {
    const ng_map *bytes;
    bool forget;
    ng_digest *pieces; /* [ceil(len / PIECE)] */
} digest_job;

static void digest_part(void *ctx, int part, int n_parts) {
    const digest_job *job = ctx;
    size_t begin, end;
    ng_pool_slice(job->bytes->len, PIECE, part, n_parts, &begin, &end);
    for (size_t at = begin; at < end; at += PIECE) {
        size_t n = end - at < PIECE ? end - at : PIECE;
        job->pieces[at / PIECE] = ng_digest_of(job->bytes->data + at, n);
        if (job->forget) ng_map_forget(job->bytes, at, n);
    }
}

ng_status ng_repack_digest(ng_digest *out, ng_pool *pool, const ng_map *bytes, bool forget, ng_error *err) {
    size_t n = bytes->len / PIECE + (bytes->len % PIECE != 0);
    digest_job job = {bytes, forget, calloc(n + 1, sizeof *job.pieces)};
    if (!job.pieces) return ng_fail(err, NG_ENOMEM, "repacked weights: out of memory");
    ng_pool_run(pool, digest_part, &job);
    *out = ng_digest_of(job.pieces, n * sizeof *job.pieces);
    free(job.pieces);
    return NG_OK;
}

/* ---- the form of the file ------------------------------------------------------------------------- */

static size_t count_entries(const ng_repack_source *src) {
    size_t n = 0;
    for (size_t i = 0; i < src->n_mats; i++) n += ng_mat_panel_bytes(src->mats[i]) != 0;
    return n;
}

static size_t panels_at(size_t n_entries) {
    return (sizeof(head) + n_entries * sizeof(entry) + ALIGN - 1) / ALIGN * ALIGN;
}

/* Bytes of all panels; SIZE_MAX / 2 when they cannot be. */
static size_t panel_total(const ng_repack_source *src) {
    size_t total = 0;
    for (size_t i = 0; i < src->n_mats; i++)
        if (!ng_add_ok(&total, total, ng_mat_panel_bytes(src->mats[i])) || total > SIZE_MAX / 2) return SIZE_MAX / 2;
    return total;
}

static uint64_t header_sum(const uint8_t *header, size_t len) {
    head h;
    memcpy(&h, header, sizeof h);
    h.sum = 0;
    return ng_hash64(header + sizeof h, len - sizeof h, ng_hash64(&h, sizeof h, VERSION));
}

ng_status ng_repack_header(uint8_t **out, size_t *len, const ng_repack_source *src, ng_digest source,
                           ng_digest panels, ng_error *err) {
    size_t n = count_entries(src), at = panels_at(n), offset = at;
    uint8_t *p = calloc(1, at);
    *out = p;
    *len = at;
    if (!p) return ng_fail(err, NG_ENOMEM, "repacked weights: out of memory");
    head h = {.version = VERSION, .n_entries = (uint32_t)n, .source = {source.h[0], source.h[1]},
              .source_bytes = src->file->len, .file_bytes = (uint64_t)at + panel_total(src),
              .panels = {panels.h[0], panels.h[1]}};
    memcpy(h.magic, magic, sizeof magic);
    memcpy(p, &h, sizeof h);
    for (size_t i = 0, k = 0; i < src->n_mats; i++) {
        const ng_mat *m = src->mats[i];
        entry e = {.type = m->type, .w8 = m->is_w8, .n_rows = m->n_rows, .n_cols = m->n_cols, .offset = offset,
                   .bytes = ng_mat_panel_bytes(m)};
        if (!e.bytes) continue;
        memcpy(p + sizeof h + k++ * sizeof e, &e, sizeof e);
        offset += (size_t)e.bytes;
    }
    h.sum = header_sum(p, at);
    memcpy(p, &h, sizeof h);
    return NG_OK;
}

/* Why the header is not the one wanted; NULL when it is. */
static const char *header_fault(const ng_map *cache, const uint8_t *want, size_t len) {
    head h, w;
    if (cache->len < len) return "it is cut short";
    memcpy(&h, cache->data, sizeof h);
    memcpy(&w, want, sizeof w);
    if (memcmp(h.magic, w.magic, sizeof h.magic)) return "it is no file of repacked weights";
    if (h.version != w.version) return "another version wrote it";
    if (header_sum(cache->data, len) != h.sum) return "its header is damaged";
    if (memcmp(h.source, w.source, sizeof h.source) || h.source_bytes != w.source_bytes)
        return "it was made from another model file";
    if (h.n_entries != w.n_entries || memcmp(cache->data + sizeof h, want + sizeof w, len - sizeof h))
        return "it holds other matrices";
    if (h.file_bytes != w.file_bytes || cache->len != h.file_bytes) return "its length is wrong";
    return NULL;
}

ng_status ng_repack_check(const ng_map *cache, const ng_repack_source *src, ng_digest source, ng_pool *pool,
                          ng_error *err) {
    uint8_t *want;
    size_t len;
    ng_status s = ng_repack_header(&want, &len, src, source, (ng_digest){{0, 0}}, err);
    if (s) return s;
    const char *fault = header_fault(cache, want, len);
    free(want);
    if (!fault) {
        head h;
        ng_digest d;
        ng_map panels = {cache->data + len, cache->len - len};
        memcpy(&h, cache->data, sizeof h);
        if ((s = ng_repack_digest(&d, pool, &panels, false, err))) return s;
        if (memcmp(d.h, h.panels, sizeof d.h)) fault = "its weights are damaged";
    }
    return fault ? ng_fail(err, NG_EFORMAT, "%s", fault) : NG_OK;
}

/* ---- repacking ------------------------------------------------------------------------------------ */

static void place_all(const ng_repack_source *src, const uint8_t *panels) {
    for (size_t i = 0; i < src->n_mats; i++) {
        size_t n = ng_mat_panel_bytes(src->mats[i]);
        if (n) ng_mat_place(src->mats[i], (uint8_t *)(uintptr_t)panels);
        panels += n;
    }
}

typedef struct pack_job {
    const ng_repack_source *src;
    ng_pool *pool;
} pack_job;

/* The stored form of this thread's rows need not stay resident: the peak of a load is the panels. */
static void forget_rows(const ng_team *tm, const ng_map *file, const ng_mat *m) {
    size_t begin, end;
    if (!m->is_q8 || m->stored < file->data || m->stored >= file->data + file->len) return;
    ng_team_slice(tm, m->n_rows, NG_PANEL_ROWS, &begin, &end);
    ng_map_forget(file, (size_t)(m->stored - file->data) + begin * m->stored_stride, (end - begin) * m->stored_stride);
}

static void pack_part(void *ctx, int part, int n_parts) {
    const pack_job *job = ctx;
    ng_team tm = {job->pool, part, n_parts, NULL, part};
    for (size_t i = 0; i < job->src->n_mats; i++) {
        ng_mat_pack(&tm, job->src->mats[i]);
        forget_rows(&tm, job->src->file, job->src->mats[i]);
    }
}

/* One block for the panels of all matrices, in the order in which the architecture asked for them,
 * which is the order of use. */
static ng_status pack(ng_repack *r, const ng_repack_source *src, ng_pool *pool, ng_error *err) {
    size_t total = panel_total(src);
    r->memory = ng_memory_alloc_huge(total + 1);
    if (!r->memory)
        return ng_fail(err, NG_ENOMEM, "%s: no memory for %zu MiB of repacked weights", src->path, total >> 20);
    place_all(src, r->memory);
    pack_job job = {src, pool};
    ng_pool_run(pool, pack_part, &job);
    ng_map_forget(src->file, 0, src->file->len); /* of the stored form, a table that is only looked up is read again by row */
    r->how = "memory";
    return NG_OK;
}

/* ---- the folder ----------------------------------------------------------------------------------- */

typedef struct cached_file {
    char path[PATH_MAX];
    uint64_t bytes;
    int64_t changed_s;
} cached_file;

/* Only names that we give: 32 hex digits and '-'. */
static bool is_ours(const char *name) {
    return strspn(name, "0123456789abcdef") == DIGEST_HEX && name[DIGEST_HEX] == '-';
}

/* Removes temp files of processes that died, sums the rest and finds the one unused for longest, `keep`
 * aside. */
static uint64_t survey(const char *folder, const ng_dir_list *l, const char *keep, cached_file *oldest) {
    uint64_t total = 0;
    int64_t now = (int64_t)time(NULL);
    *oldest = (cached_file){.changed_s = INT64_MAX};
    for (size_t i = 0; i < l->len; i++) {
        cached_file f;
        if (!is_ours(l->names[i])) continue;
        int n = snprintf(f.path, sizeof f.path, "%s/%s", folder, l->names[i]);
        if (n < 0 || (size_t)n >= sizeof f.path || !ng_file_stat(f.path, &f.bytes, &f.changed_s)) continue;
        if (strstr(l->names[i], ".tmp.")) {
            if (now - f.changed_s > TEMP_STALE_S) ng_file_remove(f.path);
            continue;
        }
        total += f.bytes;
        if (strcmp(f.path, keep) && f.changed_s < oldest->changed_s) *oldest = f;
    }
    return total;
}

/* A process that has mapped a file keeps its bytes when the name goes. */
static void make_room(const char *folder, const char *keep) {
    ng_dir_list l;
    ng_error ignored = {0};
    if (ng_dir_read(&l, folder, &ignored)) return; /* nothing to remove, or nothing that we may */
    cached_file *oldest = malloc(sizeof *oldest);
    while (oldest && survey(folder, &l, keep, oldest) > NG_REPACK_CACHE_MAX && oldest->path[0]) {
        uint64_t bytes;
        int64_t changed_s;
        ng_file_remove(oldest->path);
        if (ng_file_stat(oldest->path, &bytes, &changed_s)) break; /* not ours to remove */
    }
    free(oldest);
    ng_dir_list_clear(&l);
}

static ng_status cache_path(char path[PATH_MAX], char folder[PATH_MAX], ng_digest d, ng_error *err) {
    char home[PATH_MAX - 128];
    ng_status s = ng_home_dir(home, sizeof home, err);
    if (s) return s;
    snprintf(folder, PATH_MAX, "%s/cache", home);
    snprintf(path, PATH_MAX, "%s/cache/%016llx%016llx-%s", home, (unsigned long long)d.h[0],
             (unsigned long long)d.h[1], NG_REPACK_LAYOUT);
    return NG_OK;
}

/* ---- reading and writing -------------------------------------------------------------------------- */

static ng_status use_file(ng_repack *r, const ng_repack_source *src, const char *path, ng_digest source,
                          ng_pool *pool, ng_error *err) {
    ng_map file;
    ng_status s = ng_map_open(&file, path, err);
    if (s) return s;
    ng_map_wish_huge(&file);
    s = ng_repack_check(&file, src, source, pool, err);
    if (s) {
        ng_map_close(&file);
        return s;
    }
    r->file = file;
    place_all(src, file.data + panels_at(count_entries(src)));
    return NG_OK;
}

static ng_status write_file(const ng_repack *r, const ng_repack_source *src, const char *path, ng_digest source,
                            ng_pool *pool, ng_error *err) {
    ng_map panels = {r->memory, panel_total(src)};
    ng_digest d, again;
    uint8_t *header;
    size_t len;
    ng_writer *w = NULL;
    ng_status s = ng_repack_digest(&again, pool, src->file, true, err);
    if (!s && memcmp(&again, &source, sizeof again))
        s = ng_fail(err, NG_EIO, "%s changed while it was read", src->path);
    if (!s) s = ng_repack_digest(&d, pool, &panels, false, err);
    if (s) return s;
    s = ng_repack_header(&header, &len, src, source, d, err);
    if (!s) s = ng_writer_open(&w, path, err);
    if (!s) s = ng_writer_put(w, header, len, err);
    if (!s) s = ng_writer_put(w, panels.data, panels.len, err);
    free(header);
    if (!s) return ng_writer_commit(w, err);
    ng_writer_abort(w);
    return s;
}

/* From memory to the file: what this process holds from now on is shared too.  The memory goes before the
 * file is mapped and read, or a load would hold the panels twice; should the file then fail, r->memory is
 * NULL and they must be packed again. */
static ng_status share(ng_repack *r, const ng_repack_source *src, ng_digest source, ng_pool *pool, ng_error *err) {
    char path[PATH_MAX], folder[PATH_MAX];
    ng_status s = cache_path(path, folder, source, err);
    if (!s && panel_total(src) > NG_REPACK_CACHE_MAX)
        s = ng_fail(err, NG_ELIMIT, "they are more than the cache may hold");
    if (!s) s = ng_dir_make(folder, err);
    if (!s) s = write_file(r, src, path, source, pool, err);
    if (s) return s;
    free(r->memory);
    r->memory = NULL;
    if ((s = use_file(r, src, path, source, pool, err))) return s;
    make_room(folder, path);
    r->how = "written";
    return NG_OK;
}

static ng_status open_cached(ng_repack *r, const ng_repack_source *src, ng_pool *pool, ng_error *err) {
    char path[PATH_MAX], folder[PATH_MAX];
    ng_error why = {0}, unshared = {0};
    ng_digest source;
    ng_status s = ng_repack_digest(&source, pool, src->file, true, err);
    if (s) return s;
    r->source = source;
    r->has_source = true;
    s = cache_path(path, folder, source, &why);
    if (!s) s = use_file(r, src, path, source, pool, &why);
    if (!s) {
        ng_file_touch(path); /* the oldest is what was not used for longest */
        r->how = "cache";
        return NG_OK;
    }
    if (s == NG_EFORMAT) snprintf(r->note, sizeof r->note, "%.300s is repacked anew: %.100s", path, why.text);
    if ((s = pack(r, src, pool, err))) return s;
    if (share(r, src, source, pool, &unshared))
        snprintf(r->note, sizeof r->note, "repacked weights are not shared, every process makes its own: %.400s",
                 unshared.text);
    return r->memory || r->file.data ? NG_OK : pack(r, src, pool, err);
}

ng_status ng_repack_open(ng_repack *out, const ng_repack_source *src, ng_error *err) {
    *out = (ng_repack){.how = "none"};
    size_t total = panel_total(src);
    if (!total) return NG_OK;
    ng_pool *pool;
    ng_status s = ng_pool_new(&pool, 0, err);
    if (s) return s;
    pthread_mutex_lock(&turn);
    s = total < src->cache_from_bytes ? pack(out, src, pool, err) : open_cached(out, src, pool, err);
    pthread_mutex_unlock(&turn);
    ng_pool_free(pool);
    return s;
}

void ng_repack_close(ng_repack *r) {
    ng_map_close(&r->file);
    free(r->memory);
    *r = (ng_repack){0};
}

/* prefix_file.c: reads, writes and evicts files of pages.  See prefix_file.h.
 *
 * The age of a file is its time of change, which reading sets to now.  A text is found from its first page on, so a
 * page without the one before it is of no use: among files of one second the later page of a text goes first. */
#include "prefix_file.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { VERSION = 1, TEMP_STALE_S = 3600, ID_HEX = 16, PAGE_HEX = 6, CHAIN_HEX = 32, NAME_MAX_LEN = 90, IDS_AT_ONCE = 1024, NEAR_MAX = 16 };
static const char magic[8] = {'N', 'G', 'P', 'R', 'E', 'F', 'X', '\n'}, hex[] = "0123456789abcdef";

/* No padding: written as it lies. */
typedef struct head {
    char magic[8];
    uint32_t version, n_ids;
    uint64_t identity[2], page_bytes, ids[2], page[2];
} head;
_Static_assert(sizeof(head) == 72, "written as it lies in memory");

/* Two writers of one process must not share a temporary name. */
static pthread_mutex_t turn = PTHREAD_MUTEX_INITIALIZER;

/* ---- keys ------------------------------------------------------------------------------------------- */

ng_prefix_key ng_prefix_key_first(const ng_prefix_dir *d, uint64_t tenant) {
    const uint64_t seed[3] = {d->identity.h[0], d->identity.h[1], tenant};
    return (ng_prefix_key){.chain = ng_digest_of(seed, sizeof seed)};
}

size_t ng_prefix_key_next(ng_prefix_key *k, const int32_t *ids, size_t n) {
    struct {
        ng_digest before;
        int32_t ids[NG_KV_PAGE_TOK];
    } link = {.before = k->chain};
    if (k->n_ids > k->begin) {
        memcpy(link.ids, ids + k->begin, sizeof link.ids);
        k->chain = ng_digest_of(&link, sizeof link);
    }
    k->ids = ids;
    k->begin = k->n_ids;
    k->n_ids = n - k->begin < NG_KV_PAGE_TOK ? n : k->begin + NG_KV_PAGE_TOK;
    return k->n_ids - k->begin;
}

/* The name up to `own`. */
static int place_of(char out[NAME_MAX_LEN], const ng_prefix_dir *d, const ng_prefix_key *k) {
    return snprintf(out, NAME_MAX_LEN, "%016llx-%06zx-%016llx%016llx-", (unsigned long long)d->identity.h[0],
                    (k->begin / NG_KV_PAGE_TOK) & 0xffffff, (unsigned long long)k->chain.h[0],
                    (unsigned long long)k->chain.h[1]);
}

static void path_of(char out[PATH_MAX], const ng_prefix_dir *d, const ng_prefix_key *k) {
    char place[NAME_MAX_LEN];
    place_of(place, d, k);
    uint64_t own = ng_hash64(k->ids + k->begin, (k->n_ids - k->begin) * sizeof *k->ids, 0);
    snprintf(out, PATH_MAX, "%s/%s%016llx.kv", d->path, place, (unsigned long long)own);
}

/* ---- one file --------------------------------------------------------------------------------------- */

static head head_of(const ng_prefix_dir *d, const ng_prefix_key *k, ng_digest page) {
    head h = {.version = VERSION, .n_ids = (uint32_t)k->n_ids, .identity = {d->identity.h[0], d->identity.h[1]},
              .page_bytes = d->page_bytes, .page = {page.h[0], page.h[1]}};
    ng_digest ids = ng_digest_of(k->ids, k->n_ids * sizeof *k->ids);
    memcpy(h.ids, ids.h, sizeof h.ids);
    memcpy(h.magic, magic, sizeof magic);
    return h;
}

/* NG_EFORMAT with why it is not what is wanted. */
static ng_status check_head(const head *h, const head *want, uint64_t file_len, ng_error *err) {
    uint64_t len = sizeof *h + (uint64_t)want->n_ids * sizeof(int32_t) + want->page_bytes;
    if (memcmp(h->magic, want->magic, sizeof h->magic)) return ng_fail(err, NG_EFORMAT, "it is no page of a prefix");
    if (h->version != want->version) return ng_fail(err, NG_EFORMAT, "another version wrote it");
    if (memcmp(h->identity, want->identity, sizeof h->identity))
        return ng_fail(err, NG_EFORMAT, "it is of another model, build or KV type");
    if (h->n_ids != want->n_ids || h->page_bytes != want->page_bytes || file_len != len)
        return ng_fail(err, NG_EFORMAT, "its length is wrong");
    if (memcmp(h->ids, want->ids, sizeof h->ids)) return ng_fail(err, NG_EFORMAT, "it holds other tokens");
    return NG_OK;
}

static ng_status check_ids(ng_reader *r, const ng_prefix_key *k, ng_error *err) {
    int32_t ids[IDS_AT_ONCE];
    for (size_t at = 0, n; at < k->n_ids; at += n) {
        n = k->n_ids - at < IDS_AT_ONCE ? k->n_ids - at : IDS_AT_ONCE;
        ng_status s = ng_reader_get(r, ids, n * sizeof *ids, err);
        if (s) return s;
        if (memcmp(ids, k->ids + at, n * sizeof *ids)) return ng_fail(err, NG_EFORMAT, "it holds other tokens");
    }
    return NG_OK;
}

static ng_status read_page(ng_reader *r, const ng_prefix_dir *d, const head *h, void *page, ng_error *err) {
    ng_status s = ng_reader_get(r, page, d->page_bytes, err);
    if (s) return s;
    ng_digest got = ng_digest_of(page, d->page_bytes);
    return memcmp(got.h, h->page, sizeof got.h) ? ng_fail(err, NG_EFORMAT, "its page is damaged") : NG_OK;
}

/* Closes the reader; a file that is refused goes, so that it is written again. */
static ng_status settle(ng_reader *r, const char *path, ng_status s, const ng_error *why, ng_error *err) {
    ng_reader_close(r);
    if (!s) ng_file_touch(path);
    if (s == NG_EFORMAT) ng_file_remove(path);
    return s ? ng_fail(err, s, "%.200s is not used: %.80s", path, why->text) : NG_OK;
}

ng_status ng_prefix_file_read(const ng_prefix_dir *d, const ng_prefix_key *k, void *page, ng_error *err) {
    char path[PATH_MAX];
    ng_reader r;
    ng_error why = {0};
    path_of(path, d, k);
    ng_status s = ng_reader_open(&r, path, &why);
    if (s) return ng_fail(err, s, "%s", why.text);
    head h, want = head_of(d, k, (ng_digest){{0, 0}});
    s = ng_reader_get(&r, &h, sizeof h, &why);
    if (!s) s = check_head(&h, &want, r.len, &why);
    if (!s) s = check_ids(&r, k, &why);
    if (!s) s = read_page(&r, d, &h, page, &why);
    return settle(&r, path, s, &why, err);
}

/* ---- pages that are near ------------------------------------------------------------------------------ */

static void file_path(char out[PATH_MAX], const ng_prefix_dir *d, const char *name) {
    snprintf(out, PATH_MAX, "%s/%.*s", d->path, NAME_MAX_LEN, name);
}

/* Header and ids of a file of any length up to the page's end; *same of the key's ids stand in its page.  The
 * reader then stands before the page. */
static ng_status read_near(ng_reader *r, const ng_prefix_dir *d, const ng_prefix_key *k, head *h, size_t *same,
                           ng_error *err) {
    ng_status s = ng_reader_get(r, h, sizeof *h, err);
    *same = 0;
    if (s) return s;
    if (h->n_ids <= k->begin || h->n_ids > k->begin + NG_KV_PAGE_TOK)
        return ng_fail(err, NG_EFORMAT, "its length is wrong");
    int32_t *ids = malloc(h->n_ids * sizeof *ids);
    if (!ids) return ng_fail(err, NG_ENOMEM, "out of memory");
    ng_prefix_key own = {.ids = ids, .begin = k->begin, .n_ids = h->n_ids, .chain = k->chain};
    s = ng_reader_get(r, ids, own.n_ids * sizeof *ids, err);
    if (!s) {
        head want = head_of(d, &own, (ng_digest){{0, 0}}); /* the ids have the digest that the header names */
        s = check_head(h, &want, r->len, err);
    }
    if (!s && memcmp(ids, k->ids, k->begin * sizeof *ids)) s = ng_fail(err, NG_EFORMAT, "it holds other tokens");
    size_t max = own.n_ids < k->n_ids ? own.n_ids - own.begin : k->n_ids - own.begin;
    while (!s && *same < max && ids[own.begin + *same] == k->ids[own.begin + *same]) ++*same;
    free(ids);
    return s;
}

/* Names are sorted; those of one place stand together. */
static size_t first_name(const ng_dir_list *l, const char *place) {
    size_t begin = 0, end = l->len;
    while (begin < end) {
        size_t mid = begin + (end - begin) / 2;
        if (strcmp(l->names[mid], place) < 0) begin = mid + 1;
        else end = mid;
    }
    return begin;
}

/* Reads file i of the list into `page` (NULL: only looks); returns how many ids it shares. */
static size_t look_near(const ng_prefix_dir *d, const ng_prefix_key *k, size_t i, void *page, ng_error *err) {
    char path[PATH_MAX];
    ng_reader r;
    ng_error why = {0};
    head h;
    size_t same;
    file_path(path, d, d->names.names[i]);
    if (ng_reader_open(&r, path, &why)) return 0; /* it has gone since */
    ng_status s = read_near(&r, d, k, &h, &same, &why);
    if (!s && same && page) s = read_page(&r, d, &h, page, &why);
    if (!s && !page) ng_reader_close(&r); /* not used yet */
    else s = settle(&r, path, s, &why, err);
    return s ? 0 : same;
}

size_t ng_prefix_file_near(const ng_prefix_dir *d, const ng_prefix_key *k, void *page, ng_error *err) {
    char place[NAME_MAX_LEN];
    size_t len = (size_t)place_of(place, d, k), first = first_name(&d->names, place), best = 0, most = 0;
    for (size_t i = first; i < d->names.len && i < first + NEAR_MAX && !strncmp(d->names.names[i], place, len); i++) {
        size_t same = look_near(d, k, i, NULL, err);
        if (same > most) most = same, best = i;
    }
    return most ? look_near(d, k, best, page, err) : 0;
}

/* ---- writing ------------------------------------------------------------------------------------------ */

static ng_status write_all(const ng_prefix_dir *d, const ng_prefix_key *k, const char *path, const void *page,
                           ng_error *err) {
    head h = head_of(d, k, ng_digest_of(page, d->page_bytes));
    ng_writer *w;
    ng_status s = ng_writer_open_private(&w, path, err);
    if (s) return s;
    s = ng_writer_put(w, &h, sizeof h, err);
    if (!s) s = ng_writer_put(w, k->ids, k->n_ids * sizeof *k->ids, err);
    if (!s) s = ng_writer_put(w, page, d->page_bytes, err);
    if (!s) return ng_writer_commit(w, err);
    ng_writer_abort(w);
    return s;
}

ng_status ng_prefix_file_write(const ng_prefix_dir *d, const ng_prefix_key *k, const void *page, bool *fresh,
                               ng_error *err) {
    char path[PATH_MAX];
    uint64_t len;
    int64_t changed_s;
    path_of(path, d, k);
    *fresh = !ng_file_stat(path, &len, &changed_s) || len != sizeof(head) + k->n_ids * sizeof *k->ids + d->page_bytes;
    if (!*fresh) {
        ng_file_touch(path);
        return NG_OK;
    }
    pthread_mutex_lock(&turn);
    ng_status s = write_all(d, k, path, page, err);
    pthread_mutex_unlock(&turn);
    return s;
}

/* ---- the folder ------------------------------------------------------------------------------------- */

/* Only names that we give; what follows ".kv" is a temporary name's. */
static bool is_ours(const char *name) {
    size_t page_at = ID_HEX + 1, chain_at = page_at + PAGE_HEX + 1, own_at = chain_at + CHAIN_HEX + 1,
           end = own_at + ID_HEX;
    return strspn(name, hex) == ID_HEX && name[ID_HEX] == '-' && strspn(name + page_at, hex) == PAGE_HEX &&
           name[chain_at - 1] == '-' && strspn(name + chain_at, hex) == CHAIN_HEX && name[own_at - 1] == '-' &&
           strspn(name + own_at, hex) == ID_HEX && !strncmp(name + end, ".kv", 3) &&
           (!name[end + 3] || !strncmp(name + end + 3, ".tmp.", 5));
}

typedef struct found {
    char *name; /* the list's */
    uint64_t bytes;
    int64_t changed_s;
} found;

static int oldest_first(const void *x, const void *y) {
    const found *a = x, *b = y;
    if (a->changed_s != b->changed_s) return a->changed_s < b->changed_s ? -1 : 1;
    return strncmp(b->name + ID_HEX, a->name + ID_HEX, 1 + PAGE_HEX); /* later pages first */
}

/* The folder's files into all[l->len]; returns how many.  Old temporary files are removed. */
static size_t survey(const ng_prefix_dir *d, const ng_dir_list *l, found *all, uint64_t *total) {
    char path[PATH_MAX];
    int64_t now = (int64_t)time(NULL);
    size_t n = 0;
    *total = 0;
    for (size_t i = 0; i < l->len; i++) {
        found f = {.name = l->names[i]};
        if (!is_ours(f.name)) continue;
        file_path(path, d, f.name);
        if (!ng_file_stat(path, &f.bytes, &f.changed_s)) continue;
        if (strstr(f.name, ".tmp.")) {
            if (now - f.changed_s > TEMP_STALE_S) ng_file_remove(path);
            continue;
        }
        *total += f.bytes;
        all[n++] = f;
    }
    return n;
}

void ng_prefix_dir_trim(const ng_prefix_dir *d) {
    ng_dir_list l;
    ng_error ignored = {0};
    char path[PATH_MAX];
    uint64_t total;
    if (ng_dir_read(&l, d->path, &ignored)) return; /* nothing to remove, or nothing that we may */
    found *all = calloc(l.len + 1, sizeof *all);
    if (all) {
        size_t n = survey(d, &l, all, &total);
        if (total > d->max) qsort(all, n, sizeof *all, oldest_first);
        for (size_t i = 0; i < n && total > d->max; i++) {
            file_path(path, d, all[i].name);
            ng_file_remove(path);
            total -= all[i].bytes;
        }
    }
    free(all);
    ng_dir_list_clear(&l);
}

ng_status ng_prefix_dir_open(ng_prefix_dir *out, const char *path, ng_digest identity, size_t page_bytes, uint64_t max,
                             ng_error *err) {
    ng_dir_list l;
    size_t n = 0;
    char ours[ID_HEX + 1];
    *out = (ng_prefix_dir){.identity = identity, .page_bytes = page_bytes, .max = max};
    if (strlen(path) >= sizeof out->path)
        return ng_fail(err, NG_EINVALID, "prefix cache: the path of the folder is too long");
    strcpy(out->path, path);
    ng_status s = ng_dir_make_private(path, err);
    if (!s) s = ng_dir_read(&l, path, err);
    if (s) return s;
    snprintf(ours, sizeof ours, "%016llx", (unsigned long long)identity.h[0]);
    for (size_t i = 0; i < l.len; i++) {
        bool is_page = is_ours(l.names[i]),
             is_own = is_page && !strncmp(l.names[i], ours, ID_HEX) && !strstr(l.names[i], ".tmp.");
        out->foreign += is_page && strncmp(l.names[i], ours, ID_HEX) != 0;
        if (is_own) l.names[n++] = l.names[i];
        else free(l.names[i]);
    }
    l.len = n;
    out->names = l;
    return NG_OK;
}

void ng_prefix_dir_close(ng_prefix_dir *d) { ng_dir_list_clear(&d->names); }

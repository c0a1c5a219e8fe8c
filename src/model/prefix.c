/* prefix.c: a tree of pages, the one unused for longest at its end, and a thread that writes files.  See prefix.h.
 *
 * A node is one page and the ids in it; its path from the root is a text.  Only a leaf may hold less than 64 ids.
 * (A radix tree over tokens as in Zheng et al. 2024, SGLang, cut at the pages of Kwon et al. 2023.)
 *
 * Order of use: nodes form a ring through node 0, the root.  A text that is used moves its nodes to the front from
 * its end to its beginning, so that a node stands always before those below it, and the last of the ring is a leaf:
 * the one to go.
 *
 * Files are written by a thread, behind the answer.  A job holds its pages by reference, so the bytes cannot change
 * meanwhile.  When the pool runs out of pages, what still waits to be written is given up: a sequence that runs
 * comes before a file. */
#include "prefix.h"

#include "arch.h"
#include "core/build_id.h"
#include "core/clock.h"
#include "prefix_file.h"
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { PAGE = NG_KV_PAGE_TOK, ROOT = 0, NONE = UINT32_MAX, JOBS_MAX = 64, NEAR_LEAST = 8, WARN_MS = 10000 };
static const uint64_t DISK_MAX_DEFAULT = (uint64_t)1 << 30;

typedef struct node {
    int32_t ids[PAGE];
    uint32_t n, page;
    uint32_t parent, child, sibling; /* child: the first; sibling: the next, also of the free */
    uint32_t newer, older;           /* the ring */
    uint64_t tenant;
    bool again;                      /* a second text began with it */
    bool filed;                      /* it is in a file, or a job has it */
} node;

typedef struct job {
    struct job *next;
    int32_t *ids; /* [n_ids] from the text's start */
    size_t n_ids;
    uint64_t tenant;
    size_t n_pages, n_done;
    struct {
        size_t at;     /* of the page in the text */
        uint32_t page; /* NONE: given up */
    } pages[];
} job;

struct ng_prefix {
    ng_kv_pool *pool;
    node *nodes;         /* [n_max + 1] */
    uint32_t n_max, n_used, free;
    uint64_t memory_tok, disk_tok, memory_hits, disk_hits;
    void (*warn)(void *ctx, const char *line);
    void *warn_ctx;
    bool has_dir, eager, has_thread;
    ng_prefix_dir dir;
    pthread_t thread;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    job *first, **last;
    size_t n_jobs;
    job *current;        /* out of the list: the thread writes its page n_done */
    bool stop;
    uint64_t written, failed, refused;
    double warned_ms;    /* 0: never */
    uint64_t unsaid;     /* notes since */
    char note[NG_PREFIX_NOTE_MAX];
};

/* ---- the tree ----------------------------------------------------------------------------------------- */

static void unlink_ring(ng_prefix *p, uint32_t i) {
    node *n = &p->nodes[i];
    p->nodes[n->newer].older = n->older;
    p->nodes[n->older].newer = n->newer;
}

static void to_front(ng_prefix *p, uint32_t i) {
    node *n = &p->nodes[i], *root = &p->nodes[ROOT];
    n->newer = ROOT;
    n->older = root->older;
    p->nodes[root->older].newer = i;
    root->older = i;
}

/* The path down to node `at` becomes the one used last. */
static void touch(ng_prefix *p, uint32_t at) {
    for (; at != ROOT; at = p->nodes[at].parent) {
        unlink_ring(p, at);
        to_front(p, at);
    }
}

static void remove_leaf(ng_prefix *p, uint32_t i) {
    node *n = &p->nodes[i];
    uint32_t *at = &p->nodes[n->parent].child;
    assert(n->child == NONE);
    while (*at != i) at = &p->nodes[*at].sibling;
    *at = n->sibling;
    unlink_ring(p, i);
    ng_kv_page_drop(p->pool, n->page);
    n->sibling = p->free;
    p->free = i;
    p->n_used--;
}

/* The child of `at` that has most of ids[0 .. n) at its beginning, and how many; NONE when none has the first. */
static uint32_t best_child(const ng_prefix *p, uint32_t at, uint64_t tenant, const int32_t *ids, size_t n,
                           size_t *same) {
    uint32_t best = NONE;
    *same = 0;
    for (uint32_t i = p->nodes[at].child; i != NONE; i = p->nodes[i].sibling) {
        const node *c = &p->nodes[i];
        size_t k = 0, max = c->n < n ? c->n : n;
        if (c->tenant != tenant) continue;
        while (k < max && c->ids[k] == ids[k]) k++;
        if (k > *same) *same = k, best = i;
    }
    return best;
}

static void set_page(ng_prefix *p, node *n, uint32_t page, const int32_t *ids, size_t n_ids) {
    ng_kv_page_hold(p->pool, page);
    n->page = page;
    n->n = (uint32_t)n_ids;
    memcpy(n->ids, ids, n_ids * sizeof *ids);
    n->again = n->filed = false;
}

/* A new child of `parent`; what was not used for longest makes room.  NONE where that is `parent`. */
static uint32_t add_child(ng_prefix *p, uint32_t parent, uint64_t tenant, uint32_t page, const int32_t *ids, size_t n) {
    touch(p, parent);
    uint32_t oldest = p->nodes[ROOT].newer;
    if (p->free == NONE && oldest == parent) return NONE; /* all that is kept is this path */
    if (p->free == NONE) remove_leaf(p, oldest);
    uint32_t i = p->free;
    node *c = &p->nodes[i];
    p->free = c->sibling;
    p->n_used++;
    set_page(p, c, page, ids, n);
    c->tenant = tenant;
    c->parent = parent;
    c->child = NONE;
    c->sibling = p->nodes[parent].child;
    p->nodes[parent].child = i;
    c->newer = c->older = i;
    touch(p, i);
    return i;
}

/* The node whose path is ids[0 .. n), n a multiple of 64. */
static uint32_t find(const ng_prefix *p, const ng_prefix_text *t, size_t n) {
    uint32_t at = ROOT;
    size_t same;
    for (size_t i = 0; i < n && at != NONE; i += PAGE) {
        at = best_child(p, at, t->tenant, t->ids + i, PAGE, &same);
        if (at != NONE && same < PAGE) at = NONE;
    }
    return at;
}

/* ---- files -------------------------------------------------------------------------------------------- */

/* A full disk fails every page: it is not told each time. */
static void note(ng_prefix *p, uint64_t *count, const ng_error *why) {
    char line[NG_PREFIX_NOTE_MAX + 64];
    double now = ng_clock_ms();
    pthread_mutex_lock(&p->lock);
    ++*count;
    snprintf(p->note, sizeof p->note, "%.*s", (int)sizeof p->note - 1, why->text);
    bool say = p->warn && (!(p->warned_ms > 0) || now - p->warned_ms >= WARN_MS);
    if (say && p->unsaid)
        snprintf(line, sizeof line, "%s (and %llu more since the last line)", p->note, (unsigned long long)p->unsaid);
    else snprintf(line, sizeof line, "%s", p->note);
    p->unsaid = say ? 0 : p->unsaid + 1;
    if (say) p->warned_ms = now;
    pthread_mutex_unlock(&p->lock);
    if (say) p->warn(p->warn_ctx, line);
}

/* The key's page, or where `near` one that begins like it, from its file to the end of kv; returns how many of its ids that holds. node `at` (or NONE) is where it goes on, and stays. */
static size_t load(ng_prefix *p, ng_kv *kv, const ng_prefix_key *k, uint32_t at, bool near) {
    ng_error err = {0};
    if (at != NONE) touch(p, at);
    while (ng_kv_reserve(kv, PAGE, NULL))
        if (p->nodes[ROOT].newer == at || !ng_prefix_evict(p)) return 0;
    void *page = ng_kv_page(p->pool, kv->pages[kv->len / PAGE]);
    bool whole = k->n_ids - k->begin == PAGE;
    ng_status s = whole ? ng_prefix_file_read(&p->dir, k, page, &err) : NG_ENOTFOUND;
    size_t n = whole && !s ? PAGE : 0;
    if (s == NG_ENOTFOUND && near) {
        err = (ng_error){0};
        n = ng_prefix_file_near(&p->dir, k, page, &err);
    }
    if (err.code && err.code != NG_ENOTFOUND) note(p, &p->refused, &err);
    ng_kv_advance(kv, n);
    p->disk_tok += n;
    if (!n) ng_kv_rewind(kv, kv->len);
    return n;
}

/* Page `at` of the job's text. */
static void write_page(ng_prefix *p, const job *j, size_t at, uint32_t page) {
    ng_prefix_key k = ng_prefix_key_first(&p->dir, j->tenant);
    ng_error err = {0};
    bool fresh;
    for (size_t i = 0; i <= at; i++) (void)ng_prefix_key_next(&k, j->ids, j->n_ids);
    if (ng_prefix_file_write(&p->dir, &k, ng_kv_page(p->pool, page), &fresh, &err)) note(p, &p->failed, &err);
    else if (fresh) {
        pthread_mutex_lock(&p->lock);
        p->written++;
        pthread_mutex_unlock(&p->lock);
    }
}

static void free_job(ng_prefix *p, job *j) {
    for (; j->n_done < j->n_pages; j->n_done++)
        if (j->pages[j->n_done].page != NONE) ng_kv_page_drop(p->pool, j->pages[j->n_done].page);
    free(j->ids);
    free(j);
}

/* The lock is held. */
static job *take_job(ng_prefix *p) {
    job *j = p->first;
    if (!j) return NULL;
    p->first = j->next;
    if (!p->first) p->last = &p->first;
    p->n_jobs--;
    return j;
}

static void run_job(ng_prefix *p, job *j) {
    for (; j->n_done < j->n_pages; j->n_done++) {
        size_t at = j->pages[j->n_done].at;
        uint32_t page = j->pages[j->n_done].page;
        if (page == NONE) continue;
        pthread_mutex_unlock(&p->lock);
        write_page(p, j, at, page);
        ng_kv_page_drop(p->pool, page);
        pthread_mutex_lock(&p->lock);
    }
}

static void *writer(void *ctx) {
    ng_prefix *p = ctx;
    pthread_mutex_lock(&p->lock);
    while (p->first || !p->stop) {
        job *j = take_job(p);
        if (!j) {
            pthread_cond_wait(&p->changed, &p->lock);
            continue;
        }
        p->current = j;
        run_job(p, j);
        pthread_mutex_unlock(&p->lock);
        ng_prefix_dir_trim(&p->dir);
        pthread_mutex_lock(&p->lock);
        p->current = NULL;
        free_job(p, j);
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

/* A job for the first n tokens of the text; NULL where there is nothing to do, or no memory for it. */
static job *new_job(const ng_prefix *p, const ng_prefix_text *t, size_t n) {
    size_t n_pages = (n + PAGE - 1) / PAGE;
    if (!p->has_dir || t->is_private || !n_pages) return NULL;
    job *j = malloc(sizeof *j + n_pages * sizeof j->pages[0]);
    if (!j) return NULL;
    *j = (job){.ids = malloc(n * sizeof *j->ids), .n_ids = n, .tenant = t->tenant};
    if (!j->ids) return free(j), NULL;
    memcpy(j->ids, t->ids, j->n_ids * sizeof *j->ids);
    return j;
}

/* Page `at` of the text, which node n (or NULL) keeps. */
static void add_page(ng_prefix *p, job *j, size_t at, uint32_t page, node *n) {
    if (!j || !(p->eager || (n && n->again)) || (n && n->filed)) return;
    ng_kv_page_hold(p->pool, page);
    j->pages[j->n_pages].at = at;
    j->pages[j->n_pages++].page = page;
    if (n) n->filed = true;
}

/* Takes the job. */
static void submit(ng_prefix *p, job *j) {
    if (!j) return;
    pthread_mutex_lock(&p->lock);
    bool ok = j->n_pages && p->n_jobs < JOBS_MAX;
    if (ok) {
        *p->last = j;
        p->last = &j->next;
        p->n_jobs++;
        pthread_cond_broadcast(&p->changed);
    }
    pthread_mutex_unlock(&p->lock);
    if (!ok) free_job(p, j);
}

/* ---- the calls ---------------------------------------------------------------------------------------- */

size_t ng_prefix_extend(ng_prefix *p, ng_kv *kv, const ng_prefix_text *t, size_t files) {
    size_t before = kv->len, same;
    uint64_t memory_before = p->memory_tok, disk_before = p->disk_tok;
    if (before % PAGE || before >= t->n) return 0;
    uint32_t at = find(p, t, before), next;
    ng_prefix_key k = ng_prefix_key_first(&p->dir, t->tenant);
    while (kv->len < t->n && kv->len % PAGE == 0) {
        size_t left = t->n - kv->len < PAGE ? t->n - kv->len : PAGE, n = 0;
        next = at == NONE ? NONE : best_child(p, at, t->tenant, t->ids + kv->len, left, &same);
        if (next == NONE) same = 0;
        if (same < left && p->has_dir && files) {
            while (k.n_ids <= kv->len) (void)ng_prefix_key_next(&k, t->ids, t->n);
            n = load(p, kv, &k, at, same == 0);
            if (!n && next != NONE) /* making room may have taken it */
                next = best_child(p, at, t->tenant, t->ids + kv->len, left, &same);
        }
        if (n) {
            files--;
            if (n < PAGE || at == NONE) continue;
            at = add_child(p, at, t->tenant, kv->pages[kv->n_pages - 1], t->ids + kv->len - PAGE, PAGE);
            if (at != NONE) p->nodes[at].again = p->nodes[at].filed = true;
            continue;
        }
        if (next == NONE || !ng_kv_append(kv, p->nodes[next].page, same)) break;
        p->nodes[next].again |= same == PAGE;
        p->memory_tok += same;
        at = next;
    }
    if (at != NONE) touch(p, at);
    if (!before) { /* a text that goes on was counted when it began */
        p->memory_hits += p->memory_tok > memory_before;
        p->disk_hits += p->disk_tok > disk_before;
    }
    return kv->len - before;
}

/* Whether a file has a page below `at` that begins with these ids. */
static bool is_filed(const ng_prefix *p, uint32_t at, uint64_t tenant, const int32_t *ids, size_t n) {
    for (uint32_t i = p->nodes[at].child; i != NONE; i = p->nodes[i].sibling) {
        const node *c = &p->nodes[i];
        if (c->filed && c->tenant == tenant && c->n >= n && !memcmp(c->ids, ids, n * sizeof *ids)) return true;
    }
    return false;
}

/* The node below `at` that keeps these n <= 64 tokens, which stand in `page`. */
static uint32_t keep_page(ng_prefix *p, uint32_t at, uint64_t tenant, uint32_t page, const int32_t *ids, size_t n) {
    size_t same;
    uint32_t i = best_child(p, at, tenant, ids, n, &same);
    if (i == NONE || same < p->nodes[i].n) {
        if (i != NONE && same == n) return i; /* it has these and more */
        bool again = same >= NEAR_LEAST && !is_filed(p, at, tenant, ids, same);
        i = add_child(p, at, tenant, page, ids, n);
        if (i != NONE) p->nodes[i].again = again;
        return i;
    }
    node *c = &p->nodes[i];
    if (c->n < n) { /* the text has gone on */
        uint32_t old = c->page;
        set_page(p, c, page, ids, n);
        ng_kv_page_drop(p->pool, old);
    } else if (c->page != page) c->again = true; /* two texts were read side by side */
    return i;
}

void ng_prefix_keep(ng_prefix *p, const ng_kv *kv, const ng_prefix_text *t) {
    size_t n = t->n < kv->len ? t->n : kv->len;
    job *j = new_job(p, t, n);
    uint32_t at = ROOT, last = ROOT;
    for (size_t i = 0; i < n; i += PAGE) {
        size_t len = n - i < PAGE ? n - i : PAGE;
        uint32_t page = kv->pages[i / PAGE];
        if (at != NONE) at = keep_page(p, at, t->tenant, page, t->ids + i, len);
        if (at != NONE) last = at;
        add_page(p, j, i / PAGE, page, at == NONE ? NULL : &p->nodes[at]);
    }
    touch(p, last);
    submit(p, j);
}

/* Gives up a page of the job, from page `begin` on, that nobody else holds. */
static bool give_up_page(ng_prefix *p, job *j, size_t begin) {
    for (size_t i = begin; i < j->n_pages; i++) {
        if (j->pages[i].page == NONE || ng_kv_page_is_shared(p->pool, j->pages[i].page)) continue;
        ng_kv_page_drop(p->pool, j->pages[i].page);
        j->pages[i].page = NONE;
        return true;
    }
    return false;
}

bool ng_prefix_evict(ng_prefix *p) {
    pthread_mutex_lock(&p->lock);
    bool some = p->current && give_up_page(p, p->current, p->current->n_done + 1);
    for (job *j = p->first; j && !some; j = j->next) some = give_up_page(p, j, 0);
    pthread_mutex_unlock(&p->lock);
    if (some || !p->n_used) return some;
    remove_leaf(p, p->nodes[ROOT].newer);
    return true;
}

void ng_prefix_flush(ng_prefix *p) {
    pthread_mutex_lock(&p->lock);
    while (p->has_thread && (p->first || p->current)) pthread_cond_wait(&p->changed, &p->lock);
    pthread_mutex_unlock(&p->lock);
}

ng_prefix_stats ng_prefix_look(ng_prefix *p) {
    pthread_mutex_lock(&p->lock);
    ng_prefix_stats s = {.memory_bytes = (uint64_t)p->n_used * ng_kv_page_bytes(p->pool), .memory_tok = p->memory_tok,
                         .disk_tok = p->disk_tok, .memory_hits = p->memory_hits,
                         .disk_hits = p->disk_hits, .written = p->written, .failed = p->failed, .refused = p->refused,
                         .foreign = p->dir.foreign};
    memcpy(s.note, p->note, sizeof s.note);
    pthread_mutex_unlock(&p->lock);
    return s;
}

/* ---- life --------------------------------------------------------------------------------------------- */

static size_t nodes_of(const ng_prefix_options *o, const ng_kv_shape *shape) {
    uint64_t page = (uint64_t)ng_kv_bytes_per_tok(shape) * PAGE, n = page ? o->memory_max / page : 0;
    return n < NONE / 2 ? (size_t)n : NONE / 2;
}

size_t ng_prefix_pages(const ng_prefix_options *o, const ng_kv_shape *shape) {
    return nodes_of(o, shape) + (o->dir != NULL);
}

/* Everything that a page's bytes follow from, but for the tokens: RoPE and the tokenizer stand in the file. */
static ng_status identity_of(ng_digest *out, const ng_prefix_setup *s, ng_error *err) {
    struct {
        ng_digest model;
        uint64_t n_layer, n_head_kv, head_dim, type, page_tok, build_len;
        uint8_t build[NG_BUILD_ID_MAX];
    } id = {.n_layer = s->shape->n_layer, .n_head_kv = s->shape->n_head_kv, .head_dim = s->shape->head_dim,
            .type = (uint64_t)s->shape->type, .page_tok = PAGE};
    ng_build_id build;
    ng_status status = ng_build_id_get(&build, err);
    if (!status) status = ng_model_digest(&id.model, s->model, err);
    if (status) return status;
    id.build_len = build.len;
    memcpy(id.build, build.bytes, build.len);
    *out = ng_digest_of(&id, sizeof id);
    return NG_OK;
}

/* A folder that cannot be used costs the files, not the model. */
static ng_status open_files(ng_prefix *p, const ng_prefix_setup *s, ng_error *err) {
    const ng_prefix_options *o = s->options;
    ng_digest identity;
    ng_error why = {0};
    ng_status status = identity_of(&identity, s, &why);
    if (!status)
        status = ng_prefix_dir_open(&p->dir, o->dir, identity, ng_kv_page_bytes(p->pool),
                                    o->disk_max ? o->disk_max : DISK_MAX_DEFAULT, &why);
    if (status == NG_ENOMEM) return ng_fail(err, status, "%s", why.text);
    if (status) {
        note(p, &p->failed, &why);
        return NG_OK;
    }
    p->has_dir = true;
    p->eager = o->eager;
    p->has_thread = !pthread_create(&p->thread, NULL, writer, p);
    return p->has_thread ? NG_OK : ng_fail(err, NG_ENOMEM, "prefix cache: no thread to write files");
}

ng_status ng_prefix_open(ng_prefix **out, const ng_prefix_setup *s, ng_error *err) {
    *out = NULL;
    ng_prefix *p = calloc(1, sizeof *p);
    if (!p) return ng_fail(err, NG_ENOMEM, "prefix cache: out of memory");
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->changed, NULL);
    p->pool = ng_kv_pool_retain(s->pool);
    p->last = &p->first;
    p->warn = s->options->warn;
    p->warn_ctx = s->options->warn_ctx;
    p->n_max = (uint32_t)nodes_of(s->options, s->shape);
    p->nodes = calloc((size_t)p->n_max + 1, sizeof *p->nodes);
    ng_status status = p->nodes ? NG_OK : ng_fail(err, NG_ENOMEM, "prefix cache: no memory for %u pages", p->n_max);
    if (!status) {
        p->nodes[ROOT].child = NONE;
        for (uint32_t i = 1; i <= p->n_max; i++) p->nodes[i].sibling = i < p->n_max ? i + 1 : NONE;
        p->free = p->n_max ? 1 : NONE;
        if (s->options->dir) status = open_files(p, s, err);
    }
    if (!status) *out = p;
    else ng_prefix_free(p);
    return status;
}

void ng_prefix_free(ng_prefix *p) {
    if (!p) return;
    if (p->has_thread) {
        pthread_mutex_lock(&p->lock);
        p->stop = true;
        pthread_cond_broadcast(&p->changed);
        pthread_mutex_unlock(&p->lock);
        pthread_join(p->thread, NULL);
    }
    while (p->nodes && p->n_used) remove_leaf(p, p->nodes[ROOT].newer);
    ng_prefix_dir_close(&p->dir);
    ng_kv_pool_release(p->pool);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->changed);
    free(p->nodes);
    free(p);
}

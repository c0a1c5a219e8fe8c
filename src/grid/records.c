/* records.c: the ring, its rules of admission, and the writer.  See records.h.
 *
 * Invariants, all under `lock`:
 *   - taken + len == pushed - evicted: every admitted record is in the ring, in the writer's batch, or
 *     accounted for;
 *   - an important record leaves the ring only into the writer's batch;
 *   - `done` counts admitted records that reached an end (written, evicted or lost), so a flush waits
 *     for `done == pushed`.
 *
 * The asker pays a lock, a pointer store and, for the first record of a batch only, one futex wake.
 * An idle writer sleeps without a timer.  When the database is busy the batch is kept and tried
 * again; when it cannot be used, records are counted as lost and it is opened again every 10
 * seconds. */
#include "records.h"

#include "core/clock.h"
#include "core/hash.h"
#include "record_db.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    RING_LEN = 1024,
    BATCH = 256,
    GATHER_MS = 20,
    DROPPED_MAX = 64,
    RETRY_MS = 100,
    RETRIES_AT_END = 4,
    REOPEN_MS = 10000,
    PRUNE_EVERY = 64
};

struct ng_records {
    ng_records_options options; /* its path is owned */
    pthread_mutex_t lock;
    pthread_cond_t work, room, drained; /* for the writer; for waiting askers; for flush */
    pthread_t writer;
    bool started;
    /* guarded by lock */
    ng_record **ring;
    size_t cap, head, len;
    uint64_t pushed, done, n_plain_seen;
    record_dropped dropped[DROPPED_MAX];
    size_t n_dropped;
    bool stop, hurry, degraded;
    ng_error why; /* when degraded */
    ng_records_stats stats;
    /* the writer's own */
    record_db db;
    bool db_open;
    int64_t reopen_at_ms;
    unsigned batches;
    ng_record *batch[BATCH];
    record_dropped batch_dropped[DROPPED_MAX];
};

void ng_decision_id(char out[33], int64_t wall_ms) {
    static const char digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    static _Atomic uint64_t counter;
    static _Atomic uint64_t seed;
    uint64_t s = atomic_load(&seed);
    if (!s) { /* two threads may both come here: either seed will do */
        s = ng_hash_mix(ng_clock_ns() ^ ((uint64_t)getpid() << 40) ^ (uint64_t)(uintptr_t)&s) | 1;
        atomic_store(&seed, s);
    }
    uint64_t n = atomic_fetch_add(&counter, 1);
    unsigned __int128 v = ((unsigned __int128)(uint64_t)wall_ms << 80) |
                          ((unsigned __int128)(n & 0xffffff) << 56) | (ng_hash_mix(s + n) >> 8);
    for (int i = 25; i >= 0; i--, v >>= 5) out[i] = digits[(unsigned)v & 31];
    out[26] = 0;
}

/* ---- the writer ------------------------------------------------------------------------------ */

static void set_degraded(ng_records *r, const ng_error *why) {
    pthread_mutex_lock(&r->lock);
    r->degraded = why != NULL;
    r->why = why ? *why : (ng_error){0};
    if (why) pthread_cond_broadcast(&r->room);
    pthread_mutex_unlock(&r->lock);
}

static ng_status open_db(ng_records *r, ng_error *err) {
    int64_t now = (int64_t)ng_clock_ms();
    if (r->db_open) return NG_OK;
    if (r->reopen_at_ms && now < r->reopen_at_ms)
        return ng_fail(err, r->why.code, "%s", r->why.text);
    ng_status s = ng_record_db_open(&r->db, r->options.path, err);
    r->db_open = s == NG_OK;
    r->reopen_at_ms = s && s != NG_EBUSY && s != NG_ENOMEM ? now + REOPEN_MS : 0;
    return s;
}

static void sleep_ms(int ms) {
    struct timespec t = {ms / 1000, (ms % 1000) * 1000000L};
    nanosleep(&t, NULL);
}

/* Writes the batch; what is busy or short of memory is tried again, at the end only so often. */
static ng_status write_batch(ng_records *r, const record_batch *b) {
    for (int tries = 0;; tries++) {
        ng_error err = {0};
        ng_status s = open_db(r, &err);
        if (!s) s = ng_record_db_write(&r->db, b, &err);
        if (!s) {
            set_degraded(r, NULL);
            return NG_OK;
        }
        set_degraded(r, &err);
        bool passing = s == NG_EBUSY || (s == NG_ENOMEM && tries < 3);
        pthread_mutex_lock(&r->lock);
        bool ending = r->stop || r->hurry;
        pthread_mutex_unlock(&r->lock);
        if (!passing || (ending && tries >= RETRIES_AT_END)) {
            if (r->db_open && s != NG_EBUSY && s != NG_ENOMEM) {
                ng_record_db_close(&r->db);
                r->db_open = false;
                r->reopen_at_ms = (int64_t)ng_clock_ms() + REOPEN_MS;
            }
            return s;
        }
        if (s == NG_EBUSY) sleep_ms(RETRY_MS);
    }
}

static void prune(ng_records *r) {
    ng_error err = {0};
    if (r->db_open && r->batches++ % PRUNE_EVERY == 0 &&
        ng_record_db_prune(&r->db, r->options.keep_ms, r->options.max_bytes, ng_clock_wall_ms(),
                           &err) &&
        err.code != NG_EBUSY)
        set_degraded(r, &err);
}

static void wait_for_work(ng_records *r) { /* lock held */
    while (!r->len && !r->n_dropped && !r->stop) pthread_cond_wait(&r->work, &r->lock);
    if (r->stop || r->hurry || r->len >= r->cap / 2) return;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    t.tv_nsec += GATHER_MS * 1000000L;
    if (t.tv_nsec >= 1000000000L) t.tv_sec++, t.tv_nsec -= 1000000000L;
    while (!r->stop && !r->hurry && r->len < r->cap / 2)
        if (pthread_cond_timedwait(&r->work, &r->lock, &t)) break;
}

static size_t take_batch(ng_records *r, size_t *n_dropped) { /* lock held */
    size_t n = r->len < BATCH ? r->len : BATCH;
    for (size_t i = 0; i < n; i++) r->batch[i] = r->ring[(r->head + i) % r->cap];
    r->head = (r->head + n) % r->cap;
    r->len -= n;
    *n_dropped = n ? r->n_dropped : 0; /* a batch of records gives them their day */
    memcpy(r->batch_dropped, r->dropped, *n_dropped * sizeof *r->dropped);
    if (n) r->n_dropped = 0;
    pthread_cond_broadcast(&r->room);
    return n;
}

static void *write_forever(void *arg) {
    ng_records *r = arg;
    for (;;) {
        size_t n_dropped;
        pthread_mutex_lock(&r->lock);
        wait_for_work(r);
        size_t n = take_batch(r, &n_dropped);
        bool ended = r->stop && !n;
        pthread_mutex_unlock(&r->lock);
        if (ended) break;
        record_batch b = {r->batch, n, r->batch_dropped, n_dropped, &r->options};
        ng_status s = n ? write_batch(r, &b) : NG_OK;
        for (size_t i = 0; i < n; i++) ng_record_free(r->batch[i]);
        pthread_mutex_lock(&r->lock);
        *(s ? &r->stats.lost : &r->stats.written) += n;
        r->done += n;
        if (r->done == r->pushed) r->hurry = false;
        pthread_cond_broadcast(&r->drained);
        pthread_mutex_unlock(&r->lock);
        if (!s && n) prune(r);
    }
    if (r->db_open) ng_record_db_close(&r->db);
    return NULL;
}

/* ---- the askers' side ------------------------------------------------------------------------ */

static void note_dropped(ng_records *r, const ng_record *rec) { /* lock held */
    size_t i = 0;
    r->stats.sampled_out++;
    while (i < r->n_dropped &&
           (strcmp(r->dropped[i].expert, rec->expert) || r->dropped[i].tier != rec->tier))
        i++;
    if (i == r->n_dropped) {
        if (i == DROPPED_MAX) return;
        r->n_dropped++;
        r->dropped[i] = (record_dropped){.tier = rec->tier};
        snprintf(r->dropped[i].expert, sizeof r->dropped[i].expert, "%s", rec->expert);
    }
    r->dropped[i].n++;
    r->dropped[i].prompt_tokens += rec->prompt_tokens;
    r->dropped[i].completion_tokens += rec->completion_tokens;
}

/* The oldest plain record makes room; NULL when all are important. */
static ng_record *evict_plain(ng_records *r) { /* lock held */
    for (size_t i = 0; i < r->len; i++) {
        ng_record *victim = r->ring[(r->head + i) % r->cap];
        if (victim->important) continue;
        for (; i > 0; i--) r->ring[(r->head + i) % r->cap] = r->ring[(r->head + i - 1) % r->cap];
        r->head = (r->head + 1) % r->cap;
        r->len--;
        r->done++;
        note_dropped(r, victim);
        return victim;
    }
    return NULL;
}

/* Whether rec may enter; *victim is to be freed by the caller, outside the lock. */
static bool admit(ng_records *r, const ng_record *rec, ng_record **victim) { /* lock held */
    *victim = NULL;
    if (!rec->important) {
        bool crowded = r->len >= r->cap - r->cap / 4;
        return r->len < r->cap && (!crowded || r->n_plain_seen++ % 8 == 0);
    }
    while (r->len == r->cap) {
        if ((*victim = evict_plain(r))) return true;
        if (r->degraded || r->stop) return false; /* nobody will make room */
        pthread_cond_wait(&r->room, &r->lock);
    }
    return true;
}

void ng_records_push(ng_records *r, ng_record *rec) {
    ng_record *victim, *refused = NULL;
    pthread_mutex_lock(&r->lock);
    if (admit(r, rec, &victim)) {
        r->ring[(r->head + r->len++) % r->cap] = rec;
        r->pushed++;
        if (r->len == 1 || r->len == r->cap / 2) pthread_cond_signal(&r->work);
    } else {
        refused = rec;
        if (rec->important) r->stats.lost++;
        else note_dropped(r, rec);
    }
    pthread_mutex_unlock(&r->lock);
    ng_record_free(victim);
    ng_record_free(refused);
}

void ng_records_count_lost(ng_records *r) {
    pthread_mutex_lock(&r->lock);
    r->stats.lost++;
    pthread_mutex_unlock(&r->lock);
}

ng_status ng_records_flush(ng_records *r, ng_error *err) {
    ng_status s = NG_OK;
    pthread_mutex_lock(&r->lock);
    uint64_t lost = r->stats.lost;
    if (r->done != r->pushed) {
        r->hurry = true;
        pthread_cond_signal(&r->work);
    }
    while (r->done != r->pushed) pthread_cond_wait(&r->drained, &r->lock);
    if (r->stats.lost > lost)
        s = ng_fail(err, r->why.code ? r->why.code : NG_EIO, "decisions could not be recorded: %s",
                    r->why.text);
    pthread_mutex_unlock(&r->lock);
    return s;
}

bool ng_records_warning(ng_records *r, char *out, size_t cap) {
    pthread_mutex_lock(&r->lock);
    bool degraded = r->degraded;
    if (degraded) snprintf(out, cap, "decisions are not being recorded: %s", r->why.text);
    pthread_mutex_unlock(&r->lock);
    return degraded;
}

ng_records_stats ng_records_get_stats(ng_records *r) {
    pthread_mutex_lock(&r->lock);
    ng_records_stats s = r->stats;
    pthread_mutex_unlock(&r->lock);
    return s;
}

const char *ng_records_path(const ng_records *r) {
    return r->options.path;
}

/* ---- life ------------------------------------------------------------------------------------ */

static bool init_sync(ng_records *r) {
    pthread_condattr_t a;
    if (pthread_mutex_init(&r->lock, NULL)) return false;
    pthread_condattr_init(&a);
    pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
    pthread_cond_init(&r->work, &a);
    pthread_cond_init(&r->room, NULL);
    pthread_cond_init(&r->drained, NULL);
    pthread_condattr_destroy(&a);
    return true;
}

ng_status ng_records_open(ng_records **out, const ng_records_options *opt, ng_error *err) {
    *out = NULL;
    ng_records *r = calloc(1, sizeof *r);
    if (!r) return ng_fail(err, NG_ENOMEM, "records: out of memory");
    r->options = *opt;
    r->cap = opt->ring_len ? opt->ring_len : RING_LEN;
    r->options.path = strdup(opt->path);
    r->ring = calloc(r->cap, sizeof *r->ring);
    if (!r->options.path || !r->ring || !init_sync(r)) {
        free((char *)r->options.path);
        free(r->ring);
        free(r);
        return ng_fail(err, NG_ENOMEM, "records: out of memory");
    }
    /* Opened here, so that the first answer can already say what is wrong with it. */
    ng_error why = {0};
    if (open_db(r, &why)) set_degraded(r, &why);
    r->started = pthread_create(&r->writer, NULL, write_forever, r) == 0;
    if (!r->started) {
        ng_records_close(r);
        return ng_fail(err, NG_ENOMEM, "records: no thread for the writer");
    }
    *out = r;
    return NG_OK;
}

void ng_records_close(ng_records *r) {
    if (!r) return;
    if (r->started) {
        pthread_mutex_lock(&r->lock);
        r->stop = true;
        pthread_cond_signal(&r->work);
        pthread_mutex_unlock(&r->lock);
        pthread_join(r->writer, NULL);
    } else if (r->db_open) {
        ng_record_db_close(&r->db);
    }
    for (size_t i = 0; i < r->len; i++) ng_record_free(r->ring[(r->head + i) % r->cap]);
    pthread_cond_destroy(&r->work);
    pthread_cond_destroy(&r->room);
    pthread_cond_destroy(&r->drained);
    pthread_mutex_destroy(&r->lock);
    free(r->ring);
    free((char *)r->options.path);
    free(r);
}

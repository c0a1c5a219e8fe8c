/* breaker.c: see breaker.h. */
#include "breaker.h"

void ng_breaker_init(ng_breaker *b, int allowed_fails, int64_t cooldown_ms) {
    *b = (ng_breaker){.allowed_fails = allowed_fails < 1 ? 1 : allowed_fails, .cooldown_ms = cooldown_ms};
    pthread_mutex_init(&b->lock, NULL);
}

void ng_breaker_clear(ng_breaker *b) { pthread_mutex_destroy(&b->lock); }

static bool would_allow(const ng_breaker *b, int64_t now_ms) {
    return b->open_until_ms == 0 || (now_ms >= b->open_until_ms && !b->probing);
}

bool ng_breaker_peek(ng_breaker *b, int64_t now_ms) {
    pthread_mutex_lock(&b->lock);
    bool yes = would_allow(b, now_ms);
    pthread_mutex_unlock(&b->lock);
    return yes;
}

bool ng_breaker_allow(ng_breaker *b, int64_t now_ms) {
    pthread_mutex_lock(&b->lock);
    bool yes = would_allow(b, now_ms);
    if (yes && b->open_until_ms) b->probing = true;
    pthread_mutex_unlock(&b->lock);
    return yes;
}

void ng_breaker_report(ng_breaker *b, bool ok, int64_t now_ms) {
    pthread_mutex_lock(&b->lock);
    b->probing = false;
    if (ok) {
        b->fails = 0;
        b->open_until_ms = 0;
    } else if (++b->fails >= b->allowed_fails) {
        b->open_until_ms = now_ms + b->cooldown_ms;
    }
    pthread_mutex_unlock(&b->lock);
}

void ng_breaker_forget(ng_breaker *b) {
    pthread_mutex_lock(&b->lock);
    b->probing = false;
    pthread_mutex_unlock(&b->lock);
}

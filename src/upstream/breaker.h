/* breaker.h: stops asking somebody who does not answer.
 *
 *     ng_breaker b;
 *     ng_breaker_init(&b, 2, 30000);
 *     if (!ng_breaker_allow(&b, now_ms)) ..          open: refuse at once
 *     ng_breaker_report(&b, ok, now_ms);             once for every allowed attempt
 *
 * States (Nygard, "Release It!"): closed; open for `cooldown_ms` after `allowed_fails` failures in a
 * row; then half-open: exactly one attempt is let through, its result closes or opens again.  It
 * needs no second upstream to work.  Thread-safe. */
#ifndef NG_UPSTREAM_BREAKER_H
#define NG_UPSTREAM_BREAKER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct ng_breaker {
    pthread_mutex_t lock;
    int allowed_fails;
    int64_t cooldown_ms;
    int fails;             /* in a row; guarded by lock */
    int64_t open_until_ms; /* 0: closed; guarded by lock */
    bool probing;          /* half-open and one attempt is out; guarded by lock */
} ng_breaker;

void ng_breaker_init(ng_breaker *b, int allowed_fails, int64_t cooldown_ms);
void ng_breaker_clear(ng_breaker *b);
bool ng_breaker_allow(ng_breaker *b, int64_t now_ms);
void ng_breaker_report(ng_breaker *b, bool ok, int64_t now_ms);
/* Gives back an allowed attempt that said nothing about the upstream (the caller gave up, or the
 * request itself was refused). */
void ng_breaker_forget(ng_breaker *b);
/* Whether ng_breaker_allow would say yes, without taking the half-open probe. */
bool ng_breaker_peek(ng_breaker *b, int64_t now_ms);

#endif

/* hash.h: non-cryptographic hashes and a small seeded generator; the same values on every machine.
 *
 *     uint64_t h = ng_hash64(text, len, seed);
 *     ng_rng r = ng_rng_seed(42);
 *     uint32_t k = ng_rng_below(&r, 10);             0..9, unbiased */
#ifndef NG_CORE_HASH_H
#define NG_CORE_HASH_H

#include <stddef.h>
#include <stdint.h>

/* 64 bits over any bytes (wyhash's construction: two 64x64->128 multiplications a 16-byte step).
 * Not for untrusted keys in tables without a secret seed. */
uint64_t ng_hash64(const void *data, size_t len, uint64_t seed);
/* 128 bits over any bytes: two chains of the same construction side by side, so that 16 bytes cost one
 * latency.  For telling files apart that nobody made to collide: the constants are known. */
typedef struct ng_digest {
    uint64_t h[2];
} ng_digest;
ng_digest ng_digest_of(const void *data, size_t len);
/* A good mix of one word (splitmix64's finaliser, Steele et al. 2014). */
static inline uint64_t ng_hash_mix(uint64_t x) {
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9ULL;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebULL;
    return x ^ (x >> 31);
}

/* xoshiro256** (Blackman and Vigna 2018), seeded through splitmix64. */
typedef struct ng_rng {
    uint64_t s[4];
} ng_rng;
ng_rng ng_rng_seed(uint64_t seed);
uint64_t ng_rng_next(ng_rng *r);
uint32_t ng_rng_below(ng_rng *r, uint32_t n); /* 0 .. n-1; n > 0 */
double ng_rng_unit(ng_rng *r);                /* [0, 1) with 53 bits */
/* Fisher-Yates over n indices. */
void ng_rng_shuffle(ng_rng *r, uint32_t *index, size_t n);

#endif

/* hash.c: see hash.h.  Follows wyhash (Wang Yi, public domain) in construction, not in constants'
 * tuning: fold a 128-bit product per 16 bytes, finish with the length. */
#include "hash.h"

#include <string.h>

static uint64_t fold(uint64_t a, uint64_t b) {
    __uint128_t p = (__uint128_t)a * b;
    return (uint64_t)p ^ (uint64_t)(p >> 64);
}

static uint64_t load(const uint8_t *p, size_t n) { /* little-endian on every machine */
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++) v |= (uint64_t)p[i] << (8 * i);
    return v;
}

uint64_t ng_hash64(const void *data, size_t len, uint64_t seed) {
    const uint8_t *p = data;
    uint64_t h = seed ^ 0xa0761d6478bd642fULL;
    size_t n = len;
    for (; n >= 16; n -= 16, p += 16)
        h = fold(load(p, 8) ^ 0xe7037ed1a0b428dbULL, load(p + 8, 8) ^ h);
    uint64_t a = load(p, n < 8 ? n : 8), b = n > 8 ? load(p + 8, n - 8) : 0;
    h = fold(a ^ 0xe7037ed1a0b428dbULL, b ^ h);
    return fold(h ^ 0x8ebc6af09c88c6e3ULL, (uint64_t)len ^ 0x589965cc75374cc3ULL);
}

static uint64_t load8(const uint8_t *p) { /* as load(p, 8), in one instruction */
    uint64_t v;
    memcpy(&v, p, sizeof v);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    v = __builtin_bswap64(v);
#endif
    return v;
}

ng_digest ng_digest_of(const void *data, size_t len) {
    const uint8_t *p = data;
    uint64_t x = 0xa0761d6478bd642fULL, y = 0x8ebc6af09c88c6e3ULL;
    size_t n = len;
    for (; n >= 16; n -= 16, p += 16) {
        uint64_t a = load8(p), b = load8(p + 8);
        x = fold(a ^ 0xe7037ed1a0b428dbULL, b ^ x);
        y = fold(b ^ 0x589965cc75374cc3ULL, a ^ y);
    }
    uint64_t a = load(p, n < 8 ? n : 8), b = n > 8 ? load(p + 8, n - 8) : 0;
    x = fold(a ^ 0xe7037ed1a0b428dbULL, b ^ x);
    y = fold(b ^ 0x589965cc75374cc3ULL, a ^ y);
    return (ng_digest){{fold(x ^ 0x8ebc6af09c88c6e3ULL, (uint64_t)len ^ 0x589965cc75374cc3ULL),
                        fold(y ^ 0xa0761d6478bd642fULL, (uint64_t)len ^ 0xe7037ed1a0b428dbULL)}};
}

ng_rng ng_rng_seed(uint64_t seed) {
    ng_rng r;
    for (int i = 0; i < 4; i++) r.s[i] = ng_hash_mix(seed += 0x9e3779b97f4a7c15ULL);
    return r;
}

static uint64_t rotl(uint64_t x, int k) { return (x << k) | (x >> (64 - k)); }

uint64_t ng_rng_next(ng_rng *r) {
    uint64_t *s = r->s, out = rotl(s[1] * 5, 7) * 9, t = s[1] << 17;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = rotl(s[3], 45);
    return out;
}

uint32_t ng_rng_below(ng_rng *r, uint32_t n) { /* Lemire 2019, with rejection */
    uint64_t m = (ng_rng_next(r) >> 32) * n;
    if ((uint32_t)m < n) {
        uint32_t least = (uint32_t)(0u - n) % n;
        while ((uint32_t)m < least) m = (ng_rng_next(r) >> 32) * n;
    }
    return (uint32_t)(m >> 32);
}

double ng_rng_unit(ng_rng *r) { return (double)(ng_rng_next(r) >> 11) * 0x1p-53; }

void ng_rng_shuffle(ng_rng *r, uint32_t *index, size_t n) {
    for (size_t i = n; i > 1; i--) {
        size_t k = ng_rng_below(r, (uint32_t)i);
        uint32_t t = index[i - 1];
        index[i - 1] = index[k];
        index[k] = t;
    }
}

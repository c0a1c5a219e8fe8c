/* gemm_bf16_avx512.c: tiles of 12 x 32 by VDPBF16PS, which multiplies two pairs of bfloat16 and adds both
 * to a float.  On Zen 4 it starts each cycle as a multiply-add does, so a step does twice the work.
 *
 * VDPBF16PS adds the odd product first, rounds once after each, flushes denormals and ignores MXCSR
 * (Intel SDM): the same bits on every processor that has it.
 *
 * A packed pair is one 32-bit word: the even k low. */
#include "train/gemm.h"

#include <immintrin.h>
#include <string.h>

enum { WIDTH = 32 };

/* The first n of 16 lanes. */
static inline __mmask16 mask_of(size_t n) { return (__mmask16)(n >= 16 ? 0xFFFFu : (1u << n) - 1); }

static inline __attribute__((always_inline)) void tile(const ng_tile *t, size_t rows) {
    __m512 acc[12][2];
    const char *a = t->a;
    const char *b = t->b;
    for (size_t i = 0; i < rows; i++) acc[i][0] = acc[i][1] = _mm512_setzero_ps();
    for (size_t k = 0; k < t->k; k++, a += t->a_col, b += 128) {
        __m512bh b0 = (__m512bh)_mm512_loadu_si512(b), b1 = (__m512bh)_mm512_loadu_si512(b + 64);
        for (size_t i = 0; i < rows; i++) {
            int pair;
            memcpy(&pair, a + i * t->a_row, 4);
            __m512bh x = (__m512bh)_mm512_set1_epi32(pair);
            acc[i][0] = _mm512_dpbf16_ps(acc[i][0], x, b0);
            acc[i][1] = _mm512_dpbf16_ps(acc[i][1], x, b1);
        }
    }
    __mmask16 m0 = mask_of(t->n);
    __mmask16 m1 = mask_of(t->n > 16 ? t->n - 16 : 0);
    for (size_t i = 0; i < rows; i++) {
        float *c = t->c + i * t->c_stride;
        __m512 y0 = acc[i][0], y1 = acc[i][1];
        if (t->bias) {
            y0 = _mm512_add_ps(y0, _mm512_maskz_loadu_ps(m0, t->bias));
            y1 = _mm512_add_ps(y1, _mm512_maskz_loadu_ps(m1, t->bias + 16));
        }
        if (t->add) {
            y0 = _mm512_add_ps(_mm512_maskz_loadu_ps(m0, c), y0);
            y1 = _mm512_add_ps(_mm512_maskz_loadu_ps(m1, c + 16), y1);
        }
        _mm512_mask_storeu_ps(c, m0, y0);
        _mm512_mask_storeu_ps(c + 16, m1, y1);
    }
}

static void tile12(const ng_tile *t) { tile(t, 12); }
static void tile4(const ng_tile *t) { tile(t, 4); }
static void tile1(const ng_tile *t) { tile(t, 1); }


/* 16 floats of two rows as pairs. */
static inline __m512i pairs(__m512 even, __m512 odd) {
    __m512i lo = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(even));
    __m512i hi = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(odd));
    return _mm512_or_si512(lo, _mm512_slli_epi32(hi, 16));
}

static void pack_rows(void *out, const ng_operand *a, size_t k, size_t begin, size_t end) {
    size_t stride = (k + 1) / 2 * 2;
    for (size_t i = begin; i < end; i++) {
        const float *x = a->data + i * a->row;
        uint16_t *y = (uint16_t *)out + i * stride;
        size_t j = 0;
        for (; j + 32 <= k; j += 32)
            _mm512_storeu_si512(y + j, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + j + 16), _mm512_loadu_ps(x + j)));
        for (; j < stride; j += 16) {
            size_t n = stride - j < 16 ? stride - j : 16;
            __m256i v = (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask_of(k - j), x + j));
            _mm256_mask_storeu_epi16(y + j, mask_of(n), v);
        }
    }
}

/* Pairs of rows of x, n <= 16 columns of each. */
static inline __m512i load_pair(const float *x, size_t stride, bool odd, __mmask16 m) {
    __m512 lo = _mm512_maskz_loadu_ps(m, x), hi = odd ? _mm512_maskz_loadu_ps(m, x + stride) : _mm512_setzero_ps();
    return pairs(lo, hi);
}

static void pack_groups(void *out, const ng_product *p, size_t begin, size_t end) {
    size_t steps = (p->k + 1) / 2;
    for (size_t k = 0; k < p->k; k += 2) {
        const float *x = p->a.data + k * p->a.col;
        for (size_t g = begin / 12; g * 12 < end; g++) {
            size_t n = p->m - g * 12 < 12 ? p->m - g * 12 : 12;
            __m512i v = load_pair(x + g * 12, p->a.col, k + 1 < p->k, mask_of(n));
            _mm512_mask_storeu_epi32((char *)out + ((g * steps + k / 2) * 12) * 4, 0xFFF, v);
        }
    }
}

/* The transpose of 16 rows of 16 32-bit words. */
static void transpose(__m512i r[16]) {
    __m512i t[16];
    for (int i = 0; i < 8; i++) {
        t[2 * i] = _mm512_unpacklo_epi32(r[2 * i], r[2 * i + 1]);
        t[2 * i + 1] = _mm512_unpackhi_epi32(r[2 * i], r[2 * i + 1]);
    }
    for (int i = 0; i < 4; i++) {
        r[4 * i] = _mm512_unpacklo_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 1] = _mm512_unpackhi_epi64(t[4 * i], t[4 * i + 2]);
        r[4 * i + 2] = _mm512_unpacklo_epi64(t[4 * i + 1], t[4 * i + 3]);
        r[4 * i + 3] = _mm512_unpackhi_epi64(t[4 * i + 1], t[4 * i + 3]);
    }
    for (int i = 0; i < 2; i++)
        for (int j = 0; j < 4; j++) {
            t[8 * i + j] = _mm512_shuffle_i32x4(r[8 * i + j], r[8 * i + 4 + j], 0x88);
            t[8 * i + 4 + j] = _mm512_shuffle_i32x4(r[8 * i + j], r[8 * i + 4 + j], 0xdd);
        }
    for (int j = 0; j < 8; j++) {
        r[j] = _mm512_shuffle_i32x4(t[j], t[8 + j], 0x88);
        r[8 + j] = _mm512_shuffle_i32x4(t[j], t[8 + j], 0xdd);
    }
}

/* Columns [16 half, ..) of a panel whose columns are rows of x: k runs on in memory. */
static void pack_transposed(char *y, const ng_product *p, size_t first) {
    size_t n = p->n <= first ? 0 : p->n - first < 16 ? p->n - first : 16;
    const float *x = p->b.data + first * p->b.col;
    for (size_t k = 0; k < p->k; k += 32) {
        __m512i r[16];
        size_t left = p->k - k;
        for (size_t i = 0; i < 16; i++) {
            const float *at = x + i * p->b.col + k;
            r[i] = i < n ? (__m512i)_mm512_cvtne2ps_pbh(
                               _mm512_maskz_loadu_ps(left <= 16 ? 0 : mask_of(left - 16), at + 16),
                               _mm512_maskz_loadu_ps(mask_of(left), at))
                         : _mm512_setzero_si512();
        }
        transpose(r);
        for (size_t s = 0; s < 16 && k + 2 * s < p->k; s++) _mm512_storeu_si512(y + (k / 2 + s) * WIDTH * 4, r[s]);
    }
}

static void pack_panels(void *out, const ng_product *p, size_t begin, size_t end) {
    size_t steps = (p->k + 1) / 2;
    if (p->b.col != 1) {
        for (size_t j = begin; j < end; j++) {
            char *y = (char *)out + j * steps * WIDTH * 4;
            pack_transposed(y, p, j * WIDTH);
            pack_transposed(y + 64, p, j * WIDTH + 16);
        }
        return;
    }
    for (size_t k = 0; k < p->k; k += 2) {
        const float *x = p->b.data + k * p->b.row;
        for (size_t j = begin; j < end; j++) {
            char *y = (char *)out + (j * steps + k / 2) * WIDTH * 4;
            size_t left = p->n - j * WIDTH;
            __mmask16 m1 = left <= 16 ? 0 : mask_of(left - 16);
            _mm512_storeu_si512(y, load_pair(x + j * WIDTH, p->b.row, k + 1 < p->k, mask_of(left)));
            _mm512_storeu_si512(y + 64, load_pair(x + j * WIDTH + 16, p->b.row, k + 1 < p->k, m1));
        }
    }
}

const ng_gemm_ops ng_gemm_bf16 = {"avx512 bf16", NG_PRECISION_BF16, WIDTH, tile12, tile4, tile1,
                                  pack_rows, pack_groups, pack_panels};

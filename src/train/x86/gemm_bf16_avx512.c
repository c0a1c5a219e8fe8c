/* gemm_bf16_avx512.c: tiles of 12 x 32 by VDPBF16PS, which multiplies two pairs of bfloat16 and adds both
 * to a float.  On Zen 4 it starts each cycle as a multiply-add does, so a step does twice the work.
 *
 * VDPBF16PS adds the odd product first, rounds once after each, flushes denormals and ignores MXCSR
 * (Intel SDM): the same bits on every processor that has it. */
#include "train/gemm.h"

#include <string.h>

#include "bf16_pack.inc"

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

static size_t some_rows(const ng_tile *t) {
    if (t->rows >= 12) return tile(t, 12), 12;
    if (t->rows >= 4) return tile(t, 4), 4;
    return tile(t, 1), 1;
}

/* For a.col == 1. */
static void pack_rows(void *out, const ng_product *p, size_t steps, size_t begin, size_t end) {
    size_t k = p->k, stride = 2 * steps;
    for (size_t i = begin; i < end; i++) {
        const float *x = p->a.data + i * p->a.row;
        uint16_t *y = (uint16_t *)out + i * stride;
        size_t j = 0;
        for (; j + 32 <= k; j += 32)
            _mm512_storeu_si512(y + j, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(x + j + 16), _mm512_loadu_ps(x + j)));
        for (; j < stride; j += 16) {
            size_t n = stride - j < 16 ? stride - j : 16;
            __m256i v = (__m256i)_mm512_cvtneps_pbh(_mm512_maskz_loadu_ps(mask_of(j < k ? k - j : 0), x + j));
            _mm256_mask_storeu_epi16(y + j, mask_of(n), v);
        }
    }
}

static void pack_groups(void *out, const ng_product *p, size_t steps, size_t begin, size_t end) {
    for (size_t k = 0; k < p->k; k += 2) {
        const float *x = p->a.data + k * p->a.col;
        for (size_t g = begin / 12; g * 12 < end; g++) {
            size_t n = p->m - g * 12 < 12 ? p->m - g * 12 : 12;
            __m512i v = load_pair(x + g * 12, p->a.col, k + 1 < p->k, mask_of(n));
            _mm512_mask_storeu_epi32((char *)out + ((g * steps + k / 2) * 12) * 4, 0xFFF, v);
        }
    }
}

const ng_gemm_ops ng_gemm_bf16 = {.name = "avx512 bf16", .precision = NG_PRECISION_BF16, .n_rows = 12, .n_panel = WIDTH, .n_steps = 1,
                                  .tile = some_rows, .pack_rows = pack_rows, .pack_groups = pack_groups, .pack_panels = pack_panels};

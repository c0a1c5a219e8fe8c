/* kernel.c: fills one table a level, lowest first, and picks one.  See kernel.h.
 *
 * The tables are built once, at the first call from any thread; later calls only read. */
#include "kernel.h"

#include "gguf/gguf.h"
#include <pthread.h>

enum { N_TABLES = 4 };
static ng_kernels tables[N_TABLES]; /* ref and the overlays of this architecture: avx2, avx512, amx or neon, dotprod, i8mm */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void fill(void) {
    for (int i = 0; i < N_TABLES; i++) {
        ng_kernels_fill_ref(&tables[i]);
#if defined(__x86_64__)
        if (i >= 1) ng_kernels_fill_avx2(&tables[i]);
        if (i >= 2) ng_kernels_fill_avx512(&tables[i]);
        if (i == 3) ng_kernels_fill_amx(&tables[i]); /* only what runs on tiles differs */
#elif defined(__aarch64__)
        if (i == 1) ng_kernels_fill_neon(&tables[i]);
        if (i == 2) ng_kernels_fill_dotprod(&tables[i]);
        if (i == 3) ng_kernels_fill_i8mm(&tables[i]);
#endif
    }
}

const ng_kernels *ng_kernels_at(ng_cpu_level level) {
    if (!ng_cpu_can(level)) return NULL;
    pthread_once(&once, fill);
    switch (level) {
    case NG_CPU_AVX2:
    case NG_CPU_NEON: return &tables[1];
    case NG_CPU_AVX512:
    case NG_CPU_DOTPROD: return &tables[2];
    case NG_CPU_AMX:
    case NG_CPU_I8MM: return &tables[3];
    default: return &tables[0];
    }
}

ng_status ng_kernels_get(const ng_kernels **out, ng_error *err) {
    ng_cpu_level level;
    *out = NULL;
    ng_status s = ng_cpu_get(&level, err);
    if (s) return s;
    *out = ng_kernels_at(level);
    return NG_OK;
}

ng_gemm_fn *ng_kernels_gemm(const ng_kernels *k, uint32_t type) {
    switch (type) {
    case NG_TYPE_F32: return k->gemm_f32;
    case NG_TYPE_F16: return k->gemm_f16;
    case NG_TYPE_BF16: return k->gemm_bf16;
    case NG_TYPE_Q4_0: return k->gemm_q4_0;
    case NG_TYPE_Q4_1: return k->gemm_q4_1;
    case NG_TYPE_Q5_0: return k->gemm_q5_0;
    case NG_TYPE_Q5_1: return k->gemm_q5_1;
    case NG_TYPE_Q8_0: return k->gemm_q8_0;
    case NG_TYPE_Q4_K: return k->gemm_q4_k;
    case NG_TYPE_Q5_K: return k->gemm_q5_k;
    case NG_TYPE_Q6_K: return k->gemm_q6_k;
    case NG_TYPE_NG4: return k->gemm_ng4;
    case NG_TYPE_NG3:
    case NG_TYPE_NG3_S: return k->gemm_ng3; /* their panels are the same */
    default: return NULL;
    }
}

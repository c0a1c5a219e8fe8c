/* gemm_avx512.c: F32 tiles of 12 x 32 in 24 of the 32 registers; a step loads two vectors of B and 12
 * broadcasts for 24 multiply-adds. */
#include "train/gemm.h"

#include <string.h>

#define LANES 16
#define VECTORS 2
#define OPS ng_gemm_avx512
#define OPS_NAME "avx512"
#include "train/gemm_tile.inc"

/* gemm_avx2.c: F32 tiles of 12 x 8 in 12 of the 16 registers; a step loads one vector of B and 12
 * broadcasts for 12 multiply-adds. */
#include "train/gemm.h"

#include <string.h>

#define LANES 8
#define VECTORS 1
#define OPS ng_gemm_avx2
#define OPS_NAME "avx2"
#include "train/gemm_tile.inc"

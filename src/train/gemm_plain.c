/* gemm_plain.c: the products of training in plain C, for machines that have nothing better.  The vector
 * extension becomes whatever the base instruction set has (SSE2, NEON) or scalar code. */
#include "gemm.h"

#include <string.h>

#define LANES 4
#define VECTORS 2
#define OPS ng_gemm_plain
#define OPS_NAME "plain"
#include "gemm_tile.inc"

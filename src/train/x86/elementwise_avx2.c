/* elementwise_avx2.c: elementwise.inc built for avx2. */
#include "train/elementwise.h"

#define OPS ng_elementwise_avx2
#include "train/elementwise.inc"

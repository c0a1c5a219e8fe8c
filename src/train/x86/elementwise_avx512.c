/* elementwise_avx512.c: elementwise.inc built for avx512. */
#include "train/elementwise.h"

#define OPS ng_elementwise_avx512
#include "train/elementwise.inc"

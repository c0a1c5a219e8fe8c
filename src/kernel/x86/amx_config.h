/* amx_config.h: what ldtilecfg reads: the shapes of 8 tiles of up to 16 rows by 64 bytes. */
#ifndef NG_KERNEL_AMX_CONFIG_H
#define NG_KERNEL_AMX_CONFIG_H

#include <stdint.h>

typedef struct amx_config {
    uint8_t palette, start_row, zero[14];
    uint16_t colsb[16];
    uint8_t rows[16];
} amx_config;
_Static_assert(sizeof(amx_config) == 64, "as the processor reads it");

#endif

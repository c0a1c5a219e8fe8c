/* pii_wide.h: addresses and numbers as they stand in code, logs and other scripts; part of ng_pii_suspected (pii.h).
 *
 *     if (ng_pii_wide(text, len)) ..                 something of the kind is there; where, it does not say
 *
 * Linear time, no memory; any bytes. */
#ifndef NG_TASK_PII_WIDE_H
#define NG_TASK_PII_WIDE_H

#include <stdbool.h>
#include <stddef.h>

bool ng_pii_wide(const char *text, size_t len);

#endif

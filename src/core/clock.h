/* clock.h: time.  Monotonic for durations, wall for records. */
#ifndef NG_CORE_CLOCK_H
#define NG_CORE_CLOCK_H

#include <stdint.h>

uint64_t ng_clock_ns(void);     /* monotonic */
double ng_clock_ms(void);       /* monotonic, fractional */
int64_t ng_clock_wall_ms(void); /* milliseconds since 1970 UTC */

#endif

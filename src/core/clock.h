/* clock.h: time.  Monotonic for durations, wall for records, the processor's for work that others shall not disturb. */
#ifndef NG_CORE_CLOCK_H
#define NG_CORE_CLOCK_H

#include <stdint.h>

uint64_t ng_clock_ns(void);     /* monotonic */
double ng_clock_ms(void);       /* monotonic, fractional */
int64_t ng_clock_wall_ms(void); /* milliseconds since 1970 UTC */
double ng_clock_thread_ms(void);/* that this thread had a processor */

#endif

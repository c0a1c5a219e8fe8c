/* power.h: what is left in the battery.
 *
 *     double left = ng_battery_left(NG_POWER_ROOT);     0..1; NaN: on mains, or there is none
 *
 * Linux: /sys/class/power_supply/NAME with type Battery; the emptiest that is discharging counts. */
#ifndef NG_CORE_POWER_H
#define NG_CORE_POWER_H

#define NG_POWER_ROOT "/sys/class/power_supply"

double ng_battery_left(const char *root);

#endif

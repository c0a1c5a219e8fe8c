/* dashboard.h: web/dashboard.html as bytes; the build turns the file into the array
 * (scripts/embed.cmake). */
#ifndef NG_SERVE_DASHBOARD_H
#define NG_SERVE_DASHBOARD_H

#include <stddef.h>

extern const unsigned char ng_dashboard_html[];
extern const size_t ng_dashboard_html_len;

#endif

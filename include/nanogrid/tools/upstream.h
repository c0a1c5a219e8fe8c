/* upstream.h: higher tiers over the OpenAI protocol.
 *
 *     ng_grid_options o = {.open_upstream = ng_upstream_open};
 *     ng_grid_open(&grid, &o, &err);
 *
 * An upstream is any OpenAI-compatible endpoint: a second nanogrid, llama-server, a cloud.  `generate`
 * passes the conversation on as it is; the other tasks are asked by instruction and their replies
 * parsed back into the answer's fields (confidence stays NaN: nobody calibrated it).  One attempt has
 * the configured timeouts, a failed attempt (connection, 429, 5xx, unreadable reply) is made once
 * more while the deadline allows, and a breaker opens after `allowed_fails` failures in a row; after
 * `cooldown_ms` one request probes whether the upstream is back.
 *
 * Any number of threads may submit to one upstream at a time. */
#ifndef NANOGRID_TOOLS_UPSTREAM_H
#define NANOGRID_TOOLS_UPSTREAM_H

#include <nanogrid/tier.h>

/* An ng_upstream_open_fn.  `config` is copied.  NG_EINVALID for a base_url that is not http(s). A
 * missing API key makes the upstream unhealthy, not the open fail. */
NG_API ng_status ng_upstream_open(ng_tier *out, const ng_upstream_config *config, ng_error *err) NG_MUST_USE;

#endif

/* cli_streams.h: several generations at once on one scheduler, timed token by token, for `bench -b`.
 *
 *     cli_streams_result r;
 *     cli_streams_run(scheduler, &(cli_streams){.n = 8, .n_tok = 128, .n_join = 512, .ids = ids}, &r, &err);
 *
 * Each stream is one thread that reads its tokens as a server's request does. */
#ifndef NG_CLI_STREAMS_H
#define NG_CLI_STREAMS_H

#include <nanogrid/scheduler.h>

typedef struct cli_streams {
    size_t n;           /* streams, each of a prompt of one token */
    size_t n_tok;       /* tokens that each decodes, at least 8 */
    size_t n_join;      /* tokens of a prompt that joins when a quarter is decoded; 0: none */
    const int32_t *ids; /* [n + n_join] */
} cli_streams;

typedef struct cli_streams_result {
    double wall_ms;     /* from the first call to the end of the last stream */
    double gap_p50_ms;  /* between two tokens of a stream, while no prompt joined */
    double gap_max_ms;  /* the longest while the prompt joined; without one, of all */
    double join_ms;     /* from the joining call to its first token */
} cli_streams_result;

ng_status cli_streams_run(ng_scheduler *s, const cli_streams *o, cli_streams_result *out, ng_error *err) NG_MUST_USE;

#endif

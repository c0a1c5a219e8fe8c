/* cli_loss.h: what a model file lost against the file that it was made from, and what it gained in speed.
 *
 *     cli_loss l;
 *     cli_loss_measure(&l, "in.gguf", "out.gguf", (cli_words){NULL, 0});
 *     if (l.why[0]) ..                       not measured, and why
 *     if (cli_loss_exceeds(&l, &report)) ..  more than its type may lose */
#ifndef NG_CLI_LOSS_H
#define NG_CLI_LOSS_H

#include "cli.h"

#include <nanogrid/tools/weights.h>

typedef struct cli_loss {
    char why[256];     /* "", or why it was not measured: not a model that this version runs */
    bool encoder, by_chance; /* by_chance: the file has no tokenizer, its tokens were random */
    double kld_mean, top1_agree; /* decoders: KL(before || after) in nats a token */
    double cosine_mean, cosine_min; /* encoders: of the same text's vectors */
    double pp[2], tg[2];            /* tokens a second before and after: reading (encoders: texts), writing */
    size_t n_tokens;
} cli_loss;

typedef struct cli_words {
    const char *data;
    size_t len;
} cli_words;

/* text.data NULL: a page of prose that is compiled in.  Decoders are compared at each of its tokens, encoders
 * at each of its lines. */
void cli_loss_measure(cli_loss *out, const char *before, const char *after, cli_words text);
bool cli_loss_exceeds(const cli_loss *l, const ng_weights_report *r);
/* Keys of an open object; text for people. */
void cli_loss_json(ng_json *j, const cli_loss *l);
void cli_loss_text(ng_buf *out, const cli_loss *l, const ng_weights_report *r);

#endif

/* cli_weights.c: see cli_weights.h.
 *
 * A file that is compared with its input is made beside OUT, as OUT.unchecked, and takes OUT's name only
 * when it lost no more than its type may; else it is removed, and OUT is as it was. */
#include "cli_weights.h"

#include "cli_loss.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static void show_progress(void *ctx, double done, double total) {
    cli_progress_step(ctx, done, total);
}

static int print(const cli_weights *w, const ng_weights_report *r, const cli_loss *loss) {
    ng_buf out = ng_buf_init(64u << 20);
    ng_json j = ng_json_init(&out);
    if (w->json) {
        ng_weights_report_json(&j, r);
        if (loss) cli_loss_json(&j, loss);
        ng_json_end(&j);
    } else {
        ng_weights_report_text(&out, r);
        if (loss) cli_loss_text(&out, loss, r);
        if (out.len) out.data[--out.len] = 0; /* cli_print ends the last line */
    }
    int code = cli_print(&out);
    ng_buf_clear(&out);
    return code;
}

static ng_status take_name(const char *from, const char *to, ng_error *err) {
    if (!rename(from, to)) return NG_OK;
    ng_status s = ng_fail(err, NG_EIO, "%.200s could not be renamed to %.200s: %s", from, to, strerror(errno));
    unlink(from);
    return s;
}

/* The file `made` is complete: measures it and gives it its name, or removes it. */
static int keep_or_not(const cli_weights *w, char **argv, const char *made, const ng_weights_report *r) {
    ng_error err = {0};
    ng_buf text = ng_buf_init(64u << 20);
    cli_loss loss;
    if (w->text && cli_read(&text, w->text, &err)) {
        unlink(made);
        ng_buf_clear(&text);
        return cli_fail(&err);
    }
    cli_loss_measure(&loss, argv[0], made, (cli_words){w->text ? text.data ? text.data : "" : NULL, text.len});
    ng_buf_clear(&text);
    bool refused = cli_loss_exceeds(&loss, r) && !w->accept;
    ng_status s = NG_OK;
    if (!refused) s = take_name(made, argv[1], &err);
    else unlink(made);
    if (s) return cli_fail(&err);
    int code = print(w, r, &loss);
    if (!refused) return code;
    if (loss.encoder)
        ng_fail(&err, NG_EFORMAT,
                "%s lost more than %s may (cosine %.4f, at least %.3f): not kept; start from a better file, "
                "use --imatrix, or keep it with --accept-loss",
                argv[1], r->type, loss.cosine_mean, r->cosine_min);
    else
        ng_fail(&err, NG_EFORMAT,
                "%s lost more than %s may (KL %.4f, at most %.3f): not kept; start from a better file, "
                "use --imatrix, or keep it with --accept-loss",
                argv[1], r->type, loss.kld_mean, r->kl_max);
    return cli_fail(&err);
}

int cli_weights_run(const cli_weights *w, char **argv, ng_weights_options *opt) {
    cli_progress progress = {.what = w->what};
    ng_weights_report r;
    ng_error err = {0};
    char made[4096];
    opt->progress = show_progress;
    opt->progress_ctx = &progress;
    if ((size_t)snprintf(made, sizeof made, "%s%s", argv[1], w->compare ? ".unchecked" : "") >= sizeof made)
        return cli_usage("the name of OUT is too long");
    ng_status s = w->make(&r, argv[0], made, opt, &err);
    cli_progress_end(&progress);
    if (s) return cli_fail(&err);
    int code = w->compare ? keep_or_not(w, argv, made, &r) : print(w, &r, NULL);
    ng_weights_report_clear(&r);
    return code;
}

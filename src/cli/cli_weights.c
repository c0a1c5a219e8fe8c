/* cli_weights.c: see cli_weights.h. */
#include "cli_weights.h"

static void show_progress(void *ctx, double done, double total) {
    cli_progress_step(ctx, done, total);
}

int cli_weights_run(const cli_weights *w, char **argv, ng_weights_options *opt) {
    cli_progress progress = {.what = w->what};
    ng_weights_report r;
    ng_error err = {0};
    opt->progress = show_progress;
    opt->progress_ctx = &progress;
    ng_status s = w->make(&r, argv[0], argv[1], opt, &err);
    cli_progress_end(&progress);
    if (s) return cli_fail(&err);
    ng_buf out = ng_buf_init(64u << 20);
    ng_json j = ng_json_init(&out);
    if (w->json) ng_weights_report_json(&j, &r);
    else ng_weights_report_text(&out, &r);
    if (!w->json && out.len) out.data[--out.len] = 0; /* cli_print ends the last line */
    int code = cli_print(&out);
    ng_buf_clear(&out);
    ng_weights_report_clear(&r);
    return code;
}

/* verb_route.c: `nanogrid route`: the decision without the answer. */
#include "cli_grid.h"

static cli_ask ask = CLI_ASK_DEFAULT;
static const cli_option options[] = {CLI_GRID_OPTION(&ask), CLI_ASK_OPTIONS(&ask), {0}};

static void put_text(ng_buf *b, const ng_answer *a) {
    ng_buf_printf(b, "%s > %s (%s)%s", ng_task_name(a->task), a->expert ? a->expert : "nobody",
                  ng_tier_level_name(a->tier), a->in_scope ? "" : ", out of scope");
    if (ask.lines) return;
    for (size_t i = 0; i < a->n_scores; i++)
        ng_buf_printf(b, "%s%s %.1f %%", i ? ", " : "\n\n  scores   ", a->scores[i].label,
                      100 * (double)a->scores[i].p);
    ng_buf_printf(b, "\n  because  %s\n  took     %.0f us", a->reason, a->latency_ms * 1e3);
    for (size_t i = 0; i < a->n_warnings; i++) ng_buf_printf(b, "\n  warning  %s", a->warnings[i]);
    ng_buf_printf(b, "\n  more     nanogrid explain %s", a->decision_id);
}

static int run(int argc, char **argv) {
    static const cli_asking asking = {&ask, ng_grid_route, ng_route_json, put_text};
    return cli_ask_run(&asking, argc, argv);
}

const cli_verb cli_verb_route = {
    "route",
    "[TEXT] [--task T] [--grid FILE] [--lines] [--json]",
    "the decision alone: task, expert, tier, in scope?",
    "Only classifiers are asked (for their scope); nothing leaves this machine.",
    options,
    run};

/* verb_finetune.c: `nanogrid finetune RECIPE`, and the merging of its adapters. */
#include "cli_train.h"

static cli_stage_options o = {.seed = -1};
static struct {
    const char *merge, *model;
    double scale;
} m = {.scale = 1};
static const cli_option options[] =
    {CLI_STAGE_OPTIONS(o),
     {"merge", 0, CLI_STR, &m.merge, "ADAPTER",
      "instead of a recipe: write -m MODEL with this adapter in it to --out FILE", NULL},
     {"model", 'm', CLI_STR, &m.model, "MODEL", "with --merge: the base that the adapter was made for", NULL},
     {"scale", 0, CLI_NUM, &m.scale, "X", "with --merge: times the adapter (1); 0 gives the base's tensors", NULL},
     {0}};

static int run(int argc, char **argv) {
    ng_error err = {0};
    if (!m.merge && (m.model || m.scale != 1)) return cli_usage("-m and --scale belong to --merge");
    if (!m.merge) return cli_train_stage(NG_FINETUNE, &o, argc, argv);
    if (argc || !m.model || !o.out || o.json || o.plot || o.seed >= 0 || o.threads)
        return cli_usage("--merge ADAPTER takes -m MODEL, --out FILE and --scale only");
    if (!(m.scale >= -16 && m.scale <= 16)) return cli_usage("--scale: %g is out of range, use -16 to 16", m.scale);
    return ng_adapter_merge(m.model, m.merge, m.scale, o.out, &err) ? cli_fail(&err) : 0;
}

const cli_verb cli_verb_finetune = {
    "finetune", "(RECIPE.yaml [--out DIR] [--seed N] [--plot FILE.svg|png] [--json] | --merge ADAPTER -m MODEL --out FILE [--scale X])",
    "adapt an encoder that stays as it is, by low-rank matrices",
    "A recipe of the task encoder with a section lora: {rank: 8, alpha: 16, targets: [attn_q, attn_v]}.  base.model may be quantised: it "
    "is read a layer at a time, has no gradient and no moments, and values are made again instead of kept, so the memory is a fraction "
    "of that of `train`.\n\nDIR gets adapter.gguf (llama.cpp's convention for adapters, and the heads) and the model with the adapter "
    "merged in; `predict --adapter` and `embed --adapter` run it beside the base.  The base's file is never changed.  A run that was stopped goes on from its checkpoint.",
    options, run};

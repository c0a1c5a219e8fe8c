/* encoder_recipe.h: the recipe of an encoder with several heads, trained together.
 *
 *     ng_encoder_recipe r;
 *     if (ng_encoder_recipe_is(path)) ng_encoder_recipe_read(&r, path, arena, &err);
 *
 *     name: encoder-en           the package, as in recipe.h; so are output, languages, description,
 *     task: encoder              licence, attribution, source
 *     weights: Q4_1              [F32] the type that the file's matrices are stored as
 *     head_weights: Q8_0         [as weights] the heads' own
 *     base:
 *       model: $MINILM_DIR       r GGUF file or Hugging Face folder of a BERT; a first $NAME is taken from the
 *                                environment, other relative paths are below $NANOGRID_DATA, ./x beside the recipe
 *       start: first.gguf        an encoder trained before, whose weights are taken where it has them: the layers, words
 *                                and heads of the same names and shapes.  Paths as for model
 *       layers: [0, 2, 4, 5]     [all] which of its layers, in this order
 *       words: 8000              [0: all] how many tokens stay: its special ones, ASCII letters, and the most
 *                                frequent ones of the training texts, then the base's first ones
 *       context: 128             [128] tokens of a text that are read
 *       inner: 0.25              [0] share of the inner width that goes first, the least useful by prune.h's scores
 *     heads:
 *       - name: intent           r what `predict --head` calls it
 *         recipe: clinc150.yaml  r its data, labels and task: a recipe of recipe.h (beside this one); features and
 *                                training of that file are for its linear model and play no part
 *         weight: 1              [1] of its texts' losses
 *         repeat: 1              [1] how often an epoch shows each of its texts
 *         share: 1               [1] of its training texts, by their hashes; all of them count for the words
 *         pooling: mean          [mean] mean | first
 *         smoothing: 0           [0] of the labels
 *         vectors: true          [true] whether distill.vectors counts for its texts
 *         teachers: [./a.gguf]   [none; prune: the base] models with such a head, or recorded answers (teacher.h): soft labels
 *         teacher_head: intent   [the head's name] what the teachers call it
 *     training: {epochs: 4, freeze: 0, batch: 32, accumulate: 1, rate: 1e-4, warmup: 0.06, schedule: linear, decay: 0.01,
 *                clip: 1, dropout: 0.1, seed: 1, precision: auto, patience: 0, checkpoint: 10m, shuffle: true}
 *                                freeze: so many first layers and the words stay as they are.
 *                                rate: the greatest; warm-up is a share of all steps, then linear | cosine to 0 |
 *                                constant.  patience: epochs without a better dev score; the best are kept.
 *                                checkpoint: at most so far apart, beside the model, gone when it is done.  It names its kernel;
 *                                a run that goes on from it by another one says that its bytes will differ.
 *                                rounded: true: each step sees the layers as `weights` rounds them (recovery).
 *                                steps: the run ends after so many [all].  settle: from that step on the rate is that of a run of
 *                                `steps`, before it that of one over all epochs: for a run that had to end sooner than was meant.
 *                                scores: how often an epoch the heads are scored on dev; the last time is its end
 *     distill: {temperature: 2, soft: 0.5, hidden: 0, attention: 0, vectors: 0}     `distill`, and the recovery of `prune`
 *                                soft: share of the soft labels in a text's loss, the rest is its label's; hidden, attention:
 *                                weights of what the student's last layer differs from that of the base, all of whose
 *                                layers count: squares of its output, KL of its attention.  vectors: weight of 1 - the cosine of a
 *                                text's mean output and that of the base with all its words: what `embed` gives stays
 *     prune: {inner: 0.2, heads: 0, layers: 0, texts: 1024}                 `prune`: the share of the inner width, how many heads
 *                                of each layer and how many layers go; texts: that the scores are taken from
 *     lora: {rank: 8, alpha: 16, targets: [attn_q, attn_v]}                 `finetune`: low-rank adapters on a base that stays as it is,
 *                                quantised or not; targets also attn_k, attn_output, ffn_up, ffn_down; layers: [4, 5]: only these
                                of the base, counted from 0 [all].  `weights` is the type of the adapter's matrices, F32 unless it is given; merged: false: the output is the
 *                                adapter alone [true: the base with it, and adapter.gguf beside it]
 *     limit: {against: ./first.gguf, drop: 1, speed: 0}                     what the new model is compared with on the held half
 *                                of dev [prune: the base].  A head that loses more than `drop` points, or a model that is not
 *                                `speed` times as fast, is not kept.  Fast is by the processor time of one thread (what else the
 *                                machine does hardly counts), the two models in turns */
#ifndef NG_TRAIN_ENCODER_RECIPE_H
#define NG_TRAIN_ENCODER_RECIPE_H

#include "train/gemm.h"
#include "train/recipe.h"

typedef struct ng_encoder_base_recipe {
    const char *model, *start;
    ng_config_nums layers;
    int64_t words, context;
    double inner;
} ng_encoder_base_recipe;

typedef struct ng_encoder_head_recipe {
    const char *name, *recipe, *teacher_head;
    ng_config_strs teachers;
    double weight, smoothing, share;
    int64_t repeat;
    int pooling; /* 0 mean, 1 first */
    bool vectors;
    int line;
} ng_encoder_head_recipe;

typedef enum ng_schedule { NG_SCHEDULE_LINEAR, NG_SCHEDULE_COSINE, NG_SCHEDULE_CONSTANT } ng_schedule;

typedef struct ng_encoder_training {
    int64_t epochs, batch, accumulate, seed, patience, checkpoint_ms, freeze, scores, steps, settle;
    double rate, warmup, decay, clip, dropout;
    int schedule, precision; /* ng_schedule, ng_precision */
    bool shuffle, rounded;
} ng_encoder_training;

typedef struct ng_distill_recipe {
    double temperature, soft, hidden, attention, vectors;
} ng_distill_recipe;

typedef struct ng_prune_recipe {
    double inner;
    int64_t heads, layers, texts;
} ng_prune_recipe;

typedef struct ng_lora_recipe {
    int64_t rank;
    double alpha;
    ng_config_strs targets;
    ng_config_nums layers;
    bool merged;
    uint32_t mask;       /* NG_LORA_* of targets */
    uint64_t layer_mask; /* bits of layers; 0: all */
} ng_lora_recipe;

typedef struct ng_limit_recipe {
    const char *against; /* NULL: nothing is compared */
    double drop, speed;
} ng_limit_recipe;

/* Which verb a recipe is for, by the sections it has. */
typedef enum ng_encoder_stage { NG_STAGE_TRAIN, NG_STAGE_DISTILL, NG_STAGE_PRUNE, NG_STAGE_FINETUNE } ng_encoder_stage;

typedef struct ng_encoder_recipe {
    ng_about about;
    const char *task, *output, *weights, *head_weights;
    ng_encoder_base_recipe base;
    ng_config_list heads; /* of ng_encoder_head_recipe */
    ng_encoder_training training;
    ng_distill_recipe distill;
    ng_prune_recipe prune;
    ng_limit_recipe limit;
    ng_lora_recipe lora;
    ng_encoder_stage stage;
    const char *path;
} ng_encoder_recipe;

const char *ng_encoder_stage_name(ng_encoder_stage s); /* "train", "distill", "prune", "finetune" */
/* Whether the file is a recipe with `task: encoder`; false also when it cannot be read. */
bool ng_encoder_recipe_is(const char *path);
ng_status ng_encoder_recipe_read(ng_encoder_recipe *out, const char *path, ng_arena *arena, ng_error *err) NG_MUST_USE;
/* The path of base.model or base.start, and that of a head's recipe; NULL with err set. */
char *ng_encoder_recipe_base(const ng_encoder_recipe *r, const char *model, ng_arena *arena, ng_error *err);
char *ng_encoder_recipe_head(const ng_encoder_recipe *r, const ng_encoder_head_recipe *h, ng_arena *arena,
                             ng_error *err);
/* "model", "card" or "scores" of one head (NULL: of the package) as ng_recipe_path has them. */
char *ng_encoder_recipe_file(const ng_encoder_recipe *r, const char *dir, const char *what, ng_arena *arena);

#endif

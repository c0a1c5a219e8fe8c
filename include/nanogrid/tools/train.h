/* train.h: a recipe becomes a package's model.
 *
 *     ng_train_options o = {.seed = -1};
 *     ng_train_result r;
 *     if (ng_train(&r, "recipes/clinc150.yaml", &o, &err)) ..
 *     printf("%s: dev accuracy %.4f\n", r.model_path, r.dev_accuracy);
 *
 * Same recipe, data and seed: the same bytes in the file, on every machine; of encoders (task: encoder)
 * at the same level of instructions (NG_CPU) and any number of threads.  A run of an encoder that was stopped goes on from its
 * checkpoint, to the same bytes at the same level (at another one it says that they differ).  The recipes' keys are told in src/train/recipe.h and encoder_recipe.h. */
#ifndef NANOGRID_TOOLS_TRAIN_H
#define NANOGRID_TOOLS_TRAIN_H

#include <nanogrid/status.h>

/* One pass over the training texts; of encoders some steps (their mean), and each end of an epoch. */
typedef struct ng_train_step {
    const char *phase; /* "select" finds the features worth keeping, "fit" their weights; "train", "score", "epoch"; "resume": a note, no step */
    int64_t step, n_steps; /* of all phases together, from 1 */
    double loss;           /* mean over the pass; NaN: not taken */
    double dev_accuracy;   /* NaN where it is not measured; of encoders the mean over heads */
    double rate, tokens_per_s; /* encoders; else 0 */
    const char *head;      /* "score": whose dev score it is; else NULL */
    const char *note;      /* "resume": what the user must know of the checkpoint; else NULL */
} ng_train_step;

/* Which verb asks: a recipe's sections must fit (encoder_recipe.h). */
typedef enum ng_train_stage { NG_TRAIN, NG_DISTILL, NG_PRUNE, NG_FINETUNE } ng_train_stage;

/* Return false to stop: NG_ECANCELLED, nothing is written. */
typedef bool ng_train_fn(void *ctx, const ng_train_step *step);

typedef struct ng_train_options {
    const char *out_dir; /* NULL: models/NAME beside the recipe's folder */
    int64_t seed;        /* < 0: the recipe's */
    int n_threads;       /* encoders; 0: all cores */
    const char *plot;    /* encoders: an SVG file of the loss curve, or NULL */
    const char *exact;   /* encoders: a second file, of the weights before rounding (F32), or NULL */
    bool vectors_only;   /* routing weights whose recipe has `vectors`: the second claim anew, beside the model that is there */
    ng_train_stage stage; /* NG_TRAIN; the others are for encoders */
    ng_train_fn *on_step;
    void *ctx;
} ng_train_options;

typedef struct ng_train_result {
    char model_path[1024];
    uint64_t model_bytes;
    size_t n_train, n_dev, n_labels, n_rows;
    size_t n_features;           /* distinct buckets before the selection */
    size_t n_duplicates;         /* training and dev texts that also stand in test, or are near it */
    bool duplicates_dropped;
    size_t n_repeated;           /* training texts left out as near another one of the same label (near.h) */
    double loss;                 /* of the last pass */
    double dev_accuracy;         /* of the quantised model, on the tuning half of dev; NaN without dev */
    double temperature, oos_threshold; /* NaN: none */
    char vector_path[1024];      /* routing weights: the second claim (recipe.h, `vectors`); "": none */
    double vector_accuracy, vector_accuracy_before; /* of both claims together, of the linear one alone; labels count alike */
    double seconds;
    bool resumed;                /* encoders: went on from a checkpoint */
    int64_t n_steps;             /* encoders: optimiser steps of the run */
    const char *kernel;          /* encoders: what multiplied, as ng_train_kernel names it; static */
    struct ng_train_head {       /* encoders: [n_heads]; dev_accuracy above is their mean */
        char name[48];
        size_t n_train, n_labels;
        double dev_accuracy;     /* of the file's head, on the tuning half of dev */
        double held_before, held_after; /* when compared: of both models, on the other half */
    } heads[32];
    size_t n_heads;
    bool compared;               /* encoders with limit.against: also set when the limit refused the model */
    double before_ms, after_ms;  /* processor time of one thread for a text, in the mean */
    uint64_t before_bytes;
    size_t n_base, n_adapters, n_trained; /* finetune: weights of the base, of adapters, these with the heads; else 0 */
} ng_train_result;

NG_API ng_status ng_train(ng_train_result *out, const char *recipe_path, const ng_train_options *opt,
                          ng_error *err) NG_MUST_USE;

/* Fits temperatures, thresholds and scope of an encoder's heads anew, on the file as it is: after `quantize`, a merge, or a recipe's
 * other `oos:`.  The recipe must be the one that made the heads.  The file is replaced, or untouched after an error. */
NG_API ng_status ng_train_calibrate(ng_train_result *out, const char *recipe_path, const char *model_path, int n_threads,
                                    ng_error *err) NG_MUST_USE;
NG_API bool ng_train_is_encoder(const char *recipe_path); /* a recipe of `task: encoder` */

/* BASE with an adapter of `finetune` in it, times `scale`; 0 gives the base's tensors.  NG_EINVALID: the adapter is for another base. */
NG_API ng_status ng_adapter_merge(const char *base, const char *adapter, double scale, const char *out,
                                  ng_error *err) NG_MUST_USE;

/* One cell of `train RECIPE --bench`: forward, backward and AdamW on random words of the base's
 * vocabulary, without dropout, as peers are measured. */
typedef struct ng_train_bench_row {
    int batch, length; /* texts, tokens a text */
    const char *dtype;  /* "f32", "bf16" */
    const char *kernel; /* what multiplies: "avx512", "avx512 bf16", "amx bf16"; static */
    double tokens_per_s;
} ng_train_bench_row;
typedef bool ng_train_bench_fn(void *ctx, const ng_train_bench_row *row);
/* Every precision that this machine multiplies, at 32 texts of 32 tokens and 16 of 128.  Encoder recipes
 * only; nothing is read but the base, nothing is written. */
NG_API ng_status ng_train_bench(const char *recipe_path, int n_threads, ng_train_bench_fn *row, void *ctx,
                                ng_error *err) NG_MUST_USE;

/* What an encoder's training multiplies with here where its recipe does not say (precision: auto), as NG_CPU
 * allows: "plain", "avx2", "avx512", "avx512 bf16", "amx bf16".  Static; NULL only where NG_CPU is wrong. */
NG_API const char *ng_train_kernel(void);

#endif

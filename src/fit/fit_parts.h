/* fit_parts.h: what the files of this room share; see nanogrid/tools/fit.h.
 *
 *     ng_fit_data_read (fit_data.c)            the texts, split; prompts and answers (fit_replies.c)
 *     ng_fit_add_trained, ng_fit_add_packages     the candidates, as files (fit_train.c, fit_adapt.c, fit_packages.c)
 *     ng_fit_measure (ng_fit_measure.c)           each one's accuracy, time and memory
 *     ng_fit_grid_write (fit_grid.c)           the grid.yaml of one
 *
 * Files that were made stand in job.made, so that those nobody needs are removed in the end. */
#ifndef NG_FIT_FIT_PARTS_H
#define NG_FIT_FIT_PARTS_H

#include <nanogrid/tools/fit.h>

#include "eval/trials.h"
#include "train/data.h"

enum { FIT_FILES_MAX = 64, FIT_TEXTS_MAX = 500 };

typedef struct fit_candidate {
    ng_device_fit_row row;
    const char *model;       /* a GGUF of ours in out_dir by its name there, else an absolute path; NULL: rules alone */
    const char *adapter;     /* a file in out_dir, beside the weights of `model`; NULL: none */
    const char *head;
    const char *second, *second_head; /* asked where the first is less sure than `below`; NULL: nobody */
    double below;            /* 0: where the first fails */
    uint32_t context;        /* generate: tokens; 0: the model's */
    bool q8;                 /* generate: past tokens in 8 bits */
    uint64_t need_bytes;     /* generate: with every context full; 0: what is measured is all */
    float *score;            /* [n_choose + n_test], greater is better; NULL: not measured by data.  1: right (extract: every entity of the text
                              * is, and no other), else 0; by_bits: minus the bits a byte */
    double test_accuracy;    /* on the n_test texts; NaN: not measured */
    double rank;             /* without data: greater is taken for better */
} fit_candidate;

typedef struct fit_job {
    const ng_device_fit_options *opt;
    ng_device_fit *out;
    ng_error *err;
    ng_arena *arena;
    const char *dir;
    ng_recipe recipe;        /* of the data; zero without */
    ng_labels labels;
    ng_dataset train, held;  /* held: n_choose texts, then n_test; generate: `second` is the answer */
    ng_trial_match match;    /* generate, not by_bits; its labels are `labels` */
    fit_candidate items[NG_DEVICE_FIT_ROWS_MAX];
    size_t n;
    const char *made[FIT_FILES_MAX]; /* names in dir */
    size_t n_made;
} fit_job;

ng_status ng_fit_no_memory(const fit_job *j);
/* dir/name, remembered among the files that were made; NULL when memory or the list is out (the error is set). */
const char *ng_fit_make_file(fit_job *j, const char *name);
/* dir/name. */
const char *ng_fit_path(fit_job *j, const char *name);
/* The file of a candidate's model: as it is, or in the folder. */
const char *ng_fit_model_path(fit_job *j, const char *model);
/* A new candidate, or NULL when the table is full. */
fit_candidate *ng_fit_add(fit_job *j, const char *name, const char *what);

ng_status ng_fit_data_read(fit_job *j);
void ng_fit_on_one_line(const ng_sample *s);
/* For the task generate: the rows and how replies to them are judged (out->by_bits, match, labels). */
ng_status ng_fit_replies_read(fit_job *j);
bool ng_fit_reply_is_right(const fit_job *j, const ng_sample *x, const char *said);
/* Fills the scores where replies are judged by bits; a candidate that fails says so in `why`. */
ng_status ng_fit_replies_measure(fit_job *j, fit_candidate *c);
ng_status ng_fit_add_trained(fit_job *j);
/* An adapter of `finetune` on each encoder that -m names, and on the shared one. */
ng_status ng_fit_add_adapted(fit_job *j);
/* Layers of a BERT file; 0: it is none. */
uint32_t ng_fit_layers(const char *path);
/* The shared encoder's file, in the arena; NULL where it is not installed, or when memory is out (the error is set). */
const char *ng_fit_shared_encoder(fit_job *j);
ng_status ng_fit_add_packages(fit_job *j);
/* Fills the row's figures; a candidate that fails says so in `why` and is no error. */
ng_status ng_fit_measure(fit_job *j, fit_candidate *c);
/* The recipe of the data with a linear model of so many rows and bits, as dir/NAME.yaml; its model is NAME.gguf. */
ng_status ng_fit_recipe_write(fit_job *j, const char *name, int rows, int bits);
/* The data alone, as dir/NAME.data.yaml: what the head of an encoder's recipe names. */
ng_status ng_fit_data_write(fit_job *j, const char *name);
/* As dir/`file`; `final`: with the table and what the served grid wants (a cache, an escalation). */
ng_status ng_fit_grid_write(fit_job *j, const fit_candidate *c, const char *file, bool final);

#endif

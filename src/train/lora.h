/* lora.h: adapters of an encoder that stays as it is: its tensors for training, the adapter's file, the merged model.
 *
 *     ng_lora_base l;
 *     ng_encoder_lora how = {8, 16, NG_LORA_Q | NG_LORA_V, 0, ng_lora_read, &l};
 *     ng_encoder_new_lora(&e, &base.shape, n_extra, &how, &err);
 *     ng_lora_base_open(&l, &base, e, &err);                        before ng_encoder_bind
 *     ..train..
 *     ng_lora_write(&base, &tasks, NULL, "adapter.gguf", &err);
 *     ng_lora_merge(base.g, "adapter.gguf", 1, "model.gguf", &err);
 *
 * The adapter is GGUF by llama.cpp's convention: general.type "adapter", adapter.type "lora", adapter.lora.alpha; NAME.lora_a
 * [in, rank], NAME.lora_b [rank, out] for the tensor NAME, y += alpha / rank * B A x, in the recipe's `weights`.  Beside it stand the heads as in
 * model/encoder_heads.h and nanogrid.adapter.base, a hash of the base's bytes: merged with another it is refused.
 *
 * Merging rounds a target's rows to the type they had; tensors that no adapter changes are the bytes of the base. */
#ifndef NG_TRAIN_LORA_H
#define NG_TRAIN_LORA_H

#include "train/encoder_base.h"
#include "train/encoder_task.h"

typedef struct ng_lora_base {
    const ng_gguf_tensor **tensors; /* in the encoder's order */
} ng_lora_base;

ng_status ng_lora_base_open(ng_lora_base *out, const ng_encoder_base *b, const ng_encoder *e,
                            ng_error *err) NG_MUST_USE;
void ng_lora_base_clear(ng_lora_base *l); /* accepts a zeroed one */
void ng_lora_read(void *self, size_t tensor, size_t row, size_t n, float *out);

/* calibrated: a file whose calibration of the heads the adapter takes over, or NULL. */
ng_status ng_lora_write(const ng_encoder_base *b, const ng_encoder_tasks *t, const ng_gguf *calibrated,
                        const char *path, ng_error *err) NG_MUST_USE;
/* scale: of the adapter; 0 leaves the base's tensors as they are. */
ng_status ng_lora_merge(const ng_gguf *base, const char *adapter, double scale, const char *out,
                        ng_error *err) NG_MUST_USE;

#endif

/* train_encoder.h: ng_train() for recipes with `task: encoder`; see nanogrid/tools/train.h. */
#ifndef NG_TRAIN_TRAIN_ENCODER_H
#define NG_TRAIN_TRAIN_ENCODER_H

#include <nanogrid/tools/train.h>

ng_status ng_train_encoder(ng_train_result *out, const char *recipe_path, const ng_train_options *opt,
                           ng_error *err) NG_MUST_USE;

#endif

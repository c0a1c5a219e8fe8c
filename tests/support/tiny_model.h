/* tiny_model.h: a random llama of 192 positions with a tokenizer of single letters and a ChatML template.
 * What it says is noise, so tests ask for consistency.
 *
 *     char path[] = TINY_MODEL_PATH;
 *     tiny_model_make(path);  ..  unlink(path); */
#ifndef NG_TESTS_TINY_MODEL_H
#define NG_TESTS_TINY_MODEL_H

#define TINY_MODEL_PATH "/tmp/ng-tiny-XXXXXX"
/* 0 <|im_start|>, 1 <|im_end|>, 2 newline, 3 space, 4.. a-z, 30.. A-R */
enum { TINY_VOCAB = 48, TINY_LETTER = 4, TINY_CTX = 192 };

int tiny_model_make(char *path); /* 0, or -1; `path` is completed */

#endif

/* api_logprobs.h: chat's `logprobs`: which token stood there, how sure the model was, what else it had
 * in mind, in OpenAI's shape.
 *
 *     const ng_tokenizer *t;
 *     if (!ng_logprobs_tokenizer(&t, c, model)) ..   the problem is set
 *     ng_logprobs_put(&json, t, event);              one element of `content` */
#ifndef NG_SERVE_API_LOGPROBS_H
#define NG_SERVE_API_LOGPROBS_H

#include "serve/api.h"

/* The vocabulary of the local model that will answer a chat with `model`.  It lives as long as the
 * api.  *out NULL: only upstreams can answer. */
bool ng_logprobs_tokenizer(const ng_tokenizer **out, ng_call *c, const char *model);
void ng_logprobs_put(ng_json *j, const ng_tokenizer *t, const ng_token_event *e);
void ng_logprobs_clear(ng_api *api);

#endif

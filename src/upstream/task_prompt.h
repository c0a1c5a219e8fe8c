/* task_prompt.h: a task as a chat for a general model, and its reply as the task's answer.
 *
 *     ng_buf body = ng_buf_init(..);
 *     ng_task_prompt_write(&body, req, "gpt-4o-mini", stream, &err);   the request's JSON body
 *     ng_task_prompt_read(answer, req, reply, len, &err);              fills label, entities, ..
 *
 * A general model answers in words; what it says is accepted only where it fits the task: a label
 * must be one of those asked for, an entity must stand in the text.  What does not fit is NG_EFORMAT,
 * never a guess. */
#ifndef NG_UPSTREAM_TASK_PROMPT_H
#define NG_UPSTREAM_TASK_PROMPT_H

#include <nanogrid/tier.h>

/* NG_EUNSUPPORTED for tasks that are not asked by chat (embed, rerank). */
ng_status ng_task_prompt_write(ng_buf *body, const ng_tier_request *req, const char *model,
                               bool stream, ng_error *err) NG_MUST_USE;
ng_status ng_task_prompt_read(ng_answer *answer, const ng_tier_request *req, const char *reply,
                              size_t len, ng_error *err) NG_MUST_USE;

#endif

/* task_requests.h: requests as people type them, made from templates and texts: the data of the task
 * router.
 *
 *     recipe:   data: {train: [{file: ./task-router/requests.yaml, format: requests, split: train, limit: 24000}]}
 *
 * A source of the format `requests` is a YAML file beside the recipe:
 *
 *     templates: templates.tsv      beside this file: task, split, weight, template; or a list of up to four files
 *     seed: 1
 *     tasks: [extract]              only these; all when left out
 *     noise: {typo: 0.02, lower: 0.2, caps: 0, polite: 0.3, greeting: 0.1, closing: 0.1, break: 0.3}
 *     fillers:
 *       - {name: u, train: [SOURCE, ..], dev: [..], test: [..], max_bytes: 300}
 *       - {name: p, train: [..], dev: [..], test: [..], sentences: [2, 8]}
 *
 * A template is text with {name} where a filler stands and [a|b|c] where one of several wordings does;
 * alternatives do not nest but may hold fillers.  One that begins with "~" may be asked for more
 * politely.  A task that begins with "@" is no task but a list of fillers of that name ("@lang"); the
 * lists @greeting, @polite and @closing stand around requests.  Split is train, dev, test or *.  Tasks
 * come in turn, so they are equally frequent.  The same seed gives the same requests on every machine;
 * each split draws its own.
 *
 * In a recipe of the task extract a template marks what is to be found, "<person:{given} {surname}> lives at <location:{street}>",
 * and rows have words and their tags.  There the texts of a list are templates too (a fresh address each time it is drawn), and
 * {99}, {A9 9AA} are digits and capitals; a request typed without capitals has none in its fillers either, and a share
 * `caps` of the others is all in capitals.  Marks do not nest. */
#ifndef NG_TRAIN_TASK_REQUESTS_H
#define NG_TRAIN_TASK_REQUESTS_H

#include "train/data.h"

/* Gives s->limit rows (text and task) of s->split to `row`. */
ng_status ng_requests_make(const ng_source *s, const ng_recipe *r, const char *path, ng_row_fn *row, void *ctx,
                           ng_error *err) NG_MUST_USE;

#endif

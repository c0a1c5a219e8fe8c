/* turns.h: where a conversation stands.
 *
 *     ng_turns t = ng_turns_of(messages, n_messages);
 *     if (t.refers) ..                               "and the second one?" means nothing by itself
 *
 * users, assistants: messages of each; bytes: of all before the last one of the user; refers: the last turn is short and points back
 * (English pronouns and "and ..", "what about ..").  No allocation; thread-safe. */
#ifndef NG_ROUTE_TURNS_H
#define NG_ROUTE_TURNS_H

#include <nanogrid/tier.h>

typedef struct ng_turns {
    uint32_t users, assistants;
    uint32_t bytes;
    bool system, refers;
} ng_turns;

ng_turns ng_turns_of(const ng_message *messages, size_t n);

#endif

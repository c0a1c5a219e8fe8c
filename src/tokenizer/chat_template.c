/* chat_template.c: ng_chat_render over the file's own template.  See nanogrid/tokenizer.h.
 *
 * The template is run, not recognised, so what a model was trained to see (SmolLM2's default system
 * message, Llama 3's headers) needs no copy of it here. */
#include "jinja.h"
#include "vocab.h"

#include <string.h>

/* The text of a token, or undefined: templates ask `bos_token is defined`. */
static void set_token(ng_jinja *j, const ng_tokenizer *t, const char *name, int32_t id) {
    size_t len;
    if (id < 0) return;
    const char *s = ng_token_text(t, id, &len);
    ng_jinja_set(j, name, ng_jval_strn(s, len));
}

static ng_status render(const ng_tokenizer *t, const ng_chat_message *messages, size_t n, bool open, ng_jinja *j) {
    ng_jval *items = ng_arena_array(j->arena, n, sizeof *items);
    if (!items) return ng_fail(j->err, NG_ENOMEM, "chat template: %zu messages", n);
    for (size_t i = 0; i < n && !j->status; i++) {
        items[i] = ng_jval_map(j);
        ng_jval_put(j, &items[i], ng_jval_str("role"), ng_jval_str(messages[i].role));
        ng_jval_put(j, &items[i], ng_jval_str("content"), ng_jval_str(messages[i].text));
    }
    ng_jinja_set(j, "messages", ng_jval_list(items, n));
    ng_jinja_set(j, "add_generation_prompt", ng_jval_bool(open));
    set_token(j, t, "bos_token", t->bos);
    set_token(j, t, "eos_token", t->eos);
    return j->status ? j->status : ng_jinja_render(j, t->chat_template, strlen(t->chat_template));
}

ng_status ng_chat_render(const ng_tokenizer *t, const ng_chat_message *messages, size_t n, bool open, ng_buf *out,
                         ng_error *err) {
    ng_arena *arena;
    if (!t->chat_template)
        return ng_fail(err, NG_EUNSUPPORTED,
                       "chat template: the model file has none (tokenizer.chat_template), so it is "
                       "no chat model; use `complete`");
    if (ng_arena_new(&arena, 0)) return ng_fail(err, NG_ENOMEM, "chat template: out of memory");
    ng_jinja *j = ng_arena_alloc(arena, sizeof *j);
    ng_status s;
    if (!j) {
        s = ng_fail(err, NG_ENOMEM, "chat template: out of memory");
    } else {
        *j = (ng_jinja){.arena = arena, .out = out, .err = err};
        s = render(t, messages, n, open, j);
    }
    ng_arena_free(arena);
    return s;
}

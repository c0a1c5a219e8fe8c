/* turns.c: see turns.h. */
#include "turns.h"

#include <string.h>

enum { SHORT_WORDS = 12, WORD_MAX = 8 };

/* Words that point at what was said: anywhere in a short turn, and at its beginning. */
static const char back[] =
    " it its that this those these them they he she him her one ones same again instead previous above former latter ";
static const char start[] = " and but so also what why how ok then ";

static bool is_letter(char c) { return (unsigned)((c | 32) - 'a') < 26 || c == '\''; }

static bool refers(const char *text, size_t len) {
    char word[WORD_MAX + 3];
    size_t words = 0;
    bool points = false;
    for (size_t i = 0, begin; i < len && words <= SHORT_WORDS; i++) {
        if (!is_letter(text[i])) continue;
        for (begin = i; i < len && is_letter(text[i]); i++) {}
        size_t n = i - begin;
        words++;
        if (n > WORD_MAX) continue;
        word[0] = word[n + 1] = ' ';
        word[n + 2] = 0;
        for (size_t k = 0; k < n; k++) word[k + 1] = (char)(text[begin + k] | 32);
        points |= strstr(back, word) != NULL || (words == 1 && strstr(start, word));
    }
    return points && words <= SHORT_WORDS;
}

ng_turns ng_turns_of(const ng_message *m, size_t n) {
    ng_turns t = {.users = 0};
    const ng_part *last = NULL;
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        bool user = !strcmp(m[i].role, "user");
        t.users += user;
        t.assistants += !strcmp(m[i].role, "assistant");
        t.system |= !strcmp(m[i].role, "system");
        for (size_t k = 0; k < m[i].n_parts; k++) bytes += m[i].parts[k].len;
        if (user && m[i].n_parts) last = &m[i].parts[0];
    }
    if (!last) return t;
    bytes -= last->len;
    t.bytes = bytes < UINT32_MAX ? (uint32_t)bytes : UINT32_MAX;
    t.refers = t.assistants && refers(last->text, last->len);
    return t;
}

/* complexity.c: see complexity.h.
 *
 * Words are taken as runs of bytes beyond ASCII, letters and apostrophes; the words that ask for reasoning stand in a table ordered by
 * their first letter, so a word is held against two or three of them. */
#include "complexity.h"

#include "core/math.h"
#include <string.h>

enum { LONG_WORD = 8, WORD_MAX = 12 };

/* By first letter; the blank ends a word. */
static const char *const asking[26] = {
    ['a' - 'a'] = "analyse analyze argue assume although ", ['b' - 'a'] = "because ", ['c' - 'a'] = "calculate compare compute consider contrast critique ",
    ['d' - 'a'] = "derive design determine discuss debug ", ['e' - 'a'] = "evaluate explain except estimate every ", ['g' - 'a'] = "given ",
    ['h' - 'a'] = "how however ", ['i' - 'a'] = "if implement implies infer ", ['j' - 'a'] = "justify ", ['l' - 'a'] = "least ", ['m' - 'a'] = "must most ",
    ['o' - 'a'] = "only optimize otherwise ", ['p' - 'a'] = "prove plan ", ['r' - 'a'] = "refactor reason remaining ", ['s' - 'a'] = "should solve step suppose such ",
    ['t' - 'a'] = "then therefore than total ", ['u' - 'a'] = "unless until ", ['w' - 'a'] = "why whether which without would while "};

static bool is_word_byte(char c) { return (unsigned)((c | 32) - 'a') < 26 || (unsigned char)c >= 0x80 || c == '\''; }

static bool asks(const char *word, size_t len) {
    char key[WORD_MAX + 1];
    unsigned first = (unsigned)((word[0] | 32) - 'a');
    if (len > WORD_MAX || first >= 26 || !asking[first]) return false;
    for (size_t i = 0; i < len; i++) key[i] = (char)(word[i] | 32);
    for (const char *p = asking[first], *end; *p; p = end + 1) {
        end = strchr(p, ' ');
        if ((size_t)(end - p) == len && !memcmp(p, key, len)) return true;
    }
    return false;
}

double ng_complexity_of(const char *text, size_t len, const ng_structure *s) {
    size_t words = 0, long_words = 0, reasoning = 0, questions = 0;
    if (len > NG_STRUCTURE_MAX) len = NG_STRUCTURE_MAX;
    for (size_t i = 0, begin; i < len; i++) {
        questions += text[i] == '?';
        if (!is_word_byte(text[i])) continue;
        for (begin = i; i < len && is_word_byte(text[i]); i++) {}
        words++;
        long_words += i - begin >= LONG_WORD;
        reasoning += asks(text + begin, i - begin);
        i--;
    }
    double z = 0.008 * (double)words + 0.02 * (double)long_words + 0.08 * (double)reasoning + 0.03 * (double)s->numbers;
    if (questions > 1) z += 0.1 * (double)(questions - 1);
    z += 0.4 * s->code + 0.3 * s->table + 0.3 * s->maths + 0.1 * s->list;
    return 1 - ng_exp(-z);
}

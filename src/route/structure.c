/* structure.c: see structure.h.
 *
 * Line by line, each judged by its first and last characters and the signs in it; nothing is parsed.  A single line of code among prose
 * is taken for code only where it could be nothing else (a call that ends in a semicolon, a fence). */
#include "structure.h"

#include <string.h>

enum { CODE_LINES_MIN = 2, LIST_ITEMS_MIN = 2, TABLE_ROWS_MIN = 2, CELLS_MIN = 2 };

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool begins(const char *s, size_t len, const char *word) {
    size_t n = strlen(word);
    return len >= n && !memcmp(s, word, n);
}

static bool begins_any(const char *s, size_t len, const char *const *words) {
    for (; *words; words++)
        if (begins(s, len, *words)) return true;
    return false;
}

static bool is_list_item(const char *s, size_t len) {
    size_t n = 0;
    while (n < len && n < 3 && is_digit(s[n])) n++;
    if (n) return n + 1 < len && (s[n] == '.' || s[n] == ')') && s[n + 1] == ' ';
    return begins(s, len, "- ") || begins(s, len, "* ") || begins(s, len, "+ ") || begins(s, len, "\xE2\x80\xA2");
}

/* 2: nothing but code looks so. */
static unsigned code_of(const char *s, size_t len) {
    static const char *const starts[] = {"#include", "#define", "import ", "from ", "def ", "class ", "function ", "const ", "let ", "var ", "return ", "public ", "private ",
                                         "static ", "void ", "int ", "for (", "if (", "while (", "else", "//", "/*", "SELECT ", "INSERT ", "UPDATE ", "$ ", "</", NULL};
    char last = s[len - 1];
    if (begins(s, len, "```")) return 2;
    bool start = begins_any(s, len, starts),
         end = last == ';' || last == '{' || last == '}' || (last == ':' && s[0] != '-' && memchr(s, '(', len));
    if (end && len > 3 && (begins(s + len - 2, 2, ");") || (start && last != ':'))) return 2;
    return start || end;
}

static bool is_operator(char c) {
    return c == '+' || c == '*' || c == '/' || c == '^' || c == '=' || c == '<' || c == '>' || c == '-';
}

/* An operator at i with a number before, or a letter alone as in "3x", and a number behind; spaces on both sides or on neither. */
static bool is_sum(const char *s, size_t len, size_t i) {
    size_t before = i, after = i + 1;
    while (before && s[before - 1] == ' ') before--;
    while (after < len && s[after] == ' ') after++;
    bool even = (before == i) == (after == i + 1), near = before == i;
    if (!before || after >= len || !even || !(is_digit(s[before - 1]) || s[before - 1] == 'x' || s[before - 1] == ')'))
        return false;
    return (is_digit(s[after]) || s[after] == '(') && !(near && (s[i] == '-' || s[i] == '/')); /* 2019-2020, 24/7 */
}

static bool is_latex(const char *s, size_t len) {
    static const char *const words[] = {"\\frac", "\\sum", "\\int", "\\sqrt", "\\begin{", "\\(", "\\[", NULL};
    return begins_any(s, len, words);
}

typedef struct counts {
    unsigned code_lines, table_rows;
} counts;

static void look_at_line(ng_structure *s, counts *n, const char *line, size_t len) {
    size_t cells = 0;
    while (len && (*line == ' ' || *line == '\t')) line++, len--;
    while (len && (line[len - 1] == ' ' || line[len - 1] == '\r')) len--;
    if (!len) return;
    s->lines++;
    s->list_items += is_list_item(line, len);
    n->code_lines += code_of(line, len);
    for (size_t i = 0; i < len; i++) {
        char c = line[i];
        if (is_digit(c))
            s->numbers += !i || !(is_digit(line[i - 1]) ||
                                  ((line[i - 1] == '.' || line[i - 1] == ',') && i > 1 && is_digit(line[i - 2])));
        else if (c == '|' || c == '\t') cells++;
        else if (c == '\\') s->maths |= is_latex(line + i, len - i);
        else if (is_operator(c)) s->maths |= is_sum(line, len, i);
    }
    n->table_rows += cells >= CELLS_MIN;
}

ng_structure ng_structure_of(const char *text, size_t len) {
    ng_structure s = {.lines = 0};
    counts n = {0, 0};
    if (len > NG_STRUCTURE_MAX) len = NG_STRUCTURE_MAX;
    for (size_t i = 0, end; i < len; i = end + 1) {
        const char *nl = memchr(text + i, '\n', len - i);
        end = nl ? (size_t)(nl - text) : len;
        look_at_line(&s, &n, text + i, end - i);
    }
    s.code = n.code_lines >= CODE_LINES_MIN;
    s.list = s.list_items >= LIST_ITEMS_MIN;
    s.table = n.table_rows >= TABLE_ROWS_MIN;
    return s;
}

bool ng_structure_is_technical(const ng_structure *s) { return s->code || s->table || s->maths; }

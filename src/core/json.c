/* json.c: see json.h.  Shortest round-trip numbers by trying 15, 16, 17 digits (6..9 for floats):
 * slower than Ryu, exact, and no answer carries enough numbers for it to be felt. */
#include <nanogrid/json.h>

#include "utf8.h"

#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

ng_json ng_json_init(ng_buf *buf) { return (ng_json){.buf = buf, .first = true}; }

static void element(ng_json *j) {
    if (!j->first) ng_buf_put(j->buf, ", ", 2);
    j->first = false;
}

static void open_level(ng_json *j, char open, char close) {
    assert(j->depth < NG_JSON_DEPTH_MAX);
    element(j);
    ng_buf_putc(j->buf, open);
    j->close[j->depth++] = close;
    j->first = true;
}

void ng_json_object(ng_json *j) { open_level(j, '{', '}'); }
void ng_json_array(ng_json *j) { open_level(j, '[', ']'); }

void ng_json_end(ng_json *j) {
    assert(j->depth > 0);
    ng_buf_putc(j->buf, j->close[--j->depth]);
    j->first = false;
}

static void quoted(ng_buf *b, const char *text, size_t len) {
    static const char hex[] = "0123456789abcdef";
    const unsigned char *s = (const unsigned char *)text;
    ng_buf_putc(b, '"');
    for (size_t i = 0; i < len;) {
        size_t run = i; /* bytes that stand for themselves, copied in one go */
        while (run < len && s[run] >= 0x20 && s[run] < 0x7F && s[run] != '"' && s[run] != '\\') run++;
        if (run > i) {
            ng_buf_put(b, s + i, run - i);
            i = run;
            continue;
        }
        unsigned char c = s[i];
        const char *at = c ? strchr("\"\"\\\\\bb\ff\nn\rr\tt", c) : NULL;
        size_t n = ng_utf8_sequence(text + i, len - i);
        if (c < 0x80 && at) {
            char esc[2] = {'\\', c == '"' || c == '\\' ? (char)c : at[1]};
            ng_buf_put(b, esc, 2);
            i++;
        } else if (c < 0x20 || c == 0x7F) {
            char esc[6] = {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
            ng_buf_put(b, esc, 6);
            i++;
        } else if (n) {
            ng_buf_put(b, s + i, n);
            i += n;
        } else {
            ng_buf_put(b, "\xEF\xBF\xBD", 3);
            i++;
        }
    }
    ng_buf_putc(b, '"');
}

void ng_json_key(ng_json *j, const char *key) {
    element(j);
    quoted(j->buf, key, strlen(key));
    ng_buf_put(j->buf, ": ", 2);
    j->first = true; /* the value follows without a comma */
}

void ng_json_strn(ng_json *j, const char *s, size_t len) {
    element(j);
    quoted(j->buf, s, len);
}

void ng_json_str(ng_json *j, const char *s) {
    if (s) ng_json_strn(j, s, strlen(s));
    else ng_json_null(j);
}

static void number(ng_json *j, double v, int digits, int digits_max, bool is_float) {
    char text[40];
    if (!isfinite(v)) {
        ng_json_null(j);
        return;
    }
    element(j);
    for (; digits <= digits_max; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, v);
        if (is_float ? strtof(text, NULL) == (float)v : strtod(text, NULL) == v) break;
    }
    ng_buf_puts(j->buf, text);
}

void ng_json_num(ng_json *j, double v) { number(j, v, 15, 17, false); }
void ng_json_f32(ng_json *j, float v) { number(j, (double)v, 6, 9, true); }

void ng_json_fixed(ng_json *j, double v, int decimals) {
    char text[352];
    if (!isfinite(v)) {
        ng_json_null(j);
        return;
    }
    int n = snprintf(text, sizeof text, "%.*f", decimals, v);
    if (decimals > 0) {
        while (text[n - 1] == '0') n--;
        if (text[n - 1] == '.') n--;
    }
    if (n == 2 && text[0] == '-' && text[1] == '0') text[0] = '0', n = 1;
    element(j);
    ng_buf_put(j->buf, text, (size_t)n);
}

void ng_json_int(ng_json *j, int64_t v) {
    element(j);
    ng_buf_printf(j->buf, "%lld", (long long)v);
}

void ng_json_uint(ng_json *j, uint64_t v) {
    element(j);
    ng_buf_printf(j->buf, "%llu", (unsigned long long)v);
}

void ng_json_bool(ng_json *j, bool v) { ng_json_raw(j, v ? "true" : "false"); }
void ng_json_null(ng_json *j) { ng_json_raw(j, "null"); }

void ng_json_raw(ng_json *j, const char *text) {
    element(j);
    ng_buf_puts(j->buf, text);
}

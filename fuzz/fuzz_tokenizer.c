/* fuzz_tokenizer.c: the first byte chooses what the rest is: a vocabulary (a GGUF file, which must be refused or give
 * a tokenizer that survives any text), a text for one of the built-in vocabularies, or a chat template.
 *
 * What must hold besides not crashing: a byte-level text comes back exactly, a stream is UTF-8 at every step. */
#include "core/arena.h"
#include "gguf/gguf.h"
#include "text/sentence.h"
#include "text/words.h"
#include "tokenizer/jinja.h"
#include "tokenizer/vocab.h"
#include <nanogrid/text.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define REQUIRE(cond) \
    do { if (!(cond)) { fprintf(stderr, "fuzz_tokenizer: %s does not hold\n", #cond); abort(); } } while (0)

enum { MADE = 5 };
static ng_tokenizer *made[MADE];

/* 256 bytes in GPT-2's alphabet, then what some merges make. */
static void make_bpe(ng_gguf_writer *w, const char *pre) {
    static const char *const merges[] = {"t h", "th e", "a a", "aa aa", "i n", "\xC4\xA0 t", "\xC4\xA0t h", "' s", "1 2",
                                         "\xC3\xA3 \xC4\xA3", "\xC4\x8A \xC4\x8A", "\xC4\xA0 \xC4\xA0"};
    enum { N = sizeof merges / sizeof *merges };
    static char text[256 + N + 2][12];
    ng_str tokens[256 + N + 2], pairs[N];
    int32_t types[256 + N + 2];
    for (int c = 0, other = 256; c < 256; c++) {
        int cp = (c >= 33 && c <= 126) || (c >= 161 && c <= 172) || c >= 174 ? c : other++;
        size_t n = 0;
        if (cp < 0x80) text[c][n++] = (char)cp;
        else text[c][n++] = (char)(0xC0 | cp >> 6), text[c][n++] = (char)(0x80 | (cp & 63));
        tokens[c] = (ng_str){text[c], n};
    }
    for (int i = 0; i < N; i++) {
        size_t n = 0;
        for (const char *p = merges[i]; *p; p++)
            if (*p != ' ') text[256 + i][n++] = *p;
        tokens[256 + i] = (ng_str){text[256 + i], n};
        pairs[i] = (ng_str){merges[i], strlen(merges[i])};
    }
    tokens[256 + N] = (ng_str){"<|x|>", 5};
    tokens[256 + N + 1] = (ng_str){"<u", 2};
    for (int i = 0; i < 256 + N + 2; i++) types[i] = i < 256 + N ? 1 : i == 256 + N ? 3 : 4;
    ng_gguf_put_str(w, "tokenizer.ggml.model", "gpt2");
    ng_gguf_put_str(w, "tokenizer.ggml.pre", pre);
    ng_gguf_put_strs(w, "tokenizer.ggml.tokens", tokens, 256 + N + 2);
    ng_gguf_put_array(w, "tokenizer.ggml.token_type", NG_GGUF_I32, types, 256 + N + 2);
    ng_gguf_put_strs(w, "tokenizer.ggml.merges", pairs, N);
}

static void make_wordpiece(ng_gguf_writer *w) {
    static const ng_str tokens[] = {{"[UNK]", 5}, {"[CLS]", 5}, {"[SEP]", 5}, {"the", 3},          {"a", 1},
                                    {"##a", 3},   {"##bc", 4},  {".", 1},     {"\xE4\xB8\xAD", 3}, {"e", 1}};
    static const int32_t types[] = {3, 3, 3, 1, 1, 1, 1, 1, 1, 1};
    ng_gguf_put_str(w, "tokenizer.ggml.model", "bert");
    ng_gguf_put_strs(w, "tokenizer.ggml.tokens", tokens, 10);
    ng_gguf_put_array(w, "tokenizer.ggml.token_type", NG_GGUF_I32, types, 10);
}

static void make_all(void) {
    static const char *const pre[] = {"gpt-2", "smollm", "llama-bpe", "qwen2"};
    for (int i = 0; i < MADE; i++) {
        char path[] = "/tmp/ng-fuzz-XXXXXX";
        ng_error err = {0};
        ng_gguf_writer *w;
        int fd = mkstemp(path);
        REQUIRE(fd >= 0 && !ng_gguf_writer_new(&w));
        close(fd);
        if (i < 4) make_bpe(w, pre[i]);
        else make_wordpiece(w);
        REQUIRE(!ng_gguf_writer_commit(w, path, &err));
        REQUIRE(!ng_tokenizer_open(&made[i], path, &err));
        unlink(path);
    }
}

static void use(const ng_tokenizer *t, const char *text, size_t len, bool exact) {
    for (int k = 0; k < 4; k++) {
        ng_tokenize_options opt = {.add_special = k & 1, .parse_special = k & 2};
        int32_t *ids;
        size_t n;
        ng_error err = {0};
        ng_buf whole = ng_buf_init(1 << 26), stream = ng_buf_init(1 << 26);
        ng_detokenizer d = {.tokenizer = t};
        REQUIRE(!ng_tokenize(t, text, len, &opt, &ids, &n, &err));
        REQUIRE(!ng_detokenize(t, ids, n, true, &whole, &err) || whole.status == NG_ELIMIT);
        if (exact && !(k & 1)) REQUIRE(whole.len == len && !memcmp(whole.data, text, len));
        for (size_t i = 0; i < n && !stream.status; i++) {
            size_t before = stream.len;
            REQUIRE(!ng_detokenizer_put(&d, ids[i], &stream, &err) || stream.status == NG_ELIMIT);
            REQUIRE(ng_utf8_invalid_at(stream.data + before, stream.len - before) == stream.len - before);
        }
        (void)ng_detokenizer_flush(&d, &stream);
        free(ids);
        ng_buf_clear(&whole);
        ng_buf_clear(&stream);
    }
}

static void use_text(const char *text, size_t len) {
    size_t pos = 0, end = 0;
    ng_span s;
    ng_word w;
    while (ng_sentence_next(text, len, &pos, &s)) {
        REQUIRE(s.start >= end && s.end > s.start && s.end <= len);
        end = s.end;
    }
    for (pos = end = 0; ng_word_next(text, len, &pos, &w); end = w.end)
        REQUIRE(w.start >= end && w.end > w.start && w.end <= len);
}

static void use_vocabulary(const uint8_t *data, size_t size) {
    static const char text[] = "The cat's 123  \n\xC3\xA9t\xC3\xA9 \xFF "
                               "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa [CLS]";
    ng_error err = {0};
    ng_gguf *g;
    ng_tokenizer *t;
    if (ng_gguf_open_memory(&g, data, size, "fuzz", &err)) return;
    if (!ng_tokenizer_load(&t, g, &err)) {
        use(t, text, sizeof text - 1, false);
        ng_chat_message m = {"user", "hi"};
        ng_buf out = ng_buf_init(1 << 16);
        REQUIRE(!ng_chat_render(t, &m, 1, true, &out, &err) || *err.text);
        ng_buf_clear(&out);
        ng_tokenizer_close(t);
    } else {
        REQUIRE(*err.text);
    }
    ng_gguf_close(g);
}

static void use_template(const char *source, size_t len) {
    ng_arena *a;
    ng_error err = {0};
    ng_buf out = ng_buf_init(1 << 16);
    REQUIRE(!ng_arena_new(&a, 0));
    static ng_jinja j;
    ng_jval items[2];
    j = (ng_jinja){.arena = a, .out = &out, .err = &err};
    for (int i = 0; i < 2; i++) {
        items[i] = ng_jval_map(&j);
        ng_jval_put(&j, &items[i], ng_jval_str("role"), ng_jval_str(i ? "assistant" : "user"));
        ng_jval_put(&j, &items[i], ng_jval_str("content"), ng_jval_str(" a\nb "));
    }
    ng_jinja_set(&j, "messages", ng_jval_list(items, 2));
    REQUIRE(!ng_jinja_render(&j, source, len) || *err.text);
    ng_arena_free(a);
    ng_buf_clear(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (!made[0]) make_all();
    if (!size) return 0;
    /* Exactly as long as it is, so that a read beyond the end is seen. */
    char *text = malloc(size - 1 ? size - 1 : 1);
    REQUIRE(text);
    memcpy(text, data + 1, size - 1);
    int what = data[0] % 8;
    if (what < MADE) use(made[what], text, size - 1, what < 4), use_text(text, size - 1);
    else if (what == 7) use_template(text, size - 1);
    else use_vocabulary((const uint8_t *)text, size - 1);
    free(text);
    return 0;
}

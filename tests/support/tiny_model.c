/* tiny_model.c: see tiny_model.h. */
#include "tiny_model.h"

#include "gguf/gguf.h"
#include <stdlib.h>
#include <unistd.h>

static void put_tokenizer(ng_gguf_writer *w) {
    static char letters[TINY_VOCAB];
    ng_str tokens[TINY_VOCAB] = {{"<|im_start|>", 12}, {"<|im_end|>", 10}, {"\xC4\x8A", 2}, {"\xC4\xA0", 2}};
    int32_t types[TINY_VOCAB] = {3, 3};
    for (int i = 2; i < TINY_VOCAB; i++) types[i] = 1;
    for (int i = TINY_LETTER; i < TINY_VOCAB; i++) {
        letters[i] = (char)(i < 30 ? 'a' + i - TINY_LETTER : 'A' + i - 30);
        tokens[i] = (ng_str){&letters[i], 1};
    }
    ng_gguf_put_str(w, "tokenizer.ggml.model", "gpt2");
    ng_gguf_put_str(w, "tokenizer.ggml.pre", "smollm");
    ng_gguf_put_strs(w, "tokenizer.ggml.tokens", tokens, TINY_VOCAB);
    ng_gguf_put_array(w, "tokenizer.ggml.token_type", NG_GGUF_I32, types, TINY_VOCAB);
    ng_gguf_put_strs(w, "tokenizer.ggml.merges", (ng_str[]){{"z y", 3}}, 0);
    ng_gguf_put_u32(w, "tokenizer.ggml.bos_token_id", 0);
    ng_gguf_put_u32(w, "tokenizer.ggml.eos_token_id", 1);
    ng_gguf_put_bool(w, "tokenizer.ggml.add_bos_token", false);
    ng_gguf_put_str(w, "tokenizer.chat_template",
                    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + "
                    "'<|im_end|>' "
                    "+ '\\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}");
}

int tiny_model_make(char *path) {
    ng_gguf *g;
    ng_gguf_writer *w;
    int fd = mkstemp(path);
    if (fd < 0 || close(fd) || ng_gguf_open(&g, "tests/golden/llama-tiny-f32.gguf", NULL) || ng_gguf_writer_new(&w))
        return -1;
    ng_gguf_put_all(w, g);
    put_tokenizer(w);
    for (size_t i = 0; i < ng_gguf_n_tensors(g); i++) {
        const ng_gguf_tensor *t = ng_gguf_tensor_at(g, i);
        ng_gguf_put_tensor(w, t->name, t->type, t->n_dims, t->dims, t->data);
    }
    ng_status s = ng_gguf_writer_commit(w, path, NULL);
    ng_gguf_close(g);
    return s ? -1 : 0;
}

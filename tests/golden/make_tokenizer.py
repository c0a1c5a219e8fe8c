#!/usr/bin/env python3
"""Makes tests/golden/tokenizer/: small vocabularies, the ids that Hugging Face's tokenizers gives for hard strings,
and what jinja2 renders for chat templates. Needs the packages tokenizers, jinja2 and gguf; run it again only to change them.

    python3 tests/golden/make_tokenizer.py SMOLLM2.gguf

NAME.gguf holds a vocabulary, NAME.ids one string a line: its UTF-8 in hexadecimal, a space, the ids joined by commas.
The BPE vocabularies lack no byte. SMOLLM2.gguf gives the chat template of SmolLM2-135M-Instruct (Apache-2.0).
"""
import json, os, sys
import gguf, jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers as pre, trainers

HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "tokenizer")
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
CORPUS = """The quick brown fox jumps over the lazy dog. The dog didn't mind; it's used to the fox's jumping, and they're friends.
In 1984 the price was $3.14, then 1,000,000 more. Call (555) 123-4567 or write to someone@example.com, please!
    def function(self, name):\n        return self.name == name and not name.startswith("_")  # comment
Der Bär läuft über die Straße; l'été à Paris; el niño comió en la mañana. Здравствуй, мир! 東京は日本の首都です。
It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness.
She'll say we've won, I'm sure that you'd agree: there's nothing there that they weren't thinking of before.
""" * 4
STRINGS = ["", " ", "  ", "   a", "a", "Hello", " Hello", "Hello world", "Hello  world", "hello, world!", "HELLO WORLD",
    "I'm you're he'd she'll we've it's don't", "I'M YOU'RE HE'D SHE'LL WE'VE IT'S DON'T", "'s 't 're 've 'm 'll 'd 'x '", "''s",
    "1", "12", "123", "1234", "12345678", "3.14", "1,000,000", " 123", "a1b22c333d4444", "x  1", "x 1  2", "½ ² Ⅷ ٣", "$5.00!",
    "\n", "\n\n", "\r\n", " \n", "\n ", "a\nb", "a \n b", "a\n\n\nb", "a  \n\n  b", "a\t\tb", "tab\tend\t", "  \n  \n  x", "x   ",
    "...", "!?!?", "(a)(b)[c]{d}", " -- ", "a-b_c/d\\e", "foo_bar.baz()", "for (i = 0; i < n; i++) { x += 1; }\n", "=====\n-----\n",
    "the the the the", "jumping jumps jumped", "foolishness of wisdom", "été", "e\u0301te\u0301", "ÅÄÖ åäö", "niño Straße STRASSE",
    "Здравствуй, мир!", "東京は日本", "東 京", "한국어", "नमस्ते दुनिया", "مرحبا بالعالم", "ไทย", "🙂", "👩\u200d👩\u200d👧", "🇩🇪 1\ufe0f\u20e3",
    "a\u00a0b", "a\u2028b", "a\u3000b", "a\u200bb", "\ufeffx", "x\u00adx", "a\u0085b", "a\u000bb\u000cc", "\u0000", "a\u0000b", "\u001d\u007f",
    "≠ ≤ ÷", "ﬁ ﬀ", "İstanbul", "ΑΣ Σ", "Ǆ ǅ ǆ", "\ue000 \U000f0000", "\u0378", "𝔘𝔫𝔦", "\U00020000\U0002b820", "豈", "¿qué? «oui»", "„ja“",
    "a" * 40, "ab" * 60, " " * 100, "\n" * 50, "=" * 90, "a" * 100, "a" * 101, "é" * 100, "é" * 101, "abc" * 40, "1" * 70,
    "supercalifragilisticexpialidocious", "x" * 99 + " y", "<|im_start|>user\nHi<|im_end|>", "[CLS] x [SEP]", "[UNK]", "a[MASK]b"]

def write_gguf(name, keys, tokens, types, merges=None):
    w = gguf.GGUFWriter(os.path.join(HERE, name + ".gguf"), "llama")
    for k, v in keys.items():
        (w.add_bool if isinstance(v, bool) else w.add_uint32 if isinstance(v, int) else w.add_string)("tokenizer." + k, v)
    w.add_array("tokenizer.ggml.tokens", tokens)
    w.add_array("tokenizer.ggml.token_type", types)
    if merges:
        w.add_array("tokenizer.ggml.merges", merges)
    w.write_header_to_file(), w.write_kv_data_to_file(), w.close()

def write_ids(name, tok):
    with open(os.path.join(HERE, name + ".ids"), "w") as f:
        for s in STRINGS:
            f.write("%s %s\n" % (s.encode().hex(), ",".join(map(str, tok.encode(s, add_special_tokens=False).ids))))

def bpe(name, pretok, ignore_merges, chat):
    tok = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    tok.pre_tokenizer = pretok
    tok.train_from_iterator(CORPUS.split("\n"), trainers.BpeTrainer(vocab_size=500, show_progress=False,
                            initial_alphabet=pre.ByteLevel.alphabet()))
    model = json.loads(tok.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    write_ids(name, tok)
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    n = len(tokens)
    # two user-defined tokens, of which one begins the other
    write_gguf(name, {"ggml.model": "gpt2", "ggml.pre": name, "ggml.bos_token_id": n, "ggml.eos_token_id": n + 2, "chat_template": chat},
               tokens + special + ["<tool>", "<tool>s"], [1] * n + [3] * 3 + [4] * 2, merges)

def wordpiece(name):
    tok = Tokenizer(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=100))
    tok.normalizer = normalizers.BertNormalizer(lowercase=True)
    tok.pre_tokenizer = pre.BertPreTokenizer()
    tok.train_from_iterator(CORPUS.split("\n"), trainers.WordPieceTrainer(vocab_size=400, show_progress=False,
                            special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], initial_alphabet=list("abé東ü한")))
    vocab = tok.get_vocab()
    tok.add_special_tokens([])
    tok.encode_special_tokens = True
    write_ids(name, tok)
    tokens = [t[2:] if t.startswith("##") else t if i < 5 else "\u2581" + t for t, i in sorted(vocab.items(), key=lambda x: x[1])]
    write_gguf(name, {"ggml.model": "bert", "ggml.pre": "jina-v2-en", "ggml.bos_token_id": 2, "ggml.eos_token_id": 3,
               "ggml.unknown_token_id": 1, "ggml.seperator_token_id": 3, "ggml.add_bos_token": True, "ggml.add_eos_token": True},
               tokens, [3] * 5 + [1] * (len(tokens) - 5))

TEMPLATES = {
    "chatml": "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
              "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}",
    "headers": "{{- bos_token }}\n{%- if messages[0]['role'] == 'system' %}\n    {%- set system = messages[0]['content']|trim %}\n"
               "    {%- set messages = messages[1:] %}\n{%- else %}\n    {%- set system = \"\" %}\n{%- endif %}\n"
               "{{- \"<|h|>system<|/h|>\\n\\n\" + system + eos_token }}\n{%- for m in messages %}\n"
               "    {%- if not (m.role == 'tool' or 'tool_calls' in m) %}\n        {{- '<|h|>' + m['role'] + '<|/h|>\\n\\n' + m['content'] | trim }}\n"
               "    {%- elif tools is defined and tools|tojson %}x{%- endif %}\n{%- endfor %}\n{%- if add_generation_prompt %}\n    {{- '<|h|>assistant' }}\n{%- endif %}\n",
    "strict": "{% if messages|length == 0 %}{{ raise_exception('no messages') }}{% endif %}{% for m in messages %}"
              "{% if (m['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}"
              "{{ '[INST] ' ~ m.content.strip() ~ ' [/INST]' if m.role == \"user\" else ' ' + m.content + eos_token }}{% endfor %}",
    "space": "  {# a note #}\n  {% set ns = namespace(seen=false, n=0) %}\n{% for m in messages %}\n    {% if loop.first %}\n  first: {{ m.role }}\n"
             "    {% elif loop.last -%}\n   last\n  {%- else %}\n middle {{ loop.index }} of {{ loop.length }}\n    {% endif %}\n"
             "    {% set ns.n = ns.n + 1 %}\n{% endfor %}\n{{ ns.n }}, {{ ns.seen }}, {{ missing }}, {{ none is none }} {{ missing | default('x') }}\n\n",
    "reverse": "{% macro unused(x) %}{{ x|tojson }}{% endmacro %}{% for m in messages[::-1] %}{{ loop.index }}:{{ m.content.split('</t>')[-1].lstrip('\\n').replace('a', 'b.').replace('H', '') | upper"
               " if m.content is string and m.role in ['user', 'system'] else m.content | length }};{% endfor %}{{ messages[-1].role }}{{ messages[5] is undefined }}",
}
U = lambda role, content: {"role": role, "content": content}
CHATS = [[U("user", "Hi")], [U("system", " Be brief. "), U("user", "Hi\n"), U("assistant", "Hello"), U("user", "q</t>\nx {{y}} {% z %}")],
         [U("user", "a"), U("assistant", "b\u00a0"), U("user", "c")], [U("user", "a"), U("user", "c")], []]

def chats(smollm2):
    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    def raise_exception(message):
        raise jinja2.TemplateError(message)
    env.globals["raise_exception"] = raise_exception
    rows = []
    for name, t in {"smollm2": smollm2, **TEMPLATES}.items():
        for m in CHATS:
            for opened in (True, False):
                row = {"name": name, "template": t, "messages": m, "open": opened}
                try:
                    row["text"] = env.from_string(t).render(messages=m, add_generation_prompt=opened, bos_token="<|endoftext|>", eos_token="<|im_end|>")
                except jinja2.TemplateError as e:
                    row["error"] = str(e)
                rows.append(row)
    with open(os.path.join(HERE, "chats.json"), "w") as f:
        json.dump(rows, f, indent=0, ensure_ascii=True)

def main():
    chat = gguf.GGUFReader(sys.argv[1]).fields["tokenizer.chat_template"].contents()
    split = lambda rx: pre.Sequence([pre.Split(Regex(rx), "isolated"), pre.ByteLevel(add_prefix_space=False, use_regex=False)])
    bpe("gpt-2", pre.ByteLevel(add_prefix_space=False), False, chat)
    bpe("smollm", pre.Sequence([pre.Digits(individual_digits=True), pre.ByteLevel(add_prefix_space=False)]), False, chat)
    bpe("llama-bpe", split(LLAMA3), True, chat)
    bpe("qwen2", split(LLAMA3.replace("{1,3}", "")), False, chat)
    wordpiece("wordpiece")
    chats(chat)

main()

"""tiny_decoder.py: a decoder of a few kB that talks.

    speaking("tests/golden/llama-tiny-f32.gguf", "tiny.gguf")      single letters, a chat template, 192 tokens of context
"""
import struct

TOKENS = ["<|im_start|>", "<|im_end|>", "\u010a", "\u0120"] + [chr(97 + i) for i in range(26)] + [chr(65 + i) for i in range(18)]
TEMPLATE = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")


def text(s):
    return struct.pack("<Q", len(s.encode())) + s.encode()


def speaking(source, out):
    """The golden model with a tokenizer of single letters (tests/support/tiny_model.c makes the same)."""
    with open(source, "rb") as f:
        data = f.read()
    n_tensors, n_keys = struct.unpack_from("<QQ", data, 8)
    at = 24
    skip = lambda: struct.unpack_from("<Q", data, at)[0] + 8
    sizes = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
    for _ in range(n_keys):
        at += skip()
        kind = struct.unpack_from("<I", data, at)[0]
        at += 4
        at += skip() if kind == 8 else sizes[kind]
    keys_end = at
    for _ in range(n_tensors):
        at += skip()
        at += 4 + 8 * struct.unpack_from("<I", data, at)[0] + 12
    strings = lambda key, items: text(key) + struct.pack("<IIQ", 9, 8, len(items)) + b"".join(map(text, items))
    string = lambda key, s: text(key) + struct.pack("<I", 8) + text(s)
    number = lambda key, v: text(key) + struct.pack("<II", 4, v)
    keys = [string("tokenizer.ggml.model", "gpt2"), string("tokenizer.ggml.pre", "smollm"), strings("tokenizer.ggml.tokens", TOKENS),
            text("tokenizer.ggml.token_type") + struct.pack("<IIQ", 9, 5, 48) + struct.pack("<48i", 3, 3, *[1] * 46),
            strings("tokenizer.ggml.merges", []), number("tokenizer.ggml.bos_token_id", 0), number("tokenizer.ggml.eos_token_id", 1),
            text("tokenizer.ggml.add_bos_token") + struct.pack("<IB", 7, 0), string("tokenizer.chat_template", TEMPLATE)]
    head = data[:8] + struct.pack("<QQ", n_tensors, n_keys + len(keys)) + data[24:keys_end] + b"".join(keys) + data[keys_end:at]
    with open(out, "wb") as f:
        f.write(head + b"\0" * (-len(head) % 32) + data[(at + 31) // 32 * 32:])

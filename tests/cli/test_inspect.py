"""inspect: GGUF and safetensors, good and broken.  With NANOGRID_FIXTURES also every fixture model."""
import glob
import json
import os
import shutil
import struct
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from checks import check, run  # noqa: E402
from gguf_read import read_gguf, write_safetensors  # noqa: E402

FIXTURES = os.environ.get("NANOGRID_FIXTURES", "")


  # strict: what is printed is UTF-8


def text(s):
    s = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(s)) + s


def tiny_gguf():
    tokens = [b"t%d" % i for i in range(20)]
    keys = [text("general.architecture") + struct.pack("<I", 8) + text("llama"),
            text("general.name") + struct.pack("<I", 8) + text(b"evil \x1b[31m \xff name"),
            text("llama.block_count") + struct.pack("<II", 4, 3),
            text("llama.eps") + struct.pack("<If", 6, 1e-5),
            text("flag") + struct.pack("<I?", 7, True),
            text("big") + struct.pack("<IQ", 10, 2**64 - 1),
            text("short") + struct.pack("<IIQ", 9, 5, 3) + struct.pack("<3i", -1, 0, 7),
            text("tokens") + struct.pack("<IIQ", 9, 8, len(tokens)) + b"".join(text(t) for t in tokens)]
    tensors = [text("a.weight") + struct.pack("<IQQIQ", 2, 32, 3, 8, 0), text("b.bias") + struct.pack("<IQIQ", 1, 5, 0, 128)]
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(keys)) + b"".join(keys) + b"".join(tensors)
    head += bytes(-len(head) % 32)
    return head + bytes(128 + 20)


def test_gguf(tmp):
    path = tmp + "/tiny.gguf"
    with open(path, "wb") as f:
        f.write(tiny_gguf())
    out = run("inspect", path, "--json", "--tensors").stdout
    check("one line", out.count("\n") == 1)
    got = json.loads(out)
    want = {"file": path, "format": "gguf", "architecture": "llama", "parameters": 101, "bytes": len(tiny_gguf()), "n_tensors": 2,
            "types": {"Q8_0": {"tensors": 1, "bytes": 102}, "F32": {"tensors": 1, "bytes": 20}},
            "tensors": [{"name": "a.weight", "type": "Q8_0", "shape": [3, 32], "bytes": 102},
                        {"name": "b.bias", "type": "F32", "shape": [5], "bytes": 20}]}
    for k, v in want.items():
        check(f"{k} is {got[k]!r}, not {v!r}", got[k] == v)
    meta = got["metadata"]
    check(f"metadata {meta}", meta["llama.eps"] == 1e-05 and meta["flag"] is True and meta["big"] == 2**64 - 1 and meta["short"] == [-1, 0, 7])
    check(f"tokens {meta['tokens']}", meta["tokens"] == {"type": "string", "length": 20, "first": [f"t{i}" for i in range(16)]})
    check("tensors unasked", "tensors" not in json.loads(run("inspect", path, "--json").stdout))
    out = run("inspect", path, "--tensors").stdout
    check("a control character reaches the terminal", "\x1b" not in out and "evil" in out)
    check(out, "3 x 32" in out and "llama.block_count = 3" in out)


def test_safetensors(tmp):
    path = tmp + "/m.safetensors"
    write_safetensors(path, {"w": ("BF16", [2, 3], bytes(12)), "ids": ("I64", [2], bytes(16)), "scalar": ("F32", [], bytes(4))}, {"format": "pt"})
    got = json.loads(run("inspect", path, "--json", "--tensors").stdout)
    check(f"{got}", got["format"] == "safetensors" and got["parameters"] == 9 and got["metadata"] == {"format": "pt"})
    check(f"{got['types']}", got["types"] == {"BF16": {"tensors": 1, "bytes": 12}, "I64": {"tensors": 1, "bytes": 16}, "F32": {"tensors": 1, "bytes": 4}})
    check(f"{got['tensors']}", got["tensors"][0] == {"name": "w", "type": "BF16", "shape": [2, 3], "bytes": 12})


def test_refusals(tmp):
    good = tiny_gguf()
    for name, data, says in [
            ("short", good[:-1], "bytes at offset 128"),
            ("cut", good[:100], "byte "),
            ("magic", b"XXXX" + good[4:], "byte 0: magic is 58 58 58 58"),
            ("v1", good[:4] + struct.pack("<I", 1) + good[8:], "byte 4: version is 1"),
            ("count", good[:8] + struct.pack("<Q", 2**63) + good[16:], "byte 8: number of tensors is 9223372036854775808"),
            ("empty", b"", "byte 0: magic needs 4 bytes"),
            ("bad.safetensors", struct.pack("<Q", 40) + b'{"w": {"dtype": "F32", "shape": [3], "da', "byte 48: header"),
            ("gap.safetensors", None, "tensor w begins at offset 4, but the one before it ends at 0")]:
        path = f"{tmp}/{name}"
        if data is None:
            head = b'{"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 8]}}'
            data = struct.pack("<Q", len(head)) + head + bytes(8)
        with open(path, "wb") as f:
            f.write(data)
        out = run("inspect", path, want=1, says=says).stdout
        check(f"{name}: prints {out!r}", out == "")
    run("inspect", tmp + "/absent", want=1, says="absent")
    run("inspect", tmp, want=1, says="not a regular file")
    run("inspect", want=2)
    run("inspect", tmp + "/a", tmp + "/b", want=2)


def test_fixtures():
    paths = sorted(glob.glob(FIXTURES + "/public/*/*.gguf")) if FIXTURES else []
    if not paths:
        print("SKIP fixture models: NANOGRID_FIXTURES is not set")
    for path in paths:
        got = json.loads(run("inspect", path, "--json").stdout)
        check(f"{path}: {got}", got["n_tensors"] > 0 and got["parameters"] > 0 and got["architecture"])
        if path.endswith("f32.gguf"):
            keys, tensors = read_gguf(path)
            check(f"{path} differs", got["n_tensors"] == len(tensors) and got["architecture"] == keys["general.architecture"])
            check(f"{path}: parameters", got["parameters"] == sum(len(t[2]) // 4 for t in tensors.values() if t[0] == "F32"))


tmp = tempfile.mkdtemp(prefix="nanogrid-test-inspect-")
try:
    test_gguf(tmp)
    test_safetensors(tmp)
    test_refusals(tmp)
    test_fixtures()
finally:
    shutil.rmtree(tmp)
sys.exit(check.done())

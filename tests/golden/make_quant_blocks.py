"""Writes quant_blocks.bin: floats and the bytes that gguf-py's quantisers make of them.

    python3 tests/golden/make_quant_blocks.py tests/golden/quant_blocks.bin      (needs numpy and gguf)

Layout: u32 n (blocks of 32 floats), the floats, then the rows of each of TYPES in order.
"""
import struct
import sys

import gguf
import numpy as np

TYPES = ["F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1"]
rng = np.random.default_rng(7)
blocks = [np.zeros(32), np.ones(32), -np.ones(32)]
for scale in [1e-3, 0.02, 1, 30, 1e4]:
    for _ in range(10):
        blocks.append(rng.standard_normal(32) * scale)
blocks.append(np.where(np.arange(32) % 2 == 0, 2.0, -2.0))   # the largest magnitude with both signs
blocks.append(np.where(np.arange(32) % 2 == 0, -2.0, 2.0))
blocks.append(np.arange(32) - 15.5)                          # many halves
blocks.append((np.arange(32) - 16) * 0.5 / 127)
blocks.append(np.full(32, 3e-6))                             # the scale is subnormal as a half
blocks.append(np.where(np.arange(32) == 5, 60000.0, 1e-3))
blocks.append(np.where(np.arange(32) == 31, -60000.0, 1.0))
blocks.append(rng.standard_normal(32) + 100)                 # far from zero: Q4_1's minimum matters
x = np.array(blocks, dtype=np.float32)
with open(sys.argv[1], "wb") as f:
    f.write(struct.pack("<I", len(x)) + x.tobytes())
    for name in TYPES:
        f.write(gguf.quants.quantize(x, gguf.GGMLQuantizationType[name]).tobytes())

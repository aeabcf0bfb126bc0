#!/bin/sh
# Finding: gguf: a tensor that was written with shape (2, 3) has the shape
#   [3, 2] when it is read, and data of shape (2, 3).
#
# 1. A good guess: shape is the shape of the numpy array that was written,
#   and that of data.
# 2. What happens: shape is that of ggml, fastest dimension first, the
#   reverse of numpy's. data is right. For a quantized tensor shape counts
#   elements and data.shape counts bytes, so no reversal makes them equal.
# 3. How the truth was found: arrays of known shape are written with
#   GGUFWriter and read with GGUFReader.
# 4. Date: 2026-11-30
set -eu
export OMP_NUM_THREADS=1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet "gguf==0.19.0" "numpy==2.4.6"
"$tmp/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


import os
import tempfile

import numpy as np
from gguf import GGMLQuantizationType, GGUFReader, GGUFWriter
from gguf.quants import quantize

print("gguf", version("gguf"), " numpy", version("numpy"))
a = np.arange(6, dtype=np.float32).reshape(2, 3)
b = np.linspace(-1, 1, 2 * 64, dtype=np.float32).reshape(2, 64)
with tempfile.TemporaryDirectory() as folder:
    path = os.path.join(folder, "x.gguf")
    writer = GGUFWriter(path, "llama")
    writer.add_tensor("a", a)
    writer.add_tensor("b", quantize(b, GGMLQuantizationType.Q8_0), raw_dtype=GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    tensors = {t.name: t for t in GGUFReader(path).tensors}
    for name, x in (("a", a), ("b", b)):
        t = tensors[name]
        print(f"{name} ({t.tensor_type.name}): written {x.shape}, read: shape {t.shape.tolist()}, data.shape {t.data.shape}")
        need(t.shape.tolist() == list(x.shape[::-1]), "shape is not the reverse any more")
    need(np.array_equal(tensors["a"].data, a), "data is wrong now")
    need(tensors["b"].data.shape == (2, 64 // 32 * 34), "the bytes of Q8_0 are laid out otherwise")
    del t, tensors
print("Seen as before.")
EOF

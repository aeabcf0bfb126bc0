#!/bin/sh
# Finding: ONNX Resize: the reference and onnxruntime disagree for a
#   fractional size, and pytorch_half_pixel is not what torch does.
#
# 1. A good guess: align_corners keeps the first and the last number.
#   pytorch_half_pixel gives what torch gives. onnx's own ReferenceEvaluator
#   and onnxruntime agree.
# 2. What happens: 0 to 4, scaled by 0.5 (two numbers) with align_corners:
#   onnxruntime and torch give 0 and 4, the reference 0 and 2.67, as it
#   divides by the size 2.5 - 1. Given sizes in place of scales it is right.
#   pytorch_half_pixel down to one number: onnxruntime gives the first, 0,
#   as the standard's formula says; torch gives the middle, 2; the reference
#   gives 2 by scales and 0 by sizes.
# 3. How the truth was found: the corners by definition, F.interpolate of
#   torch, and the two tools beside each other.
# 4. Date: 2026-11-30
set -eu
export OMP_NUM_THREADS=1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet "torch==2.13.0" "numpy==2.4.6"
"$tmp/venv/bin/pip" install --quiet "onnx==1.23.2" "onnxruntime==1.32.0" "numpy==2.4.6"
"$tmp/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


import numpy as np
import onnx
import onnxruntime as ort
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

for p in ("onnx", "onnxruntime", "torch"):
    print(p, version(p))


def both(op, inputs, **attributes):
    """One operator by onnx's reference and by onnxruntime."""
    names = [f"x{k}" if x is not None else "" for k, x in enumerate(inputs)]
    feed = {name: x for name, x in zip(names, inputs) if x is not None}
    graph = helper.make_graph(
        [helper.make_node(op, names, ["y"], **attributes)], "g",
        [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape) for n, x in feed.items()],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["a", "b", "c", "d"])])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return ReferenceEvaluator(model).run(None, feed)[0], session.run(None, feed)[0]


x = np.arange(5, dtype=np.float32).reshape(1, 1, 1, 5)
for mode, scale, by_scale, by_size in (("align_corners", 0.5, ([0, 8 / 3], [0, 4]), ([0, 4], [0, 4])),
                                       ("pytorch_half_pixel", 0.2, ([2], [0]), ([0], [0])),
                                       ("half_pixel", 0.2, ([2], [2]), ([2], [2]))):
    size = int(5 * scale)
    scales, sizes = np.array([1, 1, 1, scale], np.float32), np.array([1, 1, 1, size])
    one = both("Resize", [x, None, scales], mode="linear", coordinate_transformation_mode=mode)
    two = both("Resize", [x, None, None, sizes], mode="linear", coordinate_transformation_mode=mode)
    t = F.interpolate(torch.tensor(x), size=(1, size), mode="bilinear", align_corners=mode == "align_corners")
    print(f"{mode}, 5 to {size}: by scales: reference {one[0].ravel().tolist()}, onnxruntime {one[1].ravel().tolist()}; "
          f"by sizes: {two[0].ravel().tolist()}, {two[1].ravel().tolist()}; torch {t.ravel().tolist()}")
    for got, seen in ((one, by_scale), (two, by_size)):
        need(np.allclose(got[0].ravel(), seen[0], atol=1e-5), "the reference gives another result now")
        need(np.allclose(got[1].ravel(), seen[1], atol=1e-5), "onnxruntime gives another result now")
    need(np.allclose(t.ravel(), [0, 4] if mode == "align_corners" else [2], atol=1e-5), "torch gives another result now")
print("Seen as before.")
EOF

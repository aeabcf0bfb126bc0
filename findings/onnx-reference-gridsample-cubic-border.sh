#!/bin/sh
# Finding: ONNX GridSample, cubic with padding_mode border: the reference
#   gives other numbers than onnxruntime and torch.
#
# 1. A good guess: the reference of onnx defines the operator; onnxruntime
#   and torch give the same numbers to rounding.
# 2. What happens: for linear, nearest, zeros and reflection the three agree
#   to 1e-6. For cubic and border the reference is off by tenths for numbers
#   of size 1, and onnxruntime and torch agree. Only points outside of the
#   image are concerned.
# 3. How the truth was found: the cubic kernel (a = -0.75) over clamped
#   indices, written out with numpy in float64.
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


def cubic_border(x, at, corners):
    """Cubic convolution, neighbours beyond the border taken from it."""
    def weights(t):
        a, d = -0.75, np.array([t + 1, t, 1 - t, 2 - t])
        near, far = (a + 2) * d**3 - (a + 3) * d**2 + 1, a * (d**3 - 5 * d**2 + 8 * d - 4)
        return np.where(d <= 1, near, far)

    (h, w), (u, v) = x.shape, at
    col, row = ((1 + u) * (w - 1) / 2, (1 + v) * (h - 1) / 2) if corners else ((1 + u) * w / 2 - 0.5, (1 + v) * h / 2 - 0.5)
    cols = np.clip(np.arange(-1, 3) + int(np.floor(col)), 0, w - 1)
    rows = np.clip(np.arange(-1, 3) + int(np.floor(row)), 0, h - 1)
    return weights(row - np.floor(row)) @ x[np.ix_(rows, cols)] @ weights(col - np.floor(col))


rng = np.random.default_rng(0)
x = rng.normal(size=(1, 1, 4, 5)).astype(np.float32)
grid = rng.uniform(-1.3, 1.3, size=(1, 4, 6, 2)).astype(np.float32)
for mode, in_torch in (("linear", "bilinear"), ("nearest", "nearest"), ("cubic", "bicubic")):
    for padding in ("zeros", "border", "reflection"):
        for corners in (0, 1):
            ref, run = both("GridSample", [x, grid], mode=mode, padding_mode=padding, align_corners=corners)
            t = F.grid_sample(torch.tensor(x), torch.tensor(grid), in_torch, padding, bool(corners)).numpy()
            off, alike = np.abs(ref - run).max(), np.abs(run - t).max()
            print(f"{mode}, {padding}, align_corners={corners}: reference against onnxruntime {off:.1e}, onnxruntime against torch {alike:.1e}")
            need(alike < 1e-5, "onnxruntime and torch disagree now")
            if (mode, padding) == ("cubic", "border"):
                true = np.array([cubic_border(x[0, 0].astype(float), at, corners) for at in grid[0].reshape(-1, 2)])
                print("  by hand    ", np.round(true[:6], 4).tolist())
                print("  onnxruntime", np.round(run.ravel()[:6], 4).tolist())
                print("  reference  ", np.round(ref.ravel()[:6], 4).tolist())
                need(np.abs(run.ravel() - true).max() < 1e-5, "onnxruntime is not the convolution any more")
                need(off > 0.01, "the reference agrees now")
            else:
                need(off < 1e-5, "the reference disagrees here now")
print("Seen as before.")
EOF

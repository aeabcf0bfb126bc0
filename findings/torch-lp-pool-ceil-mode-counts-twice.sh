#!/bin/sh
# Finding: torch F.lp_pool1d with ceil_mode: a window that is cut off by the
#   end counts its numbers more than once.
#
# 1. A good guess: the power average is (sum of x^p)^(1/p) over the numbers
#   in the window, as documented. For p = 1 the windows of 1 to 5 by two are
#   3, 7 and, with ceil_mode, 5. onnxruntime gives this.
# 2. What happens: torch gives 10 for the last one, and onnx's
#   ReferenceEvaluator the same: both take the mean over the numbers that
#   are there, and multiply by the length of the whole window. The gradient
#   there is 2 in place of 1.
# 3. How the truth was found: the definition, and onnxruntime.
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


x = np.arange(1, 6, dtype=np.float32)
for p, true in ((1, [3, 7, 5]), (2, [5**0.5, 5, 5])):
    ref, run = both("LpPool", [x.reshape(1, 1, 1, 5)], kernel_shape=[1, 2], strides=[1, 2], p=p, ceil_mode=1)
    t = torch.tensor(x, dtype=torch.float64).reshape(1, 1, 5).requires_grad_()
    y = F.lp_pool1d(t, float(p), 2, ceil_mode=True)
    (g,) = torch.autograd.grad(y.sum(), t)
    print(f"p={p}: torch {y.ravel().tolist()}, reference {ref.ravel().tolist()}, onnxruntime {run.ravel().tolist()}, by definition {true}")
    print(f"     gradient of torch {g.ravel().tolist()}")
    twice = true[:2] + [true[2] * 2 ** (1 / p)]
    need(np.allclose(run.ravel(), true, atol=1e-5), "onnxruntime is wrong now")
    need(np.allclose(y.detach().ravel(), twice) and np.allclose(ref.ravel(), twice, atol=1e-5), "torch or the reference has changed")
    need(abs(g.ravel()[-1].item() - 2 ** (1 / p)) < 1e-9, "the gradient of torch has changed")
print("Seen as before.")
EOF

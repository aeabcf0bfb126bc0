#!/bin/sh
# Finding: torch F.ctc_loss: the gradient by log_probs is not the
#   derivative by log_probs.
#
# 1. A good guess: the gradient of F.ctc_loss by its input is minus the
#   posterior of each symbol, and 0 for symbols that no path uses.
# 2. What happens: the gradient has exp(log_probs) added. That is the
#   gradient after log_softmax, as if the step through log_softmax were
#   already done. After log_softmax the extra part cancels, so training is
#   not hurt; used on other inputs (a check, a penalty on log_probs) the
#   number is wrong.
# 3. How the truth was found: central differences in float64, and a sum
#   over all paths through torch autograd.
# 4. Date: 2026-11-30
set -eu
export OMP_NUM_THREADS=1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet "torch==2.13.0" "numpy==2.4.6"
"$tmp/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


import itertools

import torch
import torch.nn.functional as F

print("torch", torch.__version__)
torch.manual_seed(1)
D = torch.float64
T, C = 4, 4
target = [1, 2]
lp = torch.randn(T, 1, C, dtype=D).log_softmax(2)


def ctc(x):
    return F.ctc_loss(x, torch.tensor([target]), torch.tensor([T]), torch.tensor([len(target)]),
                      reduction="sum")


def squeeze_path(path):
    return [k for k, _ in itertools.groupby(path) if k != 0]


paths = [p for p in itertools.product(range(C), repeat=T) if squeeze_path(p) == target]


def by_paths(x):
    rows = torch.stack([sum(x[t, 0, k] for t, k in enumerate(p)) for p in paths])
    return -torch.logsumexp(rows, 0)


def grad(f, x):
    x = x.clone().requires_grad_()
    return torch.autograd.grad(f(x), x)[0]


g, true = grad(ctc, lp), grad(by_paths, lp)
diff = torch.zeros_like(lp)
for t in range(T):
    for c in range(C):
        e = torch.zeros_like(lp)
        e[t, 0, c] = 1e-6
        diff[t, 0, c] = (ctc(lp + e) - ctc(lp - e)) / 2e-6
print("loss", ctc(lp).item(), "by all paths", by_paths(lp).item())
for name, m in (("F.ctc_loss", g), ("differences", diff), ("all paths", true), ("exp(log_probs)", lp.exp())):
    print(f"first row, {name}:", [round(v, 6) for v in m[0, 0].tolist()])
need(abs(ctc(lp) - by_paths(lp)) < 1e-12, "the loss values differ")
need((diff - true).abs().max() < 1e-7, "the differences and the sum over paths differ")
need((g - true).abs().max() > 0.1, "the gradient is the derivative now")
need((g - true - lp.exp()).abs().max() < 1e-10, "the extra part is not exp(log_probs) any more")
z = torch.randn(T, 1, C, dtype=D)
a, b = (grad(lambda z: f(z.log_softmax(2)), z) for f in (ctc, by_paths))
print("after log_softmax the two gradients differ by", (a - b).abs().max().item())
need((a - b).abs().max() < 1e-10, "the gradients after log_softmax differ")
print("Seen as before.")
EOF

#!/bin/sh
# Finding: torch index_put, index_copy and scatter: a value that was
#   overwritten still gets gradient 1.
#
# 1. A good guess: with the index [1, 1] the second value overwrites the
#   first. The result does not depend on the first, so its gradient is 0,
#   or an error is raised.
# 2. What happens: reverse mode gives gradient 1 to both. Forward mode
#   gives 0 for the first and 1 for the second, so the two modes of one
#   library disagree. (The docs call the order of such writes undefined;
#   the script uses what really was written.)
# 3. How the truth was found: central differences in float64.
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


import torch

print("torch", torch.__version__)
torch.set_num_threads(1)
D = torch.float64
x = torch.zeros(3, dtype=D)
i = torch.tensor([1, 1])
v = torch.tensor([5.0, 7.0], dtype=D)
ways = {
    "index_put": lambda v: x.index_put((i,), v),
    "index_copy": lambda v: x.index_copy(0, i, v),
    "scatter": lambda v: x.scatter(0, i, v),
}
for name, f in ways.items():
    a = v.clone().requires_grad_()
    y = f(a)
    (g,) = torch.autograd.grad(y.sum(), a)
    fwd, diff = [], []
    for k in range(2):
        e = torch.zeros(2, dtype=D)
        e[k] = 1
        fwd.append(torch.func.jvp(f, (v,), (e,))[1].sum().item())
        diff.append(((f(v + 1e-3 * e) - f(v - 1e-3 * e)).sum() / 2e-3).item())
    print(f"{name}: result {y.tolist()}, reverse {g.tolist()}, forward {fwd}, "
          f"differences {[round(d, 9) for d in diff]}")
    need(y[1].item() == 7.0, "another value wins now")
    need(abs(diff[0]) < 1e-9 and abs(diff[1] - 1) < 1e-9, "the differences are not 0 and 1")
    need(g.tolist() == [1.0, 1.0], "reverse mode has changed")
    need(fwd == [0.0, 1.0], "forward mode has changed")
print("Seen as before.")
EOF

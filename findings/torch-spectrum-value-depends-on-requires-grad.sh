#!/bin/sh
# Finding: torch svdvals and eigvalsh: the values change when the input
#   asks for a gradient.
#
# 1. A good guess: requires_grad only turns on the recording. The values
#   that come out are the same bits.
# 2. What happens: the last digits differ. With requires_grad the values
#   are bit for bit those of svd and eigh (with vectors), without it
#   another routine (no vectors) runs. So a value seen under no_grad may
#   not repeat in training.
# 3. How the truth was found: the same matrices in float64, once plain,
#   once with requires_grad, once through svd or eigh; compared bit for
#   bit.
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
torch.manual_seed(0)
L = torch.linalg
for name, plain, full, sym in (
    ("svdvals", L.svdvals, lambda a: L.svd(a)[1], False),
    ("eigvalsh", L.eigvalsh, lambda a: L.eigh(a)[0], True),
):
    moved, same, worst, n = 0, 0, 0.0, 40
    for _ in range(n):
        a = torch.randn(6, 6, dtype=torch.float64)
        a = a @ a.T if sym else a
        off = plain(a)
        again = plain(a.clone())
        on = plain(a.clone().requires_grad_()).detach()
        need(torch.equal(off, again), "the plain call does not repeat itself")
        moved += not torch.equal(off, on)
        same += torch.equal(on, full(a))
        worst = max(worst, ((off - on).abs() / off.abs()).max().item())
    print(f"{name}: {moved} of {n} matrices give other values with requires_grad, "
          f"largest relative change {worst:.1e}; {same} of {n} are the bits of the full call")
    need(moved > 0, f"{name} gives the same bits in both cases now")
    need(worst < 1e-10, f"{name} differs by more than rounding")
print("Seen as before.")
EOF

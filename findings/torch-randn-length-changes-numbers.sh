#!/bin/sh
# Finding: torch.randn: the same seed and one number more give other
#   numbers, from 16 on.
#
# 1. A good guess: with one seed randn(10) is the beginning of randn(20), as
#   it is for rand and for numpy. One more number is one more draw.
# 2. What happens: up to 15 it is so. randn(16) shares no number with
#   randn(15). randn(17) keeps the first and loses the next fifteen: the
#   last 16 are drawn anew when the length is not a multiple of 16. So two
#   lengths agree only where both have a whole block.
# 3. How the truth was found: the numbers are compared bit for bit on one
#   thread.
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


import numpy as np
import torch

for p in ("torch", "numpy"):
    print(p, version(p))


def same(draw, a, b):
    """How many of the first a numbers are those of the first of b."""
    return int((np.asarray(draw(a)) == np.asarray(draw(b))[:a]).sum())


def by_torch(f):
    def draw(n):
        torch.manual_seed(0)
        return f(n).numpy()

    return draw


draws = {"torch.randn": by_torch(torch.randn), "torch.rand": by_torch(torch.rand),
         "numpy": lambda n: np.random.default_rng(0).normal(size=n)}
for who, draw in draws.items():
    found = {(a, b): same(draw, a, b) for a, b in ((10, 15), (15, 16), (16, 17), (16, 32), (17, 32), (32, 40))}
    print(who, ", ".join(f"{a} of {b}: {n} alike" for (a, b), n in found.items()))
    if who == "torch.randn":
        need(list(found.values()) == [10, 0, 1, 16, 1, 24], "the numbers alike have changed")
    else:
        need(all(n == a for (a, b), n in found.items()), "one more number changes the others now")
print("Seen as before.")
EOF

#!/bin/sh
# Finding: torch-xla on the CPU: (a b + c d) d is computed as another
#   expression, once (a b + c d) b was.
#
# 1. A good guess: a lazy device gives the numbers of an eager one: 2*3 + 5*7
#   times 7 is 287, whatever was computed before.
# 2. What happens: the first of the two is right, the second is the first's
#   compiled graph with its inputs in another order: 203 in the place of 287.
#   No warning. The compiled graphs are kept by a hash in which the two are
#   one: they differ only in which input is used twice. With the variable
#   XLA_COMPILATION_CACHE_SIZE=0, which keeps none, both are right. It is met
#   in training by hand: the gradients of two weights of a neuron are the
#   same delta times one input and the other.
# 3. How the truth was found: whole numbers, by Python.
# 4. Date: 2026-12-01
set -eu
export OMP_NUM_THREADS=1 PJRT_DEVICE=CPU
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' HUP INT TERM
python3 -m venv "$tmp/venv"
"$tmp/venv/bin/pip" install --quiet "torch==2.9.0" "torch-xla==2.9.0" "numpy==2.4.6"
"$tmp/venv/bin/python" - <<'EOF'
import sys
from importlib.metadata import version


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


import torch
import torch_xla

print("torch", torch.__version__, "torch-xla", version("torch-xla"))
a, b, c, d = numbers = (2.0, 3.0, 5.0, 7.0)
on_xla = [torch.tensor(x, dtype=torch.float64).to("xla") for x in numbers]


def times_b(a, b, c, d):
    return (a * b + c * d) * b


def times_d(a, b, c, d):
    return (a * b + c * d) * d


first, second = times_b(*on_xla).item(), times_d(*on_xla).item()
print(f"(a b + c d) b: {first}, true {times_b(*numbers)}")
print(f"(a b + c d) d: {second}, true {times_d(*numbers)}")
need(first == times_b(*numbers) == 123, "the first is wrong now")
need(second == 203 != times_d(*numbers), "the second is another number now")
print("Seen as before.")
EOF

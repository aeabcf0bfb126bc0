#!/bin/sh
# Finding: torch's first autograd.grad with grad_outputs loads sympy, in
#   eager mode, where nothing is symbolic or compiled.
#
# 1. A good guess: a backward pass is C++; what one hands in as grad_outputs
#   changes the numbers, not what is imported. sympy is for torch.compile.
# 2. What happens: grad of a scalar and backward() load nothing. The first
#   call with grad_outputs loads sympy and some hundred modules of torch.fx,
#   about 0.3 s, for a comparison of shapes; later calls take microseconds.
#   So a first vector-Jacobian product that is timed is mostly an import.
# 3. How the truth was found: a profile of a first call showed sympy's
#   modules; sys.modules before and after each kind of call.
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
import time

import torch


def need(ok, what):
    if not ok:
        sys.exit("CHANGED: " + what)


def loaded(call):
    before, start = set(sys.modules), time.perf_counter()
    call()
    return len(set(sys.modules) - before), time.perf_counter() - start


x = torch.ones(3, requires_grad=True)
print("torch", torch.__version__)
need("sympy" not in sys.modules, "import torch alone loads sympy")
for name, call in (
    ("grad of a scalar", lambda: torch.autograd.grad((2 * x).sum(), x)),
    ("backward()", lambda: (2 * x).sum().backward()),
):
    count, seconds = loaded(call)
    print(f"{name}: {count} modules, {1e3 * seconds:.1f} ms, sympy: {'sympy' in sys.modules}")
    need("sympy" not in sys.modules, f"{name} loads sympy")
for name in ("first", "second"):
    count, seconds = loaded(lambda: torch.autograd.grad(2 * x, x, torch.ones(3)))
    print(f"{name} grad with grad_outputs: {count} modules, {1e3 * seconds:.1f} ms, sympy: {'sympy' in sys.modules}")
    need((count > 100) == (name == "first"), "the first one loads few modules, or the second many")
need("sympy" in sys.modules, "grad with grad_outputs does not load sympy")
print("as found")
EOF

#!/bin/sh
# torch 2.13.0: median along an expanded dimension returns numbers that are not in the tensor.
#
# A good guess: x[:1].expand(5, 4) has the same row five times, so its median along dimension 0
# is that row, as it is for a contiguous copy.
# What happens: on the CPU torch.median(x, dim) and torch.nanmedian(x, dim) take the memory behind
# the row for the other rows: the values are those of the rows of the tensor that was expanded.
# sort, kthvalue, mode and median without a dimension are right.
# How the truth was found: all rows are the same, and a contiguous copy gives the row.
# Date: 2026-11-30
set -eu

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet "torch==2.13.0" "numpy==2.4.6"

cat > "$folder/finding.py" <<'PYTHON'
import sys

import torch

print("torch", torch.__version__)
rows = torch.arange(20.0).view(5, 4)
expanded = rows[:1].expand(5, 4)
copied = expanded.clone(memory_format=torch.contiguous_format)
print("the row         ", rows[0].tolist())
found = {}
for name in ("median", "nanmedian"):
    function = getattr(torch, name)
    found[name] = function(expanded, 0).values
    print(f"{name:9} of it  ", found[name].tolist(), "of a copy", function(copied, 0).values.tolist())
    if not torch.equal(function(copied, 0).values, rows[0]):
        sys.exit("The behaviour has changed.")
print("kthvalue        ", torch.kthvalue(expanded, 3, 0).values.tolist())
if any(torch.equal(values, rows[0]) for values in found.values()):
    sys.exit("The behaviour has changed.")
PYTHON

"$folder/venv/bin/python" "$folder/finding.py"

"""Other people's Triton kernels on a CPU: the lines of examples/triton_interpreter.py, and tensors that say is_cuda."""

import sys
from pathlib import Path

import torch

sys.path.append(str(Path(__file__).parents[2] / "examples"))
import triton_interpreter  # noqa: F401 (it changes what the interpreter lacks)

torch.Tensor.is_cuda = True  # type: ignore[assignment, misc]  # their guards ask

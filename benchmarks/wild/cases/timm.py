# pip install --no-deps timm==1.0.31
"""Image models: activations that keep their input alone."""

import torch
from case import Case, absent, draw

absent("torchvision", "safetensors", "huggingface_hub")
from timm.layers.activations_me import HardMishAutoFn, HardSigmoidAutoFn, HardSwishAutoFn, MishAutoFn, SwishAutoFn

x = 3 * draw(5, 7)
CASES = [
    Case("SwishAutoFn", SwishAutoFn, (x,), lambda x: x * torch.sigmoid(x)),
    Case("MishAutoFn", MishAutoFn, (x,), lambda x: x * torch.tanh(torch.log1p(torch.exp(-abs(x))) + x.clamp(min=0))),
    Case("HardSigmoidAutoFn", HardSigmoidAutoFn, (x,), lambda x: (x + 3).clamp(0, 6) / 6),
    Case("HardSigmoidAutoFn, torch's as twin", HardSigmoidAutoFn, (x,), torch.nn.functional.hardsigmoid),
    Case("HardSwishAutoFn", HardSwishAutoFn, (x,), lambda x: x * (x + 3).clamp(0, 6) / 6),
    Case("HardMishAutoFn", HardMishAutoFn, (x,), lambda x: x * (x + 2).clamp(0, 2) / 2),
]

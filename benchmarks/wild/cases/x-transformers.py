# pip install --no-deps x-transformers==2.31.10 einops==0.8.2
"""Transformers: rotary positions and norms."""

from case import Case, absent, draw

absent("loguru", "einx", "torch_einops_utils")
from x_transformers.belief_state_wrapper import detach_multiple

CASES = [
    Case("detach_multiple", lambda a, b: detach_multiple(a, b), (draw(4, 3), draw(2, 3)), lambda a, b: (a * 1, b * 1)),
]

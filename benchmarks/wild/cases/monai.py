# pip install --no-deps monai==1.6.1
"""Medical images: an activation that keeps its input alone."""

import torch
from case import Case, draw
from monai.networks.blocks.activation import SwishImplementation

CASES = [Case("SwishImplementation", SwishImplementation, (3 * draw(5, 7),), lambda x: x / (1 + torch.exp(-x)))]

"""What a wrong gradient looks like: python examples/picture.py report.svg (needs matplotlib)

A layer whose first sample is weighted as if grad_out were not carried through tanh, and whose second neuron is doubled.
"""

import sys

import torch

from crosscheck import Report, crosscheck


def forward(x, w, b):
    return torch.tanh(x @ w.T + b)


def backward(grad_out, out, x, w, b):
    delta = grad_out * (1 - out**2)
    grad_x, grad_w = delta @ w, delta.T @ x
    grad_x[0] = grad_out[0] @ w  # the derivative of tanh is missing
    grad_w[1] *= 2
    return grad_x, grad_w, delta.sum(0)


def report() -> Report:
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(*shape, generator=generator) for shape in ((12, 30), (8, 30), (8,))]
    return crosscheck(forward, backward, inputs)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python examples/picture.py report.svg")
    report().plot().savefig(sys.argv[1])

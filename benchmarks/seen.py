"""The smallest factor that is seen in low precision alone, by the number of elements: drawn beside u/√n.

    python benchmarks/seen.py docs/seen.svg    half a minute

The gradient of x·w by w, times a factor, judged in one dtype alone; the factor is halved until it is seen no more.
"""

import argparse
import math
from pathlib import Path

import torch
from matplotlib.figure import Figure
from torch import Tensor

from crosscheck import crosscheck
from manual_bp.figures import BLUE, GREEN, VERMILION, save, themed

SIZES = [2**k for k in range(4, 15, 2)]
DTYPES = {torch.bfloat16: BLUE, torch.float16: VERMILION, torch.float32: GREEN}


def is_seen(n: int, dtype: torch.dtype, share: float, seed: int) -> bool:
    """Whether a factor of 1 + share is called wrong."""
    x, w = (torch.randn(n, generator=torch.Generator().manual_seed(2 * seed + i), dtype=torch.float64) for i in (0, 1))

    def backward(g: Tensor, out: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, ...]:
        return (g.double() * w.double()).to(x.dtype), ((1 + share) * g.double() * x.double()).to(x.dtype)

    return crosscheck(lambda x, w: x * w, backward, (x, w), dtypes=[dtype], seed=seed).formula.startswith("wrong in w")


def smallest(n: int, dtype: torch.dtype) -> float:
    """By halving, the median of three seeds."""
    found = []
    for seed in range(3):
        u = torch.finfo(dtype).eps / 2
        low, high = u / 16, 32 * u
        for _ in range(7):
            middle = math.sqrt(low * high)
            low, high = (low, middle) if is_seen(n, dtype, middle, seed) else (middle, high)
        found.append(high)
    return sorted(found)[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="of the picture: .svg, .png or .pdf")
    file = parser.parse_args().file
    torch.set_num_threads(1)
    figure = Figure(figsize=(5.4, 5), layout="constrained")
    axes = figure.subplots()
    for dtype, color in DTYPES.items():
        u, name = torch.finfo(dtype).eps / 2, str(dtype).removeprefix("torch.")
        seen = [smallest(n, dtype) for n in SIZES]
        print(name, ", ".join(f"{n}: {share / u:.2f} u" for n, share in zip(SIZES, seen, strict=True)))
        axes.loglog(SIZES, seen, "o-", color=color, label=f"seen in {name} alone")
        axes.loglog(SIZES, [16 * u for _ in SIZES], ":", color=color, label=f"16 u of {name}")
        axes.loglog(SIZES, [u / math.sqrt(n) for n in SIZES], "--", color=color, alpha=0.6, label="u/√n")
    axes.set(xlabel="elements", ylabel="factor, less one")
    axes.set_xscale("log", base=2)
    figure.legend(fontsize=8, ncols=3, frameon=False, columnspacing=1, loc="outside lower center")
    axes.set_title("The smallest factor that is called wrong", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    save(themed(figure), Path(file))


if __name__ == "__main__":
    main()

"""Right kernels that add up in low precision: is one called a wrong formula, judged in that precision alone?

    python benchmarks/accumulate.py             1,000 of each way to add, in bfloat16: some minutes
    python benchmarks/accumulate.py --count 50

The gradient of the weights of a layer, gᵀx, over so many samples, and the sum of g for its bias: in float32, and in
bfloat16 by pairs, in blocks, in any order, and with every sum rounded at random to one of its two neighbours.
"""

import argparse
from collections import Counter
from collections.abc import Callable

import torch
from rich.progress import track
from torch import Tensor

from crosscheck import crosscheck

Sum = Callable[[Tensor, torch.Generator], Tensor]  # over the first dimension


def in_float32(terms: Tensor, generator: torch.Generator) -> Tensor:
    return terms.float().sum(0).to(terms.dtype)


def by_pairs(terms: Tensor, generator: torch.Generator) -> Tensor:
    while len(terms) > 1:
        if len(terms) % 2:
            terms = torch.cat([terms, torch.zeros_like(terms[:1])])
        terms = terms[::2] + terms[1::2]
    return terms[0]


def in_blocks(terms: Tensor, generator: torch.Generator) -> Tensor:
    """Of 16 numbers in float32, added up one block after the other."""
    total = torch.zeros_like(terms[0])
    for block in terms.split(16):
        total = total + block.float().sum(0).to(terms.dtype)
    return total


def in_any_order(terms: Tensor, generator: torch.Generator) -> Tensor:
    total = torch.zeros_like(terms[0])
    for i in torch.randperm(len(terms), generator=generator):
        total = total + terms[i]
    return total


def stochastically(terms: Tensor, generator: torch.Generator) -> Tensor:
    total = torch.zeros_like(terms[0])
    for term in terms:
        exact = total.double() + term.double()
        down = exact.to(terms.dtype)
        up = torch.nextafter(down, torch.where(exact > down.double(), torch.inf, -torch.inf).to(terms.dtype))
        gap = up.double() - down.double()
        share = torch.where(gap == 0, 0.0, (exact - down.double()) / torch.where(gap == 0, 1.0, gap))
        total = torch.where(torch.rand(share.shape, generator=generator, dtype=torch.float64) < share, up, down)
    return total


WAYS: dict[str, Sum] = {
    "float32": in_float32,
    "by pairs": by_pairs,
    "in blocks": in_blocks,
    "in any order": in_any_order,
    "stochastically": stochastically,
}


def judged(add: Sum, seed: int, dtype: torch.dtype) -> str:
    """How a verdict on it begins."""
    generator = torch.Generator().manual_seed(seed)
    n, i, o = (int(torch.randint(low, high, (), generator=generator)) for low, high in ((4, 65), (2, 9), (2, 9)))
    x, w, b = (torch.randn(shape, generator=generator) for shape in ((n, i), (o, i), (o,)))

    def backward(g: Tensor, out: Tensor, x: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, ...]:
        return g @ w, add(g[:, :, None] * x[:, None, :], generator), add(g, generator)

    report = crosscheck(torch.nn.functional.linear, backward, (x, w, b), dtypes=[dtype], seed=seed)
    wrong = [row for row in report.rows if row.verdict.startswith("wrong")]
    for row in wrong:
        print(seed, n, i, o, row.name, row.diagnosis.partition("\n")[0])
    return "wrong formula" if wrong else "agrees" if report.ok else "less accurate, or not judged"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="kernels of each way (1000)")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float16"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    for name, add in WAYS.items():
        found = Counter(judged(add, seed, getattr(torch, args.dtype)) for seed in track(range(args.count), name))
        print(f"{name:15} {dict(found)}")


if __name__ == "__main__":
    main()

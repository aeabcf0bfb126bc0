"""`manual-bp animate`: a round of training of a small network, frame by frame."""

import re
from pathlib import Path

import torch

from manual_bp._console import console
from manual_bp.commands import CommandError
from manual_bp.commands._writing import can_write, matplotlib_for, writing
from manual_bp.commands.article import as_network, numbers_given
from manual_bp.network import Network


def animate(
    out: str, sizes: list[int] | None, seed: int, inputs: list[str], weights: list[str], eta: float | None,
    file: str | None, seconds: float,
) -> int:  # fmt: skip
    """Draw the round into a file; returns the exit code."""
    matplotlib_for(out)
    can_write(out, out)
    from manual_bp import figures

    for option, value in (("--inputs", inputs), ("--weights", weights), ("--file", file)):
        if sizes and value:
            raise CommandError(
                f"{option} is for the article's network, --sizes draws a random one: leave one of them out"
            )
    numbers = numbers_given(["two_by_two"], inputs, weights, eta, file)["two_by_two"]
    try:
        if sizes:
            net = Network.random(sizes, seed=seed)
            generator = torch.Generator().manual_seed(seed)
            x, z = torch.randn(sizes[0], generator=generator), torch.rand(sizes[-1], generator=generator)
        else:
            net, x, z = as_network("two_by_two", numbers)
        scene = figures.Scene.of(net, x, z, numbers["eta"])
        with writing(out):
            figures.animate(scene, out, seconds=seconds)
    except (TypeError, ValueError) as error:
        raise CommandError(re.sub(r"^(net\.)?(?=sizes|seconds)", "--", str(error))) from None
    console().print(f"{out}: {len(figures.frames(len(net.sizes) - 1))} frames, {Path(out).stat().st_size / 1e3:.0f} kB")
    return 0

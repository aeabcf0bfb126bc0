"""`manual-bp animate`: a round of training of a small network, frame by frame."""

from pathlib import Path

import torch

from manual_bp._console import console
from manual_bp.commands import CommandError
from manual_bp.commands._drawing import matplotlib_for
from manual_bp.commands.article import as_network, numbers_given
from manual_bp.network import Network


def animate(
    out: str, sizes: list[int] | None, seed: int, inputs: list[str], weights: list[str], eta: float | None,
    file: str | None, seconds: float,
) -> int:  # fmt: skip
    """Draw the round into a file; returns the exit code."""
    matplotlib_for(out)
    from manual_bp import figures

    given = numbers_given(inputs, weights, eta, file)
    try:
        if sizes:
            net = Network.random(sizes, seed=seed)
            generator = torch.Generator().manual_seed(seed)
            x, z = torch.randn(sizes[0], generator=generator), torch.rand(sizes[-1], generator=generator)
        else:
            net, x, z = as_network("two_by_two", given["two_by_two"])
        scene = figures.Scene.of(net, x, z, given["two_by_two"]["eta"])
        figures.animate(scene, out, seconds=seconds)
    except (TypeError, ValueError) as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{out}: {error.strerror}") from None
    console().print(f"{out}: {len(figures.frames(len(net.sizes) - 1))} frames, {Path(out).stat().st_size / 1e3:.0f} kB")
    return 0

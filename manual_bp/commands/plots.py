"""The pictures of the commands, by matplotlib: an extra, imported only here."""

from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from manual_bp.figures import BLUE, GREEN, VERMILION, themed

PEERS = (BLUE, VERMILION, GREEN, "#E69F00", "#56B4E9", "#CC79A7", "#000000")  # the palette of figures.py, continued
WIDTH = 5.4  # inches: 400 pixels show 8 points at 8 pixels


def plot_bench(
    speed: Mapping[str, Mapping[str, float]],
    growth: Mapping[str, Mapping[str, tuple[Sequence[int], Sequence[float], float]]],
    title: str,
) -> Figure:
    """Speed as multiples of ours, by peer and setting, and the time of a step against width and depth.

    growth: for width and depth, for each peer its sizes, its seconds, and their exponent.
    """
    figure = Figure(figsize=(WIDTH, 9), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(2, 1))[:, 0]
    bars = above.subplots()
    width, depth = below.subplots(1, 2)
    colours = _bars(bars, speed, "time of a step, in ours (less is faster)")
    for axes, along, label in ((width, "width", "width, of 3 layers"), (depth, "depth", "depth, of layers of 64")):
        for peer, (sizes, seconds, exponent) in growth[along].items():
            axes.loglog(
                sizes, [1e6 * s for s in seconds], "o-", color=colours[peer],
                markersize=3.5, label=f"{peer}: {exponent:.2f}",
            )  # fmt: skip
        axes.set(xlabel=label, ylabel="µs a step")
        low, high = axes.get_ylim()
        room = (high / low) ** (0.16 * (1 + len(growth[along])))  # above the lines, for their names
        axes.set_ylim(low, high * room)
        axes.legend(
            title="exponent", title_fontsize=8, fontsize=8, frameon=False, loc="upper left", alignment="left",
            handlelength=1, borderaxespad=0,
        )  # fmt: skip
    for axes in (bars, width, depth):
        axes.spines[["top", "right"]].set_visible(False)
    _legend(figure, colours, title)
    return themed(figure)


def plot_bench_memory(
    speed: Mapping[str, Mapping[str, float]], memory: Mapping[str, Mapping[str, float]], title: str
) -> Figure:
    """Time and memory of a step as multiples of ours, by peer and setting."""
    figure = Figure(figsize=(WIDTH, 9), layout="constrained")
    left, right = figure.subplots(2, 1)
    colours = _bars(left, speed, "time of a step, in ours (less is faster)")
    _bars(right, memory, "memory of a step, in ours (less is leaner)")
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    _legend(figure, colours, title)
    return themed(figure)


def _bars(axes: Axes, ratios: Mapping[str, Mapping[str, float]], label: str) -> dict[str, str]:
    """A bar for each peer in each setting; returns the colours of the peers."""
    peers = list(dict.fromkeys(peer for of_setting in ratios.values() for peer in of_setting))
    colours = dict(zip(peers, PEERS, strict=False))
    height = 0.8 / len(peers)
    for row, of_setting in enumerate(ratios.values()):
        for place, peer in enumerate(peers):
            if peer not in of_setting:
                continue
            y = row + (place - (len(peers) - 1) / 2) * height
            axes.barh(y, of_setting[peer], height, color=colours[peer])
            axes.text(of_setting[peer], y, f" {of_setting[peer]:.3g}", va="center", fontsize=7)
    axes.axvline(1, color=BLUE, linewidth=1)
    axes.set(xscale="log", xlabel=label)
    axes.set_yticks(range(len(ratios)), [name.replace(", ", "\n") for name in ratios], fontsize=8)
    axes.invert_yaxis()
    low, high = axes.get_xlim()
    axes.set_xlim(low, high * 1.6)
    return colours


def _legend(figure: Figure, colours: Mapping[str, str], title: str) -> None:
    handles = [Patch(color=colour, label=peer) for peer, colour in colours.items()]
    figure.legend(handles=handles, loc="outside lower left", ncols=3, fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=10)


def plot_training(costs: Sequence[float], held_out: Sequence[float], accuracy: Sequence[float], title: str) -> Figure:
    """Cost on the training data and held out, and accuracy where there is one, by epoch."""
    figure = Figure(figsize=(WIDTH, 3.2 * (1 + bool(accuracy))), layout="constrained")
    above, *below = figure.subplots(1 + bool(accuracy), squeeze=False)[:, 0]
    epochs = range(1, len(costs) + 1)
    above.semilogy(epochs, costs, "o-", color=BLUE, markersize=3, label="training data")
    above.semilogy(epochs, held_out, "s-", color=VERMILION, markersize=3, label="held out")
    above.set(xlabel="epoch", ylabel="cost J")
    above.legend(frameon=False)
    for axes in below:
        axes.plot(epochs, accuracy, "s-", color=VERMILION, markersize=3)
        axes.set(xlabel="epoch", ylabel="held-out accuracy", ylim=(0, 1.02))
    for axes in (above, *below):
        axes.locator_params(axis="x", integer=True, min_n_ticks=1)  # there is no epoch 2.5
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(title, fontsize=10)
    return themed(figure)

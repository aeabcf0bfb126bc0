"""Pictures of a report, by matplotlib (an extra): how the error falls with the precision, and where it lies."""

import io
import math
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from numpy.typing import NDArray

from crosscheck.row import Row, dtype_name, highest
from crosscheck.verdict.precision import FACTOR, unit_roundoff

Heights = NDArray[np.float64]

# Of Okabe and Ito's colours, which colour-blind people can tell apart.
RIGHT, WRONG, QUIET, WITHIN = "#0072B2", "#D55E00", "#666666", "#80808040"
# What the colours of an SVG become where the page is dark; black text takes the colour of the whole.
INK = "#e6e6e3"
DARK = {"#ffffff": "#16181c", QUIET: "#b4b8c0", "#000000": INK, RIGHT: "#4da3ec", WRONG: "#ff8a45"}
MAPS = 4  # of heat, at most
WIDTH, LADDER, MAP = 5.4, 3.4, 2.5  # inches: 400 pixels show 8 points at 8 pixels
# In points: the height of a name beside the errors, the width of a letter, the lines at least, and a leader's
HEIGHT, LETTER, LINES, LEADER = 11, 5.2, 200, 12


class Theme(Artist):
    """A style sheet in an SVG, after which the figure takes its dark colours where the page is dark."""

    def draw(self, renderer: Any) -> None:
        if writer := getattr(renderer, "writer", None):
            dark = {f"--dark-{light[1:].lower()}": (light.lower(), instead) for light, instead in DARK.items()}
            values = "; ".join(f"{name}: {instead}" for name, (_, instead) in dark.items())
            # By variables that are this figure's alone, so that no other picture of the page changes; and they reach
            # what is drawn by <use>.
            rules = "".join(
                f'[style*="{what}: {light}"] {{ {what}: var({name}, {light}) !important }}\n'
                for name, (light, _) in dark.items() for what in ("fill", "stroke")
            )  # fmt: skip
            style = f"@media (prefers-color-scheme: dark) {{\n#report {{ fill: {INK}; {values} }}\n{rules}}}"
            writer.element("style", style, type="text/css")


class Picture(Figure):
    """A figure that a notebook shows where it is the last line of a cell."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.set_gid("report")
        theme = Theme()
        theme.set_in_layout(False)
        self.add_artist(theme)

    def _repr_svg_(self) -> str:
        text = io.StringIO()
        with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "manual-bp"}):  # text stays text; always the same
            self.savefig(text, format="svg", metadata={"Date": None})
        return text.getvalue()[text.getvalue().index("<svg") :]


def plot(rows: Sequence[Row]) -> Picture:
    """The errors by precision, and a map of the error of each tensor that is wrong at the highest one.

    A right gradient's error falls along the diagonal, and a wrong one's stays where it is. A map has the error in
    units of the budget, element by element, or the largest of each block of a large tensor.
    """
    wrong = [row for row in highest(row for row in rows if row.is_mismatch) if row.shares is not None]
    mapped = wrong[:MAPS]
    names = dict.fromkeys(row.name for row in rows)
    beside = LETTER * (max(map(len, names)) + 2) + LEADER
    height = max(LADDER, 1.1 + HEIGHT * len(names) / 72)
    rows_of_maps = -(-len(mapped) // 2)
    with mpl.rc_context({"font.size": 9}):
        figure = Picture(figsize=(WIDTH, height + MAP * rows_of_maps), layout="constrained")
        grid = figure.add_gridspec(1 + rows_of_maps, 2, height_ratios=[height, *[MAP] * rows_of_maps])
        axes = [figure.add_subplot(grid[0, :])]
        _errors_by_precision(axes[0], rows, beside, HEIGHT / 72 / (height - 1.1))
        for place, row in enumerate(mapped):
            alone = place == len(mapped) - 1 and place % 2 == 0
            axes.append(figure.add_subplot(grid[1 + place // 2, :] if alone else grid[1 + place // 2, place % 2]))
            _map(figure, axes[-1], row)
        if len(wrong) > MAPS:
            axes[-1].set_title(f"{axes[-1].get_title()}, and {len(wrong) - MAPS} more")
    return figure


def svg(rows: Sequence[Row]) -> str:
    """The same as the text of an SVG."""
    return plot(rows)._repr_svg_()


def _errors_by_precision(axes: Axes, rows: Sequence[Row], beside: float, gap: float) -> None:
    """Error against unit roundoff, both relative to the largest number of the tensor.

    beside: the room for the names, in points; gap: from one to the next, as a share of the axes' height.
    """
    dtypes = sorted({row.dtype for row in rows}, key=unit_roundoff)
    u = [unit_roundoff(dtype) for dtype in dtypes]
    (budget,) = axes.loglog(
        u, [FACTOR * each for each in u], "--", color=QUIET, linewidth=1, label=f"{FACTOR} roundoffs"
    )
    wrong = {row.name for row in rows if row.is_mismatch}
    starts: dict[str, tuple[float, float]] = {}
    for name in dict.fromkeys(row.name for row in rows):
        drawn = [row for row in rows if row.name == name and math.isfinite(row.error)]
        if not drawn:
            continue
        # An error of 0 has no place on such an axis: it is drawn at a tenth of a roundoff.
        errors = [unit_roundoff(row.dtype) * max(row.error, 0.1) for row in drawn]
        us = [unit_roundoff(row.dtype) for row in drawn]
        axes.loglog(us, errors, "o-", color=WRONG if name in wrong else RIGHT, markersize=4, linewidth=1.2, label=name)
        starts[name] = us[0], errors[0]
    axes.set_xticks(u, [dtype_name(dtype) for dtype in dtypes], fontsize=8, rotation=45, ha="right")
    axes.set_xticks([], minor=True)
    point = math.log10(8 * u[-1] / u[0]) / LINES  # in decades
    axes.set_xlim(u[0] / 10 ** (point * beside), u[-1] * 8)
    low, high = (math.log10(error) for error in axes.get_ylim())
    rising = sorted(starts, key=lambda name: starts[name][1])
    wanted = np.array([(math.log10(starts[name][1]) - low) / (high - low) for name in rising])
    for name, y in zip(rising, _apart(wanted, gap), strict=True):
        colour = WRONG if name in wrong else RIGHT
        leader = {"arrowstyle": "-", "color": colour, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 0, "relpos": (1, 0.5)}
        axes.annotate(
            name, starts[name], xytext=(u[0] / 10 ** (point * LEADER), y), textcoords=axes.get_xaxis_transform(),
            ha="right", va="center", fontsize=8, color=colour, arrowprops=leader, parse_math=False,
        )  # fmt: skip
    axes.set(ylabel="error / largest number", title="error by precision")
    axes.spines[["top", "right"]].set_visible(False)
    told = [
        Line2D([], [], color=colour, marker="o", markersize=4, label=label)
        for label, colour, names in (("right", RIGHT, starts.keys() - wrong), ("wrong", WRONG, starts.keys() & wrong))
        if names
    ]
    axes.legend(handles=[budget, *told], fontsize=8, frameon=False, loc="lower right")


def _apart(wanted: Heights, gap: float) -> Heights:
    """Rising heights from 0 to 1, near those that are wanted, but this far from one another."""
    steps = gap * np.arange(len(wanted))
    free = wanted - steps
    up, down = np.maximum.accumulate(free), np.minimum.accumulate(free[::-1])[::-1]
    return np.clip((up + down) / 2 + steps, gap / 2 + steps, 1 - gap / 2 - steps[::-1])


def _map(figure: Figure, axes: Axes, row: Row) -> None:
    """Error over budget of a tensor, from 1; what is within is grey."""
    assert row.shares is not None
    values = row.shares.numpy()
    values = np.where(np.isfinite(values), values, np.finfo(np.float32).max)
    colours = mpl.colormaps["viridis"].with_extremes(under=WITHIN, bad=WITHIN)
    largest = max(10.0, float(values.max()))
    image = axes.imshow(values, cmap=colours, norm=LogNorm(1, largest), aspect="auto", interpolation="nearest")
    axes.set_title(f"{row.name} at {dtype_name(row.dtype)}", color=WRONG, parse_math=False)
    axes.locator_params(integer=True, nbins=5)
    if len(values) == 1:  # a vector, or a number, has no rows to count
        axes.set_yticks([])
    if values.size == 1:
        axes.set_xticks([])
    figure.colorbar(image, ax=axes, label="error / budget", extend="min")

"""Pictures of a report, by matplotlib (an extra): how the error falls with the precision, and where it lies."""

import io
import math

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from reference.ladder import FACTOR
from reference.precision import unit_roundoff
from reference.report import Report, Row, dtype_name, highest

# Of Okabe and Ito's colours, which colour-blind people can tell apart.
RIGHT, WRONG, QUIET = "#0072B2", "#D55E00", "#666666"
MAPS = 4  # of heat, at most


def plot(report: Report) -> Figure:
    """The ladder of a report, and a map of the error of each tensor that is wrong at the highest rung.

    On the ladder a right gradient falls along the diagonal, and a wrong one stays where it is. A map has the error in
    units of the budget, element by element, or the largest of each block of a large tensor.
    """
    wrong = [row for row in highest(report.mismatches) if row.shares is not None][:MAPS]
    with mpl.rc_context({"font.size": 9}):
        figure = Figure(figsize=(4.4 + 2.9 * len(wrong), 3.4), layout="constrained")
        axes = figure.subplots(1, 1 + len(wrong), width_ratios=[1.5, *[1.0] * len(wrong)], squeeze=False)[0]
        _ladder(axes[0], report)
        for place, row in zip(axes[1:], wrong, strict=True):
            _map(figure, place, row)
    return figure


def svg(report: Report) -> str:
    """The same as the text of an SVG."""
    text = io.StringIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "manual-bp"}):  # text stays text; the same every time
        plot(report).savefig(text, format="svg", metadata={"Date": None})
    return text.getvalue()[text.getvalue().index("<svg") :]


def _ladder(axes: Axes, report: Report) -> None:
    """Error against unit roundoff, both relative to the largest number of the tensor."""
    rungs = sorted({row.dtype for row in report.rows}, key=unit_roundoff)
    u = [unit_roundoff(dtype) for dtype in rungs]
    axes.loglog(u, [FACTOR * each for each in u], "--", color=QUIET, linewidth=1, label=f"{FACTOR} roundoffs")
    wrong = {row.name for row in report.mismatches}
    named: list[float] = []  # where names stand already
    for name in dict.fromkeys(row.name for row in report.rows):
        rows = [row for row in report.rows if row.name == name and math.isfinite(row.error)]
        # An error of 0 has no place on such an axis: it is drawn at a tenth of a roundoff.
        errors = [unit_roundoff(row.dtype) * max(row.error, 0.1) for row in rows]
        colour = WRONG if name in wrong else RIGHT
        axes.loglog([unit_roundoff(row.dtype) for row in rows], errors, "o-", color=colour, markersize=4, linewidth=1.2)
        if rows:
            near = sum(abs(math.log10(errors[0] / other)) < 1 for other in named)
            named.append(errors[0])
            axes.annotate(
                name + "," * bool(near), (unit_roundoff(rows[0].dtype), errors[0]), xytext=(-6 - 16 * near, 0),
                textcoords="offset points", ha="right", va="center", fontsize=8, color=colour,
            )  # fmt: skip
    axes.set_xticks(u, [dtype_name(dtype) for dtype in rungs], fontsize=8, rotation=45, ha="right")
    axes.set_xticks([], minor=True)
    axes.set_xlim(u[0] / 2e3, u[-1] * 8)
    axes.set(ylabel="error / largest number", title="the ladder")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=7, frameon=False, loc="lower right")


def _map(figure: Figure, axes: Axes, row: Row) -> None:
    """Error over budget of a tensor, from 1, where it is within, in grey."""
    assert row.shares is not None
    values = row.shares.numpy()
    values = np.where(np.isfinite(values), values, np.finfo(np.float32).max)
    colours = mpl.colormaps["viridis"].with_extremes(under="#dddddd", bad="#dddddd")
    largest = max(10.0, float(values.max()))
    image = axes.imshow(values, cmap=colours, norm=LogNorm(1, largest), aspect="auto", interpolation="nearest")
    axes.set_title(f"{row.name} at {dtype_name(row.dtype)}", color=WRONG)
    axes.locator_params(integer=True, nbins=5)
    figure.colorbar(image, ax=axes, label="error / budget", extend="min")

"""Pictures of small networks: the article's figures, and a round of training frame by frame. Needs matplotlib."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from math import hypot
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch
from matplotlib.textpath import TextPath
from matplotlib.transforms import Bbox
from PIL import Image
from torch import Tensor
from torch.nn.functional import one_hot

from manual_bp import notation
from manual_bp._files import whole
from manual_bp.network import Gradients, Network, Trace, one_round
from manual_bp.rules import Rule
from manual_bp.rules.activations import Sigmoid
from manual_bp.rules.losses import SigmoidCrossEntropy

# Okabe and Ito's colours, which colour-blind people can tell apart.
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
FORWARD, BACKWARD, UPDATE, QUIET, PAPER = BLUE, VERMILION, GREEN, "#444444", "#ffffff"
FADED = 0.45
# What the colours of an SVG become where the page is dark; black text takes the colour of the whole.
INK = "#e6e6e3"
DARK = {
    PAPER: "#16181c", QUIET: "#c4c8d0", "#000000": INK, BLUE: "#4da3ec", VERMILION: "#ff8a45", GREEN: "#2fc497",
    "#56b4e9": "#a5daff",
}  # fmt: skip

WIDEST, DEEPEST = 3, 4  # neurons in a layer, and layers: more would not be legible
KINDS = (".gif", ".html", ".png", ".svg")
DPI = 160

# Lengths are in ems, of this many points. The article's network is 46 ems wide, so that on 400 pixels an em has 8.7.
EM = 9
WIDTH = 46.0
RADIUS, INPUT_RADIUS, BIAS_RADIUS = 4.6, 2.7, 1.2
GAP, DOWN = 10.5, 18.0  # between the circles of two layers, and from neuron to neuron
HEAD, LINE, FOOT = 2.4, 1.6, 7.6  # the title, a line of formulas, the legend

# Text of an SVG stays text, and the same picture has the same bytes: no name at random in it, and no date.
STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "manual-bp", "font.size": EM, "font.family": "DejaVu Sans"}
DATELESS: Any = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}


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
            style = f"@media (prefers-color-scheme: dark) {{\n#theme {{ fill: {INK}; {values} }}\n{rules}}}"
            writer.element("style", style, type="text/css")


def themed(figure: Figure) -> Figure:
    """The figure, with dark colours as well."""
    figure.set_gid("theme")
    theme = Theme()
    theme.set_in_layout(False)
    figure.add_artist(theme)
    return figure


Phase = Literal["inputs", "forward", "deltas", "gradients", "descent"]


class Frame(NamedTuple):
    """A moment of the round: what is computed in it, and for which layer; layer 1 is the first of neurons."""

    phase: Phase
    layer: int
    title: str


def frames(depth: int) -> list[Frame]:
    """The round: forward layer by layer, back from the last one, deltas and gradients of each; then the descent.

    In the backward phase all weights are those of the forward phase. The new ones wait for the descent.
    """
    told = [Frame("inputs", 0, "A sample: inputs and targets")]
    told += [Frame("forward", layer, f"Forward, layer {layer}") for layer in range(1, depth + 1)]
    step = 1
    for layer in range(depth, 0, -1):
        what = "the deltas at the outputs" if layer == depth else f"the old weights carry the deltas to layer {layer}"
        told.append(Frame("deltas", layer, f"Step {step}: {what}"))
        told.append(Frame("gradients", layer, f"Step {step + 1}: the gradients into layer {layer}; the weights wait"))
        step += 2
    return [*told, Frame("descent", 0, "Descent: all weights change at once")]


@dataclass(frozen=True)
class Scene:
    """A small network and a round of training on one sample: all that is drawn of it."""

    sizes: tuple[int, ...]
    activations: tuple[type[Rule], ...]
    fused: bool  # sigmoid and cross-entropy, whose δ(in) is n(out) − z
    trace: Trace
    grads: Gradients
    new_weights: tuple[Tensor, ...]
    new_biases: tuple[Tensor, ...]
    z: Tensor
    inputs: tuple[str, ...]

    @classmethod
    def of(cls, net: Network, x: Tensor, z: Tensor, eta: float) -> "Scene":
        """The round of that network on the sample x [n₀], z; the network stays as it is.

        Raises ValueError for one of more than four layers, or of three neurons in a layer, and for a batch.
        """
        depth = len(net.sizes) - 1
        if depth > DEEPEST or max(net.sizes) > WIDEST:
            raise ValueError(
                f"net.sizes: expected at most {DEEPEST} layers of at most {WIDEST} neurons, to be legible, got "
                f"{'-'.join(map(str, net.sizes))}"
            )
        if x.dim() != 1:
            raise ValueError(f"x: expected one sample, of shape [{net.sizes[0]}], got {list(x.shape)}")
        other = Network(net.weights, net.biases, net.activations, net.cost_rule)
        trace, grads = one_round(other, x, z, eta)
        inputs = ("x", "y") if net.sizes == (2, 2, 2) else tuple(f"x{i + 1}" for i in range(net.sizes[0]))
        targets = z if z.dim() else one_hot(z.long(), net.sizes[-1])  # of the index of a class
        return cls(
            net.sizes, net.activations, net.cost_rule is SigmoidCrossEntropy, trace, grads, other.weights, other.biases,
            targets, inputs,
        )  # fmt: skip

    def neuron(self, layer: int, index: int) -> str:
        """The name of a neuron: n_21, of one alone n; of layer 0 the input's."""
        if not layer:
            return self.inputs[index]
        return "n" if self.sizes[1:] == (1,) else f"n_{layer}{index + 1}"

    def delta(self, layer: int, index: int) -> str:
        return self.neuron(layer, index).replace("n", "delta", 1)

    def target(self, index: int) -> str:
        return "y" if self.sizes[1:] == (1,) else f"z_{index + 1}"

    def weight(self, layer: int, to: int, source: int | None) -> str:
        """The name of the weight on an edge; from None, of the bias."""
        come_from = "b" if source is None else self.neuron(layer - 1, source).removeprefix("n_")
        return f"w{come_from.removeprefix('x')}" if self.sizes[1:] == (1,) else f"w_{layer}{to + 1}_{come_from}"

    def values_of_weight(self, layer: int, to: int, source: int | None) -> tuple[str, str]:
        """The weight of the forward phase, and the new one."""
        if source is None:
            pair = self.trace.biases[layer - 1][to], self.new_biases[layer - 1][to]
        else:
            pair = self.trace.weights[layer - 1][to, source], self.new_weights[layer - 1][to, source]
        return number(pair[0]), number(pair[1])

    def formulas(self, frame: Frame, index: int = 0) -> tuple[str, str]:
        """What is computed in a frame, for one neuron of its layer."""
        layer, last = frame.layer, len(self.sizes) - 1
        if frame.phase == "inputs":
            told = notation.text(self.weight(last, 0, 0)), notation.text(self.neuron(last - 1, 0))
            end = notation.text(self.neuron(last, 0))
            return (
                f"{told[0]} is the weight on the way from {told[1]} into {end}",
                "a bias b is the weight of an input that is always 1",
            )
        if frame.phase == "descent":
            return "w ← w′ = w − η·∂J/∂w", "for each weight, once, after all the deltas"
        neuron, delta = self.neuron(layer, index), self.delta(layer, index)
        n_in, n_out, d_in, d_out = (notation.text(f"{q}_{side}") for q in (neuron, delta) for side in ("in", "out"))
        before = [self.neuron(layer - 1, i) + "_out" * (layer > 1) for i in range(self.sizes[layer - 1])]
        if frame.phase == "forward":
            terms = [f"{notation.text(self.weight(layer, index, i))}·{notation.text(n)}" for i, n in enumerate(before)]
            total = " + ".join([*terms, notation.text(self.weight(layer, index, None))])
            return f"{n_in} = {total}", f"{n_out} = {'σ' if self.activations[layer - 1] is Sigmoid else 'f'}({n_in})"
        if frame.phase == "gradients":
            w = self.weight(layer, index, 0)
            old, new, slope = notation.text(w), notation.text(f"{w}_new"), notation.text(f"dJ_d{w}")
            return f"{slope} = {d_in}·{notation.text(before[0])}", f"{new} = {old} − η·{slope} waits"
        if layer == last:
            collected = f"∂J/∂{n_out}"
        else:
            terms = [
                f"{notation.text(self.delta(layer + 1, k) + '_in')}·{notation.text(self.weight(layer + 1, k, index))}"
                for k in range(self.sizes[layer + 1])
            ]
            collected = " + ".join(terms)
        slope = f"{n_out}·(1 − {n_out})" if self.activations[layer - 1] is Sigmoid else f"f′({n_in})"
        through = f"{d_in} = {d_out}·{slope}"
        if layer == last and self.fused:
            through += f" = {n_out} − {notation.text(self.target(index))}"
        return f"{d_out} = {collected}", through

    @cached_property
    def places_of_weights(self) -> dict[tuple[int, int, int | None], tuple[float, float]]:
        """Where the label of each weight stands: on its edge, over no circle and no other label, in whatever frame."""
        found: dict[tuple[int, int, int | None], tuple[float, float]] = {}
        for layer in range(1, len(self.sizes)):
            circles = [(*self.place(at, i), radius_of(at)) for at in (layer - 1, layer) for i in range(self.sizes[at])]
            circles.append((*self.place(layer - 1, None), BIAS_RADIUS))
            free = {}
            for to, source in product(range(self.sizes[layer]), (*range(self.sizes[layer - 1]), None)):
                start, end = self.ends(layer, to, source)
                across = _width(f"{notation.text(self.weight(layer, to, source))} = −0.000") / 2 + 0.3
                boxes = []
                for percent in sorted(range(9, 93, 4), key=lambda percent: abs(percent - 45)):
                    x, y = (start[i] + percent / 100 * (end[i] - start[i]) for i in range(2))
                    boxes.append(Bbox([(x - across, y - 1.3), (x + across, y + 1.3)]))
                free[layer, to, source] = [box for box in boxes if not any(_over(box, *circle) for circle in circles)]
            hardest_first = dict(sorted(free.items(), key=lambda edge: len(edge[1])))
            names = [Bbox([(x - 1.5, y + r), (x + 1.5, y + r + 1.5)]) for x, y, r in circles[:-1]]
            places = _side_by_side([*hardest_first.values()], names)
            assert places is not None, self.sizes
            found |= {
                edge: (box.x0 + box.width / 2, box.y0 + box.height / 2)
                for edge, box in zip(hardest_first, places[len(names) :], strict=True)
            }
        return found

    @property
    def extent(self) -> tuple[float, float]:
        """Width and height of the network, in ems."""
        return self.place(len(self.sizes) - 1, 0)[0] + RADIUS + 0.6, DOWN * (max(self.sizes) - 1) + 2 * RADIUS + 8.0

    def place(self, layer: int, index: int | None) -> tuple[float, float]:
        """The centre of a neuron; of None of the bias node, on the right below its layer."""
        x = INPUT_RADIUS + 0.5
        if layer:
            x += INPUT_RADIUS + GAP + RADIUS + (layer - 1) * (2 * RADIUS + GAP)
        if index is None:
            return x + radius_of(layer) + 1.2, BIAS_RADIUS + 0.3
        lowest = RADIUS + 6.3
        return x, lowest + DOWN * ((max(self.sizes) + self.sizes[layer]) / 2 - 1 - index)

    def ends(self, layer: int, to: int, source: int | None) -> tuple[tuple[float, float], tuple[float, float]]:
        """Where an edge begins and ends, at the two circles."""
        start, end = self.place(layer - 1, source), self.place(layer, to)
        length = hypot(end[0] - start[0], end[1] - start[1])
        across, up = ((end[i] - start[i]) / length for i in range(2))
        near, far = (BIAS_RADIUS if source is None else radius_of(layer - 1)) + 0.1, RADIUS + 0.1
        return (start[0] + across * near, start[1] + up * near), (end[0] - across * far, end[1] - up * far)


def radius_of(layer: int) -> float:
    """Of the circles of a layer."""
    return RADIUS if layer else INPUT_RADIUS


def number(value: Tensor) -> str:
    """A number with three decimals, or three digits."""
    number = float(value)
    return notation.number(round(number, 3) + 0.0 if abs(number) < 100 else float(f"{number:.3g}"))  # of −0.0, 0


@cache
def _width(text: str) -> float:
    """How wide a text is, in ems."""
    with mpl.rc_context(STYLE):
        return float(TextPath((0, 0), text, size=1).get_extents().width)


def _over(box: Bbox, x: float, y: float, radius: float) -> bool:
    """Whether a box lies over a circle."""
    return hypot(x - min(max(x, box.x0), box.x1), y - min(max(y, box.y0), box.y1)) < radius + 0.1


def _side_by_side(free: list[list[Bbox]], taken: list[Bbox]) -> list[Bbox] | None:
    """Of each list the first box that lets all lie side by side, and beside those taken; None where none do."""
    if not free:
        return taken
    for box in free[0]:
        if not box.count_overlaps(taken) and (found := _side_by_side(free[1:], [*taken, box])):
            return found
    return None


class _Drawing:
    """One frame of a scene on axes."""

    def __init__(self, axes: Axes, scene: Scene, frame: Frame, *, only: int | None = None) -> None:
        self.axes, self.scene, self.frame, self.only = axes, scene, frame, only
        for layer in range(1, len(scene.sizes)):
            self._edges(layer)
        for layer in range(len(scene.sizes)):
            self._layer(layer)

    @property
    def backward(self) -> bool:
        return self.frame.phase in ("deltas", "gradients")

    def done(self, layer: int) -> bool:
        """Whether the backward phase has gone below this layer."""
        return self.backward and layer > self.frame.layer

    def _layer(self, layer: int) -> None:
        for index in range(self.scene.sizes[layer]):
            if layer:
                self._neuron(layer, index)
            else:
                text = f"{notation.text(self.scene.inputs[index])}\n{number(self.scene.trace.x[index])}"
                self._node(*self.scene.place(0, index), INPUT_RADIUS, text, self.frame.phase == "inputs")
        if layer < len(self.scene.sizes) - 1:
            self._node(*self.scene.place(layer, None), BIAS_RADIUS, "1", False)

    def _neuron(self, layer: int, index: int) -> None:
        """A circle in two halves: what goes in, and what comes out; the deltas below."""
        scene, (phase, now, _) = self.scene, self.frame
        x, y = scene.place(layer, index)
        active = layer == now and self.only in (None, index)
        colour = {"forward": FORWARD, "deltas": BACKWARD}.get(phase, QUIET) if active else QUIET
        alpha = FADED if self.done(layer) else 1.0
        _circle(self.axes, x, y, RADIUS, colour, alpha, halves=True)
        self._text(x, y + RADIUS + 0.8, notation.text(scene.neuron(layer, index)), QUIET, alpha)

        def halves(height: float, ins: tuple[Tensor, ...], outs: tuple[Tensor, ...], ink: str) -> None:
            for side, of_layers in ((-1, ins), (1, outs)):
                value = number(of_layers[layer - 1][index])
                self._text(x + side * RADIUS * 0.48, y + height, value, ink, alpha, size=0.92)

        if self.backward or (phase == "forward" and layer <= now):
            halves(1.25, scene.trace.n_in, scene.trace.n_out, FORWARD if colour == FORWARD else QUIET)
        if self.backward and (layer > now or active):
            halves(-1.25, scene.grads.delta_in, scene.grads.delta_out, colour)
        if layer == len(scene.sizes) - 1:
            target = f"{notation.text(scene.target(index))} = {number(scene.z[index])}"
            ink = FORWARD if phase == "inputs" else QUIET
            self._text(x - 1.1, y - RADIUS - 0.9, target, ink, alpha, align="left")  # where no edge comes in

    def _node(self, x: float, y: float, radius: float, text: str, active: bool) -> None:
        """A circle alone: an input or the bias."""
        colour = FORWARD if active else QUIET
        _circle(self.axes, x, y, radius, colour)
        self._text(x, y, text, colour, 1.0)

    def _text(
        self, x: float, y: float, text: str, colour: str, alpha: float, *, size: float = 1, align: str = "center"
    ) -> None:
        self.axes.text(
            x, y, text, color=colour, alpha=alpha, fontsize=size * EM, ha=align, va="center", linespacing=1.1, zorder=6
        )

    def _edges(self, layer: int) -> None:
        """The weights of the forward phase until the descent; those of which there are new ones wait."""
        scene, (phase, now, _) = self.scene, self.frame
        sources: list[int | None] = [*range(scene.sizes[layer - 1]), None]
        for to, source in product(range(scene.sizes[layer]), sources):
            forward = phase == "forward" and layer == now
            carried = phase == "deltas" and layer == now + 1 and source is not None and self.only in (None, source)
            update = phase == "descent" or (phase == "gradients" and layer == now)
            colour = FORWARD if forward else BACKWARD if carried else UPDATE if update else QUIET
            alpha = FADED if self.done(layer) and not carried else 1.0
            start, end = scene.ends(layer, to, source)
            ends = (end, start) if carried else (start, end)
            self.axes.add_patch(_arrow(*ends, colour, 1.0 if colour == QUIET else 1.8, alpha=alpha, zorder=2))
            name, (old, new) = scene.weight(layer, to, source), scene.values_of_weight(layer, to, source)
            label = f"{notation.text(name)} = {old}"
            if phase == "gradients" and layer >= now:
                label += f"\n→ {new} waits"
            if phase == "descent":
                label = f"{notation.text(name + '_new')} = {new}"
            self.axes.text(
                *scene.places_of_weights[layer, to, source], label, color=colour, alpha=alpha, ha="center", va="center",
                linespacing=1.1, zorder=5, bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.8},
            )  # fmt: skip


def _circle(
    axes: Axes, x: float, y: float, radius: float, colour: str, alpha: float = 1.0, *, halves: bool = False
) -> None:
    width = 1.1 if colour == QUIET else 2.2
    axes.add_patch(Circle((x, y), radius, fc=PAPER, ec=colour, linewidth=width, alpha=alpha, zorder=3))
    if halves:
        axes.plot([x, x], [y - radius, y + radius], color=colour, linewidth=0.8, alpha=alpha, zorder=4)


def _arrow(start: tuple[float, float], end: tuple[float, float], colour: str, width: float, **more: Any) -> Any:
    shape: Any = {"arrowstyle": "-|>", "mutation_scale": 10, "shrinkA": 0, "shrinkB": 0}
    return FancyArrowPatch(start, end, color=colour, linewidth=width, **shape, **more)


def _axes(figure: Figure, bottom: float, width: float, height: float) -> Axes:
    """Axes in ems, in the middle of the figure, at this height above its lower edge."""
    whole_width, whole_height = (72 * inches / EM for inches in figure.get_size_inches())
    left = (whole_width - width) / 2
    place = left / whole_width, bottom / whole_height, width / whole_width, height / whole_height
    axes = figure.add_axes(place)
    axes.set(xlim=(0, width), ylim=(0, height))
    axes.axis("off")
    return axes


def _titled(axes: Axes, title: str, formulas: tuple[str, ...]) -> None:
    """A title and lines of formulas above axes."""
    (left, right), (_, top) = axes.get_xlim(), axes.get_ylim()
    middle = (left + right) / 2
    axes.set_title(title, fontsize=1.2 * EM, color=QUIET, pad=EM * LINE * len(formulas) + 4)
    for line, formula in enumerate(reversed(formulas)):
        axes.text(middle, top + LINE * (line + 0.5), formula, color=QUIET, ha="center", va="center")


def _legend(figure: Figure) -> None:
    """At the foot of a figure: the four numbers of a neuron, and what the colours say."""
    axes = _axes(figure, 0, WIDTH, FOOT)
    axes.plot([0.5, WIDTH - 0.5], [FOOT - 0.1] * 2, color=QUIET, linewidth=0.5, alpha=FADED)
    x, y, radius = 5.0, 3.6, 3.2
    _circle(axes, x, y, radius, QUIET, halves=True)
    for left, up, text in ((-1, 1, "n(in)"), (1, 1, "n(out)"), (-1, -1, "δ(in)"), (1, -1, "δ(out)")):
        colour = FORWARD if up > 0 else BACKWARD
        at = x + left * radius * 0.48, y + up * 0.95
        axes.text(*at, text, color=colour, fontsize=0.8 * EM, ha="center", va="center", zorder=6)
    told = (
        ("forward: n, into a neuron and out of it", FORWARD, 1.0),
        ("backward: δ = ∂J/∂n, of both", BACKWARD, 1.0),
        ("gradient, and with it the new weight w′", UPDATE, 1.0),
        ("faint: done", QUIET, FADED),
    )
    for line, (text, colour, alpha) in enumerate(told):
        height = y + 2.4 - 1.6 * line
        start, end = (13.5, 10.5) if colour == BACKWARD else (10.5, 13.5)
        axes.add_patch(_arrow((start, height), (end, height), colour, 1.8, alpha=alpha))
        axes.text(14.5, height, text, color=colour, alpha=alpha, va="center")


def _figure(width: float, height: float) -> Figure:
    """An empty figure of this size in ems, above its legend."""
    figure = Figure(figsize=(max(width, WIDTH) * EM / 72, (height + FOOT) * EM / 72), facecolor=PAPER)
    _legend(figure)
    return themed(figure)


def still(scene: Scene, frame: Frame, *, only: int | None = None) -> Figure:
    """One frame; only: a neuron of its layer alone."""
    return _drawn(scene, [frame], only)


def sheet(scene: Scene) -> Figure:
    """All frames, one below the other."""
    return _drawn(scene, frames(len(scene.sizes) - 1))


def _drawn(scene: Scene, told: list[Frame], only: int | None = None) -> Figure:
    with mpl.rc_context(STYLE):
        width, height = scene.extent
        each = height + 2 * LINE + HEAD
        figure = _figure(width, each * len(told))
        for row, frame in enumerate(told, start=1):
            axes = _axes(figure, FOOT + (len(told) - row) * each, width, height)
            _titled(axes, frame.title, scene.formulas(frame, only or 0))
            _Drawing(axes, scene, frame, only=only)
    return figure


def animate(scene: Scene, file: str | PathLike[str], *, seconds: float = 1.8) -> None:
    """Write the round frame by frame: .gif or .html as an animation, .png or .svg as a sheet of all frames.

    seconds: of each frame, from 0.01 to 600. Raises ValueError for others, and for another ending; OSError where the
    file cannot be written.
    """
    path = Path(file)
    if path.suffix not in KINDS:
        raise ValueError(f"{path}: expected a name that ends in {', '.join(KINDS[:-1])} or {KINDS[-1]}")
    if not 0.01 <= seconds <= 600:  # a GIF counts hundredths of a second, up to 655 seconds
        raise ValueError(f"seconds: expected a number from 0.01 to 600, got {seconds}")
    with whole(path) as draft:
        _write(scene, draft, seconds)


def _write(scene: Scene, path: Path, seconds: float) -> None:
    told = frames(len(scene.sizes) - 1)
    if path.suffix in (".png", ".svg"):
        _save(sheet(scene), path, path.suffix[1:], dpi=DPI)
        return
    if path.suffix == ".html":
        pictures = "".join(f"<figure>{as_svg(still(scene, frame))}</figure>" for frame in told)
        narrowest = round(8 * max(scene.extent[0], WIDTH))  # 8 pixels an em: what is narrower scrolls
        page = PAGE.format(pictures=pictures, milliseconds=1000 * seconds, narrowest=narrowest)
        path.write_text(page, encoding="utf-8")
        return
    shots = []
    for frame in told:
        shot = io.BytesIO()
        _save(still(scene, frame), shot, "png", dpi=DPI)
        shots.append(Image.open(shot).convert("RGB"))
    shots[0].save(path, save_all=True, append_images=shots[1:], duration=round(1000 * seconds), loop=0)


def save(figure: Figure, path: Path) -> None:
    """Write a figure whole or not at all; the ending of the name says as what."""
    with whole(path) as draft:
        _save(figure, draft, path.suffix[1:])


def _save(figure: Figure, file: Path | io.BytesIO | io.StringIO, kind: str, **more: Any) -> None:
    with mpl.rc_context(STYLE):
        figure.savefig(file, format=kind, metadata=DATELESS.get(kind), **more)


def as_svg(figure: Figure) -> str:
    """A figure as an SVG element, to stand inside of a page."""
    text = io.StringIO()
    _save(figure, text, "svg")
    return text.getvalue()[text.getvalue().index("<svg") :]


# It holds everything, and runs without a network. Who asks for less motion sees the frames stand still.
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>A round of training</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px system-ui, sans-serif; margin: 1rem auto; max-width: 44rem; padding: 0 1rem; }}
@media (prefers-color-scheme: dark) {{ body {{ background: #16181c; }} }}
figure {{ margin: 0 0 .6rem; overflow-x: auto; }} figure[hidden] {{ display: none; }}
figure svg {{ width: 100%; min-width: {narrowest}px; height: auto; display: block; }}
nav {{ display: flex; gap: .5rem; align-items: center; }} input {{ flex: 1; }}
button {{ font: inherit; padding: .2rem .8rem; }}
</style></head>
<body>{pictures}
<nav><button id="back" aria-label="back">&#9664;</button><button id="play">play</button>
<button id="on" aria-label="on">&#9654;</button><input id="at" type="range" min="0" value="0" aria-label="frame"></nav>
<script>
const frames = [...document.querySelectorAll("figure")], at = document.getElementById("at");
const play = document.getElementById("play");
let timer = null;
at.max = frames.length - 1;
function show(n) {{
  at.value = (n + frames.length) % frames.length;
  frames.forEach((frame, i) => {{ frame.hidden = i != at.value; }});
}}
function run(on) {{
  clearInterval(timer);
  timer = on ? setInterval(() => show(+at.value + 1), {milliseconds}) : null;
  play.textContent = on ? "pause" : "play";
}}
document.getElementById("back").onclick = () => {{ run(false); show(+at.value - 1); }};
document.getElementById("on").onclick = () => {{ run(false); show(+at.value + 1); }};
play.onclick = () => run(!timer);
at.oninput = () => {{ run(false); show(+at.value); }};
show(0);
run(!matchMedia("(prefers-reduced-motion: reduce)").matches);
</script></body></html>
"""


def article_figures(scenes: Mapping[str, Scene]) -> Iterator[tuple[str, Figure]]:
    """The article's figures by name, of those of its two networks, neuron and two_by_two, that are given.

    The networks themselves, δ21 in its neuron, δ11 from both outputs, the four steps, and the descent.
    """
    if "neuron" in scenes:
        yield "neuron", still(scenes["neuron"], Frame("forward", 1, "One neuron"))
    if "two_by_two" not in scenes:
        return
    two_by_two, depth = scenes["two_by_two"], 2
    yield "network", still(two_by_two, Frame("forward", depth, "Two layers, four neurons"))
    yield "delta-21", delta_in_its_neuron(two_by_two)
    yield "delta-11", still(two_by_two, Frame("deltas", 1, "δ11 is collected from both outputs"), only=0)
    *steps, descent = frames(depth)[depth + 1 :]
    for step, frame in enumerate(steps, start=1):
        yield f"step-{step}", still(two_by_two, frame)
    yield "descent", still(two_by_two, descent)


def delta_in_its_neuron(scene: Scene) -> Figure:
    """δ21(out) at the neuron's output, and carried back through it to δ21(in)."""
    with mpl.rc_context(STYLE):
        last = len(scene.sizes) - 1
        width, height, radius = WIDTH, 15.0, 6.8
        figure = _figure(width, height + 2 * LINE + HEAD)
        axes = _axes(figure, FOOT, width, height)
        _titled(axes, "δ21: from the neuron's output back through it", scene.formulas(Frame("deltas", last, "")))
        x, y = width / 2, height / 2
        _circle(axes, x, y, radius, QUIET, halves=True)
        quantities = (
            (-1, 1, scene.neuron(last, 0) + "_in", scene.trace.n_in, FORWARD),
            (1, 1, scene.neuron(last, 0) + "_out", scene.trace.n_out, FORWARD),
            (-1, -1, scene.delta(last, 0) + "_in", scene.grads.delta_in, BACKWARD),
            (1, -1, scene.delta(last, 0) + "_out", scene.grads.delta_out, BACKWARD),
        )
        for side, up, name, of_layers, colour in quantities:
            at = x + side * radius * 0.48, y + 2.2 * up
            text = f"{notation.text(name)}\n{number(of_layers[-1][0])}"
            axes.text(*at, text, color=colour, ha="center", va="center", zorder=6)
            near, far = (x + side * (radius + away) for away in (0.3, 9.0))
            ends = (far, near) if (side < 0) == (up > 0) else (near, far)
            axes.add_patch(_arrow((ends[0], at[1]), (ends[1], at[1]), colour, 1.8))
    return figure

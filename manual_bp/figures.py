"""Pictures of small networks: the article's figures, and a round of training frame by frame. Needs matplotlib."""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
from matplotlib.animation import FuncAnimation, PillowWriter
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch
from torch import Tensor

from manual_bp import notation
from manual_bp._files import whole
from manual_bp.network import Gradients, Network, Trace
from manual_bp.training import one_round

# Okabe and Ito's colours, which colour-blind people can tell apart.
FORWARD, BACKWARD, UPDATE, QUIET = "#0072B2", "#D55E00", "#009E73", "#444444"
FADED = 0.22
WIDEST, DEEPEST = 3, 4  # neurons in a layer, and layers: more would not be legible
RADIUS, SMALL_RADIUS = 0.62, 0.3
ACROSS, DOWN, BELOW = 3.4, 1.75, 0.9  # from layer to layer, from neuron to neuron, and for the bias node
KINDS = (".gif", ".html", ".png", ".svg")

STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "manual-bp", "font.size": 9, "font.family": "DejaVu Sans"}

Phase = Literal["inputs", "forward", "deltas", "update"]


class Frame(NamedTuple):
    """A moment of the round: what is computed in it, and for which layer; layer 1 is the first of neurons."""

    phase: Phase
    layer: int
    title: str


def frames(depth: int) -> list[Frame]:
    """The forward phase layer by layer, then the backward phase: of each layer, the last first, deltas and weights."""
    told = [Frame("inputs", 0, "A sample")]
    told += [Frame("forward", layer, f"Forward phase: layer {layer}") for layer in range(1, depth + 1)]
    step = 1
    for layer in range(depth, 0, -1):
        where = "at the outputs" if layer == depth else f"carried back to layer {layer}"
        told.append(Frame("deltas", layer, f"Backward phase, step {step}: the deltas {where}"))
        told.append(Frame("update", layer, f"Backward phase, step {step + 1}: the weights into layer {layer}"))
        step += 2
    return told


@dataclass(frozen=True)
class Scene:
    """A small network and a round of training on one sample: all that is drawn of it."""

    sizes: tuple[int, ...]
    trace: Trace
    grads: Gradients
    new_weights: tuple[Tensor, ...]
    new_biases: tuple[Tensor, ...]
    z: Tensor
    symbols: bool = False  # in the place of the numbers
    inputs: tuple[str, ...] = field(default=())

    @classmethod
    def of(cls, net: Network, x: Tensor, z: Tensor, eta: float, *, symbols: bool = False) -> "Scene":
        """The round of that network on the sample x [n₀], z; the network stays as it is.

        Raises ValueError for one of more than four layers, or of three neurons in a layer, and for a batch.
        """
        depth = len(net.sizes) - 1
        if depth > DEEPEST or max(net.sizes) > WIDEST:
            raise ValueError(
                f"net: expected at most {DEEPEST} layers of at most {WIDEST} neurons, to be legible, got "
                f"{'-'.join(map(str, net.sizes))}"
            )
        if x.dim() != 1:
            raise ValueError(f"x: expected one sample, of shape [{net.sizes[0]}], got {list(x.shape)}")
        other = Network(net.weights, net.biases, net.activations, net.cost_rule)
        trace, grads = one_round(other, x, z, eta)
        inputs = ("x", "y") if net.sizes == (2, 2, 2) else tuple(f"x{i + 1}" for i in range(net.sizes[0]))
        return cls(net.sizes, trace, grads, other.weights, other.biases, z, symbols, inputs)

    def neuron(self, layer: int, index: int) -> str:
        """The name of a neuron: n21, of one alone n."""
        return "n" if self.sizes[1:] == (1,) else f"n_{layer}{index + 1}"

    def shown(self, name: str, value: Tensor) -> str:
        """A quantity as it stands in the picture."""
        return notation.text(name) if self.symbols else notation.number(round(float(value), 3))

    def label_of_weight(self, layer: int, to: int, come_from: int | None, new: bool) -> str:
        """The weight on an edge; from None, of the bias."""
        if come_from is None:
            value = (self.new_biases if new else self.trace.biases)[layer - 1][to]
            source = "b"
        else:
            value = (self.new_weights if new else self.trace.weights)[layer - 1][to, come_from]
            source = self.inputs[come_from] if layer == 1 else f"{layer - 1}{come_from + 1}"
        alone = self.sizes[1:] == (1,)
        name = f"w{source.removeprefix('x')}" if alone else f"w_{layer}{to + 1}_{source}"
        return self.shown(name + "_new" * new, value)


class _Drawing:
    """One frame of a scene on axes."""

    def __init__(self, axes: Axes, scene: Scene, frame: Frame, *, only: int | None = None) -> None:
        self.axes, self.scene, self.frame, self.only = axes, scene, frame, only
        depth = len(scene.sizes) - 1
        height = DOWN * max(scene.sizes)
        axes.set_xlim(-1.15, ACROSS * depth + 1.15)
        axes.set_ylim(-height / 2 - BELOW, height / 2 + 0.1)
        axes.set_aspect("equal")
        axes.axis("off")
        axes.set_title(frame.title, fontsize=11, color=QUIET)
        for layer in range(1, depth + 1):
            self._edges(layer)
        for layer in range(depth + 1):
            self._layer(layer)

    def place(self, layer: int, index: int | None) -> tuple[float, float]:
        """The centre of a neuron; of None the bias node, below its layer."""
        n = self.scene.sizes[layer]
        if index is None:
            return layer * ACROSS, -DOWN * max(self.scene.sizes) / 2 - 0.5
        return layer * ACROSS, ((n - 1) / 2 - index) * DOWN

    @property
    def backward(self) -> bool:
        return self.frame.phase in ("deltas", "update")

    def done(self, layer: int) -> bool:
        """Whether the backward phase has gone below this layer."""
        return self.backward and layer > self.frame.layer

    def _layer(self, layer: int) -> None:
        scene, (phase, now, _) = self.scene, self.frame
        for index in range(scene.sizes[layer]):
            x, y = self.place(layer, index)
            if layer == 0:
                name = scene.inputs[index]
                self._node(
                    x,
                    y,
                    name if scene.symbols else f"{name} = {scene.shown(name, scene.trace.x[index])}",
                    phase == "inputs",
                )
                continue
            active = layer == now and (self.only is None or index == self.only)
            colour = {"forward": FORWARD, "deltas": BACKWARD}.get(phase, QUIET) if active else QUIET
            alpha = FADED if self.done(layer) else 1.0
            computed = self.backward or (phase == "forward" and layer <= now)
            width = 2.2 if active and phase in ("forward", "deltas") else 1.1
            self.axes.add_patch(
                Circle((x, y), RADIUS, facecolor="white", edgecolor=colour, linewidth=width, alpha=alpha, zorder=3)
            )
            self.axes.plot([x, x], [y - RADIUS, y + RADIUS], color=colour, linewidth=0.8, alpha=alpha, zorder=4)
            name = scene.neuron(layer, index)
            self._text(x, y + RADIUS + 0.13, notation.text(name), QUIET, alpha, size=9)
            if computed:
                plain = FORWARD if colour == FORWARD else QUIET
                self._halves(
                    x,
                    y + 0.2,
                    f"{name}_in",
                    scene.trace.n_in,
                    f"{name}_out",
                    scene.trace.n_out,
                    layer,
                    index,
                    plain,
                    alpha,
                )
            if self.backward and layer >= now and (layer > now or self.only is None or index == self.only):
                delta = name.replace("n", "delta", 1)
                colour = BACKWARD if active and phase == "deltas" else QUIET
                self._halves(
                    x,
                    y - 0.2,
                    f"{delta}_in",
                    scene.grads.delta_in,
                    f"{delta}_out",
                    scene.grads.delta_out,
                    layer,
                    index,
                    colour,
                    alpha,
                )
            if layer == len(scene.sizes) - 1:
                target = "y" if scene.sizes[1:] == (1,) else f"z_{index + 1}"
                shown = notation.text(target)
                self._text(
                    x + RADIUS + 0.1,
                    y,
                    shown if scene.symbols else f"{shown} = {scene.shown(target, scene.z.view(-1)[index])}",
                    QUIET,
                    alpha,
                    align="left",
                )
        if layer < len(scene.sizes) - 1:
            x, y = self.place(layer, None)
            self._node(x, y, "b" if scene.symbols else "1", False)

    def _node(self, x: float, y: float, text: str, active: bool) -> None:
        radius = SMALL_RADIUS if len(text) < 3 else RADIUS
        colour = FORWARD if active else QUIET
        self.axes.add_patch(Circle((x, y), radius, facecolor="white", edgecolor=colour, linewidth=1.1, zorder=3))
        self._text(x, y, text, colour, 1.0)

    def _halves(
        self, x: float, y: float, name_in: str, in_: tuple[Tensor, ...], name_out: str, out: tuple[Tensor, ...],
        layer: int, index: int, colour: str, alpha: float,
    ) -> None:  # fmt: skip
        for side, name, values in ((-1, name_in, in_), (1, name_out, out)):
            self._text(
                x + side * RADIUS * 0.47, y, self.scene.shown(name, values[layer - 1][index]), colour, alpha, size=7
            )

    def _text(
        self, x: float, y: float, text: str, colour: str, alpha: float, *, size: float = 8, align: str = "center"
    ) -> None:
        self.axes.text(x, y, text, color=colour, alpha=alpha, fontsize=size, ha=align, va="center", zorder=6)

    def _edges(self, layer: int) -> None:
        scene, (phase, now, _) = self.scene, self.frame
        sources: list[int | None] = [*range(scene.sizes[layer - 1]), None]
        for to in range(scene.sizes[layer]):
            for source in sources:
                start, end = self.place(layer - 1, source), self.place(layer, to)
                updated = self.backward and (layer > now or (phase == "update" and layer == now))
                forward = phase == "forward" and layer == now
                carried = phase == "deltas" and layer == now + 1 and source is not None and self.only in (None, source)
                update = phase == "update" and layer == now
                colour = FORWARD if forward else BACKWARD if carried else UPDATE if update else QUIET
                alpha = FADED if self.done(layer) and not carried else 1.0 if forward or carried or update else 0.55
                self._edge(start, end, source, layer, colour, alpha, backward=carried)
                # The deltas are carried by the weights of the forward phase, whatever is updated by then.
                label = scene.label_of_weight(layer, to, source, new=updated and not carried)
                # At such shares of the way no two labels of a gap between layers meet.
                along = 0.28 if source is not None else 0.72
                x, y = (start[i] + along * (end[i] - start[i]) for i in range(2))
                self.axes.text(
                    x, y, label, color=colour, alpha=max(alpha, 0.35), fontsize=7, ha="center", va="center", zorder=5,
                    bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.9},
                )  # fmt: skip

    def _edge(
        self, start: tuple[float, float], end: tuple[float, float], source: int | None, layer: int, colour: str,
        alpha: float, *, backward: bool,
    ) -> None:  # fmt: skip
        radius = SMALL_RADIUS if source is None or (layer == 1 and self.scene.symbols) else RADIUS
        length = ((end[0] - start[0]) ** 2 + (end[1] - start[1]) ** 2) ** 0.5
        direction = [(end[i] - start[i]) / length for i in range(2)]
        near = tuple(start[i] + direction[i] * (radius + 0.04) for i in range(2))
        far = tuple(end[i] - direction[i] * (RADIUS + 0.04) for i in range(2))
        ends = (far, near) if backward else (near, far)
        self.axes.add_patch(
            FancyArrowPatch(
                *ends, arrowstyle="-|>", mutation_scale=9, color=colour, alpha=alpha,
                linewidth=1.0 if colour == QUIET else 1.8, shrinkA=0, shrinkB=0, zorder=2,
            )
        )  # fmt: skip


def _canvas(scene: Scene, scale: float = 0.82) -> Figure:
    width = ACROSS * (len(scene.sizes) - 1) + 2.3
    height = DOWN * max(scene.sizes) + BELOW + 0.5
    return Figure(figsize=(width * scale, height * scale), layout="constrained")


def still(scene: Scene, frame: Frame, *, only: int | None = None, title: str | None = None) -> Figure:
    """One frame; only: a neuron of its layer alone."""
    with mpl.rc_context(STYLE):
        figure = _canvas(scene)
        _Drawing(figure.add_subplot(), scene, frame._replace(title=title or frame.title), only=only)
    return figure


def sheet(scene: Scene) -> Figure:
    """All frames side by side."""
    told = frames(len(scene.sizes) - 1)
    with mpl.rc_context(STYLE):
        one = _canvas(scene).get_size_inches()
        columns = 2
        rows = -(-len(told) // columns)
        figure = Figure(figsize=(one[0] * columns, one[1] * rows), layout="constrained")
        for frame, axes in zip(told, figure.subplots(rows, columns).flat, strict=False):
            _Drawing(axes, scene, frame)
        for axes in figure.axes[len(told) :]:
            axes.axis("off")
    return figure


def animate(scene: Scene, file: str | PathLike[str], *, seconds: float = 1.8) -> None:
    """Write the round frame by frame: .gif or .html as an animation, .png or .svg as a sheet of all frames.

    seconds: of each frame. Raises ValueError for another ending, and OSError where the file cannot be written.
    """
    path = Path(file)
    if path.suffix not in KINDS:
        raise ValueError(f"{path}: expected a name that ends in {', '.join(KINDS)}")
    with whole(path) as draft, mpl.rc_context(STYLE):
        _write(scene, draft, seconds)


def _write(scene: Scene, path: Path, seconds: float) -> None:
    told = frames(len(scene.sizes) - 1)
    if path.suffix in (".png", ".svg"):
        sheet(scene).savefig(path, dpi=110)
        return
    if path.suffix == ".html":
        pictures = "".join(f"<figure>{as_svg(still(scene, frame))}</figure>" for frame in told)
        path.write_text(PAGE.format(pictures=pictures, milliseconds=1000 * seconds), encoding="utf-8")
        return
    figure = _canvas(scene)
    axes = figure.add_subplot()

    def draw(number: int) -> list[Axes]:
        axes.clear()
        _Drawing(axes, scene, told[number])
        return [axes]

    frames_a_second: Any = 1 / seconds
    FuncAnimation(figure, draw, frames=len(told)).save(path, writer=PillowWriter(fps=frames_a_second), dpi=110)


def as_svg(figure: Figure) -> str:
    """A figure as an SVG element, to stand inside of a page."""
    text = io.StringIO()
    with mpl.rc_context(STYLE):
        figure.savefig(text, format="svg")
    return text.getvalue()[text.getvalue().index("<svg") :]


# It holds everything, and runs without a network. Who asks for less motion sees the frames stand still.
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>A round of training</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px system-ui, sans-serif; margin: 1rem auto; max-width: 52rem; padding: 0 1rem; }}
figure {{ background: #fff; border-radius: 6px; margin: 0 0 .6rem; }} figure[hidden] {{ display: none; }}
figure svg {{ width: 100%; height: auto; display: block; }}
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


def article_figures(two_by_two: Scene, neuron: Scene) -> Iterator[tuple[str, Figure]]:
    """The article's figures by name: the two networks, δ21 in its neuron, δ11 from both outputs, and the four steps."""
    depth = 2
    yield "neuron", still(neuron, Frame("forward", 1, "A neuron"))
    yield "network", still(two_by_two, Frame("forward", depth, "Two layers, four neurons"))
    yield "delta-21", delta_in_its_neuron(two_by_two)
    yield "delta-11", still(two_by_two, Frame("deltas", 1, "δ11 is collected from both outputs"), only=0)
    for number, frame in enumerate(frames(depth)[depth + 1 :], start=1):
        yield f"step-{number}", still(two_by_two, frame)


def delta_in_its_neuron(scene: Scene) -> Figure:
    """δ21(out) at the neuron's output, and carried back through it to δ21(in)."""
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(6.4, 2.5), layout="constrained")
        axes = figure.add_subplot()
        axes.set_xlim(-4, 4)
        axes.set_ylim(-1.35, 1.55)
        axes.set_aspect("equal")
        axes.axis("off")
        axes.set_title("δ21: from the neuron's output back through it", fontsize=11, color=QUIET)
        axes.add_patch(Circle((0, 0), 1.1, facecolor="white", edgecolor=QUIET, linewidth=1.3))
        axes.plot([0, 0], [-1.1, 1.1], color=QUIET, linewidth=0.8)
        n_in, n_out = scene.trace.n_in[-1][0], scene.trace.n_out[-1][0]
        quantities = (
            (-0.52, 0.45, "n_21_in", n_in, FORWARD),
            (0.52, 0.45, "n_21_out", n_out, FORWARD),
            (-0.52, -0.45, "delta_21_in", scene.grads.delta_in[-1][0], BACKWARD),
            (0.52, -0.45, "delta_21_out", scene.grads.delta_out[-1][0], BACKWARD),
        )
        for x, y, name, value, colour in quantities:
            shown = notation.text(name)
            axes.text(
                x,
                y,
                shown if scene.symbols else f"{shown}\n{scene.shown(name, value)}",
                color=colour,
                ha="center",
                va="center",
                fontsize=8,
            )
        for (x0, x1), y, colour, label, side in (
            ((-2.6, -1.15), 0.45, FORWARD, "", -1),
            ((1.15, 2.6), 0.45, FORWARD, "", 1),
            ((2.6, 1.15), -0.45, BACKWARD, "∂J/∂n21(out)", 1),
            ((-1.15, -2.6), -0.45, BACKWARD, "δ21(out)·∂n21(out)/∂n21(in)", -1),
        ):
            axes.add_patch(
                FancyArrowPatch(
                    (x0, y),
                    (x1, y),
                    arrowstyle="-|>",
                    mutation_scale=11,
                    color=colour,
                    linewidth=1.6,
                    shrinkA=0,
                    shrinkB=0,
                )
            )
            axes.text(
                side * 1.2, y - 0.28, label, color=colour, fontsize=7.5, ha="left" if side > 0 else "right", va="center"
            )
    return figure

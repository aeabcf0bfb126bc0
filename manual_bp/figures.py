"""Pictures of small networks: the article's figures, and a round of training frame by frame. Needs matplotlib."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal, NamedTuple

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch
from PIL import Image
from torch import Tensor
from torch.nn.functional import one_hot

from manual_bp import notation
from manual_bp._files import whole
from manual_bp.network import Gradients, Network, Trace, one_round

# Okabe and Ito's colours, which colour-blind people can tell apart.
BLUE, VERMILION, GREEN = "#0072B2", "#D55E00", "#009E73"
FORWARD, BACKWARD, UPDATE, QUIET = BLUE, VERMILION, GREEN, "#444444"
FADED = 0.22
WIDEST, DEEPEST = 3, 4  # neurons in a layer, and layers: more would not be legible
RADIUS, SMALL_RADIUS = 0.62, 0.3
ACROSS, DOWN, BELOW = 3.4, 1.75, 0.9  # from layer to layer, from neuron to neuron, and for the bias node
KINDS = (".gif", ".html", ".png", ".svg")
DPI = 110

# Text of an SVG stays text, and the same picture has the same bytes: no name at random in it, and no date.
STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "manual-bp", "font.size": 9, "font.family": "DejaVu Sans"}
DATELESS: Any = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}

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
    symbols: bool  # in the place of the numbers
    inputs: tuple[str, ...]

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
        targets = z if z.dim() else one_hot(z.long(), net.sizes[-1])  # of the index of a class
        return cls(net.sizes, trace, grads, other.weights, other.biases, targets, symbols, inputs)

    def neuron(self, layer: int, index: int) -> str:
        """The name of a neuron: n21, of one alone n."""
        return "n" if self.sizes[1:] == (1,) else f"n_{layer}{index + 1}"

    def shown(self, name: str, value: Tensor) -> str:
        """A quantity as it stands in the picture."""
        return notation.text(name) if self.symbols else notation.number(round(float(value), 3) + 0.0)  # of −0.0, 0

    def named(self, name: str, value: Tensor) -> str:
        """A quantity with its name before it."""
        return self.shown(name, value) if self.symbols else f"{notation.text(name)} = {self.shown(name, value)}"

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
        for index in range(self.scene.sizes[layer]):
            if layer:
                self._neuron(layer, index)
            else:
                name = self.scene.named(self.scene.inputs[index], self.scene.trace.x[index])
                self._node(*self.place(0, index), name, self.frame.phase == "inputs")
        if layer < len(self.scene.sizes) - 1:
            self._node(*self.place(layer, None), "b" if self.scene.symbols else "1", False)

    def _neuron(self, layer: int, index: int) -> None:
        """A circle in two halves: what goes in, and what comes out; the deltas below."""
        scene, (phase, now, _) = self.scene, self.frame
        x, y = self.place(layer, index)
        name = scene.neuron(layer, index)
        active = layer == now and self.only in (None, index)
        colour = {"forward": FORWARD, "deltas": BACKWARD}.get(phase, QUIET) if active else QUIET
        alpha = FADED if self.done(layer) else 1.0
        width = 1.1 if colour == QUIET else 2.2
        self.axes.add_patch(Circle((x, y), RADIUS, fc="white", ec=colour, linewidth=width, alpha=alpha, zorder=3))
        self.axes.plot([x, x], [y - RADIUS, y + RADIUS], color=colour, linewidth=0.8, alpha=alpha, zorder=4)
        self._text(x, y + RADIUS + 0.13, notation.text(name), QUIET, alpha, size=9)

        def halves(height: float, quantity: str, ins: tuple[Tensor, ...], outs: tuple[Tensor, ...], ink: str) -> None:
            for side, part, of_layers in ((-1, "in", ins), (1, "out", outs)):
                value = scene.shown(f"{quantity}_{part}", of_layers[layer - 1][index])
                self._text(x + side * RADIUS * 0.47, y + height, value, ink, alpha, size=6.3 if scene.symbols else 7.5)

        if self.backward or (phase == "forward" and layer <= now):
            halves(0.2, name, scene.trace.n_in, scene.trace.n_out, FORWARD if colour == FORWARD else QUIET)
        if self.backward and (layer > now or active):
            delta = name.replace("n", "delta", 1)
            halves(-0.2, delta, scene.grads.delta_in, scene.grads.delta_out, colour)
        if layer == len(scene.sizes) - 1:
            target = scene.named("y" if scene.sizes[1:] == (1,) else f"z_{index + 1}", scene.z[index])
            self._text(x + RADIUS + 0.1, y, target, QUIET, alpha, align="left")

    def _node(self, x: float, y: float, text: str, active: bool) -> None:
        """A circle alone: an input or the bias."""
        radius = SMALL_RADIUS if len(text) < 3 else RADIUS
        colour = FORWARD if active else QUIET
        self.axes.add_patch(Circle((x, y), radius, fc="white", ec=colour, linewidth=1.1, zorder=3))
        self._text(x, y, text, colour, 1.0)

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
        near = start[0] + direction[0] * (radius + 0.04), start[1] + direction[1] * (radius + 0.04)
        far = end[0] - direction[0] * (RADIUS + 0.04), end[1] - direction[1] * (RADIUS + 0.04)
        ends = (far, near) if backward else (near, far)
        self.axes.add_patch(_arrow(*ends, colour, 1.0 if colour == QUIET else 1.8, alpha=alpha, zorder=2))


def _canvas(scene: Scene, scale: float = 0.82) -> Figure:
    width = ACROSS * (len(scene.sizes) - 1) + 2.3
    height = DOWN * max(scene.sizes) + BELOW + 0.5
    return Figure(figsize=(width * scale, height * scale), layout="constrained")


def still(scene: Scene, frame: Frame, *, only: int | None = None) -> Figure:
    """One frame; only: a neuron of its layer alone."""
    with mpl.rc_context(STYLE):
        figure = _canvas(scene)
        _Drawing(figure.add_subplot(), scene, frame, only=only)
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

    seconds: of each frame, from 0.01 to 600. Raises ValueError for others, and for another ending; OSError where the
    file cannot be written.
    """
    path = Path(file)
    if path.suffix not in KINDS:
        raise ValueError(f"{path}: expected a name that ends in {', '.join(KINDS)}")
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
        path.write_text(PAGE.format(pictures=pictures, milliseconds=1000 * seconds), encoding="utf-8")
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


def article_figures(scenes: Mapping[str, Scene]) -> Iterator[tuple[str, Figure]]:
    """The article's figures by name, of those of its two networks, neuron and two_by_two, that are given.

    The networks themselves, δ21 in its neuron, δ11 from both outputs, and the four steps.
    """
    if "neuron" in scenes:
        yield "neuron", still(scenes["neuron"], Frame("forward", 1, "A neuron"))
    if "two_by_two" not in scenes:
        return
    two_by_two, depth = scenes["two_by_two"], 2
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
            label = scene.named(name, value).replace(" = ", "\n")
            axes.text(x, y, label, color=colour, ha="center", va="center", fontsize=8)
        for x0, x1, y, colour, label in (
            (-2.6, -1.15, 0.45, FORWARD, ""),
            (1.15, 2.6, 0.45, FORWARD, ""),
            (2.6, 1.15, -0.45, BACKWARD, "∂J/∂n21(out)"),
            (-1.15, -2.6, -0.45, BACKWARD, "δ21(out)·∂n21(out)/∂n21(in)"),
        ):
            axes.add_patch(_arrow((x0, y), (x1, y), colour, 1.6))
            side = "left" if x0 > 0 else "right"
            axes.text(1.2 if x0 > 0 else -1.2, y - 0.28, label, color=colour, fontsize=7.5, ha=side, va="center")
    return figure


def _arrow(start: tuple[float, float], end: tuple[float, float], colour: str, width: float, **more: Any) -> Any:
    shape: Any = {"arrowstyle": "-|>", "mutation_scale": 10, "shrinkA": 0, "shrinkB": 0}
    return FancyArrowPatch(start, end, color=colour, linewidth=width, **shape, **more)

"""Pictures show the numbers that were computed, all of them, and their files open."""

import importlib.util
import io
import math
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import combinations, pairwise, product
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch

from crosscheck import Report, crosscheck
from crosscheck.row import WRONG, Row
from manual_bp import Network, article, notation
from manual_bp.__main__ import main
from manual_bp.commands.article import DEFAULTS, as_network
from manual_bp.network import one_round

pytest.importorskip("matplotlib", reason="the extra figures")

from matplotlib.colors import to_hex, to_rgb
from matplotlib.patches import Circle, FancyArrowPatch, Patch
from matplotlib.text import Text
from PIL import Image, ImageSequence

from crosscheck.plots import _apart, svg
from manual_bp import figures
from manual_bp.commands import plots
from manual_bp.figures import BACKWARD, BLUE, FORWARD, QUIET, UPDATE, VERMILION, Frame, Scene, frames

X, Z, ETA = torch.tensor([0.6, -1.0]), torch.tensor([1.0, 0.0]), 0.5
SIZES = [3, 2, 1, 2]


def svg_words(picture):
    return [text.text for text in ElementTree.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")]


def titles(picture):
    return [text for text in svg_words(picture) if text in [frame.title for frame in frames(2)]]


class Page(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.tags, self.text, self.links, self.open = [], [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.links += [value for name, value in attributes if name in ("src", "href", "xlink:href")]

    def handle_data(self, data):
        self.text.append(data)


class Seen:
    """What a reader sees of a network on axes: nodes by layer and from the top, the bias last, and edges by their ends.

    Of each node the texts inside, row by row, the line that halves it, and the texts beside it; of each edge its label.
    """

    def __init__(self, axes):
        circles = [patch for patch in axes.patches if isinstance(patch, Circle)]
        of_biases = sorted((c for c in circles if c.radius == figures.BIAS_RADIUS), key=lambda c: c.center[0])
        circles = [c for c in circles if c not in of_biases]
        layers = [[c for c in circles if c.center[0] == x] for x in sorted({c.center[0] for c in circles})]
        assert len(of_biases) == len(layers) - 1
        self.nodes = {
            (layer, place): circle
            for layer, column in enumerate(layers)
            for place, circle in enumerate([*sorted(column, key=lambda c: -c.center[1]), *of_biases[layer : layer + 1]])
        }
        arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
        self.edges = {tuple(map(self._touched, arrow._posA_posB)): arrow for arrow in arrows}
        assert len(self.edges) == len(arrows)
        self.halves = {}
        for line in axes.lines:
            ((x, bottom), (_, top)) = line.get_xydata()
            (key,) = (
                key for key, circle in self.nodes.items() if circle.center == pytest.approx((x, (top + bottom) / 2))
            )
            self.halves[key] = line
            assert top - bottom == pytest.approx(2 * self.nodes[key].radius)
        self.inside, self.beside = {key: [] for key in self.nodes}, {key: [] for key in self.nodes}
        self.labels = {}
        self.formulas = [
            text.get_text() for text in reversed(axes.texts) if text.get_position()[1] > axes.get_ylim()[1]
        ]
        below = [text for text in axes.texts if text.get_position()[1] <= axes.get_ylim()[1]]
        for text in sorted(below, key=lambda t: (-t.get_position()[1], t.get_position()[0])):
            at = text.get_position()
            on = [key for key, arrow in self.edges.items() if self._on(arrow, at)]
            near, node = min((math.dist(at, circle.center), key) for key, circle in self.nodes.items())
            if on:
                (key,) = on
                assert self.labels.setdefault(key, text) is text
            elif near < self.nodes[node].radius:
                self.inside[node].append(text)
            else:
                self.beside[node].append(text)

    def _touched(self, end):
        gaps = {key: math.dist(end, circle.center) - circle.radius for key, circle in self.nodes.items()}
        (touched,) = (key for key, gap in gaps.items() if 0 <= gap < 0.2)
        return touched

    @staticmethod
    def _on(arrow, at):
        start, end = arrow._posA_posB
        return math.dist(start, at) + math.dist(at, end) - math.dist(start, end) < 1e-9


def scene(sizes, **options):
    generator = torch.Generator().manual_seed(0)
    x, z = torch.randn(sizes[0], generator=generator), torch.rand(sizes[-1], generator=generator)
    return Scene.of(Network.random(sizes), x, z, ETA, **options)


def seen_in(drawn, frame, **options):
    """The network in a frame; the first axes are the legend's."""
    _, axes = figures.still(drawn, frame, **options).axes
    return Seen(axes)


def seen_in_frame(number):
    """The network of SIZES in one of its frames."""
    return seen_in(scene(SIZES), frames(3)[number])


def name_of_weight(layer, to, source, new=False):
    """In SIZES, or another network of the inputs x1, x2, ...; from None, of the bias."""
    come_from = "b" if source is None else f"x{source + 1}" if layer == 1 else f"{layer - 1}{source + 1}"
    return f"w{layer}{to + 1},{come_from}{'′' * new}"


def of_article(name, **options):
    return Scene.of(*as_network(name, DEFAULTS[name]), ETA, **options)


def words(texts):
    return [text.get_text() for text in texts]


def colours(artists):
    of = (artist.get_edgecolor() if isinstance(artist, Patch) else artist.get_color() for artist in artists)
    return [to_hex(colour).upper() for colour in of]


def coloured(artists):
    """The keys of those that are not quiet."""
    return sorted(key for key, colour in zip(artists, colours(artists.values()), strict=True) if colour != QUIET)


def in_each_others_way(figure):
    """The axes with their words, the legends and the title that overlap, or are not wholly in the picture."""
    figure.draw_without_rendering()
    parts = [*figure.axes, *figure.legends, *figure.texts]
    boxes = [part.get_tightbbox().padded(-0.5) for part in parts]
    return [(parts[i], parts[j]) for i, j in combinations(range(len(parts)), 2) if boxes[i].overlaps(boxes[j])] + [
        part for part, box in zip(parts, boxes, strict=True) if figure.bbox.count_contains(box.corners()) < 4
    ]


def shown(*tensors):
    return [notation.number(round(float(value), 3)) for tensor in tensors for value in tensor.view(-1)]


def neurons(layer):
    return {(layer, place) for place in range(SIZES[layer])}


def into(layer):
    """The edges into a layer; from its end, that of the bias."""
    return {(source, to) for source in neurons(layer - 1) | {(layer - 1, SIZES[layer - 1])} for to in neurons(layer)}


def back_from(layer):
    """The edges that carry deltas back from a layer: those of the bias carry none."""
    return {(to, source) for to in neurons(layer) for source in neurons(layer - 1)} if layer < len(SIZES) else set()


def test_the_frames_are_the_articles_four_steps_after_the_forward_phase_and_then_the_descent():
    assert frames(2) == [
        ("inputs", 0, "A sample: inputs and targets"),
        ("forward", 1, "Forward, layer 1"),
        ("forward", 2, "Forward, layer 2"),
        ("deltas", 2, "Step 1: the deltas at the outputs"),
        ("gradients", 2, "Step 2: the gradients into layer 2; the weights wait"),
        ("deltas", 1, "Step 3: the old weights carry the deltas to layer 1"),
        ("gradients", 1, "Step 4: the gradients into layer 1; the weights wait"),
        ("descent", 0, "Descent: all weights change at once"),
    ]


@pytest.mark.parametrize("number", range(11))
def test_a_frame_has_what_is_computed_by_then_in_its_place(number):
    """What goes into a neuron and what comes out, below it the deltas, and on each edge its own weight.

    The weights are those of the forward phase until the last frame. Where deltas are computed, no new one is shown.
    """
    net, told = Network.random(SIZES), {frame[:2] for frame in frames(3)[: number + 1]}
    phase, now, _ = frames(3)[number]
    drawn = scene(SIZES)
    weights, biases = net.weights, net.biases
    trace, grads = one_round(net, drawn.trace.x, drawn.z, ETA)
    seen, end = seen_in_frame(number), phase == "descent"
    assert {key: words(texts) for key, texts in seen.inside.items()} == {
        (layer, place): shown(*(t[layer - 1][place] for t in (trace.n_in, trace.n_out)))
        * (("forward", layer) in told and not end)
        + shown(*(t[layer - 1][place] for t in (grads.delta_in, grads.delta_out)))
        * (("deltas", layer) in told and not end)
        for layer in (1, 2, 3) for place in range(SIZES[layer])
    } | {
        (0, place): [f"x{place + 1}\n{text}"] for place, text in enumerate(shown(trace.x))
    } | {(layer, SIZES[layer]): ["1"] for layer in range(3)}  # fmt: skip
    assert {key: words(texts) for key, texts in seen.beside.items() if texts} == {
        (1, 0): ["n11"], (1, 1): ["n12"], (2, 0): ["n21"],
        **{(3, place): [f"n3{place + 1}", f"z{place + 1} = {text}"] for place, text in enumerate(shown(drawn.z))},
    }  # fmt: skip
    assert len(seen.labels) == len(seen.edges)
    for (start, stop), label in seen.labels.items():
        (layer, to), (_, source) = max(start, stop), min(start, stop)
        of_bias = source == SIZES[layer - 1]
        values = (biases, net.biases) if of_bias else (weights, net.weights)
        (old, new) = shown(*((value[layer - 1][to] if of_bias else value[layer - 1][to, source]) for value in values))
        name = name_of_weight(layer, to, None if of_bias else source, new=end)
        waits = f"\n→ {new} waits" * (phase == "gradients" and layer >= now)
        assert label.get_text() == f"{name} = {new if end else old}{waits}"


@pytest.mark.parametrize("number", range(11))
def test_a_frame_has_what_is_computed_in_it_in_the_colour_of_its_phase_and_all_else_quiet(number):
    frame, seen = frames(3)[number], seen_in_frame(number)
    layer = frame.layer
    carried = back_from(layer + 1) if frame.phase == "deltas" else set()
    colour, nodes, edges = {
        "inputs": (FORWARD, neurons(0), set()),
        "forward": (FORWARD, neurons(layer), into(layer) if layer else set()),
        "deltas": (BACKWARD, neurons(layer), carried),
        "gradients": (UPDATE, set(), into(layer) if layer else set()),
        "descent": (UPDATE, set(), into(1) | into(2) | into(3)),
    }[frame.phase]
    every = into(1) | into(2) | into(3)
    assert seen.edges.keys() == {(end, start) if (end, start) in carried else (start, end) for start, end in every}
    for keys, artists in ((nodes, seen.nodes), (edges, seen.edges), (edges, seen.labels)):
        assert dict(zip(artists, colours(artists.values()), strict=True)) == {
            key: colour if key in keys else QUIET for key in artists
        }
    assert seen.halves.keys() == neurons(1) | neurons(2) | neurons(3)
    for key, line in seen.halves.items():
        assert colours([line]) == colours([seen.nodes[key]])
    of_pass = [QUIET, QUIET] * (frame.phase == "deltas")  # what came forward is not computed anew
    for key, inside in seen.inside.items():
        assert colours(inside) == ([*of_pass, colour, colour] if key in nodes else [QUIET] * 4)[: len(inside)][-4:]
    targets = {QUIET, FORWARD} if frame.phase == "inputs" else {QUIET}
    assert {*colours(text for texts in seen.beside.values() for text in texts)} == targets


@pytest.mark.parametrize("number", range(11))
def test_what_the_backward_phase_is_done_with_is_faint(number):
    frame, seen = frames(3)[number], seen_in_frame(number)
    done = [layer for layer in (1, 2, 3) if frame.phase in ("deltas", "gradients") and layer > frame.layer]
    nodes = {node for layer in done for node in neurons(layer)}
    edges = {edge for layer in done for edge in into(layer) if edge in seen.edges}

    def faint(artists):
        return {key for key, artist in artists.items() if (artist.get_alpha() or 1) < 0.5}

    assert faint(seen.nodes) == nodes
    assert faint(seen.edges) == faint(seen.labels) == edges
    assert faint(seen.halves) == nodes
    for key in seen.nodes:
        assert {text.get_alpha() for text in seen.inside[key] + seen.beside[key]} <= {seen.nodes[key].get_alpha() or 1}


def test_nothing_is_hidden_and_numbers_stand_on_white():
    seen = seen_in_frame(9)
    behind = [*seen.nodes.values(), *map(Text.get_bbox_patch, seen.labels.values())]
    assert {to_hex(patch.get_facecolor()) for patch in behind} == {"#ffffff"}
    circles = max(circle.get_zorder() for circle in seen.nodes.values())
    texts = [text for inside in seen.inside.values() for text in inside]
    assert min(artist.get_zorder() for artist in (*seen.halves.values(), *texts)) > circles
    assert {arrow.get_arrowstyle().arrow for arrow in seen.edges.values()} == {"-|>"}
    assert min(map(Text.get_zorder, seen.labels.values())) > max(arrow.get_zorder() for arrow in seen.edges.values())


def test_one_neuron_alone_collects_its_delta_over_its_own_edges():
    seen = seen_in(scene([3, 2, 2]), Frame("deltas", 1, "δ12"), only=1)
    assert seen.formulas == ["δ12(out) = δ21(in)·w21,12 + δ22(in)·w22,12", "δ12(in) = δ12(out)·n12(out)·(1 − n12(out))"]
    assert coloured(seen.nodes) == [(1, 1)]
    assert coloured(seen.edges) == [edge for edge in sorted(seen.edges) if edge[0] > edge[1]]
    assert coloured(seen.edges) == [((2, 0), (1, 1)), ((2, 1), (1, 1))]
    assert [len(seen.inside[1, place]) for place in (0, 1)] == [2, 4]


def test_a_frame_has_its_formulas():
    drawn = of_article("two_by_two")
    assert [seen_in(drawn, frame).formulas for frame in frames(2)] == [
        ["w21,11 is the weight on the way from n11 into n21", "a bias b is the weight of an input that is always 1"],
        ["n11(in) = w11,x·x + w11,y·y + w11,b", "n11(out) = σ(n11(in))"],
        ["n21(in) = w21,11·n11(out) + w21,12·n12(out) + w21,b", "n21(out) = σ(n21(in))"],
        ["δ21(out) = ∂J/∂n21(out)", "δ21(in) = δ21(out)·n21(out)·(1 − n21(out)) = n21(out) − z1"],
        ["∂J/∂w21,11 = δ21(in)·n11(out)", "w21,11′ = w21,11 − η·∂J/∂w21,11 waits"],
        ["δ11(out) = δ21(in)·w21,11 + δ22(in)·w22,11", "δ11(in) = δ11(out)·n11(out)·(1 − n11(out))"],
        ["∂J/∂w11,x = δ11(in)·x", "w11,x′ = w11,x − η·∂J/∂w11,x waits"],
        ["w ← w′ = w − η·∂J/∂w", "for each weight, once, after all the deltas"],
    ]
    neuron = of_article("neuron")
    assert [neuron.formulas(frame) for frame in frames(1)[:3]] == [
        ("w1 is the weight on the way from x1 into n", "a bias b is the weight of an input that is always 1"),
        ("n(in) = w1·x1 + w2·x2 + wb", "n(out) = σ(n(in))"),
        ("δ(out) = ∂J/∂n(out)", "δ(in) = δ(out)·n(out)·(1 − n(out)) = n(out) − y"),
    ]


def test_formulas_are_of_the_networks_own_rules():
    net = Network.random([2, 2, 1], activation="tanh", cost="squared_error")
    drawn = Scene.of(net, X, torch.ones(1), ETA)
    assert [drawn.formulas(frame)[1] for frame in frames(2)[1:4]] == [
        "n11(out) = f(n11(in))", "n21(out) = f(n21(in))", "δ21(in) = δ21(out)·f′(n21(in))",
    ]  # fmt: skip


def test_every_picture_has_a_legend():
    drawn = of_article("two_by_two")
    for figure in (figures.still(drawn, frames(2)[4]), figures.sheet(drawn), figures.delta_in_its_neuron(drawn)):
        legend = figure.axes[0]
        (circle,) = (patch for patch in legend.patches if isinstance(patch, Circle))
        texts = {text.get_text(): text for text in legend.texts}
        halves = {name: texts.pop(name) for name in ("n(in)", "n(out)", "δ(in)", "δ(out)")}
        for name, text in halves.items():
            x, y = (text.get_position()[i] - circle.center[i] for i in (0, 1))
            assert (x < 0, y > 0) == ("in" in name, "n(" in name)
        assert colours(halves.values()) == [FORWARD] * 2 + [BACKWARD] * 2
        arrows = [patch for patch in legend.patches if isinstance(patch, FancyArrowPatch)]
        assert colours(texts.values()) == colours(arrows) == [FORWARD, BACKWARD, UPDATE, QUIET]
        assert [text.split(":")[0].split(",")[0] for text in texts] == ["forward", "backward", "gradient", "faint"]
        assert [*texts.values()][-1].get_alpha() == figures.FADED


def test_an_svg_has_a_dark_twin_of_each_of_its_colours():
    for picture in (figures.as_svg(figures.still(of_article("two_by_two"), frames(2)[4])), svg([row("x")])):
        style = picture[picture.index("@media (prefers-color-scheme: dark)") : picture.rindex("</style>")]
        used = {*re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", picture.replace(style, ""))}
        assert used <= {*re.findall(r"var\(--dark-[0-9a-f]{6}, (#[0-9a-f]{6})\)", style)}
        for name in re.findall(r"var\((--dark-\w+)", style):
            assert f"{name}: #" in style
        (gid,) = re.findall(r"\n#(\w+) {", style)
        assert f'<g id="{gid}">' in picture


@pytest.mark.parametrize("sizes", list(product((1, 2, 3), repeat=3)), ids=str)
def test_there_is_a_place_for_every_weight(sizes):
    drawn = scene([*sizes])
    places = drawn.places_of_weights
    assert len(places) == sum((m + 1) * n for m, n in pairwise(sizes))
    for (layer, to, source), place in places.items():
        start, end = drawn.ends(layer, to, source)
        assert math.dist(start, place) + math.dist(place, end) == pytest.approx(math.dist(start, end))
    assert all(max(abs(a - c) / 5, abs(b - d) / 2.59) > 1 for (a, b), (c, d) in combinations(places.values(), 2))


@pytest.mark.parametrize(
    ("sizes", "number"),
    [([3, 3, 3, 3, 3], -1), ([3, 3, 3, 3, 3], -2), ([2, 2, 2], 6), ([3, 3, 2], 5), ([2, 1, 2], 5), ([1, 1], 2)],
)
def test_no_text_lies_over_another_or_a_circle_or_out_of_the_picture(sizes, number):
    figure = figures.still(scene(sizes), frames(len(sizes) - 1)[number])
    figure.draw_without_rendering()
    legend, axes = figure.axes
    assert legend.bbox.y1 <= axes.bbox.y0
    boxes = {text: text.get_window_extent() for text in [*axes.texts, axes.title]}
    smaller = {text: box.shrunk(0.9, 0.9) for text, box in boxes.items()}
    assert [words(pair) for pair in combinations(smaller, 2) if smaller[pair[0]].overlaps(smaller[pair[1]])] == []
    assert words(text for text, box in boxes.items() if figure.bbox.count_contains(box.corners()) < 4) == []
    heads = axes.transData.transform([arrow._posA_posB[1] for arrow in Seen(axes).edges.values()])
    assert words(text for text, box in boxes.items() if box.count_contains(heads)) == []
    for circle in Seen(axes).nodes.values():
        (x, y), (right, _) = axes.transData.transform([circle.center, (circle.center[0] + circle.radius, 0)])
        for text, box in boxes.items():
            near = math.dist((x, y), (min(max(x, box.x0), box.x1), min(max(y, box.y0), box.y1)))
            far = max(math.dist((x, y), corner) for corner in box.corners())
            assert near > right - x or far < right - x, text
        assert axes.bbox.contains(2 * x - right, y + x - right)
        assert axes.bbox.contains(right, y + right - x)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8])
def test_a_round_of_any_rules_is_drawn_and_the_network_stays_as_it_is(dtype):
    """Of the index of a class, every target is shown."""
    net = Network.random([2, 2, 3])
    net = Network(net.weights, net.biases, ["tanh", "identity"], "softmax_cross_entropy")
    before = [w.clone() for w in (*net.weights, *net.biases)]
    drawn = Scene.of(net, X, torch.tensor(1, dtype=dtype), ETA)
    assert all(map(torch.equal, before, (*net.weights, *net.biases)))
    trace, grads = one_round(net, X, torch.tensor(1), ETA)
    seen = seen_in(drawn, frames(2)[-2])
    assert [words(seen.beside[2, place])[1:] for place in range(3)] == [["z1 = 0"], ["z2 = 1"], ["z3 = 0"]]
    of_neuron = trace.n_in[0][1], trace.n_out[0][1], grads.delta_in[0][1], grads.delta_out[0][1]
    assert words(seen.inside[1, 1]) == shown(*of_neuron)
    seen = seen_in(drawn, frames(2)[-1])
    assert words(seen.labels[(1, source), (2, 2)] for source in range(3)) == [
        f"{name_of_weight(2, 2, source, new=True)} = {value}"
        for source, value in zip((0, 1, None), shown(net.weights[1][2], net.biases[1][2]), strict=True)
    ]


def test_what_is_rounded_to_nothing_has_no_sign():
    net = Network([torch.tensor([[-0.0001]])], [torch.tensor([-0.0001])])
    seen = seen_in(Scene.of(net, torch.tensor([-0.0001]), torch.ones(1), ETA), frames(1)[0])
    assert words(seen.inside[0, 0]) == ["x1\n0"]
    assert words(seen.labels.values()) == ["w1 = 0", "wb = 0"]


def test_a_large_number_has_three_digits():
    assert [figures.number(torch.tensor(value)) for value in (99.4567, -123.4, 2.5e7)] == ["99.457", "−123", "2.5e+07"]


@pytest.mark.parametrize(
    ("sizes", "x", "says"),
    [
        (
            [784, 30, 10],
            torch.zeros(784),
            "net.sizes: expected at most 4 layers of at most 3 neurons, .* got 784-30-10",
        ),
        ([1] * 6, torch.zeros(1), "at most 4 layers .* got 1-1-1-1-1-1"),
        ([2, 3], torch.zeros(5, 2), r"x: expected one sample, of shape \[2\], got \[5, 2\]"),
    ],
)
def test_what_would_not_be_legible_is_refused(sizes, x, says):
    with pytest.raises(ValueError, match=says):
        Scene.of(Network.random(sizes), x, torch.zeros(sizes[-1]), ETA)


@pytest.mark.parametrize("kind", ["gif", "html", "png", "svg"])
def test_an_animation_opens_and_has_every_frame(kind, tmp_path, capsys):
    out = tmp_path / f"round.{kind}"
    assert main(["animate", str(out), "--seconds", "0.5"]) == 0
    assert "8 frames" in capsys.readouterr().out
    match kind:
        case "gif":
            with Image.open(out) as image:
                assert (image.n_frames, image.info["duration"], image.info["loop"]) == (8, 500, 0)
                shots = [np.asarray(frame.convert("L"), float) for frame in ImageSequence.Iterator(image)]
            for number, frame in enumerate(frames(2)):
                still = io.BytesIO()
                figures.still(of_article("two_by_two"), frame).savefig(still, dpi=figures.DPI)
                apart = [abs(shot - np.asarray(Image.open(still).convert("L"), float)).mean() for shot in shots]
                assert apart[number] < 0.1 < min(apart[:number] + apart[number + 1 :])  # shades of grey
        case "png":
            with Image.open(out) as image:
                assert getattr(image, "n_frames", 1) == 1  # a sheet
                image.verify()
        case "svg":
            assert titles(out.read_bytes()) == [frame.title for frame in frames(2)]
        case "html":
            page = out.read_text(encoding="utf-8")
            pictures = [picture.split("</figure>")[0] for picture in page.split("<figure>")[1:]]
            assert [titles(picture) for picture in pictures] == [[frame.title] for frame in frames(2)]
            assert page.count("</figure><figure>") == 7
            assert "setInterval(() => show(+at.value + 1), 500.0)" in page
            assert all(link.startswith("#") for link in Page(page).links)
            assert "min-width: 368px" in page  # of 46 ems: a telephone has as many


@pytest.mark.parametrize("seconds", [0.01, 600])
def test_a_frame_stands_from_a_hundredth_of_a_second_to_ten_minutes(seconds, tmp_path):
    figures.animate(of_article("neuron"), tmp_path / "round.gif", seconds=seconds)
    with Image.open(tmp_path / "round.gif") as image:
        assert (image.n_frames, image.info["duration"]) == (5, 1000 * seconds)


def test_the_same_round_is_the_same_file_and_no_date_is_in_it(tmp_path):
    drawn, still = of_article("two_by_two"), figures.still(of_article("neuron"), frames(1)[1])
    picture = figures.as_svg(still)
    assert picture == figures.as_svg(figures.still(of_article("neuron"), frames(1)[1]))
    assert picture.startswith("<svg")
    figures.animate(drawn, tmp_path / "round.svg")
    for kind in ("svg", "pdf", "png"):
        figures.save(still, tmp_path / f"still.{kind}")
    written = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert [(name, written[name][:5]) for name in sorted(written)] == [
        ("round.svg", b"<?xml"), ("still.pdf", b"%PDF-"), ("still.png", b"\x89PNG\r"), ("still.svg", b"<?xml"),
    ]  # fmt: skip
    assert [name for name, content in written.items() if b"date>" in content or b"Date" in content] == []


def test_all_frames_stand_below_each_other():
    figure = figures.sheet(of_article("two_by_two"))
    one = figures.still(of_article("two_by_two"), frames(2)[0])
    assert in_each_others_way(figure) == []
    legend, *drawn = figure.axes
    assert [axes.get_title() for axes in drawn] == [frame.title for frame in frames(2)]
    heights = [axes.get_position().y0 for axes in (*drawn, legend)]
    assert heights == sorted(heights, reverse=True)
    assert [axes for axes in figure.axes if axes.axison] == []
    foot = figures.FOOT * figures.EM / 72
    assert figure.get_figwidth() == one.get_figwidth()
    assert figure.get_figheight() - foot == pytest.approx(8 * (one.get_figheight() - foot))


def test_any_small_network_is_animated(tmp_path, capsys):
    out = tmp_path / "round.svg"
    assert main(["animate", str(out), "--sizes", "3", "1", "2", "--seed", "3", "--eta", "2"]) == 0
    assert capsys.readouterr().out == f"{out}: 8 frames, {out.stat().st_size / 1e3:.0f} kB\n"
    net, generator = Network.random([3, 1, 2], seed=3), torch.Generator().manual_seed(3)
    x, z = torch.randn(3, generator=generator), torch.rand(2, generator=generator)
    drawn = figures.sheet(Scene.of(net, x, z, 2.0))
    assert svg_words(out.read_bytes()) == svg_words(figures.as_svg(drawn))


def test_the_numbers_may_come_from_a_file(tmp_path):
    (tmp_path / "numbers.toml").write_text("[two_by_two]\nx = 0.25\neta = 3", encoding="utf-8")
    out = tmp_path / "round.svg"
    assert main(["animate", str(out), "--file", str(tmp_path / "numbers.toml"), "--inputs", "y=-2"]) == 0
    numbers = DEFAULTS["two_by_two"] | {"x": 0.25, "y": -2.0}
    drawn = figures.sheet(Scene.of(*as_network("two_by_two", numbers), 3.0))
    assert svg_words(out.read_bytes()) == svg_words(figures.as_svg(drawn))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["round.mp4"], "round.mp4: expected a name that ends in .gif, .html, .png or .svg"),
        (["nowhere/round.svg"], "nowhere/round.svg: expected a directory that exists, got no /"),
        (["round.gif", "--seconds", "0"], "--seconds: expected a number from 0.01 to 600, got 0.0"),
        (["round.gif", "--seconds", "-1"], "--seconds: expected a number from 0.01 to 600, got -1.0"),
        (["round.gif", "--seconds", "1e9"], "--seconds: expected a number from 0.01 to 600, got 1000000000.0"),
        (["round.gif", "--seconds", "600.5"], "--seconds: expected a number from 0.01 to 600, got 600.5"),
        (["round.html", "--seconds", "nan"], "--seconds: expected a number from 0.01 to 600, got nan"),
        (["round.svg", "--sizes", "3", "2", "--inputs", "x=5"], "--inputs is for the article's network, --sizes draws"),
        (["round.svg", "--sizes", "3", "2", "--weights", "w_11_x=5"], "--weights is for the article's network"),
        (["round.svg", "--sizes", "3", "2", "--file", "n.toml"], "--file is for the article's network"),
        (["round.svg", "--inputs", "x1=5"], "--inputs x1=5: expected NAME=NUMBER, NAME one of x, y, z_1, z_2 of two"),
        (
            ["round.svg", "--sizes", "3", "2", "--eta", "inf"],
            "manual-bp animate: --eta: expected a finite number, got inf\n",
        ),
        (["round.svg", "--sizes", "9", "0"], "animate: --sizes[1]: expected 1 or more, got 0"),
        (["round.svg", "--sizes", "9", "9"], "animate: --sizes: expected at most 4 layers of at most 3 neurons"),
        (
            ["round.svg", "--weights", "w_99=1"],
            "--weights w_99=1: expected NAME=NUMBER, NAME one of w_11_x, w_11_y, w_11_b, ",
        ),
    ],
)
def test_what_cannot_be_animated_is_said(arguments, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["animate", *arguments]) == 2
    assert says in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_the_articles_figures(tmp_path, capsys):
    assert main(["article", "--figures", str(tmp_path / "drawn"), "--eta", "1"]) == 0
    names = {"neuron", "network", "delta-21", "delta-11", "step-1", "step-2", "step-3", "step-4", "descent"}
    files = {path.stem: path for path in (tmp_path / "drawn").iterdir()}
    assert files.keys() == names
    drawn = {
        name: {text.text for text in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")}
        for name, path in files.items()
    }
    q = article.two_by_two(**(DEFAULTS["two_by_two"] | {"eta": 1.0}))
    weights = {name.removesuffix("_new"): value for name, value in vars(q).items() if name.endswith("_new")}
    old = {f"{notation.text(name)} = {shown(getattr(q, name))[0]}" for name in weights}
    new = {f"{notation.text(name + '_new')} = {shown(value)[0]}" for name, value in weights.items()}
    waiting = {name: f"→ {shown(value)[0]} waits" for name, value in weights.items()}
    for name in names - {"neuron", "delta-21", "descent"}:
        assert old <= drawn[name]
    assert new <= drawn["descent"]
    assert not old & drawn["descent"]
    assert not {*waiting.values()} & (drawn["step-1"] | drawn["step-3"] | drawn["delta-11"])
    assert {text for name, text in waiting.items() if name.startswith("w_2")} == {*waiting.values()} & drawn["step-2"]
    assert {*waiting.values()} <= drawn["step-4"]
    assert {*shown(q.delta_21_in, q.delta_21_out)} <= drawn["step-1"]
    assert {*shown(q.delta_11_in, q.delta_12_out)} <= drawn["step-3"]
    # δ11 alone
    assert {*shown(q.delta_11_in, q.delta_11_out)} <= drawn["delta-11"]
    assert not {*shown(q.delta_12_in)} & drawn["delta-11"]


def test_the_articles_figures_in_their_order():
    scenes = {name: of_article(name) for name in DEFAULTS}
    drawn = dict(figures.article_figures(scenes))
    assert {name: figure.axes[1].get_title() for name, figure in drawn.items()} == {
        "neuron": "One neuron",
        "network": "Two layers, four neurons",
        "delta-21": "δ21: from the neuron's output back through it",
        "delta-11": "δ11 is collected from both outputs",
        **{f"step-{step}": frame.title for step, frame in enumerate(frames(2)[3:-1], start=1)},
        "descent": frames(2)[-1].title,
    }
    assert [*drawn] == ["neuron", "network", "delta-21", "delta-11", "step-1", "step-2", "step-3", "step-4", "descent"]
    for name, active, filled in (("neuron", [(1, 0)], 1), ("network", [(2, 0), (2, 1)], 4), ("delta-11", [(1, 0)], 4)):
        seen = Seen(drawn[name].axes[1])
        assert coloured(seen.nodes) == active
        assert len([key for key, texts in seen.inside.items() if len(texts) > 1]) == filled


def test_a_delta_goes_back_through_its_neuron_as_the_sum_came_forward():
    """Inside the neuron on the left what goes in, on the right what comes out; the arrows are outside."""
    drawn = scene([2, 3, 3, 2])
    figure = figures.delta_in_its_neuron(drawn)
    assert in_each_others_way(figure) == []
    _, axes = figure.axes
    circle, *arrows = axes.patches
    middle, right = axes.transData.transform([circle.center, (circle.center[0] + circle.radius, 0)])
    within = [text for text in axes.texts if text.get_position()[1] < axes.get_ylim()[1]]
    inside = sorted(within, key=lambda text: (-text.get_position()[1], text.get_position()[0]))
    boxes = {text: text.get_window_extent() for text in inside}
    assert all(math.dist(middle, corner) < right[0] - middle[0] for box in boxes.values() for corner in box.corners())
    of = drawn.trace.n_in, drawn.trace.n_out, drawn.grads.delta_in, drawn.grads.delta_out
    values = shown(*(quantity[-1][0] for quantity in of))
    names = ["n31(in)", "n31(out)", "δ31(in)", "δ31(out)"]
    assert words(inside) == [f"{name}\n{value}" for name, value in zip(names, values, strict=True)]
    assert colours(inside) == [FORWARD] * 2 + [BACKWARD] * 2
    assert [boxes[text].x1 < middle[0] for text in inside] == [True, False] * 2
    assert [boxes[text].x0 > middle[0] for text in inside] == [False, True] * 2
    ends = [(start[0], end[0]) for start, end in (arrow._posA_posB for arrow in arrows)]
    assert [start < end for start, end in ends] == [True, True, False, False]
    x, radius = circle.center[0], circle.radius
    assert [(start < x, end < x) for start, end in ends] == [(True, True), (False, False)] * 2
    assert all(min(abs(start - x), abs(end - x)) > radius for start, end in ends)
    assert [c for arrow in arrows for c in colours([arrow])] == [FORWARD] * 2 + [BACKWARD] * 2
    for arrow, text in zip(arrows, inside, strict=True):
        assert {end[1] for end in arrow._posA_posB} == {text.get_position()[1]}
    (line,) = axes.lines
    assert line.get_xdata().tolist() == [x, x]
    assert colours([circle, line]) == [QUIET] * 2
    assert not axes.axison


def test_only_what_is_worked_is_drawn(tmp_path):
    """In one of the two networks y is a target, in the other an input."""
    page = tmp_path / "article.html"
    assert main(["article", "two_by_two", "--inputs", "y=-2", "--html", str(page)]) == 0
    assert Page(page.read_text(encoding="utf-8")).tags.count("svg") == 8
    assert main(["article", "neuron", "--figures", str(tmp_path / "drawn")]) == 0
    assert [path.name for path in (tmp_path / "drawn").iterdir()] == ["neuron.svg"]


def test_the_matrix_form_that_is_drawn_is_the_articles_network():
    for name in DEFAULTS:
        q = vars(getattr(article, name)(**DEFAULTS[name]))
        net, x, z = as_network(name, DEFAULTS[name])
        grads = net.backward(net.forward(x), z)
        deltas = ["delta_in"] if name == "neuron" else ["delta_11_in", "delta_12_in", "delta_21_in", "delta_22_in"]
        ours = torch.cat([delta.view(-1) for delta in grads.delta_in])
        torch.testing.assert_close(ours, torch.stack([q[delta] for delta in deltas]))


def test_the_page_has_every_equation_value_and_figure_and_needs_no_network(tmp_path, capsys):
    out = tmp_path / "article.html"
    assert main(["article", "--html", str(out), "--inputs", "x=0.25"]) == 0
    page = Page(out.read_text(encoding="utf-8"))
    steps = [line for name in ("neuron", "two_by_two") for line in notation.equations(getattr(article, name))]
    assert page.tags.count("math") == sum(len(notation.terms_in_mathml(line.value)) for line in steps)
    assert [text for text in page.text if text.startswith("A bias is") or "collects its delta" in text]
    assert page.tags.count("svg") == 9
    assert all(link.startswith("#") for link in page.links)
    assert "script" not in page.tags
    q = vars(article.two_by_two(**(DEFAULTS["two_by_two"] | {"x": 0.25})))
    for name, value in q.items():
        assert notation.number(float(value)) in page.text or name in ("x", "y", "eta", *DEFAULTS["two_by_two"]), name
    assert [text for text in page.text if "agrees with autograd in all" in text]


def layer(x, w, b):
    return torch.tanh(x @ w.T + b)


def doubled(grad_out, out, x, w, b):
    delta = grad_out * (1 - out**2)
    grad_w = delta.T @ x
    grad_w[1] *= 2
    return delta @ w, grad_w, delta.sum(0)


U = {torch.float64: 2.0**-53, torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}


def row(name, error=3.0, dtype=torch.float64, shares=None):
    """A row of a report that is wrong where it has shares."""
    ok = shares is None
    return Row(name, torch.device("cpu"), dtype, error, 16.0, ok, "agrees" if ok else WRONG, "", shares)


@pytest.fixture
def report():
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(*shape, generator=generator) for shape in ((6, 5), (4, 5), (4,))]
    return crosscheck(layer, doubled, inputs)


def test_the_ladder_falls_for_what_is_right_and_stays_for_what_is_wrong(report):
    precisions = report.plot().axes[0]
    lines = {line.get_label(): line for line in precisions.lines[1:]}
    assert lines.keys() == {text.get_text() for text in precisions.texts} == {"x", "w", "b"}
    for name, line in lines.items():
        rows = [row for row in report.rows if row.name == name]
        assert list(line.get_xdata()) == [U[row.dtype] for row in rows]
        assert list(line.get_ydata()) == [U[row.dtype] * max(row.error, 0.1) for row in rows]
        falls = line.get_ydata()[0] < 1e-10
        assert falls == (name != "w")
        (text,) = (text for text in precisions.texts if text.get_text() == name)
        leader = to_hex(text.arrow_patch.get_edgecolor()).upper()
        assert [line.get_color(), text.get_color(), leader] == ["#D55E00" if name == "w" else "#0072B2"] * 3
        assert text.xy == (line.get_xdata()[0], line.get_ydata()[0])
    assert precisions.get_xlim()[0] < U[torch.float64] < U[torch.bfloat16] < precisions.get_xlim()[1]


def test_the_ladders_axes_are_in_roundoffs_and_its_rungs_in_the_order_of_precision():
    """A dtype that only the second tensor reaches has its place as well, and an infinite error none."""
    rows = [
        row("w", math.inf),
        row("w", 2.0, torch.float32),
        row("b", 0.0, torch.float32),
        row("b", 5.0, torch.float16),
    ]
    precisions, *maps = Report("", (row("c", math.nan), *rows)).plot().axes
    assert maps == []
    budget, w, b = precisions.lines
    u = [U[torch.float64], U[torch.float32], U[torch.float16]]
    assert (list(budget.get_xdata()), list(budget.get_ydata())) == (u, [16 * each for each in u])
    assert budget.get_linestyle() == "--"
    assert len({*to_rgb(budget.get_color())}) == 1  # grey: neither right nor wrong
    assert "None" not in (w.get_marker(), b.get_marker())  # of one point a line alone is nothing to be seen
    assert [text.get_text() for text in precisions.get_legend().get_texts()] == [
        budget.get_label(), "right",
    ] == ["16 roundoffs", "right"]  # fmt: skip
    assert (list(w.get_xdata()), list(w.get_ydata())) == ([u[1]], [2 * u[1]])
    assert (list(b.get_xdata()), list(b.get_ydata())) == ([u[1], u[2]], [0.1 * u[1], 5 * u[2]])
    assert {text.get_text() for text in precisions.texts} == {"w", "b"}
    assert list(precisions.get_xticks()) == u
    assert list(precisions.get_xticks(minor=True)) == []
    assert words(precisions.get_xticklabels()) == ["float64", "float32", "float16"]
    assert (precisions.get_xscale(), precisions.get_yscale()) == ("log", "log")
    assert (precisions.get_title(), precisions.get_ylabel()) == ("error by precision", "error / largest number")


@pytest.mark.parametrize(
    ("wanted", "apart"),
    [
        ([0.3], [0.3]),
        ([0.1, 0.5, 0.9], [0.1, 0.5, 0.9]),
        ([0.5, 0.5], [0.4, 0.6]),
        ([0.3, 0.35, 0.9], [0.225, 0.425, 0.9]),
        ([0.0, 0.0, 0.0], [0.1, 0.3, 0.5]),
        ([0.4, 1.0, 1.0], [0.4, 0.7, 0.9]),
    ],
)
def test_names_are_moved_apart_by_no_more_than_needed(wanted, apart):
    assert _apart(np.array(wanted), 0.2) == pytest.approx(np.array(apart))


@pytest.mark.parametrize("wrong", [0, 2])
@pytest.mark.parametrize(
    "names",
    [
        ["x"],
        ["x", "w", "b"],
        ["x", "w1", "b1", "w2", "b2", "w3", "b3"],
        ["x", "the weights of layer 1", *"abcdefghijklmn"],
    ],
    ids=len,
)
def test_no_name_on_the_ladder_lies_over_another_or_the_axis(names, wrong):
    shares = [torch.tensor([[1e9, 0.5]]) if place < wrong else None for place in range(len(names))]
    figure = Report("", tuple(
        row(name, 3.0 + len(name) if share is None else 0.5 / u, dtype, share)
        for dtype, u in U.items() for name, share in zip(names, shares, strict=True)
    )).plot()  # fmt: skip
    figure.draw_without_rendering()
    precisions = figure.axes[0]
    boxes = {text.get_text(): Text.get_window_extent(text) for text in precisions.texts}
    assert boxes.keys() == {*names}
    assert [(one, other) for one, other in combinations(boxes, 2) if boxes[one].overlaps(boxes[other])] == []
    inside = precisions.get_window_extent()
    assert [name for name, box in boxes.items() if box.x0 < inside.x0 or box.y0 < inside.y0 or box.y1 > inside.y1] == []
    # Each beside where its line begins, as near as the others let it be.
    points = {text.get_text(): precisions.transData.transform(text.xy) for text in precisions.texts}
    assert all(boxes[name].x1 < points[name][0] for name in names)
    read = sorted(names, key=lambda name: boxes[name].y0)
    assert read == sorted(read, key=lambda name: points[name][1])
    if len(names) == 1:
        assert (boxes["x"].y0 + boxes["x"].y1) / 2 == pytest.approx(points["x"][1], abs=2)
    for text in precisions.texts:
        leader, box = text.arrow_patch._posA_posB, boxes[text.get_text()]
        assert leader[0] == pytest.approx((box.x1, (box.y0 + box.y1) / 2), abs=1)
        assert leader[1] == pytest.approx(points[text.get_text()])
    # The names of the dtypes are aslant, and none runs over the next.
    gaps = np.diff(precisions.transData.transform([(u, 1.0) for u in precisions.get_xticks()])[:, 0])
    for gap, label in zip(gaps, precisions.get_xticklabels()[1:], strict=True):
        assert gap * math.sin(math.radians(label.get_rotation())) > 0.75 * label.get_fontsize() * figure.dpi / 72


def test_the_maps_of_vectors_have_no_rows_and_those_left_out_are_counted():
    """A tensor is mapped once, at its highest dtype; a wrong shape has no map."""
    shares = torch.tensor([[0.5, 20.0, 3.0]])
    rows = [row(name, shares=shares, dtype=dtype) for dtype in (torch.float64, torch.float32) for name in "abcd"]
    titles = [f"{name} at float64" for name in "abcd"]
    for more, last in (
        ((), ""),
        ((row("x"), row("e", shares=shares), row("f", shares=torch.ones(2, 2))), ", and 2 more"),
    ):
        figure = Report("", (*rows, *more)).plot()
        maps = [axes for axes in figure.axes if axes.images]
        assert more or in_each_others_way(figure) == []
        assert [axes.get_title() for axes in maps] == [*titles[:3], titles[3] + last]
        assert [list(axes.get_yticks()) for axes in maps] == [[]] * 4
        assert all(len(axes.get_xticks()) for axes in maps)
        assert {axes.title.get_color() for axes in maps} == {"#D55E00"}


@pytest.mark.parametrize(("largest", "top"), [(3.0, 10), (400.0, 400), (math.inf, None), (math.nan, None)])
def test_a_map_is_grey_within_the_budget_and_its_scale_goes_up_to_the_largest_error(largest, top):
    shares = torch.tensor([[0.0, 1.5, 0.999], [largest, 2.0, 0.5]])
    figure = Report("", (row("$w", shares=shares),)).plot()
    figure.draw_without_rendering()
    _, axes, bar = figure.axes
    (image,) = axes.images
    grey = [[True, False, True], [False, False, True]]
    assert [[to_hex(colour) == "#808080" for colour in line] for line in image.to_rgba(image.get_array())] == grey
    at = np.unravel_index(image.get_array().argmax(), shares.shape)
    assert (image.norm.vmin, image.norm.vmax) == (1, top or np.finfo(np.float32).max)
    assert at == (1, 0) or largest == 2
    assert image.origin == "upper"
    assert (axes.get_title(), bar.get_ylabel()) == ("$w at float64", "error / budget")
    assert bar.get_ylim() == pytest.approx(image.get_clim())
    assert bar._colorbar.extend == "min"
    for ticks in (axes.get_xticks(), axes.get_yticks()):
        assert list(ticks) == sorted({round(tick) for tick in ticks})


def test_the_map_of_a_number_has_no_axes():
    axes = Report("", (row("x", shares=torch.tensor([[30.0]])),)).plot().axes[1]
    assert [*axes.get_xticks(), *axes.get_yticks()] == []


def test_the_map_shows_where_the_error_is(report):
    (image,) = (axes.images[0] for axes in report.plot().axes[1:] if axes.images)
    values = image.get_array()
    assert values.shape == (4, 5)
    (row,) = (row for row in report.rows if row.name == "w" and row.dtype == torch.float64)
    assert float(values.max()) == pytest.approx(row.share, rel=1e-5)
    assert (values[1] > 1).all()
    assert (values[[0, 2, 3]] <= 1).all()


def test_a_large_tensor_is_drawn_by_the_largest_of_each_block():
    def one_wrong(grad_out, out, x):
        grad_x = grad_out * 2 * x
        grad_x[210, 151] += 1
        return grad_x

    inputs = [torch.randn(384, 256, generator=torch.Generator().manual_seed(0))]
    report = crosscheck(lambda x: x * x, one_wrong, inputs, dtypes=[torch.float64])
    (row,) = report.mismatches
    assert row.shares.shape == (128, 128)
    assert torch.nonzero(row.shares > 1).tolist() == [[210 * 128 // 384, 151 * 128 // 256]]


def test_a_notebook_shows_the_picture(report, monkeypatch):
    picture = svg(report.rows)
    assert picture.startswith("<svg")
    assert {"error by precision", "w at float64", "x", "b"} <= {*svg_words(picture)}
    assert "date>" not in picture
    assert f"<div>{picture}</div>" in report._repr_html_()  # the same, to the letter
    monkeypatch.setattr("crosscheck.report.find_spec", lambda name: None)
    assert "<svg" not in report._repr_html_()
    with pytest.raises(ModuleNotFoundError, match="matplotlib is not installed: pip install"):
        report.plot()


def test_a_report_of_the_wrong_shape_has_a_ladder_alone():
    report = crosscheck(lambda x: x * x, lambda g, out, x: (g * 2 * x).T, [torch.randn(3, 4)])
    assert not report.ok
    assert [axes for axes in report.plot().axes if axes.images] == []


def test_training_is_drawn_as_it_was_printed(digits, tmp_path, capsys):
    out = tmp_path / "training.svg"
    assert main(["train", "--data", "digits", "--epochs", "3", "--figure", str(out)]) == 0
    assert f"figure: {out}" in capsys.readouterr().out
    ElementTree.parse(out)


def test_cost_and_accuracy_are_drawn_by_epoch():
    figure = plots.plot_training([3.0, 2.0], [4.0, 3.0], [0.5, 0.75], "title")
    costs, accuracy = figure.axes
    drawn = [
        (list(line.get_xdata()), list(line.get_ydata()), line.get_color())
        for axes in (costs, accuracy)
        for line in axes.lines
    ]
    assert drawn == [([1, 2], [3, 2], BLUE), ([1, 2], [4, 3], VERMILION), ([1, 2], [0.5, 0.75], VERMILION)]
    legend = costs.get_legend()
    assert words(legend.get_texts()) == ["training data", "held out"]
    assert colours(legend.get_lines()) == [BLUE, VERMILION]
    assert [axes.get_yscale() for axes in figure.axes] == ["log", "linear"]
    assert [axes.get_xlabel() for axes in figure.axes] == ["epoch"] * 2
    assert [axes.get_ylabel() for axes in figure.axes] == ["cost J", "held-out accuracy"]
    low, high = accuracy.get_ylim()
    assert low == 0
    assert 1 <= high < 1.1
    assert figure.get_suptitle() == "title"


@pytest.mark.parametrize("epochs", [1, 2, 7])
def test_there_is_no_half_epoch(epochs):
    for accuracy in ([], [0.5] * epochs):
        figure = plots.plot_training([3.0] * epochs, [4.0] * epochs, accuracy, "title")
        assert in_each_others_way(figure) == []
        for axes in figure.axes:
            assert "None" not in [line.get_marker() for line in axes.lines]  # of one epoch a line is nothing to be seen
            ticks = axes.get_xticks()
            assert [tick for tick in ticks if tick != round(tick)] == []
            assert [tick for tick in ticks if 1 <= tick <= epochs]


def test_the_benchmark_is_drawn_as_it_was_measured():
    """A peer that could not be measured in the first setting has its colour and its name as well."""
    speed = {
        "2-2-2, online": {"by hand": 1.0, "autograd": 20.5},
        "9-5, batch 3": {"by hand": 1.0, "autograd": 3.0, "JAX": 0.25},
        "3-1, batch 2": {"by hand": 1.0, "JAX": 123.4},
    }
    growth = {
        "width": {"by hand": ([1, 2], [1e-6, 2e-6], 1.0), "autograd": ([1, 4], [3e-6, 3e-6], 0.256)},
        "depth": {"by hand": ([3, 6], [5e-6, 6e-6], 0.5), "autograd": ([3, 6], [8e-6, 9e-6], 0.0)},
    }
    figure = plots.plot_bench(speed, growth, "title")
    assert in_each_others_way(figure) == []
    bars, width, depth = figure.axes
    (legend,) = figure.legends
    colour = {patch.get_label(): to_hex(patch.get_facecolor()).upper() for patch in legend.get_patches()}
    assert words(legend.get_texts()) == [*colour] == ["by hand", "autograd", "JAX"]
    assert len({*colour.values()}) == 3
    # From the top: the settings, and in each the peers, none over another.
    read = sorted(bars.patches, key=lambda bar: bar.get_y())
    assert [(bar.get_width(), to_hex(bar.get_facecolor()).upper()) for bar in read] == [
        (value, colour[peer]) for of_setting in speed.values() for peer, value in of_setting.items()
    ]
    assert bars.yaxis_inverted()
    assert all(one.get_y() + one.get_height() <= other.get_y() + 1e-9 for one, other in pairwise(read))
    assert list(bars.get_yticks()) == [0, 1, 2]
    assert words(bars.get_yticklabels()) == ["2-2-2\nonline", "9-5\nbatch 3", "3-1\nbatch 2"]
    middles = [bar.get_y() + bar.get_height() / 2 for bar in read]
    assert [round(middle) for middle in middles] == [0, 0, 1, 1, 1, 2, 2]
    assert middles[3] == 1
    assert all(text.get_window_extent().x1 <= bars.bbox.x1 for text in bars.texts)  # there is room beside a bar
    texts = sorted(bars.texts, key=lambda text: text.get_position()[1])
    assert words(texts) == [" 1", " 20.5", " 1", " 3", " 0.25", " 1", " 123"]
    for bar, middle, text in zip(read, middles, texts, strict=True):
        assert text.get_position() == (bar.get_width(), pytest.approx(middle))
    (ours,) = bars.lines
    assert (list(ours.get_xdata()), ours.get_color()) == ([1, 1], colour["by hand"])
    assert (bars.get_xscale(), bars.get_xlabel()) == ("log", "time of a step, in ours (less is faster)")
    assert bars.get_xlim()[0] < 0.25
    for along, axes, label in (("width", width, "width, of 3 layers"), ("depth", depth, "depth, of layers of 64")):
        assert "None" not in [line.get_marker() for line in axes.lines]
        assert [(list(line.get_xdata()), line.get_ydata() / 1e6, line.get_color()) for line in axes.lines] == [
            (sizes, pytest.approx(seconds), colour[peer]) for peer, (sizes, seconds, _) in growth[along].items()
        ]
        assert words(axes.get_legend().get_texts()) == [f"{p}: {e:.2f}" for p, (_, _, e) in growth[along].items()]
        assert colours(axes.get_legend().get_lines()) == [colour["by hand"], colour["autograd"]]
        assert [axes.get_xscale(), axes.get_yscale(), axes.get_xlabel(), axes.get_ylabel()] == [
            "log",
            "log",
            label,
            "µs a step",
        ]
    assert figure.get_suptitle() == "title"


def test_the_example_of_the_readme(tmp_path):
    path = Path(__file__).parents[2] / "examples" / "picture.py"
    spec = importlib.util.spec_from_file_location("picture", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    picture = io.BytesIO()
    report = module.report()
    report.plot().savefig(picture, format="png")
    assert picture.getvalue().startswith(b"\x89PNG")
    assert [row.name for row in report.mismatches][:2] == ["x", "w"]
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "usage: python examples/picture.py report.svg\n"


def test_a_name_is_no_formula():
    report = crosscheck(torch.sin, lambda g, out, x: (g,), [torch.randn(3)], names=(r"$\frac{$",))
    assert r"$\frac{$" in report._repr_html_()

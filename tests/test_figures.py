"""Pictures show the numbers that were computed, all of them, and their files open."""

import importlib.util
import io
import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import combinations
from pathlib import Path
from xml.etree import ElementTree

import pytest
import torch

from manual_bp import Network, article, notation
from manual_bp.__main__ import main
from manual_bp.commands.article import DEFAULTS, as_network
from reference import crosscheck

pytest.importorskip("matplotlib", reason="the extra figures")

from matplotlib.text import Text

from manual_bp import figures
from manual_bp.commands import plots
from manual_bp.figures import Scene, frames

X, Z, ETA = torch.tensor([0.6, -1.0]), torch.tensor([1.0, 0.0]), 0.5


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


@pytest.fixture
def scene():
    return Scene.of(Network.random([2, 2, 2]), X, Z, ETA)


def texts(figure):
    return [text.get_text() for axes in figure.axes for text in axes.texts if text.get_text()]


def shown(*tensors):
    return [notation.number(round(float(value), 3)) for tensor in tensors for value in tensor.view(-1)]


def test_the_frames_are_the_articles_four_steps_after_the_forward_phase():
    assert [(frame.phase, frame.layer) for frame in frames(2)] == [
        ("inputs", 0), ("forward", 1), ("forward", 2), ("deltas", 2), ("update", 2), ("deltas", 1), ("update", 1),
    ]  # fmt: skip
    assert [re.search(r"step (\d)", frame.title)[1] for frame in frames(2)[3:]] == ["1", "2", "3", "4"]


@pytest.mark.parametrize("number", range(7))
def test_a_frame_shows_what_is_computed_by_then(scene, number):
    net = Network.random([2, 2, 2])
    trace = net.forward(X)
    grads = net.backward(trace, Z)
    net.update(grads, ETA)
    values = {"forward": [], "deltas": [], "update": []}
    for layer in range(2):
        values["forward"].append(shown(trace.n_in[layer], trace.n_out[layer]))
        values["deltas"].append(shown(grads.delta_in[layer], grads.delta_out[layer]))
        values["update"].append(
            (shown(trace.weights[layer], trace.biases[layer]), shown(net.weights[layer], net.biases[layer]))
        )
    forward = values["forward"][: min(number, 2)]
    deltas = values["deltas"][1 if number in (3, 4) else 0 :] if number > 2 else []
    # While the deltas are carried over the weights into layer 2, these stand there as they were in the forward phase.
    carried, biases = values["update"][1][0][:4], values["update"][1][1][4:]
    weights = [
        values["update"][0][number == 6],
        carried + biases if number == 5 else values["update"][1][number in (4, 6)],
    ]
    drawn = texts(figures.still(scene, frames(2)[number]))
    names = ["x = 0.6", "y = −1", "z1 = 1", "z2 = 0", "1", "1", "n11", "n12", "n21", "n22"]
    assert sorted(drawn) == sorted(names + [value for of_layer in forward + deltas + weights for value in of_layer])


def test_symbols_in_the_place_of_numbers():
    net = Network.random([2, 2, 2])
    drawn = texts(figures.still(Scene.of(net, X, Z, ETA, symbols=True), frames(2)[3]))
    assert {"n11(in)", "n22(out)", "δ21(in)", "δ22(out)", "w11,x", "w22,12", "w21,b", "x", "y", "b", "z1"} <= {*drawn}


def test_what_is_done_is_faded_out(scene):
    def alpha(number):
        (title,) = (t for t in figures.still(scene, frames(2)[number]).axes[0].texts if t.get_text() == "n21")
        return title.get_alpha()

    assert alpha(4) == 1
    assert alpha(5) == alpha(6) == figures.FADED


def test_no_two_numbers_lie_over_each_other():
    net = Network.random([3, 3, 3, 3, 3])
    figure = figures.still(Scene.of(net, torch.randn(3), torch.rand(3), ETA), frames(4)[-1])
    figure.draw_without_rendering()
    boxes = [text.get_window_extent().shrunk(0.9, 0.9) for text in figure.axes[0].texts]
    over = [(i, j) for i in range(len(boxes)) for j in range(i) if boxes[i].overlaps(boxes[j])]
    assert over == []


@pytest.mark.parametrize(
    ("sizes", "x", "says"),
    [
        ([784, 30, 10], torch.zeros(784), "net: expected at most 4 layers of at most 3 neurons, .* got 784-30-10"),
        ([1] * 6, torch.zeros(1), "at most 4 layers .* got 1-1-1-1-1-1"),
        ([2, 2], torch.zeros(5, 2), r"x: expected one sample, of shape \[2\], got \[5, 2\]"),
    ],
)
def test_what_would_not_be_legible_is_refused(sizes, x, says):
    with pytest.raises(ValueError, match=says):
        Scene.of(Network.random(sizes), x, torch.zeros(sizes[-1]), ETA)


@pytest.mark.parametrize("kind", ["gif", "html", "png", "svg"])
def test_an_animation_opens_and_has_every_frame(kind, tmp_path, capsys):
    out = tmp_path / f"round.{kind}"
    assert main(["animate", str(out), "--seconds", "0.5"]) == 0
    assert "7 frames" in capsys.readouterr().out
    match kind:
        case "gif":
            with pytest.importorskip("PIL.Image").open(out) as image:
                assert image.n_frames == 7
                assert image.info["duration"] == 500
        case "png":
            with pytest.importorskip("PIL.Image").open(out) as image:
                image.verify()
        case "svg":
            titles = [text.text for text in ElementTree.parse(out).iter("{http://www.w3.org/2000/svg}text")]
            assert [frame.title for frame in frames(2) if frame.title in titles] == [f.title for f in frames(2)]
        case "html":
            page = out.read_text(encoding="utf-8")
            assert page.count("<figure>") == 7
            assert all(frame.title in page for frame in frames(2))
            assert "setInterval(() => show(+at.value + 1), 500.0)" in page
            assert all(link.startswith("#") for link in Page(page).links)


def test_any_small_network_is_animated(tmp_path):
    out = tmp_path / "round.svg"
    assert main(["animate", str(out), "--sizes", "3", "1", "2", "--seed", "3"]) == 0
    drawn = {text.text for text in ElementTree.parse(out).iter("{http://www.w3.org/2000/svg}text")}
    assert set(shown(*Network.random([3, 1, 2], seed=3).weights)) <= drawn


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["round.mp4"], "round.mp4: expected a name that ends in .gif, .html, .png, .svg"),
        (["nowhere/round.svg"], "nowhere/round.svg: there is no directory /"),
        (["round.gif", "--seconds", "0"], "seconds: expected a number from 0.01 to 600, got 0.0"),
        (["round.gif", "--seconds", "-1"], "seconds: expected a number from 0.01 to 600, got -1.0"),
        (["round.gif", "--seconds", "1e9"], "seconds: expected a number from 0.01 to 600, got 1000000000.0"),
        (["round.html", "--seconds", "nan"], "seconds: expected a number from 0.01 to 600, got nan"),
        (["round.svg", "--sizes", "3", "2", "--inputs", "x=5"], "--inputs is for the article's network, --sizes draws"),
        (["round.svg", "--sizes", "3", "2", "--weights", "w_11_x=5"], "--weights is for the article's network"),
        (["round.svg", "--sizes", "3", "2", "--file", "n.toml"], "--file is for the article's network"),
        (["round.svg", "--inputs", "x1=5"], "--inputs x1=5: expected NAME=NUMBER, NAME one of x, y, z_1, z_2 of two"),
        (["round.svg", "--sizes", "9", "9"], "net: expected at most 4 layers of at most 3 neurons"),
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
    names = {"neuron", "network", "delta-21", "delta-11", "step-1", "step-2", "step-3", "step-4"}
    files = {path.stem: path for path in (tmp_path / "drawn").iterdir()}
    assert files.keys() == names
    drawn = {
        name: {text.text for text in ElementTree.parse(path).iter("{http://www.w3.org/2000/svg}text")}
        for name, path in files.items()
    }
    q = article.two_by_two(**(DEFAULTS["two_by_two"] | {"eta": 1.0}))
    assert {*shown(q.delta_21_in, q.delta_21_out)} <= {line for text in drawn["step-1"] for line in text.split()}
    assert {*shown(q.w_21_11_new, q.w_22_b_new)} <= drawn["step-2"]
    assert {*shown(q.delta_11_in, q.delta_12_out)} <= drawn["step-3"]
    assert {*shown(q.w_11_x_new, q.w_12_b_new)} <= drawn["step-4"]
    # δ11 alone, over the weights from both outputs
    assert {*shown(q.delta_11_in, q.delta_11_out, q.w_21_11, q.w_22_11)} <= drawn["delta-11"]
    assert not {*shown(q.delta_12_in)} & drawn["delta-11"]


def test_only_what_is_worked_is_drawn(tmp_path):
    """In one of the two networks y is a target, in the other an input."""
    page = tmp_path / "article.html"
    assert main(["article", "two_by_two", "--inputs", "y=-2", "--html", str(page)]) == 0
    assert Page(page.read_text(encoding="utf-8")).tags.count("svg") == 7
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
    assert page.tags.count("math") == len(steps)
    assert page.tags.count("svg") == 8
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


@pytest.fixture
def report():
    generator = torch.Generator().manual_seed(0)
    inputs = [torch.randn(*shape, generator=generator) for shape in ((6, 5), (4, 5), (4,))]
    return crosscheck(layer, doubled, inputs)


def test_the_ladder_falls_for_what_is_right_and_stays_for_what_is_wrong(report):
    ladder = report.plot().axes[0]
    lines = {line.get_label(): line for line in ladder.lines[1:]}
    assert lines.keys() == {text.get_text() for text in ladder.texts} == {"x", "w", "b"}
    for name, line in lines.items():
        rows = [row for row in report.rows if row.name == name]
        u = {torch.float64: 2.0**-53, torch.float32: 2.0**-24, torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}
        assert list(line.get_xdata()) == [u[row.dtype] for row in rows]
        assert list(line.get_ydata()) == [u[row.dtype] * max(row.error, 0.1) for row in rows]
        falls = line.get_ydata()[0] < 1e-10
        assert falls == (name != "w")
        assert (line.get_color() == "#D55E00") == (name == "w")


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
    inputs = [torch.randn(3, generator=torch.Generator().manual_seed(i)) for i in range(len(names))]
    right = lambda g, out, *xs: tuple(g * 2 * x * (1 + (i < wrong)) for i, x in enumerate(xs))  # noqa: E731
    report = crosscheck(lambda *xs: sum(x * x for x in xs), right, inputs, names=names)
    figure = report.plot()
    figure.draw_without_rendering()
    ladder = figure.axes[0]
    boxes = {text.get_text(): Text.get_window_extent(text) for text in ladder.texts}
    assert boxes.keys() == {*names}
    assert [(one, other) for one, other in combinations(boxes, 2) if boxes[one].overlaps(boxes[other])] == []
    inside = ladder.get_window_extent()
    assert [name for name, box in boxes.items() if box.x0 < inside.x0 or box.y0 < inside.y0 or box.y1 > inside.y1] == []


def test_the_maps_of_vectors_have_no_rows_and_those_left_out_are_counted():
    def doubled(grad_out, out, *xs):
        return tuple(2 * grad_out * x for x in xs)

    inputs = [torch.randn(3, generator=torch.Generator().manual_seed(i)) for i in range(5)]
    report = crosscheck(lambda a, b, c, d, e: a * a * b * c * d * e, doubled, inputs, dtypes=[torch.float64])
    maps = [axes for axes in report.plot().axes if axes.images]
    assert [axes.get_title() for axes in maps] == [f"{n} at float64" for n in "abc"] + ["d at float64, and 1 more"]
    assert [list(axes.get_yticks()) for axes in maps] == [[]] * 4


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
        grad_x[700, 301] += 1
        return grad_x

    inputs = [torch.randn(1000, 400, generator=torch.Generator().manual_seed(0))]
    report = crosscheck(lambda x: x * x, one_wrong, inputs, dtypes=[torch.float64])
    (row,) = report.mismatches
    assert row.shares.shape == (128, 128)
    assert torch.nonzero(row.shares > 1).tolist() == [[700 * 128 // 1000, 301 * 128 // 400]]


def test_a_notebook_shows_the_picture(report, monkeypatch):
    assert "<svg" in report._repr_html_()
    monkeypatch.setattr("reference.report.find_spec", lambda name: None)
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
    figure = plots.plot_training([3.0, 2.0], [4.0, 3.0], [0.5, 0.75], "title")
    costs, accuracy = figure.axes
    assert [list(line.get_ydata()) for line in costs.lines] == [[3.0, 2.0], [4.0, 3.0]]
    assert list(accuracy.lines[0].get_ydata()) == [0.5, 0.75]
    (alone,) = plots.plot_training([3.0], [4.0], [], "no right and wrong").axes
    for axes in (costs, accuracy, alone):
        assert [tick for tick in axes.get_xticks() if tick != round(tick)] == []


def test_the_benchmark_is_drawn_as_it_was_measured():
    growth = {
        along: {"manual-bp": ([1, 2], [1e-6, 2e-6], 1.0), "autograd + SGD": ([1, 2], [3e-6, 3e-6], 0.0)}
        for along in ("width", "depth")
    }
    figure = plots.plot_bench({"2-2-2": {"manual-bp": 1.0, "autograd + SGD": 20.5}}, growth, "title")
    bars, width, _ = figure.axes
    assert sorted(bar.get_width() for bar in bars.patches) == [1.0, 20.5]
    assert [list(line.get_ydata()) for line in width.lines] == [[1, 2], [3, 3]]


def test_the_example_of_the_readme(tmp_path):
    path = Path(__file__).parents[1] / "examples" / "picture.py"
    spec = importlib.util.spec_from_file_location("picture", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    picture = io.BytesIO()
    module.report().plot().savefig(picture, format="png")
    assert picture.getvalue().startswith(b"\x89PNG")
    assert [row.name for row in module.report().mismatches][:2] == ["x", "w"]
    done = subprocess.run([sys.executable, str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "usage: python examples/picture.py report.svg\n"


def test_a_name_is_no_formula():
    report = crosscheck(torch.sin, lambda g, out, x: (g,), [torch.randn(3)], names=(r"$\frac{$",))
    assert r"$\frac{$" in report._repr_html_()

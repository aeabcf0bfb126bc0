"""`manual-bp bench`: the training step in place against others', in time and memory, and how its time grows."""

import math
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from statistics import median
from typing import Any, NamedTuple

import numpy as np
import torch

from crosscheck import devices
from manual_bp import __version__, _checks
from manual_bp._console import console
from manual_bp.commands import CommandError
from manual_bp.commands._writing import can_draw, draw
from manual_bp.commands.peers import PEERS, Peer, missing, work
from manual_bp.commands.transformer_peers import PEERS as TRANSFORMER_PEERS
from manual_bp.commands.transformer_peers import Sizes

OURS, AUTOGRAD = "manual-bp", "autograd + SGD"
MODELS = {"network": PEERS, "transformer": TRANSFORMER_PEERS}
NO_MEMORY = ("scikit-learn", "matrix products alone")  # minutes a step of these sizes, and no step
TURN = 0.06  # seconds


class Setting(NamedTuple):
    """A network, or a transformer, and the samples in a batch."""

    sizes: Sequence[int]
    samples: int
    name: str = ""

    def __str__(self) -> str:
        return self.name or f"{'-'.join(map(str, self.sizes))}, batch {self.samples}"


SPEED = [
    Setting([2, 2, 2], 1, "2-2-2, online"),
    Setting([784, 30, 10], 10),
    Setting([784, 100, 10], 128),
    Setting([1024, 2048, 2048, 1024], 512),
]
MEMORY = [
    Setting([3072] * 7, 8, "6 layers of 3072, batch 8"),
    Setting([512] * 13, 8192, "12 layers of 512, batch 8192"),
]
WIDTH = [Setting([width] * 4, 64) for width in (16, 32, 64, 128, 256, 512, 1024, 2048)]
DEPTH = [Setting([64] * (depth + 1), 64) for depth in (1, 2, 4, 8, 16, 32, 64)]
TRANSFORMERS = [
    Setting(Sizes(65, 64, 128, 4, 4), 8, "4 × 128, V 65, 8 × 64"),
    Setting(Sizes(65, 128, 384, 6, 6), 4, "6 × 384, V 65, 4 × 128"),
    Setting(Sizes(50257, 128, 384, 6, 6), 4, "6 × 384, V 50257, 4 × 128"),
]


class Measured(NamedTuple):
    """Of a peer: seconds of a step in each round, and bytes above rest."""

    seconds: list[float]
    memory: float


Results = dict[str, Measured]  # by peer
Workers = dict[str, Connection]


def bench(model: str, peers: list[str] | None, rounds: int, device: str, figure: str | None) -> int:
    """Measure, print the tables, draw the figure; returns the exit code."""
    try:
        place = devices.device(device)
        _checks.count("--rounds", rounds)
    except (TypeError, ValueError) as error:
        raise CommandError(str(error)) from None
    known = MODELS[model]
    unknown = [name for name in peers or [] if name not in known]
    if unknown:
        raise CommandError(f"--peer {unknown[0]}: expected one of {', '.join(map(repr, known))}")
    if figure:
        can_draw(figure)
    autograd = AUTOGRAD if model == "network" else "autograd + AdamW"
    asked = [name for name in known if not peers or name in peers or name in (OURS, autograd)]
    here = {name: known[name] for name in asked if not missing(known[name], place)}

    lines = console()
    threads = f", {torch.get_num_threads()} threads" if place.type == "cpu" else ""
    lines.print(f"manual-bp {__version__}, torch {torch.__version__}, on {devices.title(place)}{threads}")
    for name in asked:
        if name not in here and (peers or place.type in known[name].devices):
            lines.print(f"left out: {name}: {missing(known[name], place)}")
    lines.print(
        "Every peer runs in a process of its own, in turns. A time is the median of "
        f"{rounds} rounds, and a ratio that of the ratios in each round.\n"
    )
    speeds, memories = (SPEED, MEMORY) if model == "network" else (TRANSFORMERS, TRANSFORMERS)
    growths = {"width": WIDTH, "depth": DEPTH} if model == "network" else {}
    with lines.progress() as bar:
        task = bar.add_task("measuring", total=len(speeds) + len(memories) + sum(map(len, growths.values())))

        def measured(workers: Workers, settings: list[Setting], rounds: int) -> list[tuple[Setting, Results]]:
            results = []
            for setting in settings:
                bar.update(task, description=str(setting))
                results.append((setting, _measure(workers, setting, rounds, lines)))
                bar.advance(task)
            return results

        with _working(here, place) as workers:
            lines.print("The time of a step, and how many times ours that is\n", style="bold")
            speed = measured(workers, speeds, rounds)
            _table(lines, list(here), speed, lambda m: _duration(median(m.seconds)), _times_as_long)
            both = {name: workers[name] for name in (OURS, autograd)}
            growth = {along: measured(both, settings, rounds) for along, settings in growths.items()}
        lines.print(
            "\nMemory above the process at rest, from the making of the model on, in five steps; ours as a share of it"
            "\n",
            style="bold",
        )
        memory = []
        for setting in memories:
            with _working({name: peer for name, peer in here.items() if name not in NO_MEMORY}, place) as fresh:
                memory += measured(fresh, [setting], 0)
        _table(lines, list(here), memory, lambda m: f"{m.memory / 1e6:.0f} MB", _share_of_memory)
        if growth:
            lines.print(
                "\nGrowth: the time of a step goes as width or depth to this power, over the upper half of the range\n",
                style="bold",
            )
            _slopes(lines, growth)
    if figure:
        _draw(figure, speed, memory, growth, devices.title(place))
        lines.print(f"\nfigure: {figure}")
    return 0


@contextmanager
def _working(peers: Mapping[str, Peer], place: torch.device) -> Iterator[Workers]:
    """A process for each peer."""
    context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
    processes, workers = [], {}
    try:
        for name, peer in peers.items():
            workers[name], theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs, peer, place), daemon=True)
            process.start()
            theirs.close()
            processes.append(process)
        yield workers
    finally:
        for process in processes:
            process.kill()
            process.join()


def _measure(workers: Workers, setting: Setting, rounds: int, lines: Any) -> Results:
    """Turn by turn, each of so many steps as take about as long as those of the others; without rounds memory alone."""

    def answer(name: str, message: object) -> float | str:
        try:
            workers[name].send(message)
            answer: float | str = workers[name].recv()
        except (EOFError, OSError):
            return "its process has ended"
        return answer

    def turn(name: str, steps: int) -> float:
        seconds = answer(name, steps)
        if isinstance(seconds, str):
            raise CommandError(f"{name}, {setting}: {seconds}")
        return seconds / steps

    memory: dict[str, float] = {}
    for name in workers:  # one after the other, for all at once may need more memory than there is
        held = answer(name, (setting.sizes, setting.samples))
        if isinstance(held, str) and name == OURS:
            raise CommandError(f"{name}, {setting}: {held}")  # with which all others are compared
        if isinstance(held, str):
            lines.print(f"left out of {setting}: {name}: {held}", style="yellow")
        else:
            memory[name] = held
    seconds: dict[str, list[float]] = {name: [] for name in memory}
    if rounds:
        steps = {name: max(1, math.ceil(TURN / min(turn(name, 1), turn(name, 3)))) for name in memory}
    for _ in range(rounds):
        for name in memory:
            seconds[name].append(turn(name, steps[name]))
    return {name: Measured(seconds[name], memory[name]) for name in memory}


def ratio(results: Results, name: str) -> float:
    """How many times as long as ours a peer's step takes: the median of the rounds' ratios."""
    pairs = zip(results[name].seconds, results[OURS].seconds, strict=True)
    return median(theirs / ours for theirs, ours in pairs)


def _times_as_long(results: Results, name: str) -> str:
    return f"×{ratio(results, name):.3g}"


def _share_of_memory(results: Results, name: str) -> str:
    return f"{results[OURS].memory / results[name].memory:.2f}"


def _duration(seconds: float) -> str:
    units = (("s", 1), ("ms", 1e-3))
    unit, scale = next(((u, s) for u, s in units if seconds >= 0.9995 * s), ("µs", 1e-6))  # no 1e+03 µs
    return f"{seconds / scale:.3g} {unit}"


def _table(
    lines: Any, names: Sequence[str], measured: list[tuple[Setting, Results]], value: Callable[[Measured], str],
    against: Callable[[Results, str], str],
) -> None:  # fmt: skip
    """Peers down, settings across."""
    width = max(map(len, names))
    columns = [max(17, len(str(setting))) for setting, _ in measured]

    def line(name: str, cells: list[str]) -> None:
        told = (f"{cell:>{n}}" for cell, n in zip(cells, columns, strict=True))
        lines.print("  ".join((f"{name:{width}}", *told)).rstrip())

    line("", [str(setting) for setting, _ in measured])
    for name in names:
        if any(name in results for _, results in measured):
            ratios = [against(results, name) if name in results and name != OURS else "" for _, results in measured]
            times = [value(results[name]) if name in results else "-" for _, results in measured]
            line(name, [f"{t} {r:>6}" if t != "-" else t for t, r in zip(times, ratios, strict=True)])


def slope(sizes: Sequence[float], seconds: Sequence[float]) -> float:
    """The exponent k of time ~ sizeᵏ, over the upper half of the sizes; not a number where these are not two."""
    half = len(sizes) // 2
    if len(sizes) - half < 2:
        return math.nan
    return float(np.polyfit(np.log(sizes[half:]), np.log(seconds[half:]), 1)[0])


def curve(growth: list[tuple[Setting, Results]], along: str, name: str) -> tuple[list[int], list[float]]:
    """Width or depth, and the seconds of a peer's step, where it takes one."""
    taken = [(setting.sizes, results[name].seconds) for setting, results in growth if name in results]
    sizes = [sizes[0] if along == "width" else len(sizes) - 1 for sizes, _ in taken]
    return sizes, [median(seconds) for _, seconds in taken]


def _slopes(lines: Any, growth: dict[str, list[tuple[Setting, Results]]]) -> None:
    width = max(map(len, (OURS, AUTOGRAD)))
    lines.print(f"{'':{width}}  {'3 layers, in width':>20}  {'width 64, in depth':>20}")
    for name in (OURS, AUTOGRAD):
        exponents = [slope(*curve(growth[along], along, name)) for along in ("width", "depth")]
        lines.print("  ".join((f"{name:{width}}", *(f"{exponent:20.2f}" for exponent in exponents))))


def _draw(
    file: str, speed: list[tuple[Setting, Results]], memory: list[tuple[Setting, Results]],
    growth: dict[str, list[tuple[Setting, Results]]], device: str,
) -> None:  # fmt: skip
    from manual_bp.commands.plots import plot_bench, plot_bench_memory

    def with_slope(along: str, name: str) -> tuple[list[int], list[float], float]:
        sizes, seconds = curve(growth[along], along, name)
        return sizes, seconds, slope(sizes, seconds)

    ratios = {str(setting): {name: ratio(results, name) for name in results} for setting, results in speed}
    title = f"A training step by hand and by others, torch {torch.__version__} on {device}"
    if growth:
        drawn = [name for name in (OURS, AUTOGRAD) if any(name in results for _, results in speed)]
        curves = {along: {name: with_slope(along, name) for name in drawn} for along in growth}
        draw(plot_bench(ratios, curves, title), file)
    else:
        shares = {
            str(setting): {name: results[name].memory / results[OURS].memory for name in results}
            for setting, results in memory
        }
        draw(plot_bench_memory(ratios, shares, title), file)

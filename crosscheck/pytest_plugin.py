"""Tests on every device: the fixtures `device` and `dtype`, and --device.

What was asked for and did not run is a failure. torch is imported only when a test asks for a device, or the command
line for an accelerator by its name: this file itself must not.
"""

import os
import random
import sys
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from zlib import crc32

import pytest

if TYPE_CHECKING:
    import torch

VARIABLE = "PYTEST_DEVICE"
MARKS = (
    "device_only(*kinds, reason=None): run on devices of these kinds alone, as in device_only('cuda')",
    "device_except(*kinds, reason=None): do not run on devices of these kinds",
    "dtypes(*dtypes): the dtypes of the fixture `dtype`, by name or as torch has them; the nearest mark wins",
)
LADDER = ("float64", "float32", "bfloat16", "float16")
WITHOUT_FLOAT64 = ("mps",)
# In user_properties, beside those of the tests' own.
DEVICE, SEED = "manual-bp-device", "manual-bp-seed"
GROUP = "manual-bp"  # of options; another's may be called devices

PLUGIN = pytest.StashKey["Devices"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup(GROUP, "devices (manual-bp)")
    if not _is_taken(parser, "--device"):
        group.addoption(
            "--device", action="append", dest="devices_asked", metavar="NAMES",
            help="run the tests that take the fixture `device` there: cpu, cuda, cuda:1, mps, xpu, or several with "
            f"commas, or all; every device present unless given here, in the variable {VARIABLE} or as `device` in the "
            "configuration; one that is named and not here is an error",
        )  # fmt: skip
    if not _is_taken(parser, "--deterministic"):
        group.addoption(
            "--deterministic", action="store_true", dest="devices_deterministic",
            help="torch's deterministic algorithms, and TF32 off, in the tests that take `device`",
        )  # fmt: skip
    parser.addini("device", "devices to run on, as for --device", type="args")
    _yield_to_others(parser)


def pytest_configure(config: pytest.Config) -> None:
    for mark in MARKS:
        config.addinivalue_line("markers", mark)
    config.stash[PLUGIN] = devices = Devices.of(config)
    config.pluginmanager.register(devices, "manual-bp-devices")
    if devices.is_deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # CUDA reads it when it starts


class _Name(str):
    """A device's name as we parametrize by it: that of a test which has values of its own is a plain one."""


@pytest.fixture
def device(request: pytest.FixtureRequest) -> "torch.device":
    """Each of the devices, one after the other."""
    return request.config.stash[PLUGIN].device(_param(request))


@pytest.fixture
def dtype(request: pytest.FixtureRequest) -> "torch.dtype":
    """Each of the dtypes of the mark `dtypes`; without one float64, float32, bfloat16 and float16."""
    import torch

    name = _param(request)
    found = getattr(torch, name, None)
    if not isinstance(found, torch.dtype):
        pytest.fail(f"dtypes: expected dtypes of torch, as float32, got {name!r}", pytrace=False)
    return found


def _param(request: pytest.FixtureRequest) -> Any:
    """What the test was parametrized by; where it was not, the test fails."""
    name = request.fixturename
    if not hasattr(request, "param"):
        pytest.fail(
            f"{name}: expected to be an argument of the test function, or of a fixture that it takes, so that the test "
            "runs once for each, got a request by getfixturevalue, a doctest or a unittest.TestCase in "
            f"{request.node.nodeid}: add the argument, or @pytest.mark.usefixtures({name!r})",
            pytrace=False,
        )
    return request.param


@pytest.hookimpl(trylast=True)  # whoever parametrizes them himself has done so by then
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    ours = [name for name in ("device", "dtype") if _is_ours(metafunc, name)]
    if not ours:
        return
    marks = metafunc.definition
    _refuse_unknown_kinds(marks)
    names = metafunc.config.stash[PLUGIN].names() if "device" in ours else [""]
    nearest = marks.get_closest_marker("dtypes")
    asked = [str(t).removeprefix("torch.") for t in nearest.args] if nearest else []
    dtypes = list(dict.fromkeys(asked or LADDER)) if "dtype" in ours else [""]
    values = []
    for name in names:
        for t in dtypes:
            why = _why_not(name, t, marks)
            skip = [pytest.mark.skip(reason=why)] if why else []
            named = list(filter(None, (_Name(name), t)))
            values.append(pytest.param(*named, marks=skip))
    # In this order, whatever that of the arguments: the id reads cuda-bfloat16.
    metafunc.parametrize(ours, values, indirect=True)


def _refuse_unknown_kinds(marks: pytest.Function) -> None:
    """A kind that there is not would be one on which no test ever runs."""
    from crosscheck import devices

    for mark in marks.iter_markers():
        if mark.name not in ("device_only", "device_except"):
            continue
        if not mark.args or any(kind not in devices.KINDS for kind in mark.args):
            pytest.fail(
                f"{mark.name}: expected kinds of devices, of {', '.join(devices.KINDS)}, as in {mark.name}('cuda'), "
                f"got {', '.join(map(repr, mark.args)) or 'none'} in {marks.nodeid}",
                pytrace=False,
            )


def _why_not(name: str, dtype: str, marks: pytest.Function) -> str:
    """Why a test is not run on a device, in a dtype, if it is not."""
    kind = name.partition(":")[0]
    for mark in marks.iter_markers("device_only"):
        if kind not in mark.args:
            return mark.kwargs.get("reason") or f"for {', '.join(mark.args)} only"
    for mark in marks.iter_markers("device_except"):
        if kind in mark.args:
            return mark.kwargs.get("reason") or f"not for {kind}"
    return f"{kind} has no float64" if dtype == "float64" and kind in WITHOUT_FLOAT64 else ""


def _is_ours(metafunc: pytest.Metafunc, name: str) -> bool:
    """Whether a test takes this fixture, or one that extends it, and nobody has values of his own in its place."""
    if any(name in call.params for call in metafunc._calls):
        return False
    for known in reversed(metafunc.definition._fixtureinfo.name2fixturedefs.get(name) or ()):  # the nearest first
        if known.func.__module__ == __name__:
            return True
        if name not in known.argnames:
            return False
    return False


@dataclass(eq=False)  # pytest 8 keeps its plugins in a set
class Devices:
    """The devices of a run, and what ran on them."""

    config: pytest.Config
    asked: Sequence[str]
    is_deterministic: bool
    to_run_on: list[str] | None = None
    ran: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # their ids, by the device
    calls_tests: bool = False
    said: list[str] = field(default_factory=list)  # by the workers, of the devices there

    @classmethod
    def of(cls, config: pytest.Config) -> "Devices":
        """As the command line has it, the environment variable or the configuration."""
        given = (
            config.getoption("devices_asked", None) or os.environ.get(VARIABLE, "").split() or config.getini("device")
        )
        asked = list(dict.fromkeys(name.strip() for text in given for name in text.split(",") if name.strip()))
        return cls(config, asked, bool(config.getoption("devices_deterministic", False)))

    @property
    def named(self) -> list[str]:
        """Those that were asked for by name: they must be here, and run."""
        return [name for name in self.asked if name != "all"]

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionstart(self) -> None:
        """Refuse what is not here; not earlier, for --help is to help then, too."""
        from_torch = [name for name in self.named if name != "cpu"]
        if not from_torch or _is_worker(self.config):  # whose controller has looked already
            return
        from crosscheck import devices

        try:
            missing = {name: why for name in from_torch if (why := devices.missing(name))}
        except ValueError as error:
            raise pytest.UsageError(f"{error}; all stands for each that is here") from None
        if missing:
            raise pytest.UsageError("; ".join(f"device {name} is not here: {why}" for name, why in missing.items()))

    def names(self) -> list[str]:  # no property, for pytest before 8.3 reads those of each plugin
        """Those to run on, once a test asks for one."""
        from crosscheck import devices

        if self.to_run_on is None:
            present = [str(place) for place in devices.available()] if not self.asked or "all" in self.asked else []
            self.to_run_on = list(dict.fromkeys((*self.named, *present)))
        return self.to_run_on

    @contextmanager
    def settings(self) -> Iterator[None]:
        """What --deterministic asks for, in a test that takes `device`; afterwards it is as it was."""
        if not self.is_deterministic:
            yield
            return
        import torch

        cudnn = torch.backends.cudnn
        with ExitStack() as former:
            was = torch.are_deterministic_algorithms_enabled()
            warned = torch.is_deterministic_algorithms_warn_only_enabled()
            former.callback(torch.use_deterministic_algorithms, was, warn_only=warned)
            torch.use_deterministic_algorithms(True)
            for name, value in (("deterministic", True), ("benchmark", False)):
                former.callback(setattr, cudnn, name, getattr(cudnn, name))
                setattr(cudnn, name, value)
            _TF32.off(former)
            yield

    @property
    def is_used(self) -> bool:
        return self.to_run_on is not None

    def device(self, name: str) -> "torch.device":
        """The device of that name; of several of a kind each worker of xdist has its own, in turn."""
        import torch

        worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
        if name == "cuda" and worker.isdigit():
            return torch.device(name, int(worker) % torch.cuda.device_count())
        return torch.device(name)

    def about(self) -> list[str]:
        """What is known of the devices that are used, and of those that are not here."""
        import torch

        from crosscheck import devices

        here = ", ".join(devices.title(torch.device(name)) for name in self.names())
        lines = [f"devices: {here or 'none'}; torch {torch.__version__}"]
        if not self.asked or "all" in self.asked:
            lines += [f"  {kind} is not here: {why}" for kind in devices.KINDS if (why := devices.missing(kind))]
        with self.settings():
            tf32, deterministic = _TF32.about(), torch.are_deterministic_algorithms_enabled()
        return [*lines, f"  {tf32}, deterministic algorithms {_on_off(deterministic)}"]

    def pytest_report_collectionfinish(self) -> list[str]:
        return self.about() if self.is_used else []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self) -> None:
        """Not called for --fixtures and their like."""
        self.calls_tests = not any(self.config.getoption(name, False) for name in ("collectonly", "setuponly"))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        name = _device_of(item)
        if name is None:
            return (yield)
        seed = crc32(item.nodeid.encode())
        item.user_properties += [(DEVICE, name), (SEED, seed)]
        states = _Random.state(self.device(name))
        try:
            with self.settings():
                _Random.seed(seed)
                return (yield)
        finally:
            _Random.restore(states)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        seed = dict(item.user_properties).get(SEED)
        if report.failed and seed is not None:
            report.sections.append(("seed", f"of random, numpy and torch before the test: {seed}"))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = dict(report.user_properties).get(DEVICE)
        is_run = report.when == "call" and (not report.skipped or hasattr(report, "wasxfail"))
        if name is not None and is_run:
            self.ran[str(name)].add(report.nodeid)  # once, though each of its subtests reports, too

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        output = getattr(self.config, "workeroutput", None)
        if output is not None:
            output["devices"] = self.about() if self.is_used else []
        elif self.idle and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker of xdist has ended."""
        self.said = self.said or list(getattr(node, "workeroutput", {}).get("devices", []))

    @property
    def idle(self) -> list[str]:
        """Those that were asked for by name, and on which nothing ran, though something was to run.

        A standing wish, by the variable or the configuration, is none of a suite that takes no device.
        """
        is_standing = not self.config.getoption("devices_asked", None)
        if not self.calls_tests or (is_standing and not (self.is_used or self.said)):
            return []
        return [name for name in self.named if not self.ran[name]]

    def pytest_terminal_summary(self, terminalreporter: "pytest.TerminalReporter") -> None:  # a name since pytest 8.4
        if not self.calls_tests or not (self.is_used or self.said or self.named):
            return
        for line in self.said:
            terminalreporter.write_line(line)
        names = dict.fromkeys((*(self.to_run_on or ()), *self.named, *self.ran))
        counts = ", ".join(f"{len(self.ran[name])} on {name}" for name in names)
        terminalreporter.write_line(f"tests that ran: {counts}")
        for name in self.idle:
            terminalreporter.write_line(f"ERROR: no test ran on {name}, which was asked for by name", red=True)


class _Random:
    """The random states that tests draw from: Python's, NumPy's if it is there, torch's and the device's."""

    @staticmethod
    def state(place: "torch.device") -> dict[str, Any]:
        import torch

        states: dict[str, Any] = {"random": random.getstate(), "torch": torch.get_rng_state()}
        if "numpy" in sys.modules:
            states["numpy"] = sys.modules["numpy"].random.get_state()
        if place.type != "cpu":
            with suppress(RuntimeError):  # a test of its own may say that the device does not work
                states[str(place)] = torch.get_device_module(place.type).get_rng_state()
        return states

    @staticmethod
    def seed(seed: int) -> None:
        import torch

        random.seed(seed)
        torch.manual_seed(seed)  # also that of each accelerator
        if "numpy" in sys.modules:
            sys.modules["numpy"].random.seed(seed)

    @staticmethod
    def restore(states: dict[str, Any]) -> None:
        import torch

        for name, state in states.items():
            if name == "random":
                random.setstate(state)
            elif name == "torch":
                torch.set_rng_state(state)
            elif name == "numpy":
                sys.modules["numpy"].random.set_state(state)
            else:
                torch.get_device_module(torch.device(name).type).set_rng_state(state)


class _TF32:
    """Float32 products in TF32: a word for each kind, since torch 2.9, and flags, unreadable where they contradict."""

    @staticmethod
    def words() -> list[Any]:
        """What has a word: matrix products, convolutions, RNNs, and matrix products on the CPU; before 2.9 nothing."""
        import torch

        backends: Any = torch.backends  # the types do not know them all
        products = backends.cuda.matmul
        if not hasattr(products, "fp32_precision"):
            return []
        return [products, backends.cudnn.conv, backends.cudnn.rnn, backends.mkldnn.matmul]

    @classmethod
    def about(cls) -> str:
        from torch.backends import cuda, cudnn

        words = [place.fp32_precision == "tf32" for place in cls.words()[:3]]
        on = words or [cuda.matmul.allow_tf32, cudnn.allow_tf32]
        return f"TF32 in matrix products {_on_off(on[0])}, in cuDNN {_on_off(any(on[1:]))}"

    @classmethod
    def off(cls, former: ExitStack) -> None:
        """Off on CUDA, and in matrix products on the CPU; afterwards all that is read is as it was."""
        import torch

        words, cudnn = cls.words(), torch.backends.cudnn
        for place in words:
            former.callback(setattr, place, "fp32_precision", place.fp32_precision)
            place.fp32_precision = "ieee"
        former.callback(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision())
        torch.set_float32_matmul_precision("highest")
        try:
            flag = cudnn.allow_tf32
        except RuntimeError:  # it contradicts the words, and these say no
            flag = True
        former.callback(setattr, cudnn, "allow_tf32", flag)
        cudnn.allow_tf32 = False
        for place in words:  # once more: without the flag, cuDNN has what is said of everything
            place.fp32_precision = "ieee"


def _device_of(item: pytest.Item) -> str | None:
    """The name of the device that we gave to the test, if we did."""
    callspec = getattr(item, "callspec", None)
    name = callspec.params.get("device") if callspec else None
    return str(name) if isinstance(name, _Name) else None  # a plain one, for xdist to send


def _is_worker(config: pytest.Config) -> bool:
    return hasattr(config, "workerinput")


def _on_off(flag: bool) -> str:
    return "on" if flag else "off"


def _is_taken(parser: pytest.Parser, option: str) -> bool:
    """Whether another plugin has that option already."""
    groups = (*parser._groups, parser._anonymous)
    return any(option in known.names() for group in groups for known in group.options)


def _yield_to_others(parser: pytest.Parser) -> None:
    """Let whoever adds an option of the same name later have it: a conftest's own --device wins."""
    if hasattr(parser._anonymous, "_arggroup"):
        for container in (parser.optparser, *(group._arggroup for group in parser._groups)):
            container.conflict_handler = "resolve"


def pytest_plugin_registered(manager: pytest.PytestPluginManager) -> None:
    """The same before pytest 9, which lets options of one name stand until the command line is read."""
    config = manager.get_plugin("pytestconfig")
    groups = (*config._parser._groups, config._parser._anonymous) if config else ()
    for ours in (group for group in groups if group.name == GROUP):
        taken = {name for group in groups if group is not ours for known in group.options for name in known.names()}
        ours.options = [known for known in ours.options if taken.isdisjoint(known.names())]

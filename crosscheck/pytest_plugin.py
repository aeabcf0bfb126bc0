"""Tests on every device: the fixtures `device`, `devices` and `dtype`, `OnDevices` for a TestCase, and --device.

What was asked for and did not run is a failure. torch is imported only when a test asks for a device, or the command
line for an accelerator by its name: this file itself must not.
"""

import inspect
import json
import os
from collections import Counter, defaultdict
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import pytest

if TYPE_CHECKING:
    import torch

VARIABLE = "PYTEST_DEVICE"
MARKS = (
    "device_only(*kinds, reason=None): run on devices of these kinds alone, as in device_only('cuda')",
    "device_except(*kinds, reason=None): do not run on devices of these kinds",
    "device_count(count): run where there are so many devices of a kind; the fixture `devices` has them",
    "dtypes(*dtypes): the dtypes of the fixture `dtype`, by name or as torch has them; the nearest mark wins",
)
LADDER = ("float64", "float32", "bfloat16", "float16")
WITHOUT_FLOAT64 = ("mps",)
SCOPES = ("function", "class", "module", "package", "session")
# In user_properties, beside those of the tests' own.
DEVICE, SEED = "manual-bp-device", "manual-bp-seed"
GROUP = "manual-bp"  # of options; another's may be called devices

PLUGIN = pytest.StashKey["Devices"]()
GIVEN = pytest.StashKey[Mapping[str, str]]()  # of a test of a TestCase, which has no parameters


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup(GROUP, "devices (manual-bp)")
    if not _is_taken(parser, "--device"):
        group.addoption(
            "--device", action="append", dest="devices_asked", metavar="NAMES",
            help="run the tests that take the fixture `device` there: cpu, cuda, cuda:1, mps, xpu, another kind that "
            "torch has, several with commas, or all; every device present unless given here, in the variable "
            f"{VARIABLE} or as `device` in the configuration; one that is named and not here is an error",
        )  # fmt: skip
    if not _is_taken(parser, "--device-report"):
        group.addoption(
            "--device-report", dest="devices_report", metavar="FILE",
            help="write there, as JSON, what ran on which device; `manual-bp devices merge` adds such files up",
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
    """The name of a device or a dtype as we give it: that of a test which has values of its own is a plain one."""


_name = cache(_Name)  # one for each, by which pytest knows that a fixture need not be built again


# Their values are parametrized in the scope that is needed, and this one is wide enough for all.
@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> "torch.device":
    """Each of the devices, one after the other."""
    ours = request.config.stash[PLUGIN]
    return ours.device(_param(request))


@pytest.fixture
def devices(device: "torch.device", request: pytest.FixtureRequest) -> "list[torch.device]":
    """`device` and others of its kind, as many as the mark `device_count` says; all of the kind without one."""
    from crosscheck.devices import of_kind

    mark = request.node.get_closest_marker("device_count")
    every = of_kind(device.type) or [device]
    first = device if device in every else every[0]  # cuda is cuda:0, the current one
    return [first, *(place for place in every if place != first)][: mark.args[0] if mark else None]


@pytest.fixture(scope="session")
def dtype(request: pytest.FixtureRequest) -> "torch.dtype":
    """Each of the dtypes of the mark `dtypes`; without one float64, float32, bfloat16 and float16."""
    return _dtype(_param(request))


def _dtype(name: str) -> "torch.dtype":
    import torch

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
            "runs once for each, got a request by getfixturevalue, a doctest or a unittest.TestCase: "
            "add the argument; a TestCase has self.device and self.dtype once it inherits "
            "crosscheck.pytest_plugin.OnDevices, as in class TestMine(OnDevices, TestCase)",
            pytrace=False,
        )
    return request.param


class OnDevices:
    """For a unittest.TestCase: its tests run on each device, with ids and marks as those of functions.

    ::

        class TestMine(OnDevices, unittest.TestCase):
            def test_it(self): ...  # self.device; self.dtype where it, or its class, has the mark `dtypes`
    """

    _given: Mapping[str, Mapping[str, Any]] = {}

    @property
    def device(self) -> "torch.device":
        """That of the test, from setUp on."""
        place: torch.device = self._given_to_the_test("device")
        return place

    @property
    def dtype(self) -> "torch.dtype":
        """That of the test, from setUp on."""
        dtype: torch.dtype = self._given_to_the_test("dtype")
        return dtype

    def _given_to_the_test(self, what: str) -> Any:
        test = self._testMethodName  # type: ignore[attr-defined]
        given = self._given.get(test, {})
        if what not in given:
            do = "mark it with pytest.mark.dtypes" if given else "run it by pytest, with this plugin"
            of = f"{type(self).__name__}.{test}"
            raise AttributeError(f"self.{what}: expected a {what} that pytest gives to {of}, got none: {do}")
        return given[what]


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Collector, name: str, obj: object) -> pytest.Collector | None:
    """Collect a TestCase that is `OnDevices`."""
    if not (isinstance(obj, type) and issubclass(obj, OnDevices)) or inspect.isabstract(obj):
        return None
    from unittest import TestCase

    return _cases(collector, name, obj) if issubclass(obj, TestCase) else None


def _cases(collector: pytest.Collector, name: str, obj: type) -> pytest.Collector:
    """Each test of a TestCase as one for each device, by methods of a class that inherits it."""
    from _pytest.unittest import TestCaseFunction, UnitTestCase

    class Cases(UnitTestCase):
        def collect(self) -> Iterator[pytest.Item | pytest.Collector]:
            ours = self.config.stash[PLUGIN]
            for test in super().collect():
                if not isinstance(test, pytest.Item) or "[" in test.name:  # one of those below
                    continue
                _refuse_wrong_marks(test)
                each = [{"device": name} for name in ours.names()]
                if test.get_closest_marker("dtypes"):
                    each = [{**on, "dtype": dtype} for on in each for dtype in _dtypes(test)]
                for given in each:
                    test_id = f"{test.name}[{'-'.join(given.values())}]"
                    setattr(self.obj, test_id, getattr(self.obj, test.name))
                    self.obj._given[test_id] = {
                        what: ours.device(name) if what == "device" else _dtype(name) for what, name in given.items()
                    }
                    on_it = TestCaseFunction.from_parent(self, name=test_id)
                    on_it.stash[GIVEN] = given
                    yield on_it

    inherits = type(obj)(obj.__name__, (obj,), {"__module__": obj.__module__, "_given": {}})
    return Cases.from_parent(collector, name=name, obj=inherits)


@pytest.hookimpl(trylast=True)  # whoever parametrizes them himself has done so by then
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    ours = [name for name in ("device", "dtype") if _is_ours(metafunc, name)]
    if ours:
        _refuse_wrong_marks(metafunc.definition)
    for name in ours:  # in this order, whatever that of the arguments: the id reads cuda-bfloat16
        names = metafunc.config.stash[PLUGIN].names() if name == "device" else _dtypes(metafunc.definition)
        metafunc.parametrize(name, names, indirect=True, scope=_scope(metafunc, name))


def _dtypes(test: pytest.Item) -> list[_Name]:
    nearest = test.get_closest_marker("dtypes")
    asked = [str(t).removeprefix("torch.") for t in nearest.args] if nearest else []
    return list(dict.fromkeys(map(_name, asked or LADDER)))


def _scope(metafunc: pytest.Metafunc, name: str) -> Any:
    """The widest scope of a fixture that takes it: so that is built once for each, and its tests are grouped.

    For devices it is the session then, wider than that for dtypes: tests are grouped by the device first.
    """
    known = metafunc.definition._fixtureinfo.name2fixturedefs.values()
    takers = [taker.scope for of_name in known for taker in of_name if name in taker.argnames]
    widest = max(takers, key=SCOPES.index, default="function")
    return "session" if name == "device" and widest != "function" else widest


def pytest_itemcollected(item: pytest.Item) -> None:
    """Skip where it is not to run, by name and with the reason."""
    given = _given(item)
    if why := _why_not(given.get("device", ""), given.get("dtype", ""), item):
        item.add_marker(pytest.mark.skip(reason=why))


def _refuse_wrong_marks(test: pytest.Item) -> None:
    """A kind that there is not would be one on which no test ever runs."""
    from crosscheck import devices

    for mark in test.iter_markers():
        got = f"got {', '.join(map(repr, mark.args)) or 'none'} in {test.nodeid}"
        if mark.name in ("device_only", "device_except"):
            if not mark.args or any(kind not in devices.kinds() for kind in mark.args):
                kinds = ", ".join(devices.kinds())
                pytest.fail(
                    f"{mark.name}: expected kinds of devices, of {kinds}, as in {mark.name}('cuda'), {got}",
                    pytrace=False,
                )
        elif mark.name == "device_count" and not _is_count(*mark.args):
            pytest.fail(f"device_count: expected a number of devices, as in device_count(2), {got}", pytrace=False)


def _is_count(*values: object) -> bool:
    return len(values) == 1 and isinstance(values[0], int) and values[0] > 0


def _why_not(name: str, dtype: str, test: pytest.Item) -> str:
    """Why a test is not run on a device, in a dtype, if it is not."""
    if not name:
        return ""
    kind = name.partition(":")[0]
    for mark in test.iter_markers("device_only"):
        if kind not in mark.args:
            return mark.kwargs.get("reason") or f"for {', '.join(mark.args)} only"
    for mark in test.iter_markers("device_except"):
        if kind in mark.args:
            return mark.kwargs.get("reason") or f"not for {kind}"
    for mark in test.iter_markers("device_count"):
        from crosscheck.devices import of_kind

        count = len(of_kind(kind)) or 1
        if count < mark.args[0]:
            return f"for {mark.args[0]} devices, and of {kind} there {'is' if count == 1 else 'are'} {count}"
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
    to_run_on: list[_Name] | None = None
    ran: defaultdict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # their ids, by the device
    calls_tests: bool = False
    said: list[str] = field(default_factory=list)  # by the workers, of the devices there
    titles: dict[str, str] = field(default_factory=dict)  # of the devices; by the workers, where there are any
    version: str = ""  # of torch
    outcomes: defaultdict[str, dict[str, tuple[str, str]]] = field(default_factory=lambda: defaultdict(dict))

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
        if self.report and not (folder := Path(self.report).absolute().parent).is_dir():
            raise pytest.UsageError(
                f"--device-report {self.report}: expected a directory that exists, got no {folder}: make it first"
            )
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

    @property
    def report(self) -> str | None:
        """The file for what ran where."""
        file: str | None = self.config.getoption("devices_report", None)
        return file

    def names(self) -> list[_Name]:  # no property, for pytest before 8.3 reads those of each plugin
        """Those to run on, once a test asks for one."""
        from crosscheck import devices

        if self.to_run_on is None:
            present = [str(place) for place in devices.available()] if not self.asked or "all" in self.asked else []
            self.to_run_on = list(map(_name, dict.fromkeys((*self.named, *present))))
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

        from crosscheck.devices import of_kind

        worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
        every = of_kind(name) if worker.isdigit() and ":" not in name else []
        return every[int(worker) % len(every)] if len(every) > 1 else torch.device(name)

    def about(self) -> list[str]:
        """What is known of the devices that are used, and of those that are not here."""
        import torch

        from crosscheck import devices

        self.titles = {str(name): devices.title(torch.device(name)) for name in self.names()}
        self.version = str(torch.__version__)  # a plain one, for xdist to send
        lines = [f"devices: {', '.join(self.titles.values()) or 'none'}; torch {self.version}"]
        if not self.asked or "all" in self.asked:
            lines += [f"  {kind} is not here: {why}" for kind in devices.here() if (why := devices.missing(kind))]
        with self.settings():
            tf32, deterministic = _TF32.about(), torch.are_deterministic_algorithms_enabled()
        return [*lines, f"  {tf32}, deterministic algorithms {_on_off(deterministic)}"]

    def pytest_report_collectionfinish(self) -> list[str]:
        lines = self.about() if self.is_used else []
        return [] if self.is_quiet else lines

    @property
    def is_quiet(self) -> bool:
        """With -q, of what nobody asked for."""
        return not self.asked and self.config.getoption("verbose", 0) < 0

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
        with self.settings(), _seeded(self.device(name), seed):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
    ) -> Generator[None, object, object]:
        """What is built once for several tests is seeded from its own name, whichever of them comes first."""
        is_shared = fixturedef.scope != "function" and fixturedef.func.__module__ != __name__
        name = _device_of(request._pyfuncitem) if is_shared else None
        if name is None:
            return (yield)
        with _seeded(self.device(name), crc32(f"{fixturedef.baseid}::{fixturedef.argname}".encode())):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        seed = dict(item.user_properties).get(SEED)
        if report.failed and seed is not None:
            report.sections.append(("seed", f"of random, numpy and torch before the test: {seed}"))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        name = dict(report.user_properties).get(DEVICE)
        if name is None:
            return
        is_run = report.when == "call" and (not report.skipped or hasattr(report, "wasxfail"))
        if is_run:
            self.ran[str(name)].add(report.nodeid)  # once, though each of its subtests reports, too
        outcomes, test = self.outcomes[str(name)], report.nodeid
        if report.failed:
            outcomes[test] = "failed", ""
        elif report.skipped and not is_run:
            outcomes.setdefault(test, ("skipped", _reason(report)))
        elif is_run and outcomes.get(test) != ("failed", ""):
            outcomes[test] = "passed", ""

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        output = getattr(self.config, "workeroutput", None)
        if output is not None:
            output["devices"] = [self.about(), self.titles, self.version] if self.is_used else []
            return
        if self.report and self.calls_tests:
            text = json.dumps(self.as_dict(), indent=2, ensure_ascii=False) + "\n"
            Path(self.report).write_text(text, encoding="utf-8")
        if self.idle and session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """A worker of xdist has ended."""
        told = getattr(node, "workeroutput", {}).get("devices")
        if told and not self.said:
            self.said, self.titles, self.version = told

    def as_dict(self) -> dict[str, Any]:
        """What ran where, for machines: asked, the devices that were to be run on, and of each device its tests."""
        names = list(dict.fromkeys((*self.titles, *self.named, *self.outcomes)))
        runs = []
        for name in names:
            told = self.outcomes[name].values()
            counts = Counter(outcome for outcome, _ in told)
            reasons = Counter(reason for outcome, reason in told if outcome == "skipped")
            runs.append(
                {
                    "device": name, "kind": name.partition(":")[0], "title": self.titles.get(name, name),
                    "torch": self.version, "passed": counts["passed"], "failed": counts["failed"], "skipped": reasons,
                }
            )  # fmt: skip
        return {"asked": names if "all" in self.asked else self.named, "runs": runs}

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
        if not self.calls_tests or self.is_quiet or not (self.is_used or self.said or self.named):
            return
        for line in self.said:
            terminalreporter.write_line(line)
        names = dict.fromkeys((*(self.to_run_on or ()), *self.named, *self.ran))
        counts = ", ".join(f"{len(self.ran[name])} on {name}" for name in names)
        terminalreporter.write_line(f"tests that ran: {counts}")
        for name in self.idle:
            terminalreporter.write_line(f"ERROR: no test ran on {name}, which was asked for by name", red=True)


@contextmanager
def _seeded(place: "torch.device", seed: int) -> Iterator[None]:
    """Seeds what tests draw from: Python, NumPy, torch and the device; afterwards they are as before."""
    from crosscheck import devices

    with devices.random_kept(place):
        devices.set_seed(place, seed)
        yield


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


def _given(item: pytest.Item) -> dict[str, str]:
    """The names of the device and the dtype that we gave to the test, if we did; plain ones, for xdist to send."""
    callspec = getattr(item, "callspec", None)
    params = callspec.params if callspec else item.stash.get(GIVEN, {})
    return {what: str(name) for what, name in params.items() if isinstance(name, _Name)}


def _device_of(item: pytest.Item) -> str | None:
    return _given(item).get("device")


def _reason(report: pytest.TestReport) -> str:
    """Why a test was skipped."""
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ")
    return str(getattr(report, "wasxfail", ""))


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

"""The pytest plugin: what was asked for runs, or the run fails. A probe plays the accelerators that are not here."""

import json
import os
import random
import re
import sys
import unittest
from fnmatch import fnmatch
from pathlib import Path
from types import SimpleNamespace
from zlib import crc32

import numpy as np
import pytest
import torch

from crosscheck import devices
from crosscheck.pytest_plugin import DEVICE, SEED, Devices, OnDevices, _device_of, _Name, _seeded

ROOT = Path(__file__).parents[2]

# A conftest by which this machine seems to have two CUDA devices. Tensors cannot be made on them.
TWO_GPUS = """
import torch
from crosscheck import devices

real = devices.missing
def missing(name):
    kind, _, index = name.partition(":")
    return real(name) if kind != "cuda" else "there are 2" if int(index or 0) > 1 else ""
devices.missing = missing
devices.title = str
torch.cuda.device_count = lambda: 2
torch.cuda.get_rng_state = lambda place: torch.get_rng_state()
torch.cuda.set_rng_state = lambda state, place: torch.set_rng_state(state)
"""

ONE_TEST = """
def test_it(device):
    assert device.type in ("cpu", "cuda")
"""

ON_CUDA = "import pytest\n\n\n@pytest.mark.device_only('cuda')" + ONE_TEST


@pytest.fixture
def run(pytester, monkeypatch):
    """Runs pytest on a test file, and on a conftest, in a process of its own; a new one where `fresh`, or by xdist.

    Else it is a copy of this one, in which torch is imported already: that takes longer than all the rest.
    """
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    for variable in ("PYTEST_DEVICE", "PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER"):
        monkeypatch.delenv(variable, raising=False)

    def run(test, *args, conftest="", fresh=False):
        pytester.makeconftest(conftest)
        pytester.makepyfile(test_a=test)
        args = ("-p", "crosscheck.pytest_plugin", "-p", "no:cacheprovider", "-v", *args)
        if "-n2" in args:
            pytest.importorskip("xdist")
            args = ("-p", "xdist", *args)
        elif hasattr(os, "fork") and not fresh:
            return forked(pytester, args)
        return pytester.runpytest_subprocess(*args)

    return run


def forked(pytester, args):
    """The same as `pytester.runpytest_subprocess`, by a copy of this process."""
    files = [pytester.path / name for name in ("stdout", "stderr")]
    child = os.fork()
    if not child:
        for number, file in enumerate(files, 1):
            os.dup2(os.open(file, os.O_CREAT | os.O_WRONLY | os.O_TRUNC), number)
        sys.path.insert(0, str(pytester.path))
        sys.stdin, sys.stdout, sys.stderr = os.fdopen(0), os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
        status = 1
        try:
            status = pytest.main(list(args))
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    out, err = (file.read_text(encoding="utf-8").splitlines() for file in files)
    return pytest.RunResult(status, out, err, 0.0)


def ids(result):
    return re.findall(r"::(\S+) (?:PASSED|SKIPPED)", result.stdout.str())


def test_every_device_present_is_the_default(run):
    result = run(ONE_TEST, conftest=TWO_GPUS)
    assert ids(result) == ["test_it[cpu]", "test_it[cuda]"]
    result.stdout.fnmatch_lines(
        ["devices: cpu, cuda; torch *", "*TF32*deterministic algorithms off", "*1 on cpu, 1 on cuda*"]
    )
    assert result.ret == 0


def test_a_suite_that_asks_for_no_device_does_not_load_torch(run):
    result = run(
        "import sys\ndef test_it():\n    assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n", fresh=True
    )
    assert result.ret == 0
    result.stdout.no_fnmatch_line("devices:*")


@pytest.mark.parametrize(
    ("args", "conftest", "words"),
    [
        (["--device", "cuda"], "import torch\ntorch.backends.cuda.is_built = lambda: False", "is built without cuda"),
        (
            ["--device=cpu,cuda"],
            "import torch\ntorch.backends.cuda.is_built = lambda: True\ntorch.cuda.device_count = lambda: 0",
            "finds no cuda device: is there one, and its driver[?]",
        ),
        (
            ["--device", "cuda:2,cpu,cuda:3"],
            TWO_GPUS,
            "device cuda:2 *here: there are 2; device cuda:3 *here: there are 2",
        ),
    ],
)
@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "xdist"])
def test_what_is_named_and_missing_fails_with_the_reason(run, args, conftest, words, workers):
    result = run(ONE_TEST, *args, *workers, conftest=conftest)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{words}"])


@pytest.mark.parametrize("name", ["tpu", "cuda:x", "cuda:", "cpu,gpu", "cpu:²", "cuda:01"])
def test_an_unknown_name_is_a_usage_error(run, name):
    result = run(ONE_TEST, "--device", name)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*device: expected one of cpu, cuda, mps, xpu, hpu, * got *; all stands for each *"])


def test_of_all_what_is_missing_is_listed(run):
    result = run(ONE_TEST, "--device", "all", conftest="import torch\ntorch.backends.mps.is_built = lambda: False")
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*mps is not here: torch * is built without mps"])


@pytest.mark.parametrize(
    ("test", "args"),
    [
        ("def test_it(): pass", ()),
        (ONE_TEST, ("-k", "cpu")),
        (ONE_TEST, ("-k", "cpu", "-n2")),
        ("import pytest\n@pytest.mark.device_only('cpu')\ndef test_it(device): pass", ()),
    ],
    ids=["not asked for", "deselected", "deselected, xdist", "skipped"],
)
def test_a_named_device_on_which_nothing_ran_fails(run, test, args):
    result = run(test, "--device", "cpu,cuda", "--color=yes", *args, conftest=TWO_GPUS)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["?[[]31mERROR: no test ran on cuda, which was asked for by name*"])


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("--collect-only", "cpu"), ("--setup-plan", "cpu"), ("--setup-only", "cpu"),
        ("--fixtures", "cpu"), ("--fixtures-per-test", "cpu"),
        ("--help", "tpu"), ("--markers", "tpu"), ("--version", "tpu"),
    ],
)  # fmt: skip
def test_where_nothing_is_to_run_nothing_is_missed(run, monkeypatch, option, named):
    monkeypatch.setenv("PYTEST_DEVICE", named)
    result = run("def test_it(): pass", option)
    assert result.ret == 0
    assert not re.search("ERROR|tests that ran", result.stdout.str() + result.stderr.str())


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "xdist"])
def test_what_counts_as_run(run, workers):
    result = run(
        """
        import pytest

        @pytest.mark.xfail
        def test_that_fails(device): assert False

        @pytest.mark.xfail(run=False)
        def test_that_does_not_run(device): pass

        def test_with_a_property_of_its_own(device, record_property):
            record_property("device", "Tesla T4")
            record_property("seed", "mine")

        def test_without_a_device(record_property):
            record_property("device", "cpu")

        @pytest.mark.parametrize("device", ["cpu"])
        def test_with_values_of_its_own(device): pass
        """,
        "--device=cpu", *workers,
    )  # fmt: skip
    assert result.ret == 0
    result.stdout.fnmatch_lines(["tests that ran: 2 on cpu"])


def test_to_fail_as_expected_is_to_run(run):
    result = run("import pytest\n@pytest.mark.xfail\ndef test_it(device): assert False\n", "--device=cpu")
    assert result.ret == 0
    result.assert_outcomes(xfailed=1)


@pytest.mark.skipif(not hasattr(pytest, "Subtests"), reason="pytest has subtests since 9")
@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "xdist"])
def test_a_test_of_subtests_is_one(run, workers):
    test = "def test_it(device, subtests):\n    for i in range(3):\n        with subtests.test(i=i): pass\n"
    run(test, *workers, "--device=cpu").stdout.fnmatch_lines(["tests that ran: 1 on cpu"])


def test_given_by_variable_and_configuration(run, pytester, monkeypatch):
    pytester.makeini("[pytest]\ndevice = cuda:1 cpu")
    assert ids(run(ONE_TEST, conftest=TWO_GPUS)) == ["test_it[cuda:1]", "test_it[cpu]"]
    monkeypatch.setenv("PYTEST_DEVICE", "cuda:1  cuda, ,cuda:1")
    assert ids(run(ONE_TEST, conftest=TWO_GPUS)) == ["test_it[cuda:1]", "test_it[cuda]"]
    assert ids(run(ONE_TEST, "--device=cuda,cpu", "--device", "cuda", conftest=TWO_GPUS)) == [
        "test_it[cuda]",
        "test_it[cpu]",
    ]


def test_marks_and_ids(run):
    result = run(
        """
        import pytest, torch

        @pytest.mark.dtypes(torch.float32, "bfloat16")
        def test_both(dtype, device):
            assert isinstance(dtype, torch.dtype)

        @pytest.mark.device_only("cuda", "mps")
        def test_only(device): pass

        @pytest.mark.device_only("cuda", reason="of graphs")
        def test_why(device): pass

        @pytest.mark.device_except("xpu")
        @pytest.mark.device_except("cuda", reason="too slow there")
        def test_except(device): pass

        @pytest.mark.device_except("cpu")
        def test_not(device): pass

        def test_all(dtype): pass

        @pytest.mark.dtypes("float31")
        def test_none(dtype): pass

        @pytest.mark.dtypes("float64", "float16")
        class TestClass:
            def test_further(self, dtype): pass

            @pytest.mark.dtypes("float32")
            def test_nearest(self, dtype): pass
        """,
        "--device=cpu,cuda:1",
        conftest=TWO_GPUS,
    )
    assert ids(result) == [
        "test_both[cpu-float32]", "test_both[cpu-bfloat16]", "test_both[cuda:1-float32]", "test_both[cuda:1-bfloat16]",
        "test_only[cpu]", "test_only[cuda:1]", "test_why[cpu]", "test_why[cuda:1]",
        "test_except[cpu]", "test_except[cuda:1]", "test_not[cpu]", "test_not[cuda:1]",
        "test_all[float64]", "test_all[float32]", "test_all[bfloat16]", "test_all[float16]",
        "TestClass::test_further[float64]", "TestClass::test_further[float16]", "TestClass::test_nearest[float32]",
    ]  # fmt: skip
    for test, reason in {
        "only?cpu": "for cuda, mps only",
        "why?cpu": "of graphs",
        "except?cuda:1": "too slow there",
        "not?cpu": "not for cpu",
    }.items():
        result.stdout.fnmatch_lines([f"*test_{test}? SKIPPED ({reason})*"])
    result.stdout.fnmatch_lines(["dtypes: expected dtypes of torch, as float32, got 'float31'"])
    result.stdout.no_fnmatch_line("*pytest_plugin.py*")
    result.assert_outcomes(passed=15, skipped=4, errors=1)


def test_a_kind_that_there_is_not_is_refused(run, pytester):
    wrong = {
        "only(['cpu'])": "['cpu']",
        "only('gpu')": "'gpu'",
        "except('cpu:0')": "'cpu:0'",
        "only(reason='x')": "none",
        "except('cpu', 'tpu')": "'cpu', 'tpu'",
        "count('two')": "'two'",
        "count(0)": "0",
        "count()": "none",
    }
    for i, mark in enumerate(wrong):
        marks = f"@pytest.mark.device_{mark}\n@pytest.mark.device_only('cpu')\n@pytest.mark.xfail\n"
        pytester.makepyfile(**{f"test_{i}": f"import pytest\n{marks}def test_it(device): pass\n"})
    result = run(ONE_TEST)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    for i, got in enumerate(wrong.values()):
        name = f"device_{list(wrong)[i].partition('(')[0]}"
        kinds = ", ".join(devices.kinds())
        words = f"{name}: expected kinds of devices, of {kinds}, as in {name}('cuda'), got {got} in "
        if name == "device_count":
            words = f"{name}: expected a number of devices, as in device_count(2), got {got} in "
        assert f"\n{words}test_{i}.py::test_it\n" in result.stdout.str()
    result.stdout.no_fnmatch_line("*pytest_plugin.py*")


def test_a_device_without_float64_drops_it_with_the_reason(run):
    mps = "from crosscheck import devices\ndevices.missing = lambda name: '' if name in ('cpu', 'mps') else 'no'\n"
    mps += (
        "import torch\ntorch.mps.get_rng_state = lambda place: torch.get_rng_state()\n"
        "torch.mps.set_rng_state = lambda state, place: torch.set_rng_state(state)\ntorch.mps.manual_seed = print\n"
    )
    result = run("def test_it(device, dtype): pass", "-k", "float64", conftest=mps)
    result.stdout.fnmatch_lines(
        ["*test_it?cpu-float64? PASSED*", "*test_it?mps-float64? SKIPPED (mps has no float64)*"]
    )


THEIR_FIXTURE = """
import pytest

@pytest.fixture
def device():
    return "mine"
"""
THEIR_OPTION = """
def pytest_addoption(parser):
    parser.addoption("--device", default="their default")

import pytest

@pytest.fixture
def device(request):
    return request.config.getoption("--device")
"""
THEIR_VALUES = """
def pytest_generate_tests(metafunc):
    if "device" in metafunc.fixturenames:
        metafunc.parametrize("device", ["mine"])
"""


@pytest.mark.parametrize(
    ("conftest", "args", "value"),
    [
        (THEIR_FIXTURE, (), "mine"),
        (THEIR_OPTION, (), "their default"),
        (THEIR_OPTION, ("--device", "anything"), "anything"),
        (THEIR_OPTION.replace("parser.", "parser.getgroup('theirs')."), ("--device", "anything"), "anything"),
        (THEIR_OPTION.replace("parser.", "parser.getgroup('general')."), ("--device", "anything"), "anything"),
        (THEIR_OPTION.replace("parser.", "parser.getgroup('devices')."), ("--device", "anything"), "anything"),
        (THEIR_VALUES, (), "mine"),
    ],
)
def test_theirs_wins(run, conftest, args, value):
    result = run(f"def test_it(device):\n    assert device == {value!r}\n", *args, conftest=conftest)
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("devices: *")


def test_a_fixture_that_extends_ours_runs_on_each_device(run):
    extended = "import pytest\n@pytest.fixture\ndef device(device):\n    return device\n"
    result = run(extended + "def test_it(device, dtype): pass\n", "-k", "float32", conftest=TWO_GPUS + extended)
    assert ids(result) == ["test_it[cpu-float32]", "test_it[cuda-float32]"]
    result.stdout.fnmatch_lines(["tests that ran: 1 on cpu, 1 on cuda"])


@pytest.mark.parametrize("name", ["device", "dtype"])
def test_what_is_asked_for_too_late_is_told(run, name):
    result = run(f"def test_it(request): request.getfixturevalue({name!r})")
    result.assert_outcomes(failed=1)
    told = f"{name}: expected to be an argument of the test function, or of a fixture that it takes, *: *"
    assert len([line for line in result.stdout.lines if fnmatch(line, told)]) == 1
    result.stdout.no_fnmatch_line("*pytest_plugin.py*")


def test_values_in_a_mark_win(run):
    test = "import pytest\n@pytest.mark.parametrize('device', ['a', 'b'])\ndef test_it(device): assert device in 'ab'\n"
    run(test).assert_outcomes(passed=2)


SEEDED = """
import random, pytest, torch

@pytest.mark.parametrize("i", range(4))
def test_it(device, i):
    with open(f"{i}.txt", "a") as file:
        print(random.random(), torch.rand(1).item(), file=file)

def test_restored(device):
    assert random.getstate() != state
state = random.getstate()
"""


def test_seeds_hang_on_the_test_alone(run, pytester):
    for args in (("--device=cpu",), ("--device=cpu", "-k", "2 or 1"), ("--device=cpu", "-n2")):
        assert run(SEEDED, *args).ret == 0
    lines = {i: (pytester.path / f"{i}.txt").read_text().splitlines() for i in range(4)}
    assert all(len(set(of_test)) == 1 for of_test in lines.values())
    assert len({of_test[0] for of_test in lines.values()}) == 4
    assert [len(of_test) for of_test in lines.values()] == [2, 3, 3, 2]


def test_the_seed_is_told_and_the_state_restored(run):
    result = run(
        """
        import random
        random.seed(1)
        state = random.getstate()
        def test_it(device):
            random.random()
            assert False
        def test_after():
            assert random.getstate() == state
        """
    )
    result.assert_outcomes(failed=1, passed=1)
    seed = crc32(b"test_a.py::test_it[cpu]")
    result.stdout.fnmatch_lines(["*- seed -*", f"of random, numpy and torch before the test: {seed}"])


def test_deterministic(run):
    result = run(
        """
        import os, torch
        def test_it(device):
            assert torch.are_deterministic_algorithms_enabled()
            assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
            assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32
            assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        def test_without_a_device():
            assert not torch.are_deterministic_algorithms_enabled()
            assert torch.backends.cudnn.allow_tf32
        """,
        "--deterministic",
    )
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*TF32 in matrix products off, in cuDNN off, deterministic algorithms on"])


def test_deterministic_only_where_a_device_is_taken(run):
    theirs = """
        import torch
        torch.use_deterministic_algorithms(True, warn_only=True)
        torch.backends.cudnn.benchmark = torch.backends.cuda.matmul.allow_tf32 = True
    """
    test = """
        import torch
        def test_it(device):
            assert not torch.is_deterministic_algorithms_warn_only_enabled()
            assert not torch.backends.cudnn.benchmark and not torch.backends.cuda.matmul.allow_tf32
        def test_without_a_device():
            assert torch.are_deterministic_algorithms_enabled()
            assert torch.is_deterministic_algorithms_warn_only_enabled()
            assert torch.backends.cudnn.benchmark and torch.backends.cuda.matmul.allow_tf32
            assert not torch.backends.cudnn.deterministic and torch.backends.cudnn.allow_tf32
    """
    run(test, "--deterministic", "--device=cpu", conftest=theirs).assert_outcomes(passed=2)


@pytest.mark.skipif(
    not hasattr(torch.backends.cuda.matmul, "fp32_precision"), reason="torch has words for TF32 since 2.9"
)
def test_tf32_by_words_that_contradict_the_flags(run):
    result = run(
        """
        import pytest, torch
        from crosscheck.pytest_plugin import Devices

        b = torch.backends
        kinds = b.cuda.matmul, b.cudnn.conv, b.cudnn.rnn, b.mkldnn.matmul

        def read(flag):
            try:
                return eval(flag)
            except RuntimeError:
                return "contradictory"

        def state():
            flags = "b.cuda.matmul.allow_tf32", "b.cudnn.allow_tf32", "torch.get_float32_matmul_precision()"
            return [kind.fp32_precision for kind in kinds], [read(flag) for flag in flags]

        @pytest.mark.parametrize(("told", "products", "cudnn"), [
            ("", "off", "on"),
            ("torch.set_float32_matmul_precision('medium')", "on", "on"),
            ("b.cuda.matmul.fp32_precision = 'ieee'", "off", "on"),
            ("b.cudnn.conv.fp32_precision = 'ieee'", "off", "on"),
            ("b.cudnn.rnn.fp32_precision = 'ieee'", "off", "off"),
            ("b.mkldnn.matmul.fp32_precision = 'tf32'", "off", "off"),
            ("b.fp32_precision = b.cuda.matmul.fp32_precision = b.cudnn.conv.fp32_precision = 'tf32'", "on", "on"),
            ("b.cudnn.allow_tf32 = False", "on", "on"),
            ("torch.set_float32_matmul_precision('highest')", "off", "on"),
        ])
        def test_it(told, products, cudnn, request):
            exec(told)
            before = state()
            with Devices(request.config, ["cpu"], True).settings():
                assert state() == (["ieee"] * 4, [False, False, "highest"])
            assert state() == before
            about = Devices(request.config, ["cpu"], False).about()[-1]
            assert about == f"  TF32 in matrix products {products}, in cuDNN {cudnn}, deterministic algorithms off"
        """
    )
    result.assert_outcomes(passed=9)


def test_workers_share_the_devices_in_turn(run):
    result = run(
        """
        import os
        import pytest
        @pytest.mark.parametrize("i", range(8))
        def test_it(device, i):
            assert device.index == int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw"))
        """,
        "-n2", "--device=cuda",
        conftest=TWO_GPUS,
    )  # fmt: skip
    assert result.ret == 0
    result.stdout.fnmatch_lines(["devices: cuda; torch *", "tests that ran: 8 on cuda"])


def test_the_controller_of_xdist_touches_no_device(run):
    conftest = TWO_GPUS + (
        "import os\n"
        "def touched(*args): raise AssertionError('touched')\n"
        "if 'PYTEST_XDIST_WORKER' not in os.environ:\n"
        "    devices.title = touched\n"
        "    torch.cuda.init = torch.cuda.is_available = torch.cuda.get_device_name = touched\n"
    )
    assert run(ONE_TEST, "-n2", "--device=cuda", conftest=conftest).ret == 0


def test_help_tells(run):
    told = " ".join(run(ONE_TEST, "--help").stdout.str().split())
    assert (
        "devices (manual-bp): --device=NAMES run the tests that take the fixture `device` there: cpu, cuda, cuda:1, "
        "mps, xpu, another kind that torch has, several with commas, or all; every device present unless given here, "
        "in the variable PYTEST_DEVICE or as `device` in the configuration; one that is named and not here is an error "
        "--device-report=FILE write there, as JSON, what ran on which device; `manual-bp devices merge` adds such "
        "files up --deterministic torch's deterministic algorithms, and TF32 off, in the tests that take `device` "
    ) in told
    assert " device (args): devices to run on, as for --device " in told
    marks = run(ONE_TEST, "--markers")
    marks.stdout.fnmatch_lines(
        [
            "@pytest.mark.device_only(?kinds, *",
            "*device_except(?kinds, *",
            "*device_count(count): *",
            "*dtypes(?dtypes): *",
        ]
    )


def test_the_plugin_can_be_found_by_its_name(pytestconfig):
    assert isinstance(pytestconfig.pluginmanager.get_plugin("manual-bp-devices"), Devices)


def test_what_another_plugin_has_already_is_left_to_it(run, pytester):
    pytester.makepyfile(
        early="""
        import pytest

        def pytest_addoption(parser):
            group = parser.getgroup("early")
            group.addoption("--device", default="theirs")
            group.addoption("--deterministic", default="theirs")
        """
    )
    test = """
        def test_it(request):
            option = request.config.getoption
            assert (option("--device"), option("--deterministic")) == ("mine", "theirs")
            assert (option("devices_asked", None), option("devices_deterministic", None)) == (None, None)
    """
    pytester.makeini("[pytest]\naddopts = -p early")
    assert run(test, "--device=mine").ret == 0


class Config:
    """What Devices asks of pytest's configuration."""

    def __init__(self, **options):
        self.options = options

    def getoption(self, name, default):
        return self.options.get(name, default)

    def getini(self, name):
        return {"device": ["xpu", "cpu"]}[name]


def draws():
    return random.random(), np.random.rand(), torch.rand(1).item()


def test_a_seed_is_that_of_all_who_draw_and_the_states_come_back(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda place: f"that of {place}")
    set_again = []
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda *state_and_place: set_again.append(state_and_place))
    places = torch.device("cpu"), torch.device("cuda", 1)
    for place in places:
        state = random.getstate(), torch.get_rng_state(), np.random.get_state()
        drawn = []
        for _ in range(2):
            with _seeded(place, 7):
                drawn.append(draws())
        assert drawn[0] == drawn[1] != draws()
        random.setstate(state[0])
        torch.set_rng_state(state[1])
        np.random.set_state(state[2])
        before = draws()
        random.setstate(state[0])
        torch.set_rng_state(state[1])
        np.random.set_state(state[2])
        with _seeded(place, 7):
            draws()
        assert draws() == before
    assert set_again == [("that of cuda:1", places[1])] * 3


def test_random_states_where_there_is_no_numpy_and_the_device_does_not_work(monkeypatch):
    def broken(place):
        raise RuntimeError("no driver")

    monkeypatch.delitem(sys.modules, "numpy")
    monkeypatch.setattr(torch.cuda, "get_rng_state", broken)
    before = random.getstate()
    with _seeded(torch.device("cuda"), 1):
        random.random()
    assert random.getstate() == before


@pytest.mark.parametrize(
    ("options", "variable", "asked"),
    [
        ({"devices_asked": ["cpu, cuda", "cuda:1,cpu"]}, "mps", ["cpu", "cuda", "cuda:1"]),
        ({}, "cuda:1  cuda, ,cuda:1", ["cuda:1", "cuda"]),
        ({"devices_asked": None}, None, ["xpu", "cpu"]),
    ],
)
def test_the_command_line_wins_then_the_variable(options, variable, asked, monkeypatch):
    if variable:
        monkeypatch.setenv("PYTEST_DEVICE", variable)
    else:
        monkeypatch.delenv("PYTEST_DEVICE", raising=False)
    ours = Devices.of(Config(**options))
    assert (ours.asked, ours.is_deterministic) == (asked, False)
    assert Devices.of(Config(devices_deterministic=True)).is_deterministic


@pytest.mark.parametrize(
    ("asked", "error"),
    [
        (["cuda:0", "cpu", "mps"], "device cuda:0 is not here: no cuda:0; device mps is not here: no mps"),
        (["tpu"], "device: tpu; all stands for each that is here"),
        (["all", "cpu"], None),
    ],
)
def test_what_is_named_is_looked_for_by_whom_it_was_told(asked, error, monkeypatch):
    def missing(name):
        if name == "tpu":
            raise ValueError(f"device: {name}")
        assert name not in ("all", "cpu")  # no reason to import torch
        return f"no {name}"

    monkeypatch.setattr(devices, "missing", missing)
    ours = Devices(Config(), asked, False)
    if error:
        with pytest.raises(pytest.UsageError) as raised:
            ours.pytest_sessionstart()
        assert str(raised.value) == error
    else:
        ours.pytest_sessionstart()
    ours.config.workerinput = {}
    ours.pytest_sessionstart()  # a worker: its controller has looked already


@pytest.mark.parametrize(
    ("worker", "name", "place"),
    [
        (None, "cuda", "cuda"), ("gw0", "cuda", "cuda:0"), ("gw3", "cuda", "cuda:1"), ("gw3", "cuda:0", "cuda:0"),
        ("gw3", "cpu", "cpu"), ("gw3", "mps", "mps"), ("master", "cuda", "cuda"),
    ],
)  # fmt: skip
def test_whose_device_it_is(worker, name, place, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    if worker:
        monkeypatch.setenv("PYTEST_XDIST_WORKER", worker)
    else:
        monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    assert Devices(Config(), [], False).device(name) == torch.device(place)


@pytest.mark.parametrize(
    ("asked", "names", "here", "missing"),
    [
        ([], ["cpu", "cuda"], "cpu!, cuda!", ["  mps is not here: no mps", "  xpu is not here: no xpu"]),
        (
            ["cuda:1", "all"],
            ["cuda:1", "cpu", "cuda"],
            "cuda:1!, cpu!, cuda!",
            ["  mps is not here: no mps", "  xpu *"],
        ),
        (["cuda:2", "cuda"], ["cuda:2", "cuda"], "cuda:2!, cuda!", []),
    ],
)
def test_what_is_told_of_the_devices(asked, names, here, missing, monkeypatch):
    monkeypatch.setattr(devices, "missing", lambda kind: f"no {kind}" if kind in ("mps", "xpu") else "")
    monkeypatch.setattr(devices, "title", lambda place: f"{place}!")
    ours = Devices(Config(), asked, False)
    assert not ours.pytest_report_collectionfinish()
    assert ours.names() == names
    first, *others, last = ours.pytest_report_collectionfinish()
    assert first == f"devices: {here}; torch {torch.__version__}"
    assert len(others) == len(missing)
    assert all(re.fullmatch(words.replace("*", ".*"), line) for words, line in zip(missing, others, strict=True))
    assert last.startswith("  TF32 in matrix products ")


def test_no_device_at_all_is_none(monkeypatch):
    monkeypatch.setattr(devices, "missing", lambda kind: "gone")
    monkeypatch.setattr(devices, "available", list)
    assert Devices(Config(), [], False).about()[0] == f"devices: none; torch {torch.__version__}"


def test_what_a_worker_says_is_heard_once():
    controller, worker = Devices(Config(), [], False), Devices(Config(), ["cpu"], False)
    for node in (SimpleNamespace(), SimpleNamespace(workeroutput={}), SimpleNamespace(workeroutput={"devices": []})):
        controller.pytest_testnodedown(node)  # one has crashed, and some have used none
        assert controller.said == []
    worker.config.workeroutput = output = {}
    worker.pytest_sessionfinish(SimpleNamespace(exitstatus=0))
    assert output == {"devices": []}
    worker.names()
    worker.pytest_sessionfinish(SimpleNamespace(exitstatus=0))
    assert output == {"devices": [worker.about(), {"cpu": "cpu"}, torch.__version__]}
    controller.pytest_testnodedown(SimpleNamespace(workeroutput=output))
    controller.pytest_testnodedown(SimpleNamespace(workeroutput={"devices": [["that of another"], {}, "2.0"]}))
    assert [controller.said, controller.titles, controller.version] == output["devices"]


@pytest.mark.parametrize(
    ("options", "is_used", "ran", "idle"),
    [
        ({"devices_asked": ["x"]}, False, [], ["cpu", "cuda"]),
        ({"devices_asked": ["x"]}, True, ["cuda"], ["cpu"]),
        ({"devices_asked": ["x"], "setuponly": True}, True, [], []),
        ({"devices_asked": ["x"], "collectonly": True}, True, [], []),
        ({}, True, ["cpu"], ["cuda"]),
        ({}, False, [], []),
    ],
)
@pytest.mark.parametrize("exitstatus", [0, 1, 2, 5])
def test_an_exit_code_of_success_alone_is_changed(options, is_used, ran, idle, exitstatus):
    ours = Devices(Config(**options), ["cpu", "all", "cuda"], False)
    if is_used:
        ours.names()
    ours.pytest_runtestloop()
    for name in ran:
        ours.pytest_runtest_logreport(
            SimpleNamespace(
                user_properties=[(DEVICE, name)], when="call", skipped=False, failed=False, nodeid="test_it"
            )
        )
    session = SimpleNamespace(exitstatus=exitstatus)
    ours.pytest_sessionfinish(session)
    assert ours.idle == idle
    assert session.exitstatus == (1 if idle and exitstatus in (0, 5) else exitstatus)


SKIPPED = {"outcome": "skipped", "longrepr": ("test_a.py", 1, "Skipped: too slow")}


@pytest.mark.parametrize(
    ("reports", "counts", "outcome"),
    [
        ([{"outcome": "passed"}], True, ("passed", "")),
        ([{"outcome": "failed"}], True, ("failed", "")),
        ([{"outcome": "failed"}, {"outcome": "passed"}], True, ("failed", "")),  # one of its subtests
        ([SKIPPED], False, ("skipped", "too slow")),
        ([SKIPPED, {"outcome": "passed"}], True, ("passed", "")),
        ([{"outcome": "skipped", "wasxfail": "", "longrepr": "E"}], True, ("passed", "")),
        ([{"outcome": "passed", "when": "setup"}], False, None),
        ([{"outcome": "failed", "when": "setup"}], False, ("failed", "")),
        ([{"outcome": "skipped", "when": "setup", "wasxfail": "[NOTRUN]"}], False, ("skipped", "[NOTRUN]")),
        ([{"outcome": "passed"}, {"outcome": "failed", "when": "teardown"}], True, ("failed", "")),
    ],
)
def test_what_became_of_a_test(reports, counts, outcome):
    ours = Devices(Config(), [], False)
    for name in (None, "cpu"):
        for told in reports:
            about = {"keywords": {}, "location": ("", 0, ""), "when": "call", "longrepr": None, **told}
            report = pytest.TestReport("test_it", **about, user_properties=[(DEVICE, name)] if name else [])
            ours.pytest_runtest_logreport(report)
    assert ours.ran == ({"cpu": {"test_it"}} if counts else {})
    assert ours.outcomes == {"cpu": {"test_it": outcome} if outcome else {}}


def test_the_device_and_the_seed_stand_beside_the_properties_of_a_test():
    item = SimpleNamespace(
        nodeid="test_it", user_properties=[("mine", 1)], callspec=SimpleNamespace(params={"device": _Name("cpu")})
    )
    around = Devices(Config(), [], False).pytest_runtest_protocol(item)
    next(around)
    with pytest.raises(StopIteration):
        around.send(None)
    assert item.user_properties == [("mine", 1), (DEVICE, "cpu"), (SEED, crc32(b"test_it"))]


@pytest.mark.parametrize(
    ("is_failure", "properties", "sections"),
    [
        (True, [(SEED, 7)], [("seed", "of random, numpy and torch before the test: 7")]),
        (False, [(SEED, 7)], []),
        (True, [("seed", 7)], []),
    ],
)
def test_a_failure_alone_tells_the_seed(is_failure, properties, sections):
    report = SimpleNamespace(failed=is_failure, sections=[])
    around = Devices(Config(), [], False).pytest_runtest_makereport(SimpleNamespace(user_properties=properties))
    next(around)
    with pytest.raises(StopIteration) as ended:
        around.send(report)
    assert ended.value.value is report
    assert report.sections == sections


@pytest.mark.parametrize(
    ("asked", "said", "ran", "lines"),
    [
        ([], [], {}, []),
        ([], ["devices: cpu"], {"cpu": {"a", "b"}}, ["devices: cpu", "tests that ran: 2 on cpu"]),
        (
            ["cuda", "cpu"],
            [],
            {"cpu": {"a"}},
            ["tests that ran: 0 on cuda, 1 on cpu", "red ERROR: no test ran on cuda, which was asked for by name"],
        ),
    ],
)
@pytest.mark.parametrize("calls_tests", [True, False])
def test_the_summary(asked, said, ran, lines, calls_tests):
    written = []
    reporter = SimpleNamespace(write_line=lambda line, red=False: written.append("red " * red + line))
    ours = Devices(Config(devices_asked=asked), asked, False, calls_tests=calls_tests, said=said)
    ours.ran.update(ran)
    ours.pytest_terminal_summary(reporter)
    assert written == (lines if calls_tests else [])


def test_a_device_that_is_not_ours_is_none():
    assert _device_of(SimpleNamespace(stash={})) is None  # a doctest
    for params in ({"device": "cpu"}, {"i": 1}):
        assert _device_of(SimpleNamespace(callspec=SimpleNamespace(params=params))) is None


@pytest.mark.parametrize("workers", [[], ["-n2"]])
@pytest.mark.parametrize(("test", "ret"), [("def test_it(): pass", 0), (ON_CUDA, 1)])
def test_a_standing_wish_is_none_of_tests_that_take_no_device(test, ret, workers, run, monkeypatch):
    monkeypatch.setenv("PYTEST_DEVICE", "cpu")
    assert run(test, *workers).ret == ret
    assert run(test, "--device", "cpu", *workers).ret == 1


# A kind of torch's own making, as npu: it has a name, a module, and no kernels.
NPU = """
import torch
from types import SimpleNamespace

torch.utils.rename_privateuse1_backend("npu")
torch._register_device_module("npu", SimpleNamespace(device_count=lambda: COUNT, is_available=lambda: True))
"""


def test_a_kind_that_is_registered_is_one(run):
    test = """
        import pytest
        @pytest.mark.device_only("npu", "hpu")
        def test_there(device): assert device.type == "npu"
        @pytest.mark.device_except("npu")
        def test_elsewhere(device): assert device.type == "cpu"
        """
    result = run(test, conftest=NPU.replace("COUNT", "2"))
    assert ids(result) == ["test_there[cpu]", "test_there[npu]", "test_elsewhere[cpu]", "test_elsewhere[npu]"]
    result.assert_outcomes(passed=2, skipped=2)
    result.stdout.fnmatch_lines(["devices: cpu, npu; torch *", "*test_there?cpu? SKIPPED (for npu, hpu only)*"])
    assert run(test, "--device=npu:1", conftest=NPU.replace("COUNT", "2")).ret == 0


def test_a_driver_without_a_device_is_missing(run):
    result = run(ONE_TEST, conftest=NPU.replace("COUNT", "0"))
    result.stdout.fnmatch_lines(["devices: cpu; *", "  npu is not here: torch * finds no npu device: *"])
    result = run(ONE_TEST, "--device=npu", conftest=NPU.replace("COUNT", "1 / 0"))
    result.stderr.fnmatch_lines(["*npu is not here: its driver cannot be asked: ZeroDivisionError: *"])
    result = run(ONE_TEST, "--device=npu,xla")
    result.stderr.fnmatch_lines(
        ["*npu is not here: the package torch_npu, which brings npu, is not installed; device xla*"]
    )


SHARED = """
import pytest

built = []

@pytest.fixture(scope="{scope}")
def model(device):
    built.append(f"model on {{device}}")
    yield device
    built.append(f"{{device}} done")

@pytest.fixture(scope="{scope_of_dtype}")
def precise(model, dtype):
    built.append(str(dtype))
    return model, dtype

class TestOne:
    def test_first(self, model, device): assert model == device
    def test_alone(self, device): pass
    def test_second(self, model): pass
    @pytest.mark.dtypes("float32", "float16")
    def test_precise(self, precise, device, dtype): assert precise == (device, dtype)

def test_last():
    assert built == {built}
"""


@pytest.mark.parametrize("scope", ["class", "module", "package", "session"])
def test_a_fixture_of_any_scope_is_built_once_on_each_device(scope, run):
    each = [f"model on {d}, torch.float32, torch.float16, {d} done".split(", ") for d in ("cpu", "cuda")]
    built = [line for lines in each for line in lines]
    of_dtype = "package" if scope == "session" else scope
    result = run(SHARED.format(scope=scope, scope_of_dtype=of_dtype, built=built), conftest=TWO_GPUS)
    result.assert_outcomes(passed=11)
    order = [name.partition("[")[2].partition("-")[0].rstrip("]") for name in ids(result) if "alone" not in name][:-1]
    assert order == ["cpu"] * 4 + ["cuda"] * 4


def test_what_is_built_once_draws_the_same_whichever_test_comes_first(run, pytester):
    test = """
        import pytest, torch

        @pytest.fixture(scope="module")
        def model(device): return torch.rand(1).item()

        @pytest.fixture
        def told(model, device, request):
            with open(f"{request.function.__name__}.txt", "a") as file:
                print(model, torch.rand(1).item(), file=file)

        def test_first(told): pass
        def test_second(told): pass
    """
    for only in ("first or second", "first", "second"):
        assert run(test, "--device=cpu", "-k", only).ret == 0
    first, second = ((pytester.path / f"test_{name}.txt").read_text().splitlines() for name in ("first", "second"))
    assert len(first) == len(second) == 2
    assert len({*first, *second}) == 2
    assert len({line.split()[0] for line in (*first, *second)}) == 1


def test_a_test_case_on_devices(run):
    result = run(
        """
        import unittest
        import pytest, torch
        from crosscheck.pytest_plugin import OnDevices

        class TestBase(OnDevices, unittest.TestCase):
            @classmethod
            def setUpClass(cls): cls.made = "once"

            def setUp(self): self.known = self.device

            def test_it(self):
                assert self.known == self.device and self.made == "once"

        @pytest.mark.dtypes("float32", torch.float16)
        class TestMine(TestBase):
            def test_it(self):
                super().test_it()
                assert isinstance(self.dtype, torch.dtype)

            @pytest.mark.device_only("cuda", reason="of graphs")
            @pytest.mark.dtypes("bfloat16")
            def test_more(self):
                assert (self.device.type, self.dtype) == ("cuda", torch.bfloat16)

            @unittest.expectedFailure
            @pytest.mark.device_except("cuda")
            def test_wrong(self): assert False

        class TestAsync(OnDevices, unittest.IsolatedAsyncioTestCase):
            async def test_it(self): assert self.device.type in ("cpu", "cuda")

        class TestNone(OnDevices, unittest.TestCase):
            def test_it(self): self.dtype

        class TestOther(unittest.TestCase):
            def test_it(self): pass
        """,
        "--device=cpu,cuda",
        conftest=TWO_GPUS,
    )
    assert [name for name in re.findall(r"::(\S+) [A-Z]", result.stdout.str()) if "None" not in name] == [
        "TestBase::test_it[cpu]", "TestBase::test_it[cuda]",
        "TestMine::test_it[cpu-float32]", "TestMine::test_it[cpu-float16]",
        "TestMine::test_it[cuda-float32]", "TestMine::test_it[cuda-float16]",
        "TestMine::test_more[cpu-bfloat16]", "TestMine::test_more[cuda-bfloat16]",
        "TestMine::test_wrong[cpu-float32]", "TestMine::test_wrong[cpu-float16]",
        "TestMine::test_wrong[cuda-float32]", "TestMine::test_wrong[cuda-float16]",
        "TestAsync::test_it[cpu]", "TestAsync::test_it[cuda]", "TestOther::test_it",
    ]  # fmt: skip
    result.assert_outcomes(passed=10, skipped=3, xfailed=2, failed=2)
    result.stdout.fnmatch_lines(
        [
            "*test_more?cpu-bfloat16? SKIPPED (of gra*",
            "E*self.dtype: expected a dtype *TestNone.test_it?cpu?, got none: mark it with pytest.mark.dtypes",
            "tests that ran: 7 on cpu, 6 on cuda",
        ]
    )


def test_a_test_case_on_devices_run_by_unittest_alone():
    class Mine(OnDevices, unittest.TestCase):
        def test_it(self): ...

    with pytest.raises(
        AttributeError,
        match=r"^self\.device: expected a device that pytest gives to Mine\.test_it, got none: run it by pytest",
    ):
        _ = Mine("test_it").device


def test_a_kind_that_there_is_not_is_refused_in_a_test_case_too(run):
    result = run(
        """
        import unittest, pytest
        from crosscheck.pytest_plugin import OnDevices

        @pytest.mark.device_only("gpu")
        class TestMine(OnDevices, unittest.TestCase):
            def test_it(self): pass
        """
    )
    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines(["device_only: expected kinds *, got 'gpu' in test_a.py::TestMine::test_it"])


TWO = """
import pytest

@pytest.mark.device_count(2)
def test_two(devices, device):
    print("two", [str(place) for place in devices], device)

@pytest.mark.device_count(3)
def test_three(devices): pass

def test_all(devices):
    print("all", [str(place) for place in devices])
"""


def test_tests_of_two_devices(run):
    result = run(TWO, "-s", "-rs", "--device=cpu,cuda,cuda:1", conftest=TWO_GPUS)
    result.assert_outcomes(passed=5, skipped=4)
    told = result.stdout.str()
    for line in (
        "two ['cuda:0', 'cuda:1'] cuda\n",
        "two ['cuda:1', 'cuda:0'] cuda:1\n",
        "all ['cpu']\n",
        "all ['cuda:1', 'cuda:0']\n",
        "for 2 devices, and of cpu there is 1\n",
        "for 3 devices, and of cpu there is 1\n",
        "for 3 devices, and of cuda there are 2\n",
    ):
        assert line in told


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "xdist"])
def test_quiet_says_nothing_of_what_nobody_asked_for(run, workers):
    told = re.compile("devices: |tests that ran|is not here")
    assert not told.search(run(ONE_TEST, "-qq", *workers).stdout.str())
    assert told.search(run(ONE_TEST, "-qq", "--device=cpu", *workers).stdout.str())


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "xdist"])
def test_a_report_of_what_ran_where(run, pytester, workers):
    result = run(
        """
        import pytest
        def test_right(device): pass
        def test_wrong(device): assert device.type == "cpu"
        @pytest.mark.device_only("cpu", reason="of speed")
        def test_fast(device): pass
        @pytest.mark.device_only("cpu", reason="of speed")
        def test_faster(device): pytest.skip("no need")
        def test_without(): pass
        """,
        "--device=cuda,all", "--device-report=out.json", *workers,
        conftest=TWO_GPUS,
    )  # fmt: skip
    assert result.ret == 1
    counts = {"cuda": (1, 1, {"of speed": 2}), "cpu": (3, 0, {"no need": 1})}
    assert json.loads((pytester.path / "out.json").read_text()) == {
        "asked": ["cuda", "cpu"],
        "runs": [
            {"device": name, "kind": name, "title": name, "torch": torch.__version__}
            | {"passed": passed, "failed": failed, "skipped": skipped}
            for name, (passed, failed, skipped) in counts.items()
        ],
    }


def test_a_report_that_could_not_be_written_is_refused_before_anything_runs(run):
    result = run(ONE_TEST, "--device-report=none/out.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["*--device-report none/out.json: expected a directory that exists, got no */none: make it first"]
    )

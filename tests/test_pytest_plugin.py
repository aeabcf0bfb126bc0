"""The pytest plugin: what was asked for runs, or the run fails. A probe plays the accelerators that are not here."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

# A conftest by which this machine seems to have two CUDA devices. Tensors cannot be made on them.
TWO_GPUS = """
import torch
from reference import devices

real = devices.missing
def missing(name):
    kind, _, index = name.partition(":")
    return real(name) if kind != "cuda" else "there are 2" if int(index or 0) > 1 else ""
devices.missing = missing
devices.title = str
torch.cuda.device_count = lambda: 2
torch.cuda.get_rng_state = torch.get_rng_state
torch.cuda.set_rng_state = torch.set_rng_state
"""

ONE_TEST = """
def test_it(device):
    assert device.type in ("cpu", "cuda")
"""

ON_CUDA = "import pytest\n\n\n@pytest.mark.device_only('cuda')" + ONE_TEST


@pytest.fixture
def run(pytester, monkeypatch):
    """Runs pytest on a test file, and on a conftest, in a process of its own."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("PYTEST_DEVICE", raising=False)
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    def run(test, *args, conftest=""):
        if "-n2" in args:
            pytest.importorskip("xdist")
        pytester.makeconftest(conftest)
        pytester.makepyfile(test_a=test)
        return pytester.runpytest_subprocess("-p", "reference.pytest_plugin", "-p", "no:cacheprovider", "-v", *args)

    return run


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
    result = run("import sys\ndef test_it():\n    assert 'torch' not in sys.modules and 'numpy' not in sys.modules\n")
    assert result.ret == 0
    result.stdout.no_fnmatch_line("devices:*")


@pytest.mark.parametrize(
    ("args", "conftest", "words"),
    [
        (["--device", "cuda"], "import torch\ntorch.backends.cuda.is_built = lambda: False", "is built without cuda"),
        (
            ["--device=cpu,cuda"],
            "import torch\ntorch.backends.cuda.is_built = lambda: True\ntorch.cuda.device_count = lambda: 0",
            "finds no cuda device: is there one, and its driver?",
        ),
        (["--device", "cuda:2"], TWO_GPUS, "device cuda:2 is not here: there are 2"),
    ],
)
@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["alone", "xdist"])
def test_what_is_named_and_missing_fails_with_the_reason(run, args, conftest, words, workers):
    result = run(ONE_TEST, *args, *workers, conftest=conftest)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines([f"*{words}*"])


@pytest.mark.parametrize("name", ["tpu", "cuda:x", "cuda:", "cpu,gpu", "cpu:²", "cuda:01"])
def test_an_unknown_name_is_a_usage_error(run, name):
    result = run(ONE_TEST, "--device", name)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*device: expected one of cpu, cuda, mps, xpu, * got *; all is each that is here"])


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
    result = run(test, "--device", "cpu,cuda", *args, conftest=TWO_GPUS)
    assert result.ret == pytest.ExitCode.TESTS_FAILED
    result.stdout.fnmatch_lines(["ERROR: no test ran on cuda, which was asked for by name"])


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
    pytester.makeini("[pytest]\ndevice = cpu")
    assert ids(run(ONE_TEST, conftest=TWO_GPUS)) == ["test_it[cpu]"]
    monkeypatch.setenv("PYTEST_DEVICE", "cuda:1")
    assert ids(run(ONE_TEST, conftest=TWO_GPUS)) == ["test_it[cuda:1]"]
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

        @pytest.mark.device_only("cuda")
        def test_only(device): pass

        @pytest.mark.device_except("cuda", reason="too slow there")
        def test_except(device): pass

        def test_all(dtype): pass

        @pytest.mark.dtypes("float31")
        def test_none(dtype): pass

        @pytest.mark.dtypes("float64", "float16")
        class TestClass:
            def test_further(self, dtype): pass

            @pytest.mark.dtypes("float32")
            def test_nearest(self, dtype): pass
        """,
        "-rs",
        conftest=TWO_GPUS,
    )
    assert ids(result) == [
        "test_both[cpu-float32]", "test_both[cpu-bfloat16]", "test_both[cuda-float32]", "test_both[cuda-bfloat16]",
        "test_only[cpu]", "test_only[cuda]", "test_except[cpu]", "test_except[cuda]",
        "test_all[float64]", "test_all[float32]", "test_all[bfloat16]", "test_all[float16]",
        "TestClass::test_further[float64]", "TestClass::test_further[float16]", "TestClass::test_nearest[float32]",
    ]  # fmt: skip
    result.stdout.fnmatch_lines(["*test_only*SKIPPED (for cuda only)*", "*test_except*SKIPPED (too slow there)*"])
    result.stdout.fnmatch_lines(["dtypes: expected dtypes of torch, as float32, got 'float31'"])
    result.assert_outcomes(passed=13, skipped=2, errors=1)


def test_a_kind_that_there_is_not_is_refused(run, pytester):
    wrong = {
        "only(['cpu'])": "['cpu']",
        "only('gpu')": "'gpu'",
        "except('cpu:0')": "'cpu:0'",
        "only(reason='x')": "none",
    }
    for i, mark in enumerate(wrong):
        marks = f"@pytest.mark.device_only('cpu')\n@pytest.mark.device_{mark}\n"
        pytester.makepyfile(**{f"test_{i}": f"import pytest\n{marks}def test_it(device): pass\n"})
    result = run(ONE_TEST)
    assert result.ret == pytest.ExitCode.INTERRUPTED
    for i, got in enumerate(wrong.values()):
        words = (
            f"expected kinds of devices, of cpu, cuda, mps, xpu, as in .*, got {re.escape(got)} in test_{i}.py::test_it"
        )
        assert re.search(f"^device_(only|except): {words}$", result.stdout.str(), re.M)


def test_a_device_without_float64_drops_it_with_the_reason(run):
    mps = "from reference import devices\ndevices.missing = lambda name: '' if name in ('cpu', 'mps') else 'no'\n"
    mps += (
        "import torch\ntorch.mps.get_rng_state = torch.get_rng_state\ntorch.mps.set_rng_state = torch.set_rng_state\n"
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
        (THEIR_VALUES, (), "mine"),
    ],
)
def test_theirs_wins(run, conftest, args, value):
    result = run(f"def test_it(device):\n    assert device == {value!r}\n", *args, conftest=conftest)
    result.assert_outcomes(passed=1)


def test_a_fixture_that_extends_ours_runs_on_each_device(run):
    extended = "import pytest\n@pytest.fixture\ndef device(device):\n    return device\n"
    result = run(extended + "def test_it(device, dtype): pass\n", "-k", "float32", conftest=TWO_GPUS + extended)
    assert ids(result) == ["test_it[cpu-float32]", "test_it[cuda-float32]"]
    result.stdout.fnmatch_lines(["tests that ran: 1 on cpu, 1 on cuda"])


@pytest.mark.parametrize("name", ["device", "dtype"])
def test_what_is_asked_for_too_late_is_told(run, name):
    result = run(f"def test_it(request): request.getfixturevalue({name!r})")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([f"{name}: expected as an argument of *in test_a.py::test_it: add the argument, *"])


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
    result.stdout.re_match_lines([r"of random, numpy and torch before the test: \d+"])


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
    result = run(ONE_TEST, "--help")
    result.stdout.fnmatch_lines(["*--device=NAMES*", "*PYTEST_DEVICE*", "*--deterministic*"])
    run(ONE_TEST, "--markers").stdout.fnmatch_lines(["@pytest.mark.device_only*", "*device_except*", "*dtypes*"])


@pytest.mark.parametrize("workers", [[], ["-n2"]])
@pytest.mark.parametrize(("test", "ret"), [("def test_it(): pass", 0), (ON_CUDA, 1)])
def test_a_standing_wish_is_none_of_tests_that_take_no_device(test, ret, workers, run, monkeypatch):
    monkeypatch.setenv("PYTEST_DEVICE", "cpu")
    assert run(test, *workers).ret == ret
    assert run(test, "--device", "cpu", *workers).ret == 1

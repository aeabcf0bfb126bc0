"""Mutation testing: changes the code, one thing at a time, and sees whether mypy or a test notices.

    python benchmarks/mutation.py                                            all of the code, with all tests
    python benchmarks/mutation.py "reference.slips*" tests/test_slips.py     a part of it, with some of them

mutmut makes the changes, in the folder mutants, also in functions with a decorator, which by itself it leaves as they
are. What mypy does not see is run here: the tests are collected and the code imported once, and each change has a copy
of that process, in which the function's code is exchanged. There the tests that reach the function run, fastest first,
until one fails: some ten changes a second, where a process of its own for each would take seconds.
"""

import gc
import importlib
import io
import math
import os
import pickle
import pkgutil
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from types import CodeType, FrameType, FunctionType
from typing import Any, NoReturn, TypeVar

import libcst as cst
import pytest
from _pytest.pytester import Pytester
from _pytest.runner import runtestprotocol
from mutmut import __main__ as mutmut
from mutmut.configuration import config
from mutmut.mutation import file_mutation, trampoline
from mutmut.mutation.diff_apply import get_diff_for_mutant
from rich.console import Console
from rich.progress import track

T = TypeVar("T")

ENOUGH = 20.0  # seconds of tests for a change that none of them has noticed
PROCESSES = os.cpu_count() or 1

# Changes beneath the decorators

arrangement = file_mutation.function_trampoline_arrangement
is_skipped = file_mutation.MutationVisitor._skip_node_and_children


def undecorated(function: cst.FunctionDef) -> cst.FunctionDef:
    """The function as mutmut takes it: at most a static one, or one of the class."""
    plain = [d for d in function.decorators if getattr(d.decorator, "value", "") in ("staticmethod", "classmethod")]
    return function.with_changes(decorators=plain)


def is_skipped_undecorated(visitor: Any, node: cst.CSTNode) -> bool:
    if not isinstance(node, cst.FunctionDef):
        return is_skipped(visitor, node)
    if node.returns and "TypeGuard" in cst.Module([]).code_for_node(node.returns.annotation):
        return True  # what it tells mypy of a type would be lost
    return is_skipped(visitor, undecorated(node))


def arranged(function: cst.FunctionDef, mutants: Iterable[Any], class_name: str | None) -> Any:
    """The choice between the function and its mutants stands beneath the decorators; those have none of their own."""
    declared, (choice, *copies), assigned, names = arrangement(undecorated(function), mutants, class_name)
    choice = choice.with_changes(decorators=(*function.decorators, choice.decorators[-1]))
    return declared, [choice, *copies], assigned, names


file_mutation.MutationVisitor._skip_node_and_children = is_skipped_undecorated
file_mutation.function_trampoline_arrangement = arranged


# A change in a copy of this process

imported: list[tuple[FunctionType, Mapping[str, Any]]] = []  # each function with its mutants, by their names


def remembered(mutants: Mapping[str, Any], is_classmethod: bool = False) -> Any:
    """In place of mutmut's choice at each call, which would stand between a function and its caller."""

    def of(function: FunctionType) -> FunctionType:
        imported.append((function, mutants))
        return function

    return of


def name_of(function: FunctionType, mutants: Mapping[str, Any]) -> str:
    """As mutmut has it, before the number of a change."""
    return f"{function.__module__}.{mutants['_mutmut_orig'].__name__.removesuffix('__mutmut_orig')}"


def pair_of(change: str) -> tuple[FunctionType, FunctionType]:
    """The function, and what it is changed to."""
    name, _, _ = change.rpartition("__mutmut_")
    (function, mutants), *_ = (pair for pair in imported if name_of(*pair) == name)
    mutant = mutants[change.rpartition(".")[2]]
    mutant = getattr(mutant, "__func__", mutant)  # of a method of the class
    assert len(function.__code__.co_freevars) == len(mutant.__code__.co_freevars)
    return function, mutant


@dataclass
class Seen:
    """What is seen of a test without a change."""

    seconds: float
    fails: bool
    starts_a_process: bool
    reached: set[str]  # the functions, as mutmut calls them


class Judged:
    """A pytest plugin that runs the tests once without a change, and then those that matter with each change."""

    def __init__(self, changes: list[str]) -> None:
        self.changes = changes
        self.left: list[str] = []

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        seen, modules = in_a_copy(
            lambda: ([watched(item) for item in progress(session.items, "as it is")], [*sys.modules])
        )
        for module in modules:  # what a test imports on its way, each copy would have to import again
            with suppress(Exception):
                importlib.import_module(module)
        tests = sorted(zip(session.items, seen, strict=True), key=lambda test: test[1].seconds)
        for item, it in tests:
            if it.fails:
                print("fails without a change, and is left out:", item.nodeid)
        tests = [(item, it) for item, it in tests if not it.fails]
        starting = [(item, it) for item, it in tests if it.starts_a_process]
        pairs = {change: pair_of(change) for change in self.changes}
        running: dict[int, str] = {}

        def one_ends() -> None:
            pid, status = os.wait()
            change = running.pop(pid)
            if status == 0:
                self.left.append(change)

        gc.collect()
        gc.freeze()  # else the collector writes to all that is here, and each copy has to copy it
        for change in progress(self.changes, "changed"):
            function = change.rpartition("__mutmut_")[0]
            reaching = [(item, it) for item, it in tests if function in it.reached]
            if len(running) == PROCESSES:
                one_ends()
            pid = os.fork()
            if not pid:
                os.environ["MUTANT_UNDER_TEST"] = change  # for processes that a test starts
                survive(*pairs[change], reaching or starting)
            running[pid] = change
        while running:
            one_ends()
        return True


def progress(things: list[T], about: str) -> Iterable[T]:
    return track(things, about, console=Console(stderr=True))


def silent() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def in_a_copy(work: Callable[[], T]) -> T:
    """The result of some work that shall leave no trace in this process."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        silent()
        with os.fdopen(writing, "wb") as result:
            pickle.dump(work(), result)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as result:
        found: T = pickle.load(result)
    os.waitpid(pid, 0)
    return found


started: list[str] = []  # processes, by the test that runs
sys.addaudithook(lambda event, _: started.append(event) if event in ("subprocess.Popen", "os.posix_spawn") else None)


def watched(item: pytest.Item) -> Seen:
    """Run a test, and see what it reaches."""
    reached: set[CodeType] = set()

    def profile(frame: FrameType, event: str, _: object) -> None:
        reached.add(frame.f_code)

    started.clear()
    begin = time.perf_counter()
    sys.setprofile(profile)
    reports = runtestprotocol(item, log=False)
    sys.setprofile(None)
    names = {name_of(*pair) for pair in imported if pair[0].__code__ in reached}
    seconds = time.perf_counter() - begin
    return Seen(seconds, any(report.failed for report in reports), bool(started), names)


def survive(function: FunctionType, mutant: FunctionType, tests: list[tuple[pytest.Item, Seen]]) -> NoReturn:
    """Make the change, and end this process: with 0 if no test notices it."""
    silent()
    os.dup2(1, 2)
    function.__code__, function.__defaults__ = mutant.__code__, mutant.__defaults__
    function.__kwdefaults__ = mutant.__kwdefaults__
    with suppress(BaseException):
        taken = 0.0
        for item, it in tests:
            signal.alarm(30 + 20 * math.ceil(it.seconds))  # it ends the process: with a change, a test may not end
            if any(report.failed for report in runtestprotocol(item, log=False)):
                os._exit(1)
            taken += it.seconds
            if taken > ENOUGH:
                break
        os._exit(0)
    os._exit(1)


def main(arguments: list[str]) -> None:
    tests = [argument for argument in arguments if argument.endswith(".py")]
    patterns = [argument for argument in arguments if argument not in tests]
    trampoline.set_mutant_under_test("mutant_generation")
    shutil.rmtree("mutants", ignore_errors=True)
    os.mkdir("mutants")
    with redirect_stdout(io.StringIO()):
        mutmut.copy_src_dir()
        mutmut.copy_also_copy_files()
        mutmut.setup_source_paths()
        mutmut.create_mutants(PROCESSES)
    changes = [name for _, name, _ in mutmut.collect_source_file_mutation_data(mutant_names=patterns)[0]]
    print(f"{len(changes)} changes; mypy looks at them", flush=True)
    seen_by_mypy = mutmut.filter_mutants_with_type_checker()
    judged = Judged([change for change in changes if change not in seen_by_mypy])

    home = os.getcwd()
    os.chdir("mutants")
    sys.path.insert(0, os.getcwd())
    os.environ.update(PYTHONPATH=os.getcwd(), PYTHONDONTWRITEBYTECODE="1", OMP_NUM_THREADS="1")
    trampoline.wrap_in_trampoline = remembered
    Pytester.runpytest_subprocess = lambda self, *args, **_: self.runpytest_inprocess(*args)
    for package in map(importlib.import_module, ("manual_bp", "reference")):
        for info in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(info.name)
    # A traceback in pytest's own manner would read and parse the file with all its changes, each time.
    options = ["-s", "--tb=native", "-W", "ignore::pytest.PytestAssertRewriteWarning", "-p", "no:xdist"]
    mine = config()
    pytest.main(
        [*options, *mine.pytest_add_cli_args, *(tests or mine.pytest_add_cli_args_test_selection)], plugins=[judged]
    )

    os.chdir(home)
    for change in judged.left:
        print(f"\n{change}")
        for line in get_diff_for_mutant(change).splitlines()[2:]:
            if line[0] in "+-":
                print(line)
    modules = {change.rpartition(".")[0]: "" for change in changes}
    print(f"\n{'':40} {'changes':>8} {'mypy':>8} {'a test':>8} {'left':>8}")
    for module in (*modules, "in all"):
        of_module = {change for change in changes if module in (change.rpartition(".")[0], "in all")}
        by_mypy, left = len(of_module & seen_by_mypy.keys()), len(of_module.intersection(judged.left))
        print(f"{module:40} {len(of_module):8} {by_mypy:8} {len(of_module) - by_mypy - left:8} {left:8}")


if __name__ == "__main__":
    main(sys.argv[1:])

"""Mutation testing: changes the code, one thing at a time, and sees whether mypy or a test notices.

It is mutmut's command line. By itself mutmut leaves decorated functions as they are, and with them nearly every rule
and every property; here they are changed too, beneath their decorators.
"""

from collections.abc import Iterable
from typing import Any

import libcst as cst
from mutmut.__main__ import cli
from mutmut.mutation import file_mutation

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

if __name__ == "__main__":
    cli()

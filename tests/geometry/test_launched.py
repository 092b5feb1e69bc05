"""What Triton's kernels may not do, so that every version of its interpreter runs them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import hrnfit

SOURCE = Path(hrnfit.__file__).parent


def kernels(text: str) -> Iterator[ast.FunctionDef]:
    for node in ast.parse(text).body:
        if isinstance(node, ast.FunctionDef) and "kernel" in map(ast.unparse, node.decorator_list):
            yield node


def loops_over_values(function: ast.FunctionDef) -> list[str]:
    """`range` with a bound that is known at run time only: neither a constexpr nor a constant of the module."""
    fixed, given = set[str](), set[str]()
    for a in function.args.args:
        constant = a.annotation is not None and "constexpr" in ast.unparse(a.annotation)
        (fixed if constant else given).add(a.arg)
    loops = [node for node in ast.walk(function) if isinstance(node, ast.For)]
    fixed |= {ast.unparse(n.target) for n in loops if "static_range" in ast.unparse(n.iter)}
    found = []
    for loop in loops:
        names = {n.id for n in ast.walk(loop.iter) if isinstance(n, ast.Name)}
        left = names - fixed - {"range", "tl"}
        if any(name in given or name.islower() for name in left):
            found.append(f"{function.name}: {ast.unparse(loop.iter)}")
    return found


def test_what_is_found():
    text = """
@kernel
def some(V, BLOCK: tl.constexpr, K: tl.constexpr):
    for i in tl.static_range(K):
        for j in tl.static_range(i, K):
            for k in range(BLOCK * LANES):
                for l in range(V):
                    pass
"""
    (function,) = kernels(text)
    assert loops_over_values(function) == ["some: range(V)"]


def test_kernels_loop_over_run_time_values_by_while():
    """Triton 3.6 with numpy 2.5 cannot convert a value to the integer that Python's `range` takes when kernels are
    interpreted; `while` is compiled to the same instructions."""
    seen, found = 0, []
    for file in sorted(SOURCE.rglob("*.py")):
        text = file.read_text()
        if "import triton" in text:
            for function in kernels(text):
                seen += 1
                found += [f"{file.name} {loop}" for loop in loops_over_values(function)]
    assert seen > 50
    assert not found

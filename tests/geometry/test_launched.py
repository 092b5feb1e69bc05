"""What Triton's kernels may not do, so that every version of its interpreter runs them; and where they are launched."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch

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


class There(torch.Tensor):
    """A tensor that says it is on the second GPU."""

    def get_device(self) -> int:
        return 1


@pytest.mark.parametrize(("current", "changed"), [(0, [1]), (1, [])])
def test_a_kernel_is_launched_on_the_device_of_its_tensors(monkeypatch, current, changed):
    pytest.importorskip("triton", reason="Triton is not installed")
    from hrnfit.geometry.launched import on_device_of_tensors

    made: list[int] = []
    monkeypatch.setattr(torch.cuda, "current_device", lambda: current)
    monkeypatch.setattr(torch.cuda, "device", lambda index: made.append(index) or nullcontext())
    launch = on_device_of_tensors(lambda *args, **options: (len(made), args, options))
    far = torch.zeros(2).as_subclass(There)
    count, args, options = launch(None, far, 7, grid=(1,))
    assert (count, made, args[2], options) == (len(changed), changed, 7, {"grid": (1,)})
    assert launch(3, torch.zeros(2))[1][0] == 3  # Triton's own error tells of a tensor on the CPU
    assert made == changed


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="torch sees fewer than two CUDA devices")
def test_the_second_gpu_is_used_while_the_first_is_the_current_one():
    pytest.importorskip("triton", reason="Triton is not installed")
    from hrnfit.geometry.rotation import rotation_exp

    w = torch.tensor([[0.1, -0.4, 0.2]])
    with torch.cuda.device(0):
        found = rotation_exp(w.to("cuda:1"))
    assert found.device == torch.device("cuda", 1)
    torch.testing.assert_close(found.cpu(), rotation_exp(w), atol=1e-6, rtol=0)

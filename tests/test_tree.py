"""Trees of tensors survive the disk, and files are written whole or not at all."""

import errno
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.state import FaceState, Sharing, zero_state
from hrnfit.tree import atomic_path, flatten, load_npz, map_tensors, save_npz, to_numpy, write_bytes


@dataclass(frozen=True)
class Leaf:
    x: Float[Tensor, "N"]
    label: str = "a"


@dataclass(frozen=True)
class Tree:
    leaf: Leaf
    leaves: tuple[Leaf, ...]
    table: dict[str, Tensor]
    count: int
    flag: bool
    maybe: Tensor | None = None
    other: Leaf | None = None


def _tree():
    leaf = Leaf(torch.arange(3.0))
    return Tree(leaf, (leaf, Leaf(torch.ones(2), "b")), {"k": torch.zeros(2)}, 3, True, None, leaf)


def test_flatten_names_every_leaf():
    flat = flatten(_tree())
    assert list(flat)[:3] == ["leaf/x", "leaf/label", "leaves/0/x"]
    assert flat["leaves/1/label"] == "b"
    assert flat["maybe"] is None
    with pytest.raises(TypeError, match="leaf: cannot store a set"):
        flatten({"leaf": {1, 2}})


def test_map_tensors_keeps_the_rest():
    doubled = map_tensors(lambda x: 2 * x, _tree())
    assert doubled.leaves[1].x.tolist() == [2, 2]
    assert doubled.leaves[1].label == "b"
    assert doubled.table["k"].tolist() == [0, 0]
    assert doubled.count == 3


def test_to_numpy_detaches():
    arrays = to_numpy({"x": torch.ones(2, requires_grad=True), "none": None})
    assert list(arrays) == ["x"]
    assert isinstance(arrays["x"], np.ndarray)


def test_npz_round_trip(tmp_path):
    save_npz(tmp_path / "tree.npz", _tree())
    back = load_npz(tmp_path / "tree.npz", Tree)
    before, after = flatten(_tree()), flatten(back)
    assert list(before) == list(after)
    for path, value in before.items():
        same = (
            torch.equal(value, after[path]) if isinstance(value, Tensor) else value == after[path]
        )
        assert same, path
    assert isinstance(back.leaves, tuple)
    assert back.flag is True


def test_npz_round_trip_of_a_state(tmp_path):
    row = torch.zeros(2, dtype=torch.int64)
    state = zero_state(
        identity=4, expression=3, albedo=2, sharing=Sharing(row, row, row), displacement=8,
        deformation=4, albedo_map=8,
    )  # fmt: skip
    save_npz(tmp_path / "state.npz", state)
    back = load_npz(tmp_path / "state.npz", FaceState)
    torch.testing.assert_close(back.light, state.light)


def test_load_npz_explains(tmp_path):
    path = tmp_path / "x.npz"
    path.write_bytes(b"no archive")
    with pytest.raises(ValueError, match=r"x\.npz: not a readable npz"):
        load_npz(path, Leaf)
    save_npz(path, {"label": "a"})
    with pytest.raises(ValueError, match="Leaf needs 'x', which the file lacks"):
        load_npz(path, Leaf)


def _write_half(path, error):
    with atomic_path(path) as temporary:
        assert temporary.suffix == path.suffix
        temporary.write_text("half")
        raise error


def test_atomic_path_leaves_nothing_half_written(tmp_path):
    path = tmp_path / "new" / "file.txt"
    write_bytes(path, b"first")
    with pytest.raises(RuntimeError, match="stop"):
        _write_half(path, RuntimeError("stop"))
    assert path.read_bytes() == b"first"
    assert [p.name for p in path.parent.iterdir()] == ["file.txt"]


@pytest.mark.parametrize(
    ("code", "advice"),
    [(errno.ENOSPC, "the disk is full; free some space"), (errno.EACCES, "no permission")],
)
def test_full_disk_says_what_to_do(tmp_path, code, advice):
    path = tmp_path / "file.bin"
    with pytest.raises(OSError, match=rf"cannot write .*file\.bin: {advice}") as info:
        _write_half(path, OSError(code, "system text"))
    assert info.value.errno == code
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_place_of_the_folder(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OSError, match="cannot write"):
        write_bytes(tmp_path / "out" / "x.txt", b"")

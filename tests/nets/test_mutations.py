"""Damaged and hostile files of weights: a sentence each, nothing run, no crash, no memory beyond a bound."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hrnfit.nets.checkpoint import read_checkpoint
from hrnfit.nets.configs import build
from hrnfit.nets.network_info import NetworkInfo
from hrnfit.nets.weights import check_network, save_network
from hrnfit.nets.weights_error import WeightsError
from tests.nets import mutate_containers, mutate_own, mutate_pickles
from tests.nets.mutants import ERROR, SAME, Mutant, Sound, saved
from tests.nets.write_checkpoints import SMALL, document, small_state

MAKERS = mutate_containers.MAKERS | mutate_pickles.MAKERS | mutate_own.MAKERS

HEADROOM = 300_000_000
"""Bytes of address space that reading a file of 60 kB may add."""


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Sound:
    folder = tmp_path_factory.mktemp("sound")
    content = document("hrn", small_state("hrn"))
    network = build(SMALL["hrn"])
    network.load_state_dict(small_state("hrn"))
    save_network(folder / "own.safetensors", network, NetworkInfo("own", "ours", "yes", "here"))
    return Sound(
        content,
        saved(content),
        saved(content, legacy=True),
        (folder / "own.safetensors").read_bytes(),
        folder / "mark",
    )


@contextmanager
def bounded() -> Iterator[None]:
    """Nobody may take more than `HEADROOM` (Linux)."""
    if sys.platform != "linux":
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + HEADROOM, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def read(path: Path, content: bytes) -> dict[str, Tensor]:
    """A file of either format by its own way in."""
    path.write_bytes(content)
    if content[4:9] == b"\0\0\0\0{":
        return dict(check_network(path).module.state_dict())
    return read_checkpoint(path, "hrn", SMALL["hrn"])


def outcome(mutant: Mutant, path: Path) -> str:
    """ "refused" with a sentence, or "read", as what the mutant allows."""
    original = small_state("hrn")
    try:
        found = read(path, mutant.content)
    except WeightsError as error:
        text = str(error)
        assert text.startswith(f"{path}: ")
        assert 15 < len(text) - len(str(path)) < 900
        assert text.isprintable(), text
        assert "memory" not in text.lower()
        return "refused"
    assert mutant.outcome != ERROR
    assert list(found) == list(original)
    for key, value in original.items():
        assert (found[key].shape, found[key].dtype) == (value.shape, value.dtype)
        assert bool(torch.isfinite(found[key]).all())
        if mutant.outcome == SAME:
            assert torch.equal(found[key], value)
    return "read"


def run(name: str, sound: Sound, folder: Path, count: int, seed: int) -> int:
    """Read so many mutants of a sort; how many were refused."""
    make, _ = MAKERS[name]
    refused = 0
    for number in range(count):
        mutant = make(np.random.default_rng([seed, number]), sound)
        with bounded():
            refused += outcome(mutant, folder / "mutant.pth") == "refused"
    assert not sound.mark.exists()
    return refused


@pytest.mark.parametrize("name", list(MAKERS))
def test_mutants(name, sound, tmp_path):
    count = MAKERS[name][1]
    assert run(name, sound, tmp_path, count, seed=len(name)) >= count // 4


@pytest.mark.skipif(sys.platform != "linux", reason="only there is address space bounded")
def test_the_bound_holds():
    with bounded(), pytest.raises(RuntimeError, match="memory"):
        torch.empty(HEADROOM, dtype=torch.float32)


def test_there_are_enough():
    assert sum(count for _, count in MAKERS.values()) >= 500


def test_the_sound_ones_are_read(sound, tmp_path):
    for content in (sound.zipped, sound.legacy, sound.own):
        assert outcome(Mutant(content, SAME), tmp_path / "sound") == "read"

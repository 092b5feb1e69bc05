"""A fit that ran out of memory: said in the user's terms, with what was finished before.

torch, numpy and Python each raise an exception of their own; all become `OutOfMemoryError`.
"""

from __future__ import annotations

import re
import traceback
from collections.abc import Iterator
from dataclasses import dataclass

import torch

from hrnfit.fit.memory import free_bytes, gigabytes, total_bytes
from hrnfit.fit.result import FitResult

ADVICE = {
    "cuda": "shrink the photographs (max_size), take fewer views, set smaller `size` and `texels` in the "
    "recipe's stages, fit fewer subjects at once (workers=1), end other programs on the GPU, or take another "
    "device (device='cpu')",
    "cpu": "shrink the photographs (max_size), take fewer views, set smaller `size` and `texels` in the "
    "recipe's stages, or fit fewer subjects at once (workers=1)",
}


class OutOfMemoryError(MemoryError):
    """A fit did not fit into the memory of its device."""

    partial: FitResult | None
    """What the stages before it had reached, as a result of its own that `start=` continues from; None when none
    was finished."""

    def __init__(self, message: str, partial: FitResult | None = None) -> None:
        super().__init__(message)
        self.partial = partial


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception says that memory was short, of a GPU or of the host, or came from one that does: a
    recording that is broken off raises another."""
    return any(_says_so(one) for one in _chain(error))


def _says_so(error: BaseException) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    said = str(error)
    return isinstance(error, RuntimeError) and (
        "out of memory" in said or "can't allocate memory" in said or "not enough memory" in said
    )


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from."""
    seen: set[int] = set()
    here: BaseException | None = error
    while here is not None and id(here) not in seen:
        seen.add(id(here))
        yield here
        here = here.__cause__ or _met_on_its_way(here)


def _met_on_its_way(error: BaseException) -> BaseException | None:
    """The error while whose handling this one was raised, unless that was handled by the caller of it all: who
    fits again in an `except MemoryError` would find every error to be one of memory."""
    before = error.__context__
    if before is None or before.__traceback__ is None:
        return before
    frames = (frame for frame, _ in traceback.walk_tb(error.__traceback__))
    return before if before.__traceback__.tb_frame in frames else None


@dataclass(frozen=True)
class Shortage:
    """What was known when memory ran short."""

    device: torch.device
    during: str
    """Words for what the fit was doing, such as `stage 'pores'`."""
    needed: int
    """Bound of the whole fit on a GPU, bytes; 0 when it is not known."""
    free: int | None
    total: int | None
    said: str
    """Words of the library that raised."""

    @staticmethod
    def of(error: BaseException, device: torch.device, during: str, needed: int) -> Shortage:
        """Measured now; frames of the error are then cleared, since their tensors hold the memory."""
        free, total = free_bytes(device), total_bytes(device)
        release_frames(error)
        return Shortage(device, during, needed, free, total, str(error))

    def message(self, kept: bool) -> str:
        """What happened and what to do; `kept`: whether a partial result was made."""
        asked = re.search(r"[Tt]ried to allocate ([\d.]+ ?[KMGT]?i?B|\d+ bytes)", self.said)
        facts = [f"out of memory on {self.device} during {self.during}"]
        if asked:
            facts.append(f"{asked[1]} more were asked for")
        if self.free is not None and self.total is not None:
            facts.append(f"{gigabytes(self.free)} of {gigabytes(self.total)} were free")
        if self.needed and self.device.type != "cpu":  # the bound is of a GPU's memory
            facts.append(f"the whole fit needs up to {gigabytes(self.needed)}")
        rest = (
            "; the stages that were finished are a result of their own (`partial`)" if kept else ""
        )
        return f"{', '.join(facts)}; {ADVICE[self.device.type]}{rest}"


def release_frames(error: BaseException) -> None:
    """Forget the local variables of an error's frames, and of those it came from: they hold tensors."""
    for one in _chain(error):
        if one.__traceback__ is not None:
            traceback.clear_frames(one.__traceback__)

"""How much memory a fit needs, and how much there is."""

from __future__ import annotations

import os

import torch


def gigabytes(count: int) -> str:
    """Bytes as a person reads them: 2.7 GB."""
    return f"{count / 1e9:.1f} GB" if count >= 5e7 else f"{count / 1e6:.0f} MB"


def free_bytes(device: torch.device) -> int | None:
    """Memory that a fit could get now, torch's own reserve included; None where it cannot be asked."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return _pages("SC_AVPHYS_PAGES")


def total_bytes(device: torch.device) -> int | None:
    """Memory of the device; None where it cannot be asked."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[1]
    return _pages("SC_PHYS_PAGES")


def _pages(name: str) -> int | None:
    try:
        return os.sysconf(name) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):  # not on Windows
        return None


MOST_WORKERS = 3
"""Subjects at once on a GPU, however much memory it has."""


def workers_that_fit(device: torch.device, subjects: int) -> int:
    """Subjects to fit at once: on the CPU one, since a fit uses all of torch's threads."""
    return 1 if device.type == "cpu" else min(MOST_WORKERS, subjects)

"""What figures depend on: the processor, and the state of the code."""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

import torch


def machine() -> dict[str, str | int]:
    """Processor and its number of cores; the GPU where there is one."""
    model = platform.processor()
    info = Path("/proc/cpuinfo")
    if info.is_file():
        lines = info.read_text(encoding="utf-8").splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    named: dict[str, str | int] = {"cpu": model, "cores": os.cpu_count() or 1}
    if torch.cuda.is_available():
        named["gpu"] = torch.cuda.get_device_name()
    return named


def command(module: str) -> str:
    """The command that makes the figures."""
    return shlex.join(["python", "-m", f"benchmarks.{module}", *sys.argv[1:]])


def revision() -> str:
    """Commit of the code, with a plus when files differ from it; empty outside of git."""
    root = Path(__file__).parent
    git = ["git", "-C", str(root)]
    try:
        commit = subprocess.check_output([*git, "rev-parse", "--short", "HEAD"], text=True).strip()
        changed = subprocess.check_output(
            [*git, "status", "--porcelain", "--", ":/hrnfit", ":/recipes", ":/priors"], text=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit + ("+" if changed.strip() else "")

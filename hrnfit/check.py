"""Argument checks: what was expected, what came, what to do, in the caller's own terms."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

ArrayLike = Tensor | np.ndarray


def check_shape(name: str, value: ArrayLike, shape: Sequence[int | str], advice: str = "") -> None:
    """`value` has the given shape. A string stands for any length; a leading "..." for any batch.

    `check_shape("landmarks", x, ("V", 68, 2), "for one view pass landmarks[None]")`
    """
    if not isinstance(value, (Tensor, np.ndarray)):
        raise TypeError(f"{name}: expected a tensor or array, got {type(value).__name__}")
    got = tuple(value.shape)
    batched = bool(shape) and shape[0] == "..."
    want = tuple(shape[1:]) if batched else tuple(shape)
    tail = got[max(len(got) - len(want), 0) :] if batched else got
    fits = len(tail) == len(want) and all(
        isinstance(w, str) or w == g for w, g in zip(want, tail, strict=True)
    )
    if not fits:
        text = ", ".join(str(s) for s in shape)
        comma = "," if len(shape) == 1 else ""
        raise ValueError(_with_advice(f"{name}: expected ({text}{comma}), got {got}", advice))


def check_kind(name: str, value: object, kinds: tuple[type, ...], expected: str) -> None:
    """`value` is one of the kinds; `expected` says it in the user's words."""
    if not isinstance(value, kinds):
        raise TypeError(f"{name}: expected {expected}, got {type(value).__name__}")


def check_finite(name: str, value: ArrayLike, advice: str = "") -> None:
    """No NaN and no infinity in `value`."""
    if isinstance(value, np.ndarray) and value.dtype == np.float16 and _halves_finite(value):
        return
    finite = torch.isfinite(torch.as_tensor(value))
    if not bool(finite.all()):
        bad = int((~finite).sum())
        text = f"{name}: {bad} of {finite.numel()} values are NaN or infinite"
        raise ValueError(_with_advice(text, advice))


def _halves_finite(value: np.ndarray) -> bool:
    """Whether 16-bit floats are finite, by their bits: a third of the time that a model took to load
    went into asking each number."""
    bits = value.view(np.uint16) & np.uint16(0x7FFF)
    return bool(bits.max(initial=0) < 0x7C00)


def check_range(
    name: str, value: ArrayLike | float, low: float, high: float, advice: str = ""
) -> None:
    """Every value lies in [low, high]; NaN does not."""
    x = torch.as_tensor(value)
    inside = (x >= low) & (x <= high)
    if not bool(inside.all()):
        worst = x[~inside].flatten()[0].item() if x.ndim else x.item()
        text = f"{name}: expected values in [{low:g}, {high:g}], got {worst:g}"
        raise ValueError(_with_advice(text, advice))


def check_rotation(name: str, R: ArrayLike, tolerance: float = 1e-3, advice: str = "") -> None:
    """`R` (..., 3, 3) is a rotation: R^T R = 1 within `tolerance` per entry, determinant +1."""
    check_shape(name, R, ("...", 3, 3))
    check_finite(name, R)
    matrix = torch.as_tensor(R).detach().to(torch.float64)
    eye = torch.eye(3, dtype=torch.float64, device=matrix.device)
    error = float((matrix.mT @ matrix - eye).abs().amax())
    if error > tolerance:
        scale = float(torch.linalg.det(matrix).abs().amax() ** (1 / 3))
        text = (
            f"{name}: not a rotation, R^T R differs from the identity by {error:.3g}"
            f" (at most {tolerance:g}); its scale is {scale:.4g}"
        )
        default = "give orthonormal rows; a scale factor belongs in the translation's unit"
        raise ValueError(_with_advice(text, advice or default))
    if not bool((torch.linalg.det(matrix) > 0).all()):
        text = f"{name}: a reflection, not a rotation (determinant -1)"
        default = "one axis is flipped; expected x right, y down, z forward"
        raise ValueError(_with_advice(text, advice or default))


def check_one_of(name: str, value: str, options: Iterable[str], advice: str = "") -> None:
    """`value` is one of `options`; otherwise the error names the nearest one."""
    known = sorted(options)
    if value in known:
        return
    near = difflib.get_close_matches(value, known, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    text = f"{name}: {value!r} is not known; {hint}possible: {', '.join(known)}"
    raise ValueError(_with_advice(text, advice))


def _with_advice(text: str, advice: str) -> str:
    return f"{text}; {advice}" if advice else text

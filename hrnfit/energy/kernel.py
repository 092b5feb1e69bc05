"""Robust kernels of dimensionless residuals, each with its weight for reweighted least squares.

Every kernel equals r^2 near zero up to a constant, except `abs`, whose residuals speak in L1.
The weight is `rho'(r) / (2 r)`, so that `weight(r) * r^2` has the gradient of `rho(r)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor

SMOOTH_ABS = 1e-2
"""Rounding of `abs` and `charbonnier`: below this residual they are quadratic. One hundredth of
visibly wrong, so it shows nowhere but in the curvature that second-order solvers see."""

Kernel = Callable[[Float[Tensor, "*R"]], Float[Tensor, "*R"]]


def square(r: Float[Tensor, "*R"]) -> Float[Tensor, "*R"]:
    """r^2."""
    return r.square()


def absolute(r: Float[Tensor, "*R"]) -> Float[Tensor, "*R"]:
    """|r|, rounded at zero: sqrt(r^2 + e^2) - e, written without its cancellation."""
    squared = r.square()
    return squared / ((squared + SMOOTH_ABS**2).sqrt() + SMOOTH_ABS)


def huber(r: Float[Tensor, "*R"]) -> Float[Tensor, "*R"]:
    """r^2 up to 1, then 2 |r| - 1 (Huber 1964)."""
    size = r.abs()
    return torch.where(size <= 1.0, r.square(), 2.0 * size - 1.0)


def geman_mcclure(r: Float[Tensor, "*R"]) -> Float[Tensor, "*R"]:
    """r^2 / (1 + r^2): an outlier costs 1, however far (Geman & McClure 1985)."""
    squared = r.square()
    return squared / (1.0 + squared)


def cauchy(r: Float[Tensor, "*R"]) -> Float[Tensor, "*R"]:
    """log(1 + r^2)."""
    return torch.log1p(r.square())


def weight_square(r: Float[Tensor, "*R"]) -> Float[Tensor, "*R"]:
    """1."""
    return torch.ones_like(r)


def weight_absolute(r: Float[Tensor, "*R"]) -> Float[Tensor, "*R"]:
    """0.5 / sqrt(r^2 + e^2)."""
    return 0.5 / (r.square() + SMOOTH_ABS**2).sqrt()


def weight_huber(r: Float[Tensor, "*R"]) -> Float[Tensor, "*R"]:
    """1 up to 1, then 1 / |r|."""
    return 1.0 / r.abs().clamp_min(1.0)


def weight_geman_mcclure(r: Float[Tensor, "*R"]) -> Float[Tensor, "*R"]:
    """1 / (1 + r^2)^2."""
    return 1.0 / (1.0 + r.square()).square()


def weight_cauchy(r: Float[Tensor, "*R"]) -> Float[Tensor, "*R"]:
    """1 / (1 + r^2)."""
    return 1.0 / (1.0 + r.square())


KERNELS: Mapping[str, Kernel] = MappingProxyType(
    {
        "square": square,
        "abs": absolute,
        "charbonnier": absolute,
        "huber": huber,
        "geman_mcclure": geman_mcclure,
        "cauchy": cauchy,
    }
)
"""Kernel by the name a recipe uses."""

WEIGHTS: Mapping[str, Kernel] = MappingProxyType(
    {
        "square": weight_square,
        "abs": weight_absolute,
        "charbonnier": weight_absolute,
        "huber": weight_huber,
        "geman_mcclure": weight_geman_mcclure,
        "cauchy": weight_cauchy,
    }
)
"""Reweighted-least-squares weight by the same name."""


def robust_scale(
    squared: Float[Tensor, "*R"], kernel: str
) -> tuple[Float[Tensor, "*R"], Float[Tensor, "*R"]]:
    """Factors (g, a) that turn a robust problem into plain least squares, from |r|^2.

    With e = g r and the pseudo-Jacobian A = a J: |e|^2 = rho(|r|) and A^T e is the exact gradient of
    rho / 2, so any least-squares solver ends at the robust optimum. A^T A is positive and near the
    reweighted Hessian.
    """
    if kernel not in KERNELS:
        raise ValueError(f"kernel {kernel!r} is unknown; one of {', '.join(KERNELS)}")
    # at |r| = 1e-9 the ratio rho / r^2 still has its limit to machine precision in float64
    r = (squared + 1e-18).sqrt() if squared.dtype == torch.float64 else (squared + 1e-10).sqrt()
    g = (KERNELS[kernel](r) / r.square()).sqrt()
    return g, WEIGHTS[kernel](r) / g

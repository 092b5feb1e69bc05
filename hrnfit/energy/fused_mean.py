"""An energy whose kernel also writes its gradient, as a `torch.autograd.Function`: first derivatives only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from hrnfit.energy import mean_kernels
from hrnfit.geometry.launched import blocks, width_of

Launch = Callable[[Tensor, Tensor, Tensor], None]
"""Given what is differentiated, its gradient to write, and the parts to write: (2, P), of energy and validity, or
(P,) of an energy that is divided already."""


class FusedMean(torch.autograd.Function):
    """The mean under validity, of what one launch computes.

    The gradient is made with the same strides as its tensor would have if contiguous; zeros where `adds`, for
    launches that add to it.
    """

    @staticmethod
    def forward(
        ctx: Any, read: Tensor, shape: tuple[int, ...], adds: bool, launch: Launch
    ) -> Tensor:
        make = torch.zeros if adds else torch.empty
        grad = make(read.shape, dtype=read.dtype, device=read.device)
        sums = read.new_empty(shape)
        launch(read, grad, sums)
        out = read.new_empty(2)
        mean_kernels.mean[(1,)](sums, out, shape[-1], WEIGHED=len(shape) == 2, BLOCK=1024)
        value, inverse = out.unbind()
        ctx.save_for_backward(grad, inverse)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, by_energy: Tensor):  # type: ignore[override]
        grad, inverse = ctx.saved_tensors
        out = torch.empty_like(grad)
        block = width_of(1024)
        if grad.numel():
            mean_kernels.scale[blocks(grad.numel(), block)](
                grad, by_energy, inverse, out, grad.numel(), BLOCK=block
            )
        return out, None, None, None

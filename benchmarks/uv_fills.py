"""Ways to fill what a picture does not show of a texture, to compare with ours."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import cv2
import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Bool, Float
from scipy.sparse.linalg import spsolve
from skimage.restoration import inpaint_biharmonic
from torch import Tensor

from hrnfit.geometry.map_fill import fill
from hrnfit.render.texture import dilate

Fill = Callable[[Tensor, Tensor], Tensor]
"""Texture (S, S, 3) and where it is known (S, S) to the filled texture."""


def fills(chart: Bool[Tensor, "S S"]) -> dict[str, Fill]:
    """By name."""
    whole = torch.ones_like(chart)
    found: dict[str, Fill] = {
        f"ours, {n} sweeps": partial(fill, used=whole, sweeps=n) for n in (5, 10, 20, 40)
    }
    return found | {
        "ours, 10 sweeps, chart only": partial(fill, used=chart, sweeps=10),
        "scipy, exact": laplace,
        "opencv telea, 3 px": partial(opencv, method=cv2.INPAINT_TELEA, radius=3),
        "opencv telea, 10 px": partial(opencv, method=cv2.INPAINT_TELEA, radius=10),
        "opencv navier-stokes, 3 px": partial(opencv, method=cv2.INPAINT_NS, radius=3),
        "scikit-image biharmonic": biharmonic,
        "scikit-image biharmonic, chart only": partial(biharmonic, chart=chart),
        "nearest": partial(dilate, texels=len(chart)),
    }


def opencv(
    texture: Float[Tensor, "S S 3"], known: Bool[Tensor, "S S"], method: int, radius: int
) -> Float[Tensor, "S S 3"]:
    """Three channels in 8 bits, which is all that it takes."""
    codes = (255 * texture).round().numpy().astype(np.uint8)
    filled = cv2.inpaint(codes, (~known).numpy().astype(np.uint8), radius, method)
    return torch.from_numpy(filled.astype(np.float32) / 255)


def laplace(texture: Float[Tensor, "S S 3"], known: Bool[Tensor, "S S"]) -> Float[Tensor, "S S 3"]:
    """The system of ours, solved directly."""
    size = len(texture)
    index = np.arange(size * size).reshape(size, size)
    across = np.stack([index[:, 1:].ravel(), index[:, :-1].ravel()])
    down = np.stack([index[1:].ravel(), index[:-1].ravel()])
    i, j = np.concatenate([across, down], 1)
    joined = sp.coo_matrix((np.ones(len(i)), (i, j)), shape=(size**2, size**2))
    joined = (joined + joined.T).tocsr()
    system = (sp.diags(np.asarray(joined.sum(1)).ravel()) - joined).tocsr()
    free = (~known).numpy().ravel()
    values = texture.reshape(-1, 3).double().numpy().copy()
    rows = system[free]
    values[free] = spsolve(rows[:, free].tocsc(), -rows[:, ~free] @ values[~free])
    return torch.from_numpy(values).reshape(size, size, 3).to(texture)


def biharmonic(
    texture: Float[Tensor, "S S 3"],
    known: Bool[Tensor, "S S"],
    chart: Bool[Tensor, "S S"] | None = None,
) -> Float[Tensor, "S S 3"]:
    """Everything, or holes of the chart beside nearest texels outside."""
    holes = ~known
    if chart is not None:
        texture = torch.where(chart[..., None], texture, dilate(texture, known, len(texture)))
        holes = chart & ~known
    filled = inpaint_biharmonic(texture.numpy(), holes.numpy(), channel_axis=-1)
    return torch.from_numpy(filled).to(texture)

# pyright: basic
# scipy.sparse carries no types that strict mode accepts.
"""Where the other vertices of a surface lie when some are put somewhere.

Their offsets from a rest shape go on over the border without a kink and then settle at what they are
around:   min_u  h^2 sum_i |L u|_i^2 / m_i + sum_ij w_ij |u_i - u_j|^2   (as in `elastic.py`, without T).
Of turns nothing is carried on: a nostril's pocket that turned with its rim came out through the nose.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from hrnfit.geometry.align import align_rigid
from hrnfit.geometry.elastic import Elastic, factorized
from hrnfit.geometry.mesh import adjacency

AROUND = 25.0
"""Parts without any given vertex move rigidly with the given vertices this near, mm (deviation of a
Gaussian weight): an eyeball with its lids."""


class Filling:
    """The system of one rest shape and one set of given vertices; solved for any positions of these."""

    def __init__(
        self,
        rest: Float[Tensor, "N 3"],
        faces: Int[Tensor, "F 3"],
        known: Bool[Tensor, "N"],
        soft: Float[Tensor, "N"] | None = None,
        bending: float = 6.0,
    ) -> None:
        """known: whose positions will be given. soft: how strongly others are drawn to given positions,
        relative to their neighbours; 0 for those whose position is not given. bending: h, mm.
        ValueError when no position is given."""
        if not bool(known.any()):
            raise ValueError("known: no vertex has a given position")
        self._rest, self._known = rest.detach().double().cpu(), known.cpu()
        n = len(rest)
        _, label = connected_components(adjacency(faces, n), directed=False)
        given = np.zeros(label.max() + 1, dtype=bool)
        given[label[self._known.numpy()]] = True
        self._loose = [torch.from_numpy(np.flatnonzero(label == k)) for k in np.flatnonzero(~given)]
        free = ~self._known.numpy() & given[label]
        self._free, self._fixed = np.flatnonzero(free), np.flatnonzero(self._known.numpy())
        matrix = sp.csr_matrix(Elastic(rest, faces).matrix(bending, 1.0))[self._free]
        self._across, self._inner = matrix[:, self._fixed], sp.csr_matrix(matrix[:, self._free])
        pull = torch.zeros(n) if soft is None else soft
        self._soft = pull.double().numpy()[self._free] * self._inner.diagonal()
        self._factor = factorized(self._inner + sp.diags(self._soft)) if len(self._free) else None

    def __call__(
        self,
        given: Float[Tensor, "N 3"],
        rest: Float[Tensor, "N 3"] | None = None,
        pull: Float[Tensor, "N"] | None = None,
    ) -> Float[Tensor, "N 3"]:
        """`given` with the other vertices filled in.

        rest: another rest shape than the system's. pull: in the place of the system's `soft`. Where both
        are 0, values of `given` do not matter.
        """
        filled = given.detach().double().cpu().clone()
        rest = self._rest if rest is None else rest.detach().double().cpu()
        if self._factor is not None:
            offset = (filled - rest).numpy()
            weight, factor = self._soft, self._factor
            if pull is not None:
                weight = pull.double().numpy()[self._free] * self._inner.diagonal()
                factor = factorized(self._inner + sp.diags(weight))
            right = weight[:, None] * offset[self._free] - self._across @ offset[self._fixed]
            filled[self._free] = rest[self._free] + torch.from_numpy(factor.solve(right))
        for part in self._loose:
            filled[part] = self._carried(part, filled, rest)
        return filled.to(given)

    def _carried(
        self, part: Int[Tensor, "K"], filled: Float[Tensor, "N 3"], rest: Float[Tensor, "N 3"]
    ) -> Float[Tensor, "K 3"]:
        """A loose part, moved rigidly as its surroundings are."""
        around, known = rest[self._known], filled[self._known]
        square = (around - rest[part].mean(dim=0)).square().sum(dim=1)
        weight = torch.exp(-0.5 * (square - square.min()) / AROUND**2)
        return align_rigid(around, known, weight).apply(rest[part])

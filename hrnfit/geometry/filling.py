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
        bending: float = 6.0,
    ) -> None:
        """known: whose positions will be given. bending: h, mm. ValueError when none is given."""
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
        self._factor = factorized(self._inner) if len(self._free) else None

    def __call__(
        self,
        given: Float[Tensor, "N 3"],
        pulled: Float[Tensor, "N 3"] | None = None,
        pull: Float[Tensor, "N"] | None = None,
    ) -> Float[Tensor, "N 3"]:
        """`given` with the other vertices, whose values do not matter, filled in. pulled, pull: places
        that they are drawn to, and how strongly, relative to their neighbours; 0: not at all."""
        filled = given.detach().double().cpu().clone()
        if self._factor is not None:
            offset = (filled - self._rest).numpy()[self._fixed]
            right, factor = -(self._across @ offset), self._factor
            if pulled is not None and pull is not None:
                weight = pull.double().numpy()[self._free] * self._inner.diagonal()
                towards = (pulled.double() - self._rest).numpy()[self._free]
                right = right + weight[:, None] * towards
                factor = factorized(self._inner + sp.diags(weight))
            filled[self._free] = self._rest[self._free] + torch.from_numpy(factor.solve(right))
        for part in self._loose:
            filled[part] = self._carried(part, filled)
        return filled.to(given)

    def _carried(
        self, part: Int[Tensor, "K"], filled: Float[Tensor, "N 3"]
    ) -> Float[Tensor, "K 3"]:
        """A loose part, moved rigidly as its surroundings are."""
        rest, known = self._rest[self._known], filled[self._known]
        square = (rest - self._rest[part].mean(dim=0)).square().sum(dim=1)
        weight = torch.exp(-0.5 * (square - square.min()) / AROUND**2)
        return align_rigid(rest, known, weight).apply(self._rest[part])

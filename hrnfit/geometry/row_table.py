"""A constant sparse matrix as a table: K columns and weights for each row, padded with weight 0.

On a GPU its product with a few columns is one gather and a sum in a fixed order, the same at every run.
"""

# scipy.sparse has no complete types.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True)
class RowTable:
    """A sparse (M, N) matrix with at most K entries in a row."""

    columns: Int[Tensor, "M K"]
    """int64; 0 where padded."""
    weights: Float[Tensor, "M K"]

    @staticmethod
    def of(matrix: sp.csr_array, like: Tensor) -> RowTable:
        """The matrix on the device and in the dtype of a tensor."""
        counts = np.diff(matrix.indptr)
        slot = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], counts)
        row = np.repeat(np.arange(len(counts)), counts)
        shape = (len(counts), max(1, int(counts.max(initial=0))))
        columns, weights = np.zeros(shape, np.int64), np.zeros(shape)
        columns[row, slot], weights[row, slot] = matrix.indices, matrix.data
        device = like.device
        return RowTable(
            torch.from_numpy(columns).to(device), torch.from_numpy(weights).to(device, like.dtype)
        )

    def __call__(self, values: Float[Tensor, "*B N C"]) -> Float[Tensor, "*B M C"]:
        """The product. Allocates K numbers per entry of it."""
        picked = values.index_select(-2, self.columns.flatten())
        picked = picked.unflatten(-2, tuple(self.columns.shape))
        return (picked * self.weights[..., None]).sum(-2)

"""A small face whose iBUG vertices lie where they lie on a Basel model."""

from __future__ import annotations

import numpy as np
import torch
from scipy.interpolate import RBFInterpolator

from hrnfit.importers.basel_landmarks import POINTS
from tests.model.faces import ibug_vertices, sheet


def basel_sheet() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Vertices (N, 3) mm in Basel's frame, triangles (F, 3), and the 68 vertices at POINTS.

    It is the sheet of the other tests, finer, bent by a spline that carries its iBUG vertices there.
    """
    points, faces = sheet(columns=61, rows=81)
    marks = own_vertices(points)
    places = points.numpy().astype(np.float64)
    bend = RBFInterpolator(places[marks], POINTS - places[marks], kernel="thin_plate_spline")
    bent = places + bend(places)
    bent[marks] = POINTS
    return bent, faces.numpy(), marks


def own_vertices(points: torch.Tensor) -> np.ndarray:
    """The iBUG vertices of a sheet, all different."""
    marks = ibug_vertices(points).tolist()
    assert len(set(marks)) == 68
    return np.array(marks)

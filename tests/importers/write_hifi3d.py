"""MATLAB files of HIFI3D and HIFI3D++ (FFHQ-UV's layout), from random bases."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy.io import savemat

from hrnfit.geometry.uv import disk_chart
from hrnfit.importers.hifi3d_files import IBUG_OF_86
from hrnfit.importers.kinds import ImportOptions
from tests.importers.basel_sheet import basel_sheet
from tests.importers.write_bfm_hdf5 import linear, slope_of
from tests.importers.written import Written, smooth_fields

IDENTITY, EXPRESSION, ALBEDO = 5, 4, 6

NEEDED = ("mu_shape", "basis_shape", "basis_exp", "tri", "tri_vt", "vt_list", "keypoints")
NEEDED_PP = ("meanshape", "idBase", "exBase", "meantex", "texBase", "head_tri", "keypoints")


class Head:
    """A sheet in mm with modes and a chart that is torn in two along x = 0."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.mean, self.faces, self.marks = basel_sheet()
        self.identity = smooth_fields(rng, self.mean, IDENTITY) * 2.0
        self.expression = smooth_fields(rng, self.mean, EXPRESSION) * 1.5
        self.colour = 0.5 + 0.1 * smooth_fields(rng, self.mean, 1)[0].clip(-3, 3)
        self.colours = smooth_fields(rng, self.mean, ALBEDO) * 0.02
        points, faces = torch.from_numpy(self.mean), torch.from_numpy(self.faces)
        n = len(self.mean)
        self.vt = np.tile(disk_chart(points, faces).numpy() * [1.0, -1.0] + [0.0, 1.0], (2, 1))
        left = self.mean[self.faces].mean(axis=1)[:, :1] > 0
        self.vt_faces = self.faces + n * left

    def shape(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        out = self.mean - self.mean.mean(axis=0) * [0.0, 1.0, 1.0]
        for weight, mode in zip(a, self.identity, strict=True):
            out += weight * mode
        for weight, mode in zip(b, self.expression, strict=True):
            out += weight * mode
        return out

    def colour_of(self, c: np.ndarray) -> np.ndarray:
        slope = np.vectorize(slope_of)(self.colour)
        out = np.vectorize(linear)(self.colour)
        for weight, mode in zip(c, self.colours, strict=True):
            out += weight * slope * mode
        return out


def write_hifi3d(folder: Path, seed: int = 0, apart: bool = True) -> Written:
    """cm, all x before all y; the mask of the face is the whole sheet; no albedo file."""
    head = Head(seed)
    points = np.zeros(86, dtype=np.int64)
    points[IBUG_OF_86] = head.marks

    def rows(vectors: np.ndarray) -> np.ndarray:
        swapped = vectors.transpose(0, 2, 1) if apart else vectors
        return np.float32(swapped.reshape(len(vectors), -1) / 10.0)

    path = folder / "AI-NExT-Shape.mat"
    savemat(
        path,
        {
            "mu_shape": rows(head.mean[None]),
            "basis_shape": rows(head.identity),
            "basis_exp": rows(head.expression),
            "tri": np.int32(head.faces),
            "tri_vt": np.int32(head.vt_faces),
            "vt_list": head.vt,
            "keypoints": points[None],
            "mask_face": np.ones((1, len(head.mean)), dtype=bool),
        },
    )
    marks = head.shape(np.zeros(IDENTITY), np.zeros(EXPRESSION))[head.marks]
    return Written("hifi3d", path, head.shape, IDENTITY, EXPRESSION, marks, needed=NEEDED)


def write_hifi3dpp(folder: Path, seed: int = 1) -> Written:
    """dm, counted from 1; the face's triangles leave out a strip that holds jaw points."""
    head = Head(seed)
    high = head.mean[:, 1] > head.mean[head.marks[16], 1] + 5.0
    off = head.mean[:, 0] > head.mean[head.marks[15], 0] + 1.0
    inside = ~(off & ~high)[head.faces].any(axis=1)

    def columns(vectors: np.ndarray, scale: float) -> np.ndarray:
        return np.float32(vectors.reshape(len(vectors), -1).T * scale)

    path = folder / "hifi3dpp_model_info.mat"
    savemat(
        path,
        {
            "meanshape": head.mean.reshape(1, -1) / 100.0,
            "idBase": columns(head.identity, 0.01),
            "exBase": columns(head.expression, 0.01),
            "meantex": head.colour.reshape(1, -1) * 255.0,
            "texBase": columns(head.colours, 255.0),
            "tri": np.int32(head.faces[inside]) + 1,
            "tri_vt": np.int32(head.vt_faces[inside]) + 1,
            "head_tri": np.int32(head.faces) + 1,
            "head_tri_vt": np.int32(head.vt_faces) + 1,
            "vt_list": head.vt,
            "keypoints": head.marks[:, None] + 1,
        },
    )
    return Written(
        "hifi3dpp",
        path,
        head.shape,
        IDENTITY,
        EXPRESSION,
        head.shape(np.zeros(IDENTITY), np.zeros(EXPRESSION))[head.marks],
        n_albedo=ALBEDO,
        colour=head.colour_of,
        options=ImportOptions(part="head"),
        needed=NEEDED_PP,
    )


def write_hifi3d_maps(folder: Path, seed: int = 2) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """AI-NExT-Albedo-Global.mat: its mean (P, 3), modes per standard deviation (A, P, 3), sRGB in 0..1, and
    places (P, 2)."""
    rng = np.random.default_rng(seed)
    row, column = np.meshgrid(np.arange(40, 471), np.arange(60, 451), indexing="ij")
    at = np.stack([row.ravel(), column.ravel()], axis=1)
    waves = rng.normal(size=(4, 2)) / 60.0
    mean = 0.5 + 0.2 * np.cos(at @ waves[:3].T)
    sigma = np.array([3.0, 2.0, 0.5])
    raw = np.stack([np.cos(at @ waves.T + k)[:, :3] for k in range(3)]) * 0.01
    savemat(
        folder / "AI-NExT-Albedo-Global.mat",
        {
            "mu": np.float32(mean.reshape(1, -1) * 255.0),
            "basis": np.float32(raw.reshape(3, -1).T * 255.0),
            "sigma": sigma[None],
            "indices": at.astype(np.int32),
        },
    )
    return mean, raw * sigma[:, None, None], at

"""One surface with a chart from meshes of several parts, heads and faces with a mouth bag."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hrnfit.geometry.uv import boundary_loops, chart_quality, overlaps
from hrnfit.importers.assemble import LinearParts, assemble_linear
from hrnfit.importers.one_surface import chart_of, one_surface
from hrnfit.model.face_model import ModelInfo
from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.load import model_arrays
from hrnfit.model.validate import check_model_arrays
from tests.geometry.test_seams import ball
from tests.importers.basel_sheet import basel_sheet


def head() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A ball that ends at the neck, and vertices on its front roughly where the iBUG points are."""
    points, faces = ball(neck=True)
    _, _, marks = basel_sheet()
    places = basel_sheet()[0][marks] * [0.8, 0.8, 1.0] + [0.0, 10.0, -30.0]
    found = torch.cdist(torch.from_numpy(places), points.double()).argmin(dim=1)
    return points.numpy().astype(np.float64), faces.numpy(), found.numpy()


def test_a_head_with_a_seam_makes_a_whole_model():
    mean, faces, marks = head()
    surface = one_surface(mean, faces, marks)
    uv, uv_faces = chart_of(surface, mean)
    assert len(uv) > len(mean) == len(surface.kept)
    basis = np.zeros((2, *mean.shape), dtype=np.float32)
    basis[0] += 1.0
    model = assemble_linear(
        LinearParts(
            info=ModelInfo("head", "Apache-2.0", True, "tests"),
            mm_per_unit=1.0,
            mean=mean,
            identity=basis,
            expression=basis,
            expression_names=("a", "b"),
            expression_is_blendshape=False,
            faces=surface.faces.numpy(),
            marks=surface.landmarks(),
            guides=surface.marks,
            uv=uv.numpy(),
            uv_faces=uv_faces.numpy(),
        )
    )
    check_model_arrays(model_arrays(model), "head")
    quality = chart_quality(model.mean, model.faces, model.uv, model.uv_faces)
    assert quality.flipped == 0
    assert overlaps(model.uv, model.uv_faces, 256) == 0
    assert float(quality.anisotropy.median()) < 2.2


def test_a_mouth_bag_stays_in_the_chart():
    """The hole of the mouth continued inwards as a tube and closed: as in the files of 2019."""
    mean, faces, marks = basel_sheet()
    loops = boundary_loops(torch.from_numpy(faces), len(mean))
    mouth = min(loops, key=lambda loop: np.linalg.norm(mean[loop].mean(axis=0) - mean[marks[62]]))
    ring = mouth.numpy()
    rows, triangles, depth = [mean], [faces], 6
    for k in range(depth):
        inner = len(mean) + k * len(ring) + np.arange(len(ring))
        rows.append(
            mean[mouth] * np.array([0.9, 0.9, 1.0]) ** (k + 1.0) - [0.0, 0.0, 5.0 * (k + 1)]
        )
        for a, b, c, d in zip(ring, np.roll(ring, -1), inner, np.roll(inner, -1), strict=True):
            triangles.append(np.array([[b, a, c], [b, c, d]]))
        ring = inner
    centre = len(mean) + depth * len(mouth)
    rows.append(rows[-1].mean(axis=0, keepdims=True))
    for a, b in zip(ring, np.roll(ring, -1), strict=True):
        triangles.append(np.array([[b, a, centre]]))
    points, all_faces = np.concatenate(rows), np.concatenate(triangles)
    surface = one_surface(points, all_faces, marks)
    assert len(boundary_loops(surface.faces, len(surface.kept))) == len(loops) - 1
    uv, uv_faces = chart_of(surface, points)
    quality = chart_quality(
        torch.from_numpy(points[surface.kept]).float(), surface.faces, uv, uv_faces
    )
    assert quality.flipped == 0
    assert overlaps(uv, uv_faces, 512) == 0
    skin = torch.from_numpy(surface.triangles < len(faces))
    assert float(quality.area_ratio[skin].median()) > 0.8


def test_missing_points_of_the_jaw_are_allowed_others_not():
    mean, faces, marks = basel_sheet()
    drop = ~np.isin(faces, marks[[0, 16]]).any(axis=1)
    surface = one_surface(mean, faces[drop], marks)
    assert np.flatnonzero(~surface.present).tolist() == [0, 16]
    assert surface.landmarks().triangles[[0, 16]].tolist() == [-1, -1]
    near = mean[surface.kept][surface.marks[[0, 16]]] - mean[marks[[0, 16]]]
    assert np.linalg.norm(near, axis=1).max() < 12.0
    with pytest.raises(ModelFormatError, match=r"iBUG points \[36\] lie on another part"):
        one_surface(mean, faces[~(faces == marks[36]).any(axis=1)], marks)


def test_what_is_no_surface_is_refused():
    mean, faces, marks = basel_sheet()
    broken = mean.copy()
    broken[5, 1] = np.nan
    with pytest.raises(ModelFormatError, match="mean: 1 numbers are not finite"):
        one_surface(broken, faces, marks)
    # a tube from eye to eye is a handle
    holes = boundary_loops(torch.from_numpy(faces), len(mean))[1:]
    right, left = sorted(holes, key=lambda loop: -mean[loop][:, 1].mean())[:2]
    assert len(right) == len(left)
    pairs = zip(
        right.tolist(), right.roll(-1).tolist(), left.tolist(), left.roll(1).tolist(), strict=True
    )
    tube = [t for a, b, c, d in pairs for t in ((b, a, c), (b, c, d))]
    with pytest.raises(ModelFormatError, match="without handles"):
        chart_of(one_surface(mean, np.concatenate([faces, tube]), marks), mean)


def test_a_triangle_wound_the_other_way_is_left_out():
    mean, faces, marks = basel_sheet()
    inner = int(np.flatnonzero((faces == marks[33]).any(axis=1))[0])
    faces[inner] = faces[inner, ::-1]
    surface = one_surface(mean, faces, marks)
    assert sorted(surface.triangles.tolist()) == [k for k in range(len(faces)) if k != inner]


def test_triangles_without_area_are_left_out():
    mean, faces, marks = basel_sheet()
    doubled = np.concatenate([faces, [[3, 3, 4]]])
    assert torch.equal(
        one_surface(mean, doubled, marks).faces, one_surface(mean, faces, marks).faces
    )

"""Parts of the ICT model beyond the face, on a small head with every piece, and on the published one's laws."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from hrnfit.geometry.uv import chart_quality, overlaps
from hrnfit.model import ict
from hrnfit.model.deformation import deformation_operator
from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.linear import LinearFaceModel, landmark_positions
from hrnfit.model.load import load_model, save_model
from tests.importers.write_ict import compact_full_arrays, write_full_folder
from tests.model.ict_files import EYES, small_head

PARTS = ("face", "head", "face+eyes", "face+teeth", "head+eyes", "head+teeth", "full")


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return compact_full_arrays()


@pytest.fixture(scope="module")
def models(arrays) -> dict[str, LinearFaceModel]:
    return {part: ict.from_compact(arrays, "small.npz", part) for part in PARTS}


def pieces(model: LinearFaceModel) -> torch.Tensor:
    """Vertices that are not skin."""
    found = torch.zeros(model.n_vertices, dtype=torch.bool)
    for name in ("eyes", "mouth_interior"):
        found |= model.regions.get(name, found)
    return found


@pytest.mark.parametrize("part", PARTS)
def test_one_chart_without_overlap(models, part):
    model = models[part]
    quality = chart_quality(model.mean, model.faces, model.uv, model.uv_faces)
    assert quality.flipped == 0
    assert overlaps(model.uv, model.uv_faces, 1024) == 0
    assert model.uv.min() > 0.0
    assert model.uv.max() < 1.0
    assert len(model.uv_faces.unique()) == len(model.uv)  # nothing that no triangle uses
    deformation_operator(model.faces, model.uv, model.uv_faces, model.n_vertices, 16)


def test_regions_name_the_pieces(models):
    head, full = small_head(), models["full"]
    size = {name: stop - start for name, (start, stop) in head.slices.items()}
    assert int(full.regions["eyes"].sum()) == size["sclera_l"] + size["sclera_r"]
    inside = full.regions["mouth_interior"]
    assert int(inside.sum()) == size["mouth_socket"] + size["gums_tongue"] + size["teeth"]
    for name, mask in full.regions.items():
        if name not in ("eyes", "mouth_interior"):
            assert not bool((mask & pieces(full)).any()), name
    assert "mouth_interior" not in models["head+eyes"].regions
    assert models["full"].n_vertices == int((~head.irises).sum())
    assert (
        int(models["head"].regions["mouth"].sum()) == 16
    )  # the rim, also where the neck's is shorter


def test_the_skin_is_that_of_the_part_without(models):
    """Vertices, landmarks and the outline's candidates do not change; the chart only in size."""
    for part, base in (("full", "head"), ("face+teeth", "face"), ("face+eyes", "face")):
        skin = small_head().slices["face" if base == "face" else "head_neck"][1]
        one, other = models[part], models[base]
        assert torch.equal(one.mean[:skin], other.mean[:skin])
        marks = [landmark_positions(m.mean, m.faces, m.landmarks["ibug68"]) for m in (one, other)]
        assert torch.equal(*marks)
        outline = [m.mean[m.jaw_contour.long().clamp_min(0)] for m in (one, other)]
        if part != "full":  # a candidate may lie on a front of ours, which eyes replace
            assert torch.equal(*outline)
    skin = small_head().slices["face"][1]
    own = models["face"].uv[:skin]
    assert torch.allclose(models["face+eyes"].uv[:skin], own)
    assert torch.allclose(models["face+teeth"].uv[:skin], 0.5 + 0.96 * (own - 0.5), atol=1e-6)


def test_eyeballs_stand_in_their_openings(models):
    """The foremost point of a ball lies in the chart between the corners of its eye."""
    model = models["face+eyes"]
    first = small_head().slices["face"][1]
    uv = torch.zeros(model.n_vertices, 2)
    uv[model.faces.long().flatten()] = model.uv[model.uv_faces.long().flatten()]
    corners = model.landmarks["ibug68"]
    marked = (
        model.faces[corners.triangles.long()]
        .long()
        .gather(1, corners.barycentric.argmax(dim=1, keepdim=True))[:, 0]
    )
    size = (model.n_vertices - first) // 2
    for k, (right, left) in enumerate(((42, 45), (36, 39))):  # left eye first, as in the file
        own = torch.arange(first + k * size, first + (k + 1) * size)
        front = own[model.mean[own, 2].argmax()]
        assert abs(float(model.mean[front, 0]) - EYES[k][0]) < 1.0
        between = uv[marked[[right, left]]].mean(dim=0)
        assert (uv[front] - between).norm() < 0.03


def test_eyeballs_follow_a_deformation_of_their_lids(models):
    """A push that is even over an eye in the chart moves its whole ball by as much."""
    model = models["face+eyes"]
    operator = deformation_operator(model.faces, model.uv, model.uv_faces, model.n_vertices, 64)
    grid = torch.zeros(64, 64, 3)
    opening = model.uv[: small_head().slices["face"][1]][model.regions["lids"].nonzero()[:, 0]]
    low, high = (opening.amin(0) * 64).long() - 2, (opening.amax(0) * 64).long() + 3
    grid[low[1] : high[1], low[0] : high[0], 2] = 2.0
    moved = operator(grid)[:, 2]
    eyes = model.regions["eyes"]
    assert torch.allclose(moved[eyes], torch.tensor(2.0), atol=1e-5)


def test_expressions_of_kept_pieces_stay(models, arrays):
    assert list(arrays["exp_names"]) == ["jawOpen", "mouthLeft", "eyeLookIn_L", "pupilDilate"]
    assert models["head"].expression_names == ("jawOpen", "mouthLeft")
    full = models["full"]
    assert full.expression_names == ("jawOpen", "mouthLeft", "eyeLookIn_L")  # no iris, no pupil
    looking = full.expression_basis[2].reshape(-1, 3).norm(dim=1) > 0
    assert not bool((looking & ~full.regions["eyes"]).any())


def test_what_is_not_skin_has_its_own_colour(models):
    full, plain = models["full"], models["head"]
    assert plain.albedo_mean.shape[0] == 64
    at = (full.uv * full.albedo_mean.shape[0]).long()
    colours = torch.zeros(full.n_vertices, 3)
    colours[full.faces.long().flatten()] = full.albedo_mean[at[:, 1], at[:, 0]][
        full.uv_faces.long().flatten()
    ]
    skin = plain.albedo_mean[0, 0]
    apart = (colours - skin).abs().amax(dim=1) > 0.02
    start, stop = small_head().slices["teeth"]
    assert bool(apart[start:stop].all())
    assert float(apart[full.regions["eyes"]].float().mean()) > 0.95
    assert float(apart[~pieces(full)].float().mean()) < 0.02


def test_mirror_pairs_within_pieces(models):
    full = models["full"]
    assert full.mirror is not None
    pairs = full.mirror.long()
    assert torch.equal(pairs[pairs], torch.arange(full.n_vertices))
    assert (full.mean[pairs] - full.mean * torch.tensor([-1.0, 1.0, 1.0])).norm(dim=1).max() < 0.5
    assert torch.equal(full.regions["eyes"][pairs], full.regions["eyes"])


def test_folder_and_compact_file_are_one_model(models, tmp_path):
    head = small_head()
    layout = ict.Layout(head.slices, tuple(int(v) for v in head.marks))
    write_full_folder(tmp_path)
    model = ict.import_folder(tmp_path, "full", layout)
    assert model.expression_names == ("eyeLookIn_L", "jawOpen", "mouthLeft")  # by file name
    other = models["full"]
    assert torch.allclose(model.mean, other.mean, atol=1e-3)
    assert torch.equal(model.faces, other.faces)
    assert torch.equal(model.uv_faces, other.uv_faces)
    assert torch.allclose(model.identity_basis, other.identity_basis, atol=2e-2)


def test_a_full_head_is_kept_in_our_format(models, tmp_path):
    save_model(models["full"], tmp_path / "full.npz")
    again = load_model(tmp_path / "full.npz")
    assert torch.equal(again.uv_faces, models["full"].uv_faces)
    assert torch.equal(again.regions["mouth_interior"], models["full"].regions["mouth_interior"])


def test_messages(arrays):
    bare = {key: value for key, value in arrays.items() if key != "tris_uv"}
    with pytest.raises(ModelFormatError, match="gums_tongue: its triangles have no texture coord"):
        ict.from_compact(bare, "bare.npz", "full")
    ict.from_compact(bare, "bare.npz", "head")
    wrong = arrays | {"tris_uv": arrays["tris_uv"][:-1]}
    with pytest.raises(ModelFormatError, match="one texture triangle per triangle"):
        ict.from_compact(wrong, "wrong.npz", "full")
    table = json.loads(str(arrays["meta"]))["vertex_slices"]
    start, stop = table["mouth_socket"]
    faces = arrays["tris"]
    joins = ((faces >= start) & (faces < stop)).any(axis=1) & (faces < start).any(axis=1)
    loose = {key: arrays[key][~joins] for key in ("tris", "tris_uv")}
    with pytest.raises(ModelFormatError, match="does not hang on the rim of the lips"):
        ict.from_compact(arrays | loose, "loose.npz", "full")


def test_dense_landmarks_of_the_face_serve_the_other_parts(data_dir):
    path = data_dir / "ict" / "ict_facehead_f16.npz"
    face, head = load_model(path), ict.import_compact(path, "head")
    places = [
        landmark_positions(m.mean, m.faces, m.landmarks["mediapipe478"]) for m in (face, head)
    ]
    there = [m.landmarks["mediapipe478"].triangles >= 0 for m in (face, head)]
    assert torch.equal(*there)
    apart = (places[0] - places[1])[there[0]]
    assert int(there[0].sum()) == 468
    assert (apart - apart[0]).abs().max() < 1e-3  # the origin differs, nothing else
    assert replace(head, landmarks={}).n_vertices == 11248 + 2 * 169


def test_a_head_gives_its_face_as_many_texels_as_a_face(data_dir):
    path = data_dir / "ict" / "ict_facehead_f16.npz"
    density = []
    for part in ("face", "head"):
        model = ict.import_compact(path, part)
        tip = model.mean[2081]
        near = (model.mean[model.faces.long()].mean(dim=1) - tip).norm(dim=1) < 80.0
        near &= (model.faces < 9409).all(dim=1)
        a, b = (
            x[i[near].long()].double()
            for x, i in ((model.mean, model.faces), (model.uv, model.uv_faces))
        )
        area = torch.linalg.cross(a[:, 1] - a[:, 0], a[:, 2] - a[:, 0]).norm(dim=1).sum()
        e, f = b[:, 1] - b[:, 0], b[:, 2] - b[:, 0]
        density.append(float(((e[:, 0] * f[:, 1] - e[:, 1] * f[:, 0]).abs().sum() / area).sqrt()))
        quality = chart_quality(model.mean, model.faces, model.uv, model.uv_faces)
        assert quality.flipped == 0
    assert density[1] > 0.85 * density[0]

"""The ICT importers, on files written here, and on the real compact file where it is present."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from hrnfit.geometry.mesh import boundary_loops
from hrnfit.geometry.uv import chart_quality, overlaps
from hrnfit.model import ict
from hrnfit.model.eye_caps import fitted_sphere
from hrnfit.model.linear import landmark_positions
from hrnfit.model.load import load_model
from tests.model.faces import ibug_vertices, sheet

SIDE = 97
"""97 x 97 vertices are as many as the face part has."""


def write_obj(path, points, polygons=()):
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in points]
    lines += ["vt 0 0", *("f " + " ".join(f"{i + 1}/1" for i in p) for p in polygons)]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as ICT-FaceKit's: quads, mean plus mode in every file, vertices beyond the face."""
    path = tmp_path_factory.mktemp("FaceXModel")
    x, y = np.meshgrid(np.linspace(-8, 8, SIDE), np.linspace(10, -10, SIDE))
    z = 6 * (1 - (x / 9) ** 2 - (y / 13) ** 2)
    mean = np.concatenate([np.stack([x, y, z], -1).reshape(-1, 3), [[0, 0, -9.0], [1, 0, -9.0]]])
    corner = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    a, b, c, d = corner[:-1, :-1], corner[1:, :-1], corner[1:, 1:], corner[:-1, 1:]
    quads = np.stack([a, b, c, d], -1).reshape(-1, 4)
    write_obj(
        path / "generic_neutral_mesh.obj", mean, [*quads, (SIDE**2 - 1, SIDE**2, SIDE**2 + 1)]
    )
    write_obj(path / "identity000.obj", mean + np.array([0.2, 0, 0]))
    write_obj(path / "identity001.obj", mean + np.array([0, 0.1, 0]))
    write_obj(path / "jawOpen.obj", mean - np.array([0, 0.3, 0]))
    write_obj(path / "PupilDilate_L.obj", mean)
    return path


def test_folder_of_obj_files(folder):
    model = ict.import_folder(folder)
    assert (model.n_vertices, model.n_identity) == (9409, 2)
    assert model.expression_names == ("jawOpen",)  # the pupils move nothing here
    assert len(model.faces) == 2 * (SIDE - 1) ** 2  # quads cut in two; the head's triangle is gone
    moved = model.shape(torch.tensor([1.0, 0.0]), torch.zeros(1)) - model.mean
    assert torch.allclose(moved, torch.tensor([2.0, 0.0, 0.0]).expand_as(moved), atol=1e-3)  # cm
    opened = model.shape(torch.zeros(2), torch.ones(1)) - model.mean
    assert torch.allclose(opened[:, 1], torch.tensor(-3.0), atol=1e-3)
    normal = torch.linalg.cross(*(model.mean[model.faces[0].long()].diff(dim=0)))
    assert normal[2] > 0  # counter-clockwise from outside
    assert chart_quality(model.mean, model.faces, model.uv, model.uv_faces).flipped == 0


def test_landmarks_are_the_published_vertices(folder):
    model = ict.import_folder(folder)
    marks = landmark_positions(model.mean, model.faces, model.landmarks["ibug68"])
    assert torch.allclose(marks, model.mean[list(ict.LANDMARKS_68)])


def test_load_model_takes_the_folder(folder):
    assert load_model(folder).info.name == "ict"


def test_folder_messages(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no generic_neutral_mesh\.obj"):
        ict.import_folder(tmp_path)
    (tmp_path / "generic_neutral_mesh.obj").write_text("v 0 0 zero\n")
    with pytest.raises(ValueError, match="not a readable OBJ"):
        ict.import_folder(tmp_path)
    (tmp_path / "generic_neutral_mesh.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    with pytest.raises(ValueError, match="0 identities and 0 expressions"):
        ict.import_folder(tmp_path)
    with pytest.raises(ValueError, match=r"part: expected face or head, .* got 'hair'"):
        ict.import_folder(folder, "hair")


def compact_arrays():
    points, faces = sheet()
    cm = points.numpy() / 10
    generator = np.random.default_rng(0)
    return {
        "mean": cm.astype(np.float32),
        "id_basis": generator.normal(size=(3, *cm.shape)).astype(np.float16),
        "exp_basis": generator.normal(size=(2, *cm.shape)).astype(np.float16),
        "tris": faces.numpy(),
        "lm68": ibug_vertices(points).numpy(),
        "exp_names": np.array(["jawOpen", "mouthLeft"]),
        "meta": np.array(json.dumps({"vertex_slices": {"face": [0, len(cm)]}})),
    }


def test_compact_file(tmp_path):
    arrays = compact_arrays()
    np.savez(tmp_path / "ict.npz", **arrays)
    model = load_model(tmp_path / "ict.npz")
    assert model.expression_names == ("jawOpen", "mouthLeft")
    given = len(arrays["mean"])
    added = model.n_vertices - given  # eyeball fronts, in the sheet's two holes
    assert added > 0
    assert added % 2 == 0
    assert len(boundary_loops(model.faces)) == 2  # border and mouth
    mean = model.mean[:given]
    offset = mean - torch.from_numpy(arrays["mean"]) * 10
    assert offset.std(dim=0).max() < 1e-3  # the origin moved, as a whole, in y and z only
    assert offset[0, 0] == 0.0
    assert mean[:, 1:].mean(dim=0).abs().max() < 1e-3
    mode = torch.from_numpy(arrays["id_basis"][1].astype(np.float32)).flatten() * 10
    assert torch.equal(model.identity_basis[1, : 3 * given], mode)
    assert model.mirror is not None
    assert {"lips", "brows", "eyes", "mouth", "skin"} <= model.regions.keys()
    assert torch.equal(model.regions["eyes"].nonzero()[:, 0], torch.arange(given, model.n_vertices))
    assert set(model.landmarks) == {"ibug68"}


def test_compact_messages(tmp_path):
    arrays = compact_arrays()
    arrays["lm68"] = arrays["lm68"] + 10**6
    np.savez(tmp_path / "other.npz", **arrays)
    with pytest.raises(ValueError, match="another topology"):
        load_model(tmp_path / "other.npz")
    del arrays["tris"]
    np.savez(tmp_path / "short.npz", **arrays)
    with pytest.raises(ValueError, match="the keys tris"):
        ict.import_compact(tmp_path / "short.npz")


def test_the_real_compact_file(data_dir):
    model = load_model(data_dir / "ict" / "ict_facehead_f16.npz")
    assert (model.n_vertices, model.n_identity) == (9409 + 2 * 169, 100)  # eyeball fronts
    quality = chart_quality(model.mean, model.faces, model.uv, model.uv_faces)
    assert quality.flipped == 0
    assert overlaps(model.uv, model.uv_faces, 512) == 0
    assert quality.used > 0.8
    assert float(quality.area_ratio.quantile(0.05)) > 0.3
    dense = model.landmarks["mediapipe478"]
    assert int((dense.triangles >= 0).sum()) == 468  # all but the irises: found without eyeballs
    points = landmark_positions(model.mean, model.faces, dense)
    ibug = landmark_positions(model.mean, model.faces, model.landmarks["ibug68"])
    # FaceMesh's eye corners, mouth corners and nose tip lie where the artists put iBUG's
    pairs = {33: 36, 133: 39, 362: 42, 263: 45, 61: 48, 291: 54, 4: 30}
    gap = (points[list(pairs)] - ibug[list(pairs.values())]).norm(dim=1)
    assert gap.max() < 2.0
    assert 0.5 < float(dense.spread[:468].median()) < 2.5


def test_eyes_are_the_eyeball_fronts(data_dir):
    """The caps alone, each on a sphere of its own and within the corners of its eye."""
    model = load_model(data_dir / "ict" / "ict_facehead_f16.npz")
    eyes = model.regions["eyes"]
    assert torch.equal(eyes.nonzero()[:, 0], torch.arange(9409, 9409 + 2 * 169))
    ibug = landmark_positions(model.mean, model.faces, model.landmarks["ibug68"])
    for cap, corners in zip(model.mean[eyes].split(169), ((36, 39), (42, 45)), strict=True):
        first, last = ibug[list(corners)]
        middle = (first + last) / 2
        assert (cap[:, :2] - middle[:2]).norm(dim=1).max() < 0.55 * (first - last).norm()
        radius = (cap - fitted_sphere(cap.double())[0]).norm(dim=1)
        assert radius.max() - radius.min() < 0.5

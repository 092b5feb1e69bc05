"""Templates of a studio: units, landmark files, seams, and what is said when something is missing."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from hrnfit.io.mesh import Mesh, write_mesh
from hrnfit.transfer.target import open_target, unit_of
from hrnfit.transfer.template import read_landmarks, read_template, weld
from tests.model.faces import ibug_vertices, sheet


def written(folder, scale=1.0, suffix=".obj"):
    """A template file and a landmark file of vertex numbers."""
    points, faces = sheet(29, 33)
    path, marks = folder / f"head{suffix}", folder / "head68.json"
    write_mesh(path, Mesh(points * scale, faces))
    marks.write_text(json.dumps(ibug_vertices(points).tolist()))
    return path, marks, points


@pytest.mark.parametrize("suffix", [".obj", ".ply"])
def test_vertices_and_landmarks_are_read(tmp_path, suffix):
    path, marks, points = written(tmp_path, suffix=suffix)
    template = read_template(path, marks)
    assert torch.allclose(template.face.vertices, points, atol=1e-4)
    found = template.face.landmarks["ibug68"]
    corners = template.face.vertices[template.face.faces[found.triangles.long()].long()]
    places = (corners * found.barycentric[..., None]).sum(1)
    assert torch.allclose(places, points[ibug_vertices(points)], atol=1e-3)


@pytest.mark.parametrize("suffix", [".json", ".txt", ".npy"])
@pytest.mark.parametrize("kind", ["numbers", "points"])
def test_every_landmark_format_says_the_same(tmp_path, suffix, kind):
    points, _ = sheet(29, 33)
    numbers = ibug_vertices(points)
    values = numbers.numpy() if kind == "numbers" else points[numbers].numpy()
    path = tmp_path / f"marks{suffix}"
    if suffix == ".json":
        path.write_text(json.dumps({"ibug68": values.tolist()}))
    elif suffix == ".npy":
        np.save(path, values)
    else:
        np.savetxt(path, values)
    read = read_landmarks(path)
    assert read.shape == (68, 1 if kind == "numbers" else 3)
    assert np.allclose(read.squeeze(), values, atol=1e-5)


def test_missing_points_stay_missing(tmp_path):
    path, marks, points = written(tmp_path)
    numbers = ibug_vertices(points).tolist()
    marks.write_text(json.dumps([None, -1, *numbers[2:]]))
    triangles = read_template(path, marks).face.landmarks["ibug68"].triangles
    assert triangles[:2].tolist() == [-1, -1]
    assert bool((triangles[2:] >= 0).all())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[1, 2, 3]", r"expected 68 vertex numbers.*shape \(3,\)"),
        ('{"five": []}', r"a list, or an object with the key 'ibug68'"),
        ("not json", "not readable"),
        (json.dumps([0] * 67 + [99999]), "99999 is no vertex of a template with"),
        (json.dumps([[9000.0, 0, 0]] * 68), "own unit and frame"),
    ],
)
def test_wrong_landmark_files_are_told(tmp_path, text, said):
    path, marks, _ = written(tmp_path)
    marks.write_text(text)
    with pytest.raises(ValueError, match=said):
        read_template(path, marks)


def test_a_template_without_landmarks_says_which_file_to_give(tmp_path):
    path, _, _ = written(tmp_path)
    with pytest.raises(ValueError, match=r"head\.obj: .*--landmarks FILE .*68 vertex numbers"):
        open_target(path)
    with pytest.raises(FileNotFoundError, match="no such landmark file"):
        open_target(path, tmp_path / "none.json")


def test_a_model_takes_no_landmark_file(tmp_path):
    with pytest.raises(ValueError, match="is a face model and has its own"):
        open_target("generic", tmp_path / "marks.json")


@pytest.mark.parametrize(
    ("scale", "unit"), [(1.05, "mm"), (0.8, "mm"), (9.3, "cm"), (1100.0, "m"), (25.0, "inches")]
)
def test_units_are_told_by_the_size_of_the_face(tmp_path, scale, unit):
    path, marks, _ = written(tmp_path)
    assert unit_of(open_target(path, marks), scale) == unit


def test_no_unit_is_an_error(tmp_path):
    path, marks, _ = written(tmp_path)
    with pytest.raises(ValueError, match="no unit of mm, cm"):
        unit_of(open_target(path, marks), 0.2)
    with pytest.raises(ValueError, match="too small for mm"):
        unit_of(open_target("generic"), 10.0)


def test_seams_are_welded_and_touching_lips_are_not():
    # two squares that share an edge in space but not in the file, and a closed tetrahedron
    square = torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    right = square + torch.tensor([1.0, 0, 0])
    tetra = torch.tensor([[1.0, 0, 0], [5, 0, 0], [5, 1, 0], [5, 0, 1]])
    vertices = torch.cat([square, right, tetra])
    quads = torch.tensor([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]])
    closed = torch.tensor([[0, 2, 1], [0, 1, 3], [1, 2, 3], [0, 3, 2]]) + 8
    places, faces, welded = weld(vertices, torch.cat([quads, closed]).int())
    assert len(places) == 10
    assert torch.equal(places[welded], vertices)
    assert welded[1] == welded[4]
    assert welded[2] == welded[7]
    assert welded[8] != welded[1]  # inside a closed surface: another part that only touches
    assert torch.equal(places[faces.long()], vertices[torch.cat([quads, closed])])

"""The fast reader of OBJ files."""

from __future__ import annotations

import time

import numpy as np
import pytest

from hrnfit.model.format_error import ModelFormatError
from hrnfit.model.ict_obj import read_folder, read_mesh

QUAD = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0.5\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"


def written(tmp_path, text: str, name: str = "mesh.obj"):
    path = tmp_path / name
    path.write_bytes(text.encode())
    return path


def test_polygons_become_fans(tmp_path):
    mesh = read_mesh(
        written(tmp_path, "# a quad\nmtllib x.mtl\n" + QUAD + "usemtl M\nf 1/4 2/3 3/2 4/1\n")
    )
    assert mesh.points[3].tolist() == [0.0, 1.0, 0.5]
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert mesh.uv_faces is not None
    assert mesh.uv_faces.tolist() == [[3, 2, 1], [3, 1, 0]]
    assert mesh.uv[2].tolist() == [1.0, 1.0]


@pytest.mark.parametrize(
    "text",
    [
        (QUAD + "f 1/1 2/2 3/3\n").replace("\n", "\r\n"),
        QUAD.replace("0.5", "0.5 1.0 0.2 0.3") + "f 1/1/1 2/2/1 3/3/1\n",  # colours, normals
        QUAD.replace("vt 1 1", "vt 1 1 0") + "vn 0 0 1\nf 1/1 2/2 3/3",  # depth, no last newline
        QUAD.replace("v ", "v  ").replace("vt ", "vt\t") + "f  1/1  2/2 3/3\n",
    ],
)
def test_ways_of_writing(tmp_path, text):
    mesh = read_mesh(written(tmp_path, text))
    assert mesh.points.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0.5]]
    assert mesh.faces.tolist() == [[0, 1, 2]]
    assert mesh.uv.shape == (4, 2)


def test_numbers_are_rounded_as_python_rounds(tmp_path):
    values = np.random.default_rng(0).normal(size=(200, 3)) * 10.0 ** np.arange(-1, 2)
    lines = [f"v {x:.17g} {y:.6g} {z:.9e}" for x, y, z in values]
    expected = [[float(word) for word in line.split()[1:]] for line in lines]
    mesh = read_mesh(written(tmp_path, "\n".join(lines) + "\nf 1 2 3\n"))
    assert mesh.points.tolist() == expected
    assert mesh.uv_faces is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("v 0 0 zero\n", "not a readable OBJ"),
        ("v 0 0\nv 1 1\n", "fewer than 3 numbers"),
        ("v 0 0 nan\n", "NaN or infinite"),
        ("v 0 0 0\nf 1 2 3\n", "faces name vertices 1 to 3, but there are 1"),
        ("v 0 0 0\nf 1 1 0\n", "faces name vertices 0 to 1"),
        ("v 0 0 0\nf a b c\n", "not a readable OBJ"),
        ("v 0 0 0\nvt 0 0\nf 1/1 1/1 1/2\n", "texture coordinates 1 to 2, but there are 1"),
    ],
)
def test_damage_is_named(tmp_path, text, message):
    with pytest.raises(ModelFormatError, match=message):
        read_mesh(written(tmp_path, text))


def test_a_file_without_bound_is_not_read(tmp_path):
    path = written(tmp_path, "v 0 0 0\n")
    with path.open("r+b") as opened:
        opened.truncate(10**9)  # a sparse file: it takes no disk
    with pytest.raises(ModelFormatError, match="1000000000 bytes, more than any"):
        read_mesh(path)


def test_modes_must_have_the_means_vertices(tmp_path):
    written(tmp_path, QUAD + "f 1 2 3\n", "generic_neutral_mesh.obj")
    written(tmp_path, QUAD.replace("v 0 0 0\n", ""), "identity000.obj")
    written(tmp_path, QUAD, "jawOpen.obj")
    with pytest.raises(ModelFormatError, match=r"identity000\.obj: 3 vertices, but .* has 4"):
        read_folder(tmp_path)


def test_a_large_folder_is_read_fast(tmp_path):
    """Eight files of 26,719 vertices: 157 take 20 times as long, and 15 s are allowed."""
    points = np.random.default_rng(0).normal(size=(26719, 3))
    text = "\n".join(f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in points) + "\n"
    faces = "\n".join(f"f {k} {k + 1} {k + 2} {k + 3}" for k in range(1, 26385)) + "\n"
    for name in ("generic_neutral_mesh", "jawOpen", *(f"identity{k:03d}" for k in range(6))):
        written(tmp_path, text + faces, f"{name}.obj")
    began = time.process_time()
    found = read_folder(tmp_path)
    assert time.process_time() - began < 0.05 * 15.0
    assert found.identity.shape == (6, 26719, 3)

"""Mesh files keep vertices, order, texture coordinates and scale."""

import numpy as np
import pytest
import torch
import trimesh

from hrnfit.io.mesh import Mesh, read_mesh, write_mesh
from hrnfit.io.obj import write_obj


def _square(**changes):
    """Two triangles that meet at a seam: four vertices, six texture coordinates."""
    values = {
        "vertices": torch.tensor([[0.0, 0, 0], [100, 0, 0], [100, 50, 0], [0, 50, 1234.56789]]),
        "faces": torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32),
        "uv": torch.tensor([[0.0, 0.1], [1, 0], [1, 1], [0.25, 0], [0.5, 1], [0, 1]]),
        "uv_faces": torch.tensor([[0, 1, 2], [3, 4, 5]], dtype=torch.int32),
        "normals": torch.tensor([[0.0, 0, 1]]).repeat(4, 1),
        "texture": torch.full((4, 4, 3), 0.25),
    }
    return Mesh(**{**values, **changes})


def test_obj_by_hand(tmp_path):
    write_mesh(tmp_path / "fine.obj", _square())
    lines = (tmp_path / "fine.obj").read_text().splitlines()
    assert "v 100.00000 50.00000 0.00000" in lines
    assert "vt 0.0000000 0.9000000" in lines  # v up in the file
    assert "f 1/1/1 2/2/2 3/3/3" in lines
    assert "f 1/4/1 3/5/3 4/6/4" in lines
    assert (
        lines.index("mtllib fine.mtl")
        < lines.index("usemtl face")
        < lines.index("f 1/1/1 2/2/2 3/3/3")
    )
    assert "map_Kd fine.png" in (tmp_path / "fine.mtl").read_text().splitlines()
    assert (tmp_path / "fine.png").is_file()


def test_obj_refers_to_a_texture_elsewhere(tmp_path):
    write_obj(tmp_path / "meshes" / "a.obj", _square(), tmp_path / "maps" / "albedo.png")
    assert "map_Kd ../maps/albedo.png" in (tmp_path / "meshes" / "a.mtl").read_text()
    assert not (tmp_path / "maps").exists()


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
        "v 0 0 0\nv 1 0 \\\n0\nv 0 1 0\nf 1 \\\n2 \\\n3",
        "v 0 0 0 # first\nv 1 0 0\nv 0 1 0#last\nf 1 2 3 # all\n",
        "v\t0\t0\t0\nv\t1 0 0\nv 0 1 0\nf\t1 2\t3\n",
        "o a\fv 9 9 9\n# b\u2028v 9 9 9\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
        "# c:\\a\\\nv 0 0 0\r\nv 1 0 0\r\nv 0 1 0\r\nf 1 2 3\r\n",
    ],
)
def test_obj_statements_as_the_format_allows(tmp_path, text):
    (tmp_path / "a.obj").write_bytes(text.encode())
    mesh = read_mesh(tmp_path / "a.obj")
    assert mesh.vertices.tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    assert mesh.faces.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("fields", [("uv", "normals"), ("uv",), ("normals",), ()])
def test_obj_round_trip(tmp_path, fields):
    none = {f: None for f in ("uv", "normals") if f not in fields} | {"texture": None}
    if "uv" not in fields:
        none["uv_faces"] = None
    mesh = _square(**none)
    write_mesh(tmp_path / "a.obj", mesh)
    back = read_mesh(tmp_path / "a.obj")
    torch.testing.assert_close(back.vertices, mesh.vertices, atol=1e-4, rtol=0)
    assert torch.equal(back.faces, mesh.faces)
    for name in ("uv", "uv_faces", "normals"):
        before, after = getattr(mesh, name), getattr(back, name)
        assert (before is None) == (after is None)
        if before is not None:
            torch.testing.assert_close(after, before, atol=1e-6, rtol=0)


def test_obj_as_others_write_it(tmp_path):
    text = (
        "# x\nv 0 0 0 1 1 1\nv 1 0 0 1 1 1\nv 1 1 0 1 1 1\nv 0 1 0 1 1 1\nf 1//1 2//1 3//1 -1//1\n"
    )
    (tmp_path / "quad.obj").write_text(text)
    mesh = read_mesh(tmp_path / "quad.obj")
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert mesh.uv is None


def test_obj_loads_in_trimesh(tmp_path):
    write_mesh(tmp_path / "a.obj", _square())
    loaded = trimesh.load(tmp_path / "a.obj", process=False)
    assert loaded.visual.material.image.size == (4, 4)
    assert loaded.area == pytest.approx(trimesh.Trimesh(_square().vertices, _square().faces).area)


def test_ply_round_trip(tmp_path):
    write_mesh(tmp_path / "a.ply", _square())
    back = read_mesh(tmp_path / "a.ply")
    assert torch.equal(back.vertices, _square().vertices)
    assert torch.equal(back.faces, _square().faces)
    torch.testing.assert_close(back.normals, _square().normals)


def test_glb_is_in_metres_and_splits_the_seam(tmp_path):
    write_mesh(tmp_path / "a.glb", _square())
    scene = trimesh.load(tmp_path / "a.glb", process=False)
    np.testing.assert_allclose(scene.extents, [0.1, 0.05, 1.23456789], rtol=1e-6)
    back = read_mesh(tmp_path / "a.glb")
    assert len(back.vertices) == 6
    mesh = _square()
    torch.testing.assert_close(back.vertices[back.faces.long()], mesh.vertices[mesh.faces.long()])
    torch.testing.assert_close(back.uv[back.faces.long()], mesh.uv[mesh.uv_faces.long()])
    body = next(iter(scene.geometry.values()))
    assert body.visual.material.baseColorTexture.getpixel((0, 0))[:3] == (137, 137, 137)


def test_errors(tmp_path):
    with pytest.raises(ValueError, match="faces: index 4 is outside the 4 points"):
        _square(faces=torch.tensor([[0, 1, 4], [0, 2, 3]]))
    with pytest.raises(ValueError, match=r"a\.obj: vertices: 1 of 12 values are NaN"):
        write_mesh(
            tmp_path / "a.obj",
            _square(vertices=torch.tensor([[torch.nan, 0, 0]] + [[0.0] * 3] * 3)),
        )
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ValueError, match=r"type '\.stl' are not known"):
        write_mesh(tmp_path / "a.stl", _square())
    with pytest.raises(FileNotFoundError, match="no such mesh"):
        read_mesh(tmp_path / "a.ply")


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.obj", "v 0 0 0\n", "has 1 vertices and 0 faces"),
        ("a.obj", "v 0 0 0\nv 0 0\nf 1 2 1\n", "not a valid OBJ file"),
        ("a.obj", "v 0 0 0\nf 1 2\n", "fewer than three corners"),
        ("a.obj", "v 0 0 0\nf 1 2 3\n", "index 2 is outside the 1 points"),
        ("a.ply", "nonsense", "not a mesh that can be read"),
        ("a.glb", "nonsense", "not a mesh that can be read"),
    ],
)
def test_broken_files(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        read_mesh(tmp_path / name)

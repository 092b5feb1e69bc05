"""A template's OBJ file with other positions keeps its polygons, groups and texture coordinates."""

from __future__ import annotations

import pytest
import torch

from hrnfit.io.mesh import read_mesh
from hrnfit.io.obj_rewrite import rewrite_obj

QUAD = """# by a modeller
mtllib old.mtl
o head
v 0 0 0 0.5 0.5 0.5
v 1 0 0
v 1 1 0
v 0 1 0
vt 0 0
vt 1 1
vn 0 0 1
g skin
usemtl lambert1
s 1
f 1/1/1 2/1/1 3/2/1 4/2/1
f 1//1 2//1 3//1
f -1 -2 -3
"""


def test_by_hand(tmp_path):
    (tmp_path / "old.obj").write_text(QUAD)
    positions = torch.tensor([[1.5, 2, 3], [4, 5, 6], [7, 8, 9], [-1, 0, 0.25]])
    rewrite_obj(tmp_path / "old.obj", tmp_path / "new.obj", positions, tmp_path / "albedo.png")
    lines = (tmp_path / "new.obj").read_text().splitlines()
    assert [line for line in lines if line.startswith("v ")] == [
        "v 1.50000 2.00000 3.00000",
        "v 4.00000 5.00000 6.00000",
        "v 7.00000 8.00000 9.00000",
        "v -1.00000 0.00000 0.25000",
    ]
    assert [line for line in lines if line.startswith("f ")] == [
        "f 1/1 2/1 3/2 4/2",
        "f 1 2 3",
        "f -1 -2 -3",
    ]
    assert not any(line.startswith("vn") for line in lines)
    for kept in ("o head", "vt 1 1", "g skin", "usemtl lambert1", "s 1", "mtllib new.mtl"):
        assert kept in lines
    assert "mtllib old.mtl" not in lines
    material = (tmp_path / "new.mtl").read_text()
    assert "newmtl lambert1" in material
    assert "map_Kd albedo.png" in material


def test_a_file_without_materials_gets_one(tmp_path):
    (tmp_path / "old.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    rewrite_obj(tmp_path / "old.obj", tmp_path / "new.obj", torch.zeros(3, 3), tmp_path / "a.png")
    lines = (tmp_path / "new.obj").read_text().splitlines()
    assert lines.index("usemtl face") < lines.index("f 1 2 3")
    rewrite_obj(tmp_path / "old.obj", tmp_path / "plain.obj", torch.zeros(3, 3))
    assert not (tmp_path / "plain.mtl").exists()
    assert "usemtl face" not in (tmp_path / "plain.obj").read_text()


@pytest.mark.parametrize(
    ("text", "faces", "material"),
    [
        ("\ufeffv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", ["f 1 2 3"], "face"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1/1/1 2/1/1 \\\n3/1/1\n", ["f 1/1 2/1 3/1"], "face"),
        ("v 0 0 0 # first\nv 1 0 0\nv 0 1 0\nf 1 2 3 # all\n", ["f 1 2 3"], "face"),
        ("v\t0\t0\t0\nv 1 0 0\nv 0 1 0\nusemtl\tskin\nf\t1\t2\t3\n", ["f 1 2 3"], "skin"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nusemtl \nf 1 2 3\n", ["f 1 2 3"], "face"),
        ("v 0 0 0\nv 1 0 0\nv 0 1 0\nusemtl a#1 # own\nf 1 2 3\n", ["f 1 2 3"], "a#1"),
        ("o a\fv 9\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", ["f 1 2 3"], "face"),
        ("# a\u2028v 9\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", ["f 1 2 3"], "face"),
        ("# c:\\a\\\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", ["f 1 2 3"], "face"),
    ],
)
def test_ways_of_writing(tmp_path, text, faces, material):
    (tmp_path / "old.obj").write_text(text, encoding="utf-8")
    positions = torch.arange(9.0).reshape(3, 3)
    rewrite_obj(tmp_path / "old.obj", tmp_path / "new.obj", positions, tmp_path / "a.png")
    lines = (tmp_path / "new.obj").read_text(encoding="utf-8").split("\n")
    assert [line for line in lines if line.startswith("v")] == [
        "v 0.00000 1.00000 2.00000",
        "v 3.00000 4.00000 5.00000",
        "v 6.00000 7.00000 8.00000",
    ]
    assert [line for line in lines if line.startswith("f")] == faces
    assert [line.split()[1] for line in lines if line.startswith("usemtl")] == [material]
    assert f"newmtl {material}\n" in (tmp_path / "new.mtl").read_text()
    back = read_mesh(tmp_path / "new.obj")
    assert torch.equal(back.vertices, positions)


def test_another_number_of_vertices_is_told(tmp_path):
    (tmp_path / "old.obj").write_text(QUAD)
    with pytest.raises(ValueError, match="has 4 vertices, got 3 positions"):
        rewrite_obj(tmp_path / "old.obj", tmp_path / "new.obj", torch.zeros(3, 3))

"""The folder that `save` writes: every file, read back, and what happens when writing fails."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from hrnfit.fit import export
from hrnfit.fit.head_frame import T_world_head, exported_cameras
from hrnfit.fit.result import LEVELS, FitResult
from hrnfit.io.cameras import load_cameras
from hrnfit.io.image import srgb_from_linear
from hrnfit.io.maps import read_exr, read_signed_png
from tests.fit.small_result import make_result


@pytest.fixture(scope="module")
def result() -> FitResult:
    return make_result(views=2)


@pytest.fixture(scope="module")
def folder(result, tmp_path_factory) -> Path:
    return result.save(tmp_path_factory.mktemp("saved") / "out")


def test_every_promised_file_is_there_and_listed(folder, result):
    promised = {"result.json", "state.npz", "landmarks.json", "cameras.json", "report.html"}
    promised |= {f"meshes/{level}.obj" for level in LEVELS} | {"meshes/fine.glb"}
    promised |= {f"maps/{name}.exr" for name in ("deformation", "displacement")}
    names = ("displacement", "albedo", "normal", "confidence")
    promised |= {f"maps/{name}.png" for name in names}
    promised |= {f"overlays/{view}_{level}.png" for view in result.view_names for level in LEVELS}
    found = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert promised <= found
    listed = json.loads((folder / "result.json").read_text())["files"]
    assert set(listed) == found - {"result.json"}


def test_nothing_temporary_is_left(folder):
    assert [p.name for p in folder.parent.iterdir()] == ["out"]


@pytest.mark.parametrize("level", LEVELS)
def test_obj_keeps_order_positions_and_uv(folder, result, level):
    import trimesh

    read = trimesh.load(folder / "meshes" / f"{level}.obj", process=False, maintain_order=True)
    mesh = result.mesh(level)
    assert np.array_equal(read.faces, mesh.faces.numpy())
    np.testing.assert_allclose(read.vertices, mesh.vertices.numpy(), atol=1e-4)
    np.testing.assert_allclose(read.vertex_normals, mesh.normals.numpy(), atol=1e-3)
    np.testing.assert_allclose(read.visual.uv, mesh.uv.numpy() * [1, -1] + [0, 1], atol=1e-6)
    assert read.visual.material.image.size == (32, 32)


def test_glb_is_textured_and_in_metres(folder, result):
    import trimesh

    scene = trimesh.load(folder / "meshes" / "fine.glb")
    size = np.ptp(result.mesh("fine").vertices.numpy(), axis=0) / 1000
    np.testing.assert_allclose(np.ptp(scene.bounds, axis=0), size, rtol=1e-4)
    (body,) = scene.geometry.values()
    assert body.visual.material.baseColorTexture.size == (32, 32)


def test_maps_read_back_as_numbers(folder, result):
    maps = result.maps
    assert torch.equal(read_exr(folder / "maps/deformation.exr"), maps.deformation)
    assert torch.equal(read_exr(folder / "maps/displacement.exr"), maps.displacement)
    entry = json.loads((folder / "result.json").read_text())["maps"]["displacement.png"]
    codes = cv2.imread(str(folder / "maps/displacement.png"), cv2.IMREAD_UNCHANGED)
    assert codes.dtype == np.uint16
    mm = (codes.astype(float) - entry["zero_code"]) * entry["mm_per_code"]
    np.testing.assert_allclose(mm, maps.displacement.numpy(), atol=0.51 * entry["mm_per_code"])
    again = read_signed_png(folder / "maps/displacement.png", entry["mm_per_code"])
    np.testing.assert_allclose(again.numpy(), mm, atol=1e-6)


def test_pictures_hold_what_result_json_says(folder, result):
    def read(name: str) -> np.ndarray:
        return cv2.imread(str(folder / "maps" / name), cv2.IMREAD_UNCHANGED)

    normal = read("normal.png")[..., ::-1] / 32767.5 - 1
    np.testing.assert_allclose(normal, result.maps.normal.numpy(), atol=2e-5)
    confidence = read("confidence.png") / 255
    np.testing.assert_allclose(confidence, result.maps.confidence.numpy(), atol=0.51 / 255)
    albedo = read("albedo.png")[..., ::-1] / 255
    want = srgb_from_linear(result.maps.albedo).numpy()
    np.testing.assert_allclose(albedo, want, atol=0.51 / 255)


def test_landmarks_json(folder, result):
    document = json.loads((folder / "landmarks.json").read_text())
    assert list(document) == ["ibug68"]
    assert list(document["ibug68"]) == list(LEVELS)
    want = result.landmarks["ibug68"]["mid"].numpy()
    np.testing.assert_allclose(document["ibug68"]["mid"], want, atol=1e-4)


def test_missing_landmarks_are_null(result):
    mesh = result.mesh("coarse")
    points = mesh.landmarks["ibug68"].clone()
    points[3] = torch.nan
    holed = replace(mesh, landmarks={"ibug68": points})
    changed = replace(result, meshes={**result.meshes, "coarse": (holed,)})
    document = export.landmarks_document(changed)
    assert document["ibug68"]["coarse"][3] == [None, None, None]
    json.dumps(document, allow_nan=False)


def test_cameras_json_projects_the_exported_mesh(folder, result):
    for read, camera in zip(load_cameras(folder / "cameras.json"), result.cameras, strict=True):
        points = result.mesh("mid").vertices.double()
        torch.testing.assert_close(read.project(points), camera.project(points))


def test_unknown_cameras_move_to_the_exported_head():
    result = make_result(views=2, frames=2)
    unknown = replace(result, camera_known=(False, False))
    first, second = exported_cameras(unknown)
    assert torch.equal(first.T_cam_world, result.cameras[0].T_cam_world)
    # what the second camera sees of its own instant's head, it sees of the exported one
    own = result.cameras[1].project(result.mesh("coarse", 1).vertices.double())
    torch.testing.assert_close(second.project(result.mesh("coarse", 0).vertices.double()), own,
                               atol=1e-3, rtol=0)  # fmt: skip
    given = exported_cameras(result)[1]
    assert torch.equal(given.T_cam_world, result.cameras[1].T_cam_world)


def test_head_poses_of_a_zero_tangent_are_the_reference(result):
    torch.testing.assert_close(T_world_head(result.state), result.state.pose_reference.double())


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def tiny(folder: Path, name: str = "earlier.txt") -> None:
    """An earlier result with one file of its own and one of the user's."""
    folder.mkdir()
    document = {"format": "hrnfit-result-1", "files": [name, "../outside.txt"]}
    (folder / "result.json").write_text(json.dumps(document))
    (folder / name).write_text("earlier")
    (folder / "notes.txt").write_text("mine")
    (folder.parent / "outside.txt").write_text("not ours")


def test_full_disk_leaves_the_earlier_result(result, tmp_path, monkeypatch):
    tiny(tmp_path / "out")
    before = contents(tmp_path)

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(export, "write_overlays", lambda *args: ())
    monkeypatch.setattr(export, "write_report", full)
    with pytest.raises(OSError, match="the disk is full; free some space") as caught:
        result.save(tmp_path / "out")
    assert "untouched" in str(caught.value)
    assert caught.value.errno == errno.ENOSPC
    assert contents(tmp_path) == before


def test_any_failure_leaves_the_earlier_result(result, tmp_path):
    tiny(tmp_path / "out")
    before = contents(tmp_path)
    mesh = result.mesh("fine")
    broken = replace(mesh, vertices=mesh.vertices * torch.nan)
    with pytest.raises(ValueError, match="the fit diverged"):
        replace(result, meshes={**result.meshes, "fine": (broken,)}).save(tmp_path / "out")
    assert contents(tmp_path) == before


def test_a_new_result_replaces_the_old_and_spares_the_rest(result, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "write_overlays", lambda *args: ())
    tiny(tmp_path / "out")
    result.save(tmp_path / "out")
    assert not (tmp_path / "out" / "earlier.txt").exists()
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "outside.txt").read_text() == "not ours"
    assert torch.equal(FitResult.load(tmp_path / "out").state.identity, result.state.identity)


@pytest.mark.parametrize("name", ["cameras.json", "meshes/fine.obj"])
def test_files_that_no_result_has_written_are_not_overwritten(result, tmp_path, name):
    own = tmp_path / "rig" / name
    own.parent.mkdir(parents=True)
    own.write_text("calibrated for a week")
    with pytest.raises(FileExistsError, match=f"{name} there would be overwritten"):
        export.save_result(result, tmp_path / "rig")
    assert own.read_text() == "calibrated for a week"
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [own]


def test_a_file_in_the_way_is_named(result, tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(NotADirectoryError, match="it is a file; choose another folder"):
        result.save(tmp_path / "out")


def test_the_folder_can_be_read_by_others(result, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "write_overlays", lambda *args: ())
    mask = os.umask(0o022)
    try:
        saved = result.save(tmp_path / "out")
    finally:
        os.umask(mask)
    assert saved.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("name", "stem"),
    [("cam_0", "cam_0"), ("a/b:c", "a_b_c"), ("...", "view"), ("Büste 1", "Büste 1")],
)
def test_file_names_of_views(name, stem):
    assert export.safe_stem(name) == stem


def test_progress_runs_from_zero_to_one(result, tmp_path, monkeypatch):
    monkeypatch.setattr(export, "write_overlays", lambda *args: ())
    told: list[float] = []
    result.save(tmp_path / "out", lambda part, fraction: told.append(fraction))
    assert told[0] == 0
    assert told[-1] == 1
    assert told == sorted(told)

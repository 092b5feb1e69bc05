"""The OBJ files of ICT-FaceKit, read fast: 157 files of 26,719 vertices, each mean plus one mode, cm."""

from __future__ import annotations

import itertools
import re
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from hrnfit.model.format_error import ModelFormatError

LARGEST_FILE = 64_000_000
"""Bytes; the published files have 2.6e6."""

NEUTRAL = "generic_neutral_mesh.obj"


class ObjMesh(NamedTuple):
    """What one file says."""

    points: Float[np.ndarray, "N 3"]
    faces: Int[np.ndarray, "F 3"]
    """Polygons cut into triangles as fans."""
    uv: Float[np.ndarray, "Nuv 2"]
    """v up, as in the file; tiles beside the unit square belong to other materials."""
    uv_faces: Int[np.ndarray, "F 3"] | None
    """None where some corner has no texture coordinate."""


class ObjFolder(NamedTuple):
    """The mean mesh, and the modes that its neighbours make; cm."""

    mesh: ObjMesh
    identity: Float[np.ndarray, "I N 3"]
    expression: Float[np.ndarray, "E N 3"]
    expression_names: tuple[str, ...]


def read_folder(folder: Path) -> ObjFolder:
    """Everything of a `FaceXModel` folder: generic_neutral_mesh.obj, identity000.obj and on, and one
    OBJ per expression, all with the same vertex order.

    Raises FileNotFoundError without the mean, ModelFormatError naming the file that is off.
    """
    neutral = folder / NEUTRAL
    if not neutral.is_file():
        raise FileNotFoundError(
            f"{folder}: no {NEUTRAL} in it; as a model a folder must be FaceXModel of ICT-FaceKit, "
            "others are converted once by `hrnfit models add KIND`"
        )
    mesh = read_mesh(neutral)
    others = sorted(p for p in folder.glob("*.obj") if p != neutral)
    identities = [p for p in others if re.fullmatch(r"identity\d+", p.stem)]
    expressions = [p for p in others if p not in identities]
    if not identities or not expressions:
        raise ModelFormatError(
            f"{folder}: expected identity000.obj and on, and one OBJ per expression; found "
            f"{len(identities)} identities and {len(expressions)} expressions"
        )
    return ObjFolder(
        mesh=mesh,
        identity=np.stack([_mode(p, mesh.points) for p in identities]),
        expression=np.stack([_mode(p, mesh.points) for p in expressions]),
        expression_names=tuple(p.stem for p in expressions),
    )


def read_mesh(path: Path) -> ObjMesh:
    """Vertices, triangles and texture coordinates of a file; groups and normals are ignored."""
    text = _text(path)
    points = _numbers(path, text, b"v", 3)
    uv = _numbers(path, text, b"vt", 2)
    triangles: list[tuple[int, int, int]] = []
    flat: list[tuple[int, int, int]] = []
    try:
        for line in re.findall(rb"^f[ \t]([^\r\n]*)", text, re.MULTILINE):
            words = [word.split(b"/") for word in line.split()]
            corner = [int(word[0]) - 1 for word in words]
            triangles += [(corner[0], a, b) for a, b in itertools.pairwise(corner[1:])]
            place = [int(word[1]) - 1 if len(word) > 1 and word[1] else -1 for word in words]
            flat += [(place[0], a, b) for a, b in itertools.pairwise(place[1:])]
    except ValueError as error:
        raise ModelFormatError(f"{path}: not a readable OBJ file ({error})") from error
    faces, uv_faces = (np.array(t, dtype=np.int64).reshape(-1, 3) for t in (triangles, flat))
    _check_corners(path, "vertices", faces, len(points), least=0)
    _check_corners(path, "texture coordinates", uv_faces, len(uv), least=-1)
    complete = bool(len(uv_faces)) and bool((uv_faces >= 0).all())
    return ObjMesh(points, faces, uv, uv_faces if complete else None)


def _mode(path: Path, mean: Float[np.ndarray, "N 3"]) -> Float[np.ndarray, "N 3"]:
    """One mode: the file's vertices minus the mean."""
    points = _numbers(path, _text(path), b"v", 3)
    if len(points) < len(mean):
        raise ModelFormatError(
            f"{path}: {len(points)} vertices, but the neutral mesh has {len(mean)}; copy or download "
            "it again"
        )
    return (points[: len(mean)] - mean).astype(np.float32)


def _text(path: Path) -> bytes:
    size = path.stat().st_size
    if size > LARGEST_FILE:
        raise ModelFormatError(f"{path}: {size} bytes, more than any OBJ file of this model has")
    return path.read_bytes()


def _numbers(path: Path, text: bytes, key: bytes, count: int) -> Float[np.ndarray, "N count"]:
    """The first `count` numbers of every line that begins with `key`.

    One call for all lines: number by number, the folder took 15 s instead of 4.
    """
    last = text.rfind(b"\n" + key + b" ")
    stop = text.find(b"\n", last + 1) if last >= 0 else -1  # most of a file is faces
    block = text[:stop] if stop >= 0 else text
    lines: list[bytes] = re.findall(rb"^" + key + rb"[ \t]([^\r\n]*)", block, re.MULTILINE)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DeprecationWarning)  # numpy's word for text it cannot read
        try:
            flat = np.fromstring(b"\n".join(lines), sep=" ")
            if len(flat) != count * len(lines):  # a third texture coordinate, or a colour
                rows = [line.split()[:count] for line in lines]
                flat = np.array([float(word) for row in rows for word in row])
        except (ValueError, DeprecationWarning) as error:
            raise ModelFormatError(f"{path}: not a readable OBJ file ({error})") from error
    if len(flat) != count * len(lines):
        raise ModelFormatError(
            f"{path}: not a readable OBJ file (lines '{key.decode()}' of fewer than {count} numbers)"
        )
    if not np.isfinite(flat).all():
        raise ModelFormatError(f"{path}: NaN or infinite numbers; copy or download it again")
    return flat.reshape(-1, count)


def _check_corners(
    path: Path, what: str, faces: Int[np.ndarray, "F 3"], count: int, least: int
) -> None:
    if faces.size and (faces.min() < least or faces.max() >= count):
        raise ModelFormatError(
            f"{path}: faces name {what} {faces.min() + 1} to {faces.max() + 1}, but there are {count}"
        )

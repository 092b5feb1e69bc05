"""Meshes packed for the report's viewer: quantised, base64, in the head frame (y up, z out).

16 bits across a head of 300 mm are steps of 0.005 mm, a tenth of the finest relief a fit resolves.
A 46k-vertex, 90k-triangle level takes 1.3 MB.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray

from hrnfit.fit.head_frame import T_world_head
from hrnfit.fit.photographs import encode_jpeg
from hrnfit.fit.report_pictures import shrink
from hrnfit.fit.result import LEVELS, FitResult, MeshLevel
from hrnfit.io.image import encode_srgb

MAX_TRIANGLES = 320_000
"""Above, the fine level is left out of the viewer's page (about 5 MB) and mid is shown in its place."""

TEXTURE_SIZE = 1024
"""Longer side of the embedded albedo, px."""


def viewer_document(result: FitResult) -> dict[str, Any]:
    """What `viewer.js` reads: levels, shared topologies, albedo, seats of the cameras."""
    T_head_world = np.linalg.inv(T_world_head(result.state)[result.frame].double().numpy())
    topologies: list[dict[str, Any]] = []
    seen: list[tuple[MeshLevel, ndarray]] = []
    levels: dict[str, Any] = {}
    for level in LEVELS:
        mesh = result.mesh(level)
        note = ""
        if len(mesh.faces) > MAX_TRIANGLES:
            note = f"The {level} mesh is too large for this page; shown at mid resolution. "
            mesh = result.mesh("mid")
        index = next((i for i, (m, _) in enumerate(seen) if _same_topology(m, mesh)), len(seen))
        if index == len(seen):
            corner, faces = split_seams(mesh.faces.cpu().numpy(), mesh.uv_faces.cpu().numpy())
            seen.append((mesh, corner[:, 0]))
            topologies.append(_topology(faces, mesh.uv.cpu().numpy()[corner[:, 1]]))
        levels[level] = _surface(mesh, seen[index][1], T_head_world) | {
            "topology": index,
            "info": f"{note}{len(mesh.vertices):,} vertices, {len(mesh.faces):,} triangles.",
        }
    centre, radius = _framing(result.mesh("coarse"), T_head_world)
    albedo = shrink(encode_srgb(result.maps.albedo), TEXTURE_SIZE)
    return {
        "levels": levels,
        "topologies": topologies,
        "texture": "data:image/jpeg;base64," + _text(encode_jpeg(albedo, 88)),
        "seats": seats(result),
        "centre": centre,
        "radius": radius,
    }


def seats(result: FitResult) -> list[dict[str, Any]]:
    """Name, yaw and pitch (rad) from which the viewer sees what each camera sees."""
    found: list[dict[str, Any]] = [
        {"name": "Front", "yaw": 0.0, "pitch": 0.0},
        {"name": "Subject's left", "yaw": -np.pi / 2, "pitch": 0.0},
        {"name": "Subject's right", "yaw": np.pi / 2, "pitch": 0.0},
    ]
    poses = T_world_head(result.state).double().numpy()
    for i, name in enumerate(result.view_names):
        T_head_world = np.linalg.inv(poses[int(result.sharing.frame[i])])
        centre = result.cameras[i].centre.detach().cpu().double().numpy()
        x, y, z = (T_head_world @ [*centre, 1.0])[:3]
        found.append(
            {"name": name, "yaw": -np.arctan2(x, z), "pitch": np.arctan2(y, np.hypot(x, z))}
        )
    return found


def split_seams(
    faces: Int[ndarray, "F 3"], uv_faces: Int[ndarray, "F 3"]
) -> tuple[Int[ndarray, "C 2"], Int[ndarray, "F 3"]]:
    """Distinct (vertex, texture) corners, and the triangles in terms of them."""
    stride = int(uv_faces.max()) + 1
    key = faces.astype(np.int64) * stride + uv_faces
    unique, inverse = np.unique(key, return_inverse=True)
    corner = np.stack([unique // stride, unique % stride], -1)
    return corner, inverse.reshape(faces.shape)


def octahedral(normals: Float[ndarray, "N 3"]) -> Int[ndarray, "N 2"]:
    """Unit vectors as 16-bit points of the unfolded octahedron (Meyer et al. 2010)."""
    scaled = normals / np.maximum(np.abs(normals).sum(-1, keepdims=True), 1e-12)
    x, y, z = scaled.T
    folded_x = (1 - np.abs(y)) * np.where(x < 0, -1, 1)
    folded_y = (1 - np.abs(x)) * np.where(y < 0, -1, 1)
    flat = np.stack([np.where(z < 0, folded_x, x), np.where(z < 0, folded_y, y)], -1)
    return np.rint(flat * 32767).astype(np.int16)


def _surface(mesh: MeshLevel, vertex: ndarray, T_head_world: ndarray) -> dict[str, Any]:
    R, t = T_head_world[:3, :3], T_head_world[:3, 3]
    points = mesh.vertices.detach().cpu().double().numpy()[vertex] @ R.T + t
    normals = mesh.normals.detach().cpu().double().numpy()[vertex] @ R.T
    low = points.min(0)
    step = max(float((points.max(0) - low).max()) / 65535, 1e-9)
    codes = np.rint((points - low) / step).astype("<u2")
    return {
        "position": _text(codes.tobytes()),
        "low": low.tolist(),
        "step": step,
        "normal": _text(octahedral(normals).astype("<i2").tobytes()),
    }


def _topology(faces: ndarray, uv: ndarray) -> dict[str, Any]:
    kind = "<u2" if int(faces.max()) < 65536 else "<u4"
    codes = np.rint(np.clip(uv, 0, 1) * 65535).astype("<u2")
    return {
        "index": _text(faces.astype(kind).tobytes()),
        "index_bytes": int(kind[-1]),
        "uv": _text(codes.tobytes()),
    }


def _framing(mesh: MeshLevel, T_head_world: ndarray) -> tuple[list[float], float]:
    """Point to look at, and half the height that must fit into the picture; head frame, mm."""
    points = mesh.vertices.detach().cpu().double().numpy() @ T_head_world[:3, :3].T
    points = points + T_head_world[:3, 3]
    low, high = points.min(0), points.max(0)
    return ((low + high) / 2).tolist(), float((high - low).max()) * 0.56


def _same_topology(one: MeshLevel, other: MeshLevel) -> bool:
    pairs = ((one.faces, other.faces), (one.uv_faces, other.uv_faces), (one.uv, other.uv))
    return all(a.shape == b.shape and bool((a == b).all()) for a, b in pairs)


def _text(content: bytes) -> str:
    return base64.b64encode(content).decode()

"""Pickled dictionaries as FaceVerse publishes them, from random bases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from tests.importers.write_hifi3d import EXPRESSION, IDENTITY, Head
from tests.importers.written import Written

UNIT = 162.6
"""mm per unit of version 2, near which the eyes put it."""


def write_faceverse(folder: Path, seed: int = 0) -> Written:
    """Version 2: y down, z into the face, named activations, 66 keypoints."""
    head = Head(seed)
    order = [k for k in range(68) if k not in (48, 54)]
    names = [f"move{k}" for k in range(EXPRESSION)]
    path = folder / "faceverse_simple_v2.npy"
    content = arrays(head, np.array([1.0, -1.0, -1.0]) / UNIT, "exBase")
    content |= {"keypoints": head.marks[order][:, None], "exp_name_list": names}
    np.save(path, np.array(content, dtype=object), allow_pickle=True)
    return written(path, head, corners_by_lips(head))


def write_faceverse_v4(folder: Path, seed: int = 1) -> Written:
    """Version 4: our axes, an eyeball as a further part, keypoints_68, other keypoints beside."""
    head = Head(seed)
    content = arrays(head, np.ones(3), "exBase")
    n = len(head.mean)
    ball = {"meanshape": np.eye(3), "meantex": np.zeros((3, 3))}
    for key, more in ball.items():
        content[key] = np.concatenate([content[key], more])
    for key in ("idBase", "exBase", "texBase"):
        content[key] = np.concatenate([content[key], np.zeros((9, content[key].shape[1]))])
    content["tri"] = np.concatenate([content["tri"], [[n, n + 1, n + 2]]])
    content |= {"keypoints_68": head.marks[None], "keypoints": np.arange(370)[None]}
    content |= {"ver_inds": [n, n + 3, n + 3], "parsing": {"skin": np.ones(n + 3)}}
    path = folder / "faceverse_v4_2.npy"
    np.save(path, np.array(content, dtype=object), allow_pickle=True)
    return written(path, head, head.marks)


def arrays(head: Head, unit: np.ndarray, expression: str) -> dict[str, Any]:
    """Bases of a head, `unit`: what a mm along each axis is in the file."""

    def columns(vectors: np.ndarray, factor: np.ndarray) -> np.ndarray:
        return np.float32((vectors * factor).reshape(len(vectors), -1).T)

    return {
        "meanshape": head.mean * unit,
        "meantex": head.colour * 255.0,
        "idBase": columns(head.identity, unit),
        expression: columns(head.expression, unit),
        "texBase": columns(head.colours, np.full(3, 255.0)),
        "tri": head.faces.astype(np.int64),
    }


def written(path: Path, head: Head, marks: np.ndarray) -> Written:
    """The eyes' outer corners are set 90 mm apart."""
    scale = 90.0 / np.linalg.norm(head.mean[head.marks[36]] - head.mean[head.marks[45]])

    def shape(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return head.shape(a, b) * scale

    still = shape(np.zeros(IDENTITY), np.zeros(EXPRESSION))
    return Written(
        "faceverse",
        path,
        shape,
        IDENTITY,
        EXPRESSION,
        still[marks],
        n_albedo=len(head.colours),
        colour=head.colour_of,
    )


def corners_by_lips(head: Head) -> np.ndarray:
    """The landmarks with the mouth's outer corners where the inner lips point to."""
    marks = head.marks.copy()
    for outer, inner, others in ((48, 60, (61, 67)), (54, 64, (63, 65))):
        places = head.mean[head.marks]
        beyond = 1.3 * places[inner] - 0.3 * (places[others[0]] + places[others[1]]) / 2
        marks[outer] = np.linalg.norm(head.mean - beyond, axis=1).argmin()
    return marks

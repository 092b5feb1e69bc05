"""The 52 ARKit blendshapes of the mean face, as displacements at full activation, mm.

Muscles are soft pushes: a direction at a point of the face that fades with distance. Jaw and eyes
turn rigidly about their joints, lids slide over the eyeball. Lips are told apart by the cut of the
mouth. Left shapes are written; right ones are their mirror images.
"""

from __future__ import annotations

import numpy as np

from . import cage
from .carry import Carrier
from .mesh import Mesh
from .surface import fissure_depth, gaussian, lid_rims, mouth_line, smoothstep

CONDYLE = np.array([0.0, -24.0, -90.0])


class Sculptor:
    """Coordinates of the mean face that the shapes are written in. Shapes are (N, 3), mm."""

    def __init__(self, mesh: Mesh) -> None:
        self.mesh = mesh
        self.p = mesh.vertices
        self.x, self.y, self.z = self.p.T
        self.ax = np.abs(self.x)
        self.left = smoothstep(self.x, -7.0, 7.0)
        line = mouth_line(self.ax)
        inside = self.ax < 27
        # +1 above the mouth, -1 below; beyond the corners it passes smoothly
        soft = np.tanh((self.y - line) / (1.0 + 1.2 * np.maximum(self.ax - 24, 0)))
        self.lip = np.where(mesh.inner != 0, np.sign(mesh.inner), np.where(inside, mesh.side, soft))
        corner = smoothstep(self.ax, 18.0, 28.0)
        self.lip = self.lip * (1 - corner) + soft * corner
        self.upper, self.lower = np.clip(self.lip, 0, 1), np.clip(-self.lip, 0, 1)

    def spot(self, x: float, y: float, rx: float, ry: float) -> np.ndarray:
        """Smooth bump (N,) about a point of the left face."""
        return gaussian(np.hypot((self.x - x) / rx, (self.y - y) / ry), 1.0) * (self.z > -105)

    def push(self, weight: np.ndarray, *direction: float) -> np.ndarray:
        return weight[:, None] * np.array(direction)

    def mirror(self, shape: np.ndarray) -> np.ndarray:
        return shape[self.mesh.mirror] * [-1, 1, 1]

    def both(self, shape: np.ndarray) -> np.ndarray:
        return shape + self.mirror(shape)


def turn(points: np.ndarray, centre: np.ndarray, axis: int, angle: np.ndarray) -> np.ndarray:
    """Displacement (N, 3) of points turned about an axis by angles (N,), rad."""
    d = points - centre
    i, j = (axis + 1) % 3, (axis + 2) % 3
    out = np.zeros_like(d)
    c, s = np.cos(angle), np.sin(angle)
    out[:, i] = c * d[:, i] - s * d[:, j] - d[:, i]
    out[:, j] = s * d[:, i] + c * d[:, j] - d[:, j]
    return out


def jaw_weight(f: Sculptor) -> np.ndarray:
    """How much of the jaw's motion each vertex takes, 0..1."""
    height = smoothstep(-f.y, 64.0, 92.0)
    lateral = smoothstep(-f.y + 0.35 * (f.z + 20), 38.0, 92.0)
    skin = np.maximum(height, 0) * 0.5 + lateral * 0.5
    near = gaussian(np.hypot(f.ax / 24, (f.y + 73) / 13), 1.0) ** 0.8
    lower_lip = smoothstep(f.lower, 0.0, 1.0)
    target = np.where(
        f.y < mouth_line(f.ax) - 16, skin, skin * (1 - near) + near * lower_lip * 0.93
    )
    blend = smoothstep(-f.y, 84.0, 98.0)
    weight = target * (1 - blend) + np.maximum(skin, blend * gaussian(f.ax, 45)) * blend
    neck = smoothstep(-f.z, 25.0, 75.0) * smoothstep(-f.y, 108.0, 122.0)
    ear = smoothstep(-f.z, 70, 95)
    return np.clip(weight * (1 - neck) * (1 - ear), 0, 1)


def jaw(f: Sculptor) -> dict[str, np.ndarray]:
    w = jaw_weight(f)
    upper = f.upper * gaussian(np.hypot(f.ax / 20, (f.y + 70) / 7), 1.0)
    opened = turn(f.p, CONDYLE, 0, 0.30 * w) + f.push(w, 0, 0, 2.0) + f.push(upper, 0, 0.8, 0)
    return {
        "jawOpen": opened,
        "jawForward": f.push(w, 0, -0.5, 6.0),
        "jawLeft": f.push(w, 6.5, 0, 0),
        "jawRight": f.push(w, -6.5, 0, 0),
        "mouthClose": -opened
        * (f.lower * gaussian(np.hypot(f.ax / 26, (f.y + 76) / 10), 1))[:, None],
    }


def eyes(f: Sculptor) -> dict[str, np.ndarray]:
    """Left eye: lids and gaze."""
    near = (f.x > 0) & (np.hypot((f.ax - 31) / 24, f.y / 22) < 1)
    lower, upper = lid_rims(f.ax)
    depth = fissure_depth(f.ax, f.y)
    centre = cage.EYE_CENTRE
    across = smoothstep(f.ax, 15.5, 20.0) * (1 - smoothstep(f.ax, 41.0, 45.5)) * near
    gap = (upper - lower) * across
    on_lid = 1 - smoothstep(depth, 0.1, 0.9)
    above = (f.y > 0.5 * (upper + lower)) * on_lid * (1 - smoothstep(f.y - upper, 0.0, 9.0))
    below = (f.y <= 0.5 * (upper + lower)) * on_lid * (1 - smoothstep(lower - f.y, 0.0, 8.0))

    def slide(weight: np.ndarray, fraction: float, lift: float) -> np.ndarray:
        """Move lids vertically by a fraction of the fissure, staying on the eyeball."""
        dy = weight * gap * fraction
        y1 = f.y + dy
        r = cage.EYE_RADIUS + 1.6 + lift
        front = centre[2] + np.sqrt(
            np.clip(r**2 - (f.ax - centre[0]) ** 2 - (y1 - centre[1]) ** 2, 0, None)
        )
        dz = np.maximum(front - f.z, 0) * np.clip(weight, 0, 1) * (front > centre[2] + 1) * across
        return np.stack([0 * dy, dy, dz], axis=1)

    ball = smoothstep(depth, 0.6, 4.5) * near

    def gaze(axis: int, angle: float) -> np.ndarray:
        return turn(f.p, centre, axis, ball * angle)

    blink = slide(above, -0.97, 0.3) + slide(below, 0.10, 0.0)
    cheek = f.spot(31, -14, 16, 8)
    squint = slide(above, -0.22, 0.1) + slide(below, 0.30, 0.1) + f.push(cheek, 0, 2.0, 1.2)
    return {
        "eyeBlinkLeft": blink,
        "eyeLookDownLeft": gaze(0, 0.42) + slide(above, -0.38, 0.1) + slide(below, -0.08, 0),
        "eyeLookInLeft": gaze(1, -0.34),
        "eyeLookOutLeft": gaze(1, 0.34),
        "eyeLookUpLeft": gaze(0, -0.40) + slide(above, 0.18, 0.1) + slide(below, 0.08, 0),
        "eyeSquintLeft": squint,
        "eyeWideLeft": slide(above, 0.24, 0.1)
        + slide(below, -0.06, 0)
        + f.push(f.spot(31, 14, 14, 5), 0, 0.8, 0),
    }


def brows(f: Sculptor) -> dict[str, np.ndarray]:
    inner, outer = f.spot(15, 20, 10, 12), f.spot(44, 22, 14, 12)
    middle, forehead = f.spot(30, 22, 18, 10), f.spot(26, 36, 24, 16)
    return {
        "browDownLeft": f.push(inner + 0.7 * middle, -1.4, -4.6, 0.6)
        + f.push(f.spot(6, 13, 6, 8), 0, -2.0, 1.2),
        "browInnerUp": f.both(
            f.push(inner, 0, 7.0, 0.8) + f.push(f.spot(15, 38, 14, 13), 0, 2.6, 0.5)
        ),
        "browOuterUpLeft": f.push(outer + 0.4 * middle, 0, 6.2, 0.4)
        + f.push(forehead, 0, 1.6, 0.3),
    }


def cheeks_and_nose(f: Sculptor) -> dict[str, np.ndarray]:
    puff = f.spot(42, -62, 15, 18)
    squint = f.spot(36, -20, 17, 11)
    sneer = f.spot(16, -38, 8, 10)
    return {
        "cheekPuff": f.both(f.push(puff, 6.5, 0, 6.5))
        + f.both(f.push(f.spot(10, -61, 12, 7), 0, 0, 2.0)),
        "cheekSquintLeft": f.push(squint, 0.6, 4.6, 2.4),
        "noseSneerLeft": f.push(sneer, 0.9, 4.4, 0.6)
        + f.push(f.spot(9, -12, 8, 12), 0, 1.8, 1.0)
        + f.push(f.spot(10, -62, 9, 7) * f.upper, 0, 2.0, 0.3),
        "tongueOut": np.zeros_like(f.p),
    }


def mouth(f: Sculptor) -> dict[str, np.ndarray]:
    """Left-sided and symmetric lip shapes."""
    corner = f.spot(27, -71, 13, 13)
    wide = f.spot(34, -64, 15, 15)
    lip = gaussian(np.hypot(f.ax / 22, (f.y + 72) / 10), 1.0)
    up, low = lip * f.upper, lip * f.lower
    up_left, low_left = up * f.left, low * f.left
    side_up = f.spot(13, -65, 10, 9) * f.upper
    side_low = f.spot(13, -79, 10, 9) * f.lower
    roll = np.abs(f.mesh.inner)
    away = np.maximum(f.ax - 8, 0) / 18
    purse = gaussian(np.hypot(f.x / 25, (f.y + 72) / 15), 1.0)
    inwards = np.stack([-f.x * 0.40 * purse, 0 * f.x, purse * 0.0], axis=1)
    forward = f.push(lip * (1 - 0.3 * np.clip(away, 0, 1)), 0, 0, 6.5) + f.push(purse, 0, 0, 1.5)
    rim = gaussian((f.y - mouth_line(f.ax)), 4.5) * (f.ax < 28) * np.clip((28 - f.ax) / 6, 0, 1)
    hidden = (roll > 0) * 1.0
    rim = np.maximum(rim * (np.abs(f.lip) > 0), hidden * np.clip((28 - f.ax) / 6, 0, 1))
    chin = gaussian(np.hypot(f.x / 15, (f.y + 97) / 11), 1.0)
    whole = gaussian(np.hypot(f.x / 27, (f.y + 72) / 17), 1.0)
    funnel_open = f.push(up, 0, 3.4, 0) + f.push(low, 0, -4.2, 0)
    return {
        "mouthSmileLeft": f.push(corner, 6.0, 6.4, -3.2)
        + f.push(wide, 1.0, 2.6, 2.0)
        + f.push(f.spot(38, -34, 15, 13), 0.4, 1.8, 1.8),
        "mouthFrownLeft": f.push(corner, 1.0, -6.0, -0.8)
        + f.push(f.spot(20, -86, 12, 10), 0, -1.0, 0),
        "mouthDimpleLeft": f.push(corner, 4.6, 0.6, -3.6),
        "mouthStretchLeft": f.push(corner, 6.0, -2.6, -3.0)
        + f.push(f.spot(30, -88, 15, 15), 2.0, -1.6, 0),
        "mouthPressLeft": f.push(up_left * 1.0, 0, -1.0, -0.9)
        + f.push(low_left, 0, 1.2, -0.9)
        + f.push(corner, 1.2, 0.4, -0.8),
        "mouthUpperUpLeft": f.push(side_up, 0.4, 5.4, 0.2)
        + f.push(f.spot(17, -50, 9, 9) * np.maximum(f.upper, f.y > -60), 0.4, 1.8, 0.4),
        "mouthLowerDownLeft": f.push(side_low, 0.6, -5.4, -0.4)
        + f.push(f.spot(14, -91, 10, 8), 0, -1.2, 0),
        "mouthPucker": inwards + forward,
        "mouthFunnel": 0.6 * inwards + 1.0 * forward + funnel_open,
        "mouthRollUpper": f.push(rim * f.upper, 0, -1.6, -3.4) + f.push(up, 0, -1.0, -0.6),
        "mouthRollLower": f.push(rim * f.lower, 0, 1.8, -3.6) + f.push(low, 0, 1.2, -0.6),
        "mouthShrugUpper": f.push(up, 0, 3.4, 1.6)
        + f.push(whole * f.upper, 0, 0.8, 0.4)
        + f.push(low, 0, 2.8, 1.0),
        "mouthShrugLower": f.push(low, 0, 2.6, 2.2)
        + f.push(chin, 0, 3.2, 1.4)
        + f.push(up, 0, 1.7, 0.8),
        "mouthLeft": f.push(whole, 7.0, 0, -0.6) + f.push(corner, 1.0, 0.6, -1.0),
        "mouthRight": f.push(whole, -7.0, 0, -0.6) + f.mirror(f.push(corner, 1.0, 0.6, -1.0)),
    }


ORDER = [
    "eyeBlinkLeft",
    "eyeLookDownLeft",
    "eyeLookInLeft",
    "eyeLookOutLeft",
    "eyeLookUpLeft",
    "eyeSquintLeft",
    "eyeWideLeft",
    "eyeBlinkRight",
    "eyeLookDownRight",
    "eyeLookInRight",
    "eyeLookOutRight",
    "eyeLookUpRight",
    "eyeSquintRight",
    "eyeWideRight",
    "jawForward",
    "jawLeft",
    "jawRight",
    "jawOpen",
    "mouthClose",
    "mouthFunnel",
    "mouthPucker",
    "mouthLeft",
    "mouthRight",
    "mouthSmileLeft",
    "mouthSmileRight",
    "mouthFrownLeft",
    "mouthFrownRight",
    "mouthDimpleLeft",
    "mouthDimpleRight",
    "mouthStretchLeft",
    "mouthStretchRight",
    "mouthRollLower",
    "mouthRollUpper",
    "mouthShrugLower",
    "mouthShrugUpper",
    "mouthPressLeft",
    "mouthPressRight",
    "mouthLowerDownLeft",
    "mouthLowerDownRight",
    "mouthUpperUpLeft",
    "mouthUpperUpRight",
    "browDownLeft",
    "browDownRight",
    "browInnerUp",
    "browOuterUpLeft",
    "browOuterUpRight",
    "cheekPuff",
    "cheekSquintLeft",
    "cheekSquintRight",
    "noseSneerLeft",
    "noseSneerRight",
    "tongueOut",
]
"""ARKit's names, in ARKit's order."""


def expression_basis(mesh: Mesh, mean: np.ndarray) -> np.ndarray:
    """Blendshapes (52, N, 3) in the order of `ORDER`, carried from the drawn mesh to the mean (N, 3)."""
    f, carry = Sculptor(mesh), Carrier(mesh, mean)
    shapes = jaw(f) | eyes(f) | brows(f) | cheeks_and_nose(f) | mouth(f)
    basis = []
    for name in ORDER:
        twin = name.replace("Right", "Left")
        shape = carry(shapes[name]) if name in shapes else f.mirror(carry(shapes[twin]))
        basis.append(np.where(np.abs(shape) < 0.004, 0.0, shape))
    return np.stack(basis)

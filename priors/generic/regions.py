"""Region masks of the mean face, from the same formulas as its relief."""

from __future__ import annotations

import numpy as np

from .mesh import Mesh
from .surface import fissure_depth, lid_rims, lip_borders


def region_masks(mesh: Mesh) -> dict[str, np.ndarray]:
    """Boolean masks (N,) by name; regions may overlap, `skin` is the rest of eyes, lips, mouth."""
    x, y, z = np.abs(mesh.vertices[:, 0]), mesh.vertices[:, 1], mesh.vertices[:, 2]
    rolled = mesh.inner != 0
    depth = fissure_depth(x, y)
    eyes = (depth > 0.35) & (z < -15) & (x < 46) & ~rolled
    near_eye = (np.hypot((x - 30.5) / 19, (y - 1) / 12) < 1) & (z < -12)
    lower, upper = lip_borders(x)
    lips = (y < upper + 0.2) & (y > lower - 0.2) & (x < 26.3) & (z > -22) & ~rolled
    lid_low, lid_up = lid_rims(x)
    lids = near_eye & ~eyes & (y < lid_up + 7) & (y > lid_low - 6) & (x < 48)
    nose = (x < 17.8 - 0.18 * np.clip(y + 42, 0, 60)) & (y > -51) & (y < 4) & ~lips
    ears = (z < -97) & (y > -60) & (y < 16)
    brow_line = np.interp(x, [10, 22, 34, 46, 56], [14.5, 19, 21, 18.5, 12])
    brows = (np.abs(y - brow_line) < 4.5) & (x > 8) & (x < 56) & (z > -60)
    forehead = (y > brow_line + 4.5) & (y > 14)
    chin = (y < -88) & (y > -121) & (x < 23) & (z > -24)
    neck = (y < -100) & (z < -20 - 0.5 * (y + 118).clip(-20, 0)) & (z < -26)
    jaw = (y < -70) & ~chin & ~neck & ~lips & ~rolled & (x > 18)
    cheeks = (x > 18) & (y < -9) & (y > -70) & ~nose & ~lips & ~ears & ~lids & ~rolled
    skin = ~eyes & ~lips & ~rolled
    return {
        "skin": skin, "lips": lips, "lids": lids, "brows": brows, "nose": nose & ~rolled,
        "eyes": eyes, "ears": ears, "forehead": forehead, "cheeks": cheeks, "chin": chin & ~rolled,
        "jaw": jaw, "neck": neck & ~rolled, "mouth_interior": rolled,
    }  # fmt: skip

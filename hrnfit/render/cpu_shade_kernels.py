"""Compiled loops over normals: nine-term shading and its gradients, in one pass over memory.

The constants are those of `shade.py`, passed in as (linear, product, zonal, difference).
"""

from __future__ import annotations

from hrnfit.geometry.compiled import kernel


@kernel
def shade(normals, light, first, end, constants, out):
    """Write light^T basis(normal) of rows first..end to `out` (P, 3)."""
    linear, product, zonal, difference = constants
    for p in range(first, end):
        x, y, z = normals[p, 0], normals[p, 1], normals[p, 2]
        for c in range(3):
            if x == 0 and y == 0 and z == 0:  # the background
                out[p, c] = light[0, c] - zonal * light[6, c]
                continue
            out[p, c] = (
                light[0, c]
                + linear * (light[1, c] * y + light[2, c] * z + light[3, c] * x)
                + product * (light[4, c] * x * y + light[5, c] * y * z + light[7, c] * x * z)
                + zonal * light[6, c] * (3 * z * z - 1)
                + difference * light[8, c] * (x * x - y * y)
            )


@kernel
def shade_backward(normals, light, grad, first, end, constants, normals_out, light_out):
    """Write d loss / d normals, add d loss / d light (9, 3), of rows first..end."""
    linear, product, zonal, difference = constants
    for p in range(first, end):
        if grad[p, 0] == 0 and grad[p, 1] == 0 and grad[p, 2] == 0:
            continue
        x, y, z = normals[p, 0], normals[p, 1], normals[p, 2]
        dx, dy, dz = 0.0, 0.0, 0.0
        for c in range(3):
            g = grad[p, c]
            light_out[0, c] += g
            light_out[1, c] += g * linear * y
            light_out[2, c] += g * linear * z
            light_out[3, c] += g * linear * x
            light_out[4, c] += g * product * x * y
            light_out[5, c] += g * product * y * z
            light_out[6, c] += g * zonal * (3 * z * z - 1)
            light_out[7, c] += g * product * x * z
            light_out[8, c] += g * difference * (x * x - y * y)
            xy, yz, xz = product * light[4, c], product * light[5, c], product * light[7, c]
            square = 2 * difference * light[8, c]
            dx += g * (linear * light[3, c] + xy * y + xz * z + square * x)
            dy += g * (linear * light[1, c] + xy * x + yz * z - square * y)
            dz += g * (linear * light[2, c] + yz * y + xz * x + 6 * zonal * light[6, c] * z)
        normals_out[p, 0], normals_out[p, 1], normals_out[p, 2] = dx, dy, dz

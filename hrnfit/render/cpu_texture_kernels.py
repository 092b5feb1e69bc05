"""Compiled loops of one view: bilinear texture look-up, texel centres at (i + 0.5) / size, clamped.

Neighbouring pixels with the same coordinates (the background of an interpolated image) copy the
last value instead of sampling again; pixels without incoming gradient are skipped backward.
"""

from __future__ import annotations

from hrnfit.geometry.compiled import kernel


@kernel
def _cell(coordinate, size):
    """Lower texel, upper texel, fraction, and 1 where the coordinate is not clamped."""
    x = coordinate * size - 0.5
    if x > 0 and x < size - 1:
        lower = int(x)
        return lower, lower + 1, x - lower, 1.0
    if x >= size - 1:
        return size - 1, size - 1, 0.0 * x, 0.0
    return 0, 0, 0.0 * x, 0.0  # also nan, which stays nan through the fraction


@kernel
def sample(texture, uv, row0, row1, out):
    """Write the looked-up texels of the rows to `out` (h, w, C)."""
    height, width, channels = texture.shape
    for row in range(row0, row1):
        for column in range(uv.shape[1]):
            u, v = uv[row, column, 0], uv[row, column, 1]
            if column > 0 and u == uv[row, column - 1, 0] and v == uv[row, column - 1, 1]:
                for c in range(channels):
                    out[row, column, c] = out[row, column - 1, c]
                continue
            x0, x1, s, _ = _cell(u, width)
            y0, y1, t, _ = _cell(v, height)
            w00, w01, w10, w11 = (1 - t) * (1 - s), (1 - t) * s, t * (1 - s), t * s
            for c in range(channels):
                out[row, column, c] = (
                    w00 * texture[y0, x0, c]
                    + w01 * texture[y0, x1, c]
                    + w10 * texture[y1, x0, c]
                    + w11 * texture[y1, x1, c]
                )


@kernel
def sample_backward(texture, uv, grad, row0, row1, want_texture, want_uv, texture_out, uv_out):
    """Add d loss / d texture to `texture_out`, write d loss / d uv to `uv_out`, as wanted."""
    height, width, channels = texture.shape
    for row in range(row0, row1):
        for column in range(uv.shape[1]):
            silent = True
            for c in range(channels):
                if grad[row, column, c] != 0:
                    silent = False
                    break
            if silent:
                continue
            x0, x1, s, inside_x = _cell(uv[row, column, 0], width)
            y0, y1, t, inside_y = _cell(uv[row, column, 1], height)
            if want_texture:
                w00, w01, w10, w11 = (1 - t) * (1 - s), (1 - t) * s, t * (1 - s), t * s
                for c in range(channels):
                    g = grad[row, column, c]
                    texture_out[y0, x0, c] += w00 * g
                    texture_out[y0, x1, c] += w01 * g
                    texture_out[y1, x0, c] += w10 * g
                    texture_out[y1, x1, c] += w11 * g
            if want_uv:
                du = 0.0
                dv = 0.0
                for c in range(channels):
                    g = grad[row, column, c]
                    a, b = texture[y0, x0, c], texture[y0, x1, c]
                    d, e = texture[y1, x0, c], texture[y1, x1, c]
                    du += g * ((1 - t) * (b - a) + t * (e - d))
                    dv += g * ((1 - s) * (d - a) + s * (e - b))
                uv_out[row, column, 0] = du * width * inside_x
                uv_out[row, column, 1] = dv * height * inside_y

"""The report's figure of one view: photograph, clay layers to wipe or blend over it, landmarks."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

import numpy as np

from hrnfit.fit.overlay import ViewPictures, mark_radius
from hrnfit.fit.photographs import encode_jpeg, encode_webp
from hrnfit.fit.report_pictures import data_uri, shrink
from hrnfit.fit.result import FitResult

PAGE_PIXELS = 5_000_000
"""Photograph pixels on one page: 16 views of 560 px, or 8 of 800; a page of about 5 MB."""


def view_figure(result: FitResult, view: int, pictures: ViewPictures) -> str:
    """One `<figure>` with all layers embedded."""
    name = escape(pictures.name)
    size = int(min(800, (PAGE_PIXELS / len(result.view_names)) ** 0.5))
    photograph = data_uri(encode_jpeg(shrink(pictures.photograph, size), 86), "image/jpeg")
    layers = {**pictures.levels, "textured": pictures.textured}
    images = "".join(
        f'<img class="layer l-{level}" alt="{name}: {level}" draggable="false" '
        f'src="{data_uri(encode_webp(shrink(layer, size), 82), "image/webp")}">'
        for level, layer in layers.items()
    )
    height, width = pictures.photograph.shape[:2]
    return (
        f'<figure><div class="compare"><img alt="Photograph {name}" draggable="false" '
        f'src="{photograph}" width="{width}" height="{height}">{images}'
        f'<svg viewBox="0 0 {width} {height}" aria-hidden="true">{_marks(pictures)}</svg>'
        f"</div><figcaption><b>{name}</b><span class=num>{_numbers(result, view)}</span>"
        f'<input type="range" min="0" max="100" value="50" '
        f'aria-label="How much geometry to show on {name}"></figcaption></figure>'
    )


def _marks(pictures: ViewPictures) -> str:
    radius = 1.2 * mark_radius(pictures)
    rings = "".join(
        f'<circle class="seen" cx="{x:.1f}" cy="{y:.1f}" r="{1.9 * radius:.1f}"/>'
        for x, y in _finite(pictures.observed)
    )
    dots = "".join(
        f'<circle class="said s-{level}" cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}"/>'
        for level, points in pictures.modelled.items()
        for x, y in _finite(points)
    )
    return rings + dots


def _finite(points: np.ndarray) -> Iterable[tuple[float, float]]:
    return (tuple(point) for point in points if np.isfinite(point).all())


def _numbers(result: FitResult, view: int) -> str:
    """Residuals of the view in a line."""
    row = result.view_residuals.get(result.view_names[view], {})
    parts = [f"landmarks {row['landmark']:.2f} px"] if "landmark" in row else []
    if "photometric" in row:
        parts.append(f"photometric {row['photometric']:.3g}")
    camera = result.cameras[view]
    return " · ".join([*parts, f"{camera.width} × {camera.height} px"])

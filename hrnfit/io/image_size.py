"""How large a photograph is, without reading its pixels."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from hrnfit.io.image import ImageSource
from hrnfit.quiet import without_warnings


def image_size(source: ImageSource) -> tuple[int, int] | None:
    """Height and width, px, of an array or as a file's header says them; None when it says nothing readable."""
    if not isinstance(source, (str, Path)):
        return (int(source.shape[0]), int(source.shape[1])) if source.ndim > 1 else None
    try:
        with without_warnings(), Image.open(source) as header:
            return header.height, header.width
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None

"""Draws docs/images/demo.jpg from a result folder: `python docs/demo_picture.py out/demo/rig`."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2

from hrnfit.fit.overlay import contact_strip, view_pictures
from hrnfit.fit.result import FitResult
from hrnfit.render.backend import rasterizer


def main() -> None:
    result = FitResult.load(sys.argv[1])
    strip = contact_strip(view_pictures(result, 0, rasterizer("cpu"), size=420))
    out = Path(__file__).parent / "images" / "demo.jpg"
    cv2.imwrite(str(out), strip[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 88])


if __name__ == "__main__":
    main()

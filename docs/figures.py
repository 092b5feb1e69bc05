"""Draws docs/images/conventions.png: `python docs/figures.py`."""

from __future__ import annotations

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Ellipse, Polygon, Rectangle

RED, GREEN, BLUE, INK, PALE = "#c0392b", "#1e8449", "#1f5fa8", "#222222", "#d9dde2"
OUT = Path(__file__).parent / "images" / "conventions.png"


def arrow(ax: Axes, start, step, colour: str, text: str, gap=(0.06, 0.06)) -> None:
    start, step = np.asarray(start, float), np.asarray(step, float)
    ax.annotate("", start + step, start, arrowprops={"arrowstyle": "-|>", "color": colour, "lw": 2})
    ax.text(*(start + step + gap), text, color=colour, fontsize=10, ha="center", va="center")


def frame(ax: Axes, title: str, width: float, height: float) -> None:
    ax.set_xlim(0, width)
    ax.set_ylim(0, height)
    ax.set_aspect("equal")
    ax.axis("off")
    ax.set_title(title, fontsize=11, color=INK, loc="left")


def pixels(ax: Axes) -> None:
    frame(ax, "Pixels: (0, 0) is a corner", 4.6, 4)
    for row in range(3):
        for column in range(4):
            ax.add_patch(Rectangle((0.4 + column, 0.4 + row), 1, 1, fc="white", ec=PALE, lw=1.5))
            ax.plot(0.9 + column, 0.9 + row, ".", color=PALE)
    ax.plot(0.4, 3.4, "o", color=INK)
    ax.text(0.5, 3.58, "(0, 0)", fontsize=9)
    ax.plot(0.9, 2.9, "o", color=BLUE)
    ax.text(0.98, 2.63, "(0.5, 0.5)", fontsize=9, color=BLUE)
    arrow(ax, (0.4, 3.4), (1.9, 0), RED, "x, width", (0.45, 0.17))
    arrow(ax, (0.4, 3.4), (0, -1.8), GREEN, "y,\nheight", (-0.26, 0.12))


def camera(ax: Axes) -> None:
    frame(ax, "Camera: x right, y down, z forward", 4.6, 4)
    origin, far = np.array([0.9, 2.1]), 2.9
    corners = np.array([[far, 3.3], [far + 0.75, 2.75], [far + 0.75, 0.9], [far, 1.45]])
    ax.add_patch(Polygon(corners, closed=True, fc="#eef2f7", ec=PALE, lw=1.5))
    for corner in corners:
        ax.plot([origin[0], corner[0]], [origin[1], corner[1]], color=PALE, lw=1)
    arrow(ax, origin, (1.7, 0.0), BLUE, "z", (0.13, 0.0))
    arrow(ax, origin, (0.62, -0.45), RED, "x", (0.1, -0.1))
    arrow(ax, origin, (0, -1.1), GREEN, "y", (0.0, -0.16))
    ax.plot(*origin, "o", color=INK)
    ax.plot(*corners[0], "o", color=INK)
    ax.text(far - 0.05, 3.5, "pixel (0, 0)", fontsize=9, ha="center")
    ax.text(0.25, 0.3, r"$x_{cam} = T_{cam\_world}\, x_{world}$   (mm)", fontsize=11)


def head(ax: Axes) -> None:
    frame(ax, "Head: y up, z out of the face, x to its left", 4.6, 4)
    ax.add_patch(Ellipse((2.1, 2.05), 2.1, 2.9, fc="#f6ece4", ec="#c9a98f", lw=1.5))
    for x in (1.65, 2.55):
        ax.add_patch(Ellipse((x, 2.4), 0.42, 0.2, fc="white", ec="#8a6d58"))
        ax.plot(x, 2.4, "o", color="#8a6d58", ms=4)
    ax.plot([2.1, 1.95, 2.15], [2.3, 1.75, 1.72], color="#8a6d58")
    ax.plot([1.75, 2.1, 2.45], [1.3, 1.22, 1.3], color="#8a6d58")
    centre = (2.1, 2.0)
    arrow(ax, centre, (1.75, 0), RED, "x", (0.13, 0.0))
    arrow(ax, centre, (0, 1.7), GREEN, "y", (0.14, 0.05))
    arrow(ax, centre, (-0.75, -1.15), BLUE, "z, towards\nthe viewer", (-0.35, -0.3))
    ax.text(3.3, 0.9, "subject's left is\nthe viewer's right", fontsize=9, ha="left")


def uv(ax: Axes) -> None:
    frame(ax, "UV: origin top-left, v down; as map rows", 4.6, 4)
    ax.add_patch(Rectangle((0.8, 0.4), 3, 3, fc="#f6ece4", ec=PALE, lw=1.5))
    for k in range(1, 6):
        ax.plot([0.8 + k / 2] * 2, [0.4, 3.4], color="white", lw=1)
        ax.plot([0.8, 3.8], [0.4 + k / 2] * 2, color="white", lw=1)
    for x in (1.7, 2.9):
        ax.add_patch(Ellipse((x, 2.3), 0.5, 0.16, fc="white", ec="#8a6d58"))
    ax.plot([2.3, 2.2, 2.4, 2.3], [2.1, 1.6, 1.6, 2.1], color="#8a6d58")
    ax.plot([1.9, 2.3, 2.7], [1.15, 1.08, 1.15], color="#8a6d58")
    ax.plot(0.8, 3.4, "o", color=INK)
    ax.text(0.72, 3.58, "(u, v) = (0, 0)", fontsize=9)
    ax.plot(1.05, 3.15, "o", color=BLUE, ms=4)
    ax.text(1.15, 2.86, "texel [0, 0]: (0.5, 0.5) / size", fontsize=8, color=BLUE)
    arrow(ax, (0.8, 3.4), (2.6, 0), RED, "u", (0.15, 0.15))
    arrow(ax, (0.8, 3.4), (0, -2.6), GREEN, "v", (-0.16, 0.0))


def main() -> None:
    figure, axes = plt.subplots(2, 2, figsize=(10, 8.4), dpi=110)
    for draw, ax in zip((camera, pixels, head, uv), axes.flat, strict=True):
        draw(ax)
    figure.tight_layout()
    OUT.parent.mkdir(exist_ok=True)
    figure.savefig(OUT, metadata={"Software": None})


if __name__ == "__main__":
    main()

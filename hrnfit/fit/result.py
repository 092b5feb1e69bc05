"""What a fit hands back: one subject, its cameras, its meshes and maps, and how it got there.

Everything here is a value: tensors on the CPU, in the world frame of the cameras, mm. Files are
written by `export`, the archive that a later fit continues from by `archive`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from hrnfit.brief import brief
from hrnfit.camera import Camera
from hrnfit.model.face_model import FaceModel
from hrnfit.observe.observation import Landmarks
from hrnfit.solve.solver import Outcome
from hrnfit.state import FaceState, Sharing

LEVELS = ("coarse", "mid", "fine")
"""The hierarchy, from the morphable model to the displaced surface."""


@dataclass(frozen=True)
class StageReport:
    """How one stage of the recipe went."""

    name: str
    level: str
    """`coarse`, `mid` or `fine`."""
    outcome: Outcome
    """How it ended; the value is the message with advice."""
    steps: int
    seconds: float
    energies: tuple[float, ...] = ()
    """Weighted total at each recorded step."""
    terms: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Unweighted energy of each term at each recorded step."""
    weights: Mapping[str, float] = field(default_factory=dict)
    """Weight of each term in the total."""


@dataclass(frozen=True, eq=False)
class MeshLevel:
    """The subject's surface at one level and one instant."""

    name: str
    """`coarse`, `mid` or `fine`."""
    vertices: Float[Tensor, "N 3"]
    """World mm; the same order in every fit with the same model and resolution."""
    normals: Float[Tensor, "N 3"]
    """Unit vertex normals, outwards, world frame."""
    faces: Int[Tensor, "F 3"]
    """Counter-clockwise from outside, int32."""
    uv: Float[Tensor, "Nuv 2"]
    """Origin top-left, v down."""
    uv_faces: Int[Tensor, "F 3"]
    """Triangles of `uv`, int32."""
    landmarks: Mapping[str, Float[Tensor, "_ 3"]] = field(default_factory=dict)
    """Model landmarks on this surface by scheme, world mm; NaN where the model lacks the point."""

    __repr__ = brief


@dataclass(frozen=True, eq=False)
class Maps:
    """The subject in UV space: row 0 is v = 0, texel centres at (i + 0.5) / size."""

    deformation: Float[Tensor, "D D 3"]
    """Offset of the mid level from the coarse one, mm, head frame."""
    displacement: Float[Tensor, "H W"]
    """All views fused, mm along the mid normal."""
    displacement_views: Float[Tensor, "K H W"]
    """One map per view, frame or subject, as the fit shared them; mm."""
    confidence: Float[Tensor, "H W"]
    """How well the views together saw each texel, 0..1; 0 where none did."""
    albedo: Float[Tensor, "R R 3"]
    """Linear RGB, without light."""
    normal: Float[Tensor, "H2 W2 3"]
    """Unit normals of the fine surface in the head frame (x to the subject's left, y up, z out)."""

    __repr__ = brief


@dataclass(frozen=True, eq=False)
class FitResult:
    """One subject fitted to V views in T frames."""

    state: FaceState
    """Every unknown at the end of the last stage."""
    sharing: Sharing
    """Which view uses which row of the state."""
    cameras: tuple[Camera, ...]
    """Per view, with correction and focal length applied; pixels of the image as fitted (`max_size` shrinks
    it), world mm."""
    view_names: tuple[str, ...]
    meshes: Mapping[str, tuple[MeshLevel, ...]]
    """Per level, one mesh per frame; the same topology within a level."""
    maps: Maps
    stages: tuple[StageReport, ...] = ()
    view_residuals: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """View name -> measure -> value: `landmark` px (root mean square), `photometric`, ..."""
    seconds: float = 0.0
    """Wall time of the whole fit."""
    warnings: tuple[str, ...] = ()
    """Sentences: what was left out, guessed or looks wrong."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """JSON values: `versions`, `recipe` (YAML text), `inputs` (path, sha256), `model` (name, licence,
    commercial, source, path, sha256), `device`, `command`, `licences` (a row per part that was used: kind,
    name, licence, commercial `yes | no | ask`, source, note, attribution), `commercial_use` (whether all of
    them permit it), `commercial_asked`, `start` (`by`: landmarks, networks or result, an earlier one;
    `networks`: their name, or `why` there are none). Results of earlier versions lack the last four."""
    camera_known: tuple[bool, ...] = ()
    """Per view, whether its camera was given; empty: all were."""
    photographs: tuple[bytes, ...] = ()
    """Per view, a JPEG of the whole photograph for overlays and the report; see `photographs.py`."""
    observed: tuple[Landmarks | None, ...] = ()
    """Per view, the landmarks the fit was given or detected, original pixels; may be empty."""
    model: FaceModel | None = field(default=None, repr=False)
    """The model of the fit; None after `load`, and then opened by its name when needed."""

    def __repr__(self) -> str:
        sizes = ", ".join(f"{n} {len(m[0].vertices)}" for n, m in self.meshes.items())
        ended = "" if self.outcome is None else f"; ended: {self.outcome.name.lower()}"
        noted = f"; {len(self.warnings)} warnings" if self.warnings else ""
        return f"FitResult({', '.join(self.view_names)}; vertices: {sizes}{ended}{noted})"

    @property
    def frame(self) -> int:
        """The instant that is exported: that of the first view."""
        return int(self.sharing.frame[0])

    @property
    def landmarks(self) -> dict[str, dict[str, Float[Tensor, "_ 3"]]]:
        """Scheme -> level -> points in the world, mm, at the exported frame."""
        schemes = self.mesh("coarse").landmarks
        return {s: {level: self.mesh(level).landmarks[s] for level in LEVELS} for s in schemes}

    @property
    def outcome(self) -> Outcome | None:
        """How the last stage ended; None when no stage ran."""
        return self.stages[-1].outcome if self.stages else None

    def mesh(
        self, level: str = "fine", frame: int | None = None, neutral: bool = False
    ) -> MeshLevel:
        """The surface at `level`; `frame` defaults to that of the first view.

        `neutral` removes the expression, which needs the model: the one of the fit, or after `load`
        the one named in the provenance.
        """
        if level not in LEVELS:
            raise ValueError(f"level: expected one of {', '.join(LEVELS)}, got {level!r}")
        frame = self.frame if frame is None else frame
        frames = len(self.meshes[level])
        if not 0 <= frame < frames:
            raise ValueError(f"frame: expected 0..{frames - 1}, got {frame}")
        if not neutral:
            return self.meshes[level][frame]
        from hrnfit.fit.levels import neutral_mesh

        return neutral_mesh(self, level, frame)

    def save(
        self, directory: str | Path, progress: Callable[[str, float], None] | None = None
    ) -> Path:
        """Write meshes, maps, cameras, overlays, report and the archive into `directory`.

        The earlier content stays as it was until everything new is complete. `progress` receives
        the name of each part and the fraction done.
        """
        from hrnfit.fit.export import save_result

        return save_result(self, directory, progress)

    @staticmethod
    def load(directory: str | Path) -> FitResult:
        """Read back what `save` wrote; the state is exact, so a fit can continue from it."""
        from hrnfit.fit.archive import load_result

        return load_result(directory)

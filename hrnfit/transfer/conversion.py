"""What a conversion hands back: one subject's surfaces in another topology, and how far off they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jaxtyping import Float
from torch import Tensor

from hrnfit.fit.result import FitResult, MeshLevel
from hrnfit.transfer.distances import Coverage, TransferError
from hrnfit.transfer.target import Target


@dataclass(frozen=True, eq=False)
class Conversion:
    """A fit in the topology of another model or of a template."""

    target: Target
    meshes: Mapping[str, tuple[MeshLevel, ...]]
    """Per level, one mesh per frame: the target's vertices on the fitted surface; world mm."""
    frame: int
    """The instant that is exported: that of the fit's first view."""
    errors: Mapping[str, TransferError]
    """Per level, of the exported frame."""
    common: Coverage
    """What both faces show; `common.uncovered` is the share of the target that the fit does not."""
    unit: str
    """That the target's file is in; the meshes are in mm."""
    albedo: Float[Tensor, "R R 3"] | None
    """Linear RGB in the target's chart; None without one."""
    displacement: Float[Tensor, "H W"] | None
    """mm along the mid normal, in the target's chart; None without one."""
    result: FitResult | None
    """For a model: the fit as a state of this model, with coefficients, pose and deformation map."""
    result_errors: Mapping[str, TransferError]
    """Per level, of the surfaces that `result` makes; empty for a template."""
    cached: bool
    """Whether the correspondence had been found before."""
    seconds: float
    warnings: tuple[str, ...]
    provenance: Mapping[str, Any]
    """JSON values: versions, source (path, model, versions), target, command."""

    def mesh(self, level: str = "mid", frame: int | None = None) -> MeshLevel:
        """The surface at a level; the frame defaults to the exported one."""
        if level not in self.meshes:
            raise ValueError(f"level: expected one of {', '.join(self.meshes)}, got {level!r}")
        return self.meshes[level][self.frame if frame is None else frame]

    def save(self, directory: str | Path) -> Path:
        """Write meshes, maps, `conversion.json`, and for a model `state.npz` and `result.json`, which
        `FitResult.load` reads."""
        from hrnfit.transfer.save import save_conversion

        return save_conversion(self, directory)

    def document(self) -> dict[str, Any]:
        """What `conversion.json` says; lengths in mm."""
        return {
            "format": "hrnfit-conversion-1",
            "units": {"length": "mm", "time": "s"},
            "seconds": self.seconds,
            "correspondence_cached": self.cached,
            "target_unit": self.unit,
            "share_without_counterpart": {
                "area": self.common.uncovered,
                "vertices": self.common.uncovered_vertices,
            },
            "errors": {level: error.values() for level, error in self.errors.items()},
            "model_fit_errors": {n: error.values() for n, error in self.result_errors.items()},
            "exported_frame": self.frame,
            "frames": len(next(iter(self.meshes.values()))),
            "warnings": list(self.warnings),
            "provenance": dict(self.provenance),
        }

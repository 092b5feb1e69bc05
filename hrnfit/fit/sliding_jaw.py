"""The jaw of 68 given points: it marks the outline of the face in the picture, not points of the skin.

When the head turns, the outline moves over the surface on the far side: there each jaw point slides
along its row of candidates (`model/contour.py`) to the one that lies outermost in the view. On the
near side the jaw lies within the face, and the point stays where the model has it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from hrnfit.energy.landmark import IBUG_JAW, LandmarkBasis, slide_contour
from hrnfit.fit.landmark_views import LandmarkView
from hrnfit.fit.surface_points import Expansion, SurfacePoints, corners_of, mean_expansion
from hrnfit.geometry.mesh import vertex_normals
from hrnfit.model.face_model import FaceModel
from hrnfit.observe.observation import View
from hrnfit.solve.solver import Leaves


@dataclass(frozen=True)
class SlidingJaw:
    """Where the jaw points of a model may lie. float64."""

    points: SurfacePoints
    """17 rows of K points one after the other; the first of a row is the landmark itself."""
    basis: LandmarkBasis
    """Of these points."""
    valid: Bool[Tensor, "17 K"]
    normals: Float[Tensor, "17 K 3"]
    """Unit normals of the face at the candidates, head frame."""
    faces: Int[Tensor, "F 3"]
    """Triangles of the model."""

    def carried(self, offsets: Float[Tensor, "N 3"]) -> SlidingJaw:
        """The candidates where these offsets of the model's vertices (mm) carry them."""
        moved = replace(self.basis, mean=self.basis.mean + self.points.sample(offsets))
        return replace(self, points=self.points.carried(offsets), basis=moved)

    def near(self, face: Expansion) -> SlidingJaw:
        """The candidates linear near a face, with its normals."""
        normals = _normals(self.points, face, self.faces).view_as(self.normals)
        return replace(self, basis=self.points.basis(face), normals=normals)

    def slid(
        self, view: LandmarkView, leaves: Leaves, reference: Float[Tensor, "T 4 4"]
    ) -> LandmarkView:
        """The view with its jaw points on the outline that the face has in it now.

        `leaves`: with the tangent of the pose at zero.
        """
        points = self.basis.points(leaves["identity"], leaves["expression"][view.frame])
        T_cam_head = view.T_cam_world @ reference[view.frame]
        R = T_cam_head[:3, :3]
        x_cam = (points @ R.mT + T_cam_head[:3, 3]).view(*self.valid.shape, 3)
        turned_away = ((self.normals @ R.mT) * x_cam).sum(-1) > 0
        # no outline runs through a row that the camera sees as a whole: the near side
        cut = (turned_away & self.valid).any(-1)
        chosen = torch.where(cut, slide_contour(x_cam, self.valid), 0)
        picked = torch.arange(17) * self.valid.shape[1] + chosen
        basis, jaw = view.basis, list(IBUG_JAW)
        moved = LandmarkBasis(basis.mean.clone(), basis.identity.clone(), basis.expression.clone())
        moved.mean[jaw] = self.basis.mean[picked]
        moved.identity[:, jaw] = self.basis.identity[:, picked]
        moved.expression[:, jaw] = self.basis.expression[:, picked]
        return view.with_basis(moved)


def sliding_jaw(model: FaceModel) -> SlidingJaw | None:
    """Candidates of a model; None where it has none."""
    rows = model.jaw_contour.long().cpu()
    if not bool((rows >= 0).any()) or "ibug68" not in model.landmarks:
        return None
    corners, weights = corners_of(model, model.landmarks["ibug68"])
    jaw = torch.tensor(IBUG_JAW, device=corners.device)
    width = rows.shape[1] + 1
    # a candidate vertex is a point whose three corners are the same
    candidates = rows.clamp_min(0)[..., None].expand(-1, -1, 3).to(corners)
    places = torch.cat([corners[jaw][:, None], candidates], dim=1).flatten(0, 1)
    alone = weights.new_tensor([1.0, 0.0, 0.0]).expand(17, width - 1, 3)
    shares = torch.cat([weights[jaw][:, None], alone], dim=1).flatten(0, 1)
    present = weights[jaw].sum(-1).cpu() > 0
    valid = torch.cat([present[:, None], rows >= 0], dim=1)
    points, mean = SurfacePoints.of(places, shares), mean_expansion(model)
    normals = _normals(points, mean, model.faces).view(17, width, 3)
    return SlidingJaw(points, points.basis(mean), valid, normals, model.faces)


def _normals(
    points: SurfacePoints, face: Expansion, faces: Int[Tensor, "F 3"]
) -> Float[Tensor, "M 3"]:
    """Unit normals of a face at points."""
    at_points = points.sample(vertex_normals(face.tangent.shape, faces))
    return at_points / at_points.norm(dim=-1, keepdim=True).clamp_min(1e-9)


def with_sliding_jaw(
    found: Sequence[LandmarkView], views: Sequence[View], model: FaceModel
) -> tuple[LandmarkView, ...]:
    """Views whose own landmarks are 68 points, with the jaw that slides in them.

    Dense detections that stand in as 68 points mark the surface, so theirs does not.
    """

    def marks_outline(view: LandmarkView) -> bool:
        own = views[view.index].landmarks
        return own is not None and own.scheme == "ibug68"

    if not any(marks_outline(view) for view in found):
        return tuple(found)
    jaw = sliding_jaw(model)
    return tuple(replace(view, jaw=jaw) if marks_outline(view) else view for view in found)

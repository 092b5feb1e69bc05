"""A fit as a layer: images, cameras and a state in, the refined state out, differentiable throughout.

First a coarse solve by landmarks (`refine_coarse.py`), then map stages of a fixed number of steps
(`refine_maps.py`). Gradients flow from the refined state and its predictions to the state that came
in and to the weights of all terms and priors, which are the layer's parameters. They do not flow to
the images, nor to which triangle a pixel sees.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from hrnfit.camera import Camera
from hrnfit.fit.device import current_device
from hrnfit.fit.refine_coarse import solve_coarse
from hrnfit.fit.refine_maps import refine_maps
from hrnfit.fit.refine_settings import LEVELS, RefineSettings
from hrnfit.fit.refine_views import check_state, framed, sharing_of, views_given
from hrnfit.fit.scene import Scene
from hrnfit.model.face_model import FaceModel
from hrnfit.observe.observation import Landmarks, View
from hrnfit.prediction import Prediction
from hrnfit.render.backend import chosen_backend, rasterizer
from hrnfit.solve.solver import Solution
from hrnfit.state import FaceState, Sharing


@dataclass(frozen=True, eq=False)
class Refined:
    """What a `RefineLayer` returns."""

    state: FaceState
    """The refined unknowns, in the dtype and on the device of the state that went in."""
    levels: Mapping[str, Prediction]
    """What the refined state predicts at `coarse`, `mid` and `fine`: `vertices_world`, `vertices_head`,
    `normals_world`, `image`, `landmark_points(scheme)`, ..., each computed when first read. Pixels are
    those of the windows in `views`, which hold the photographs to compare with."""
    views: tuple[View, ...]
    """The views as they were used."""
    coarse: Solution | None
    """How the coarse solve ended; None without one."""

    def landmarks(self, scheme: str, level: str = "mid") -> Float[Tensor, "V L 2"]:
        """The model's landmarks in the photographs' own pixels, lens distortion included."""
        prediction = self.levels[level]
        found = []
        for v, own in enumerate(prediction.landmark_points(scheme)):
            camera, K = self.views[v].camera.to(own.dtype, own.device), prediction.views.K[v]
            scale = K[0, 0] / camera.K[0, 0]
            shift = K[:2, 2] - scale * camera.K[:2, 2]
            found.append(camera.distort((own - shift) / scale))
        return torch.stack(found)


class RefineLayer(nn.Module):
    """Landmark solve and map steps on a face model, to be trained through.

    Parameters are the logarithms of all weights, `log_weights["stage/name"]`; `weights()` gives the
    weights themselves. What it does, and how gradients are found, is in `settings`.
    """

    def __init__(self, model: FaceModel, settings: RefineSettings | None = None) -> None:
        super().__init__()
        self.settings = settings or RefineSettings()
        first = self.settings.first_weights()
        self.log_weights = nn.ParameterDict(
            {name: nn.Parameter(torch.tensor(w).double().log()) for name, w in first.items()}
        )
        self._model = model
        self._scenes: dict[tuple[torch.dtype, torch.device], Scene] = {}

    def weights(self) -> dict[str, Float[Tensor, ""]]:
        """Every weight by `stage/name`, positive, differentiable in the parameters."""
        return {name: log.exp() for name, log in self.log_weights.items()}

    def forward(
        self,
        images: Sequence[View] | Float[Tensor, "V H W 3"],
        cameras: Sequence[Camera] | None,
        state: FaceState,
        sharing: Sharing | None = None,
        landmarks: Sequence[Landmarks | None] | None = None,
        masks: Float[Tensor, "V H W"] | None = None,
    ) -> Refined:
        """Refine the state of one subject in V views.

        images: linear RGB with one calibrated camera each, all of one instant unless the state says
        otherwise; or views, which bring cameras (then None), landmarks and masks along. state: where it
        starts. sharing: which rows of the state a view uses; by default as many as there are say. landmarks,
        masks: replace those of the views; the coarse solve needs landmarks in at least one view.

        Raises ValueError for arguments that do not fit each other, ImportError where the coarse solve is
        set to run in Theseus, which is not installed.
        """
        views = views_given(images, cameras, landmarks, masks)
        sharing = sharing or sharing_of(views, state)
        check_state(state, sharing, views)
        frames = sharing.frame.tolist()
        views = tuple(replace(view, frame=f) for view, f in zip(views, frames, strict=True))
        with current_device(state.identity.device):
            return self._refined(views, state, sharing)

    def _refined(self, views: tuple[View, ...], state: FaceState, sharing: Sharing) -> Refined:
        """Coarse solve and map steps, on the state's device."""
        scene = self._scene(state, views, sharing)
        solution = None
        if self.settings.coarse is not None:
            offsets = scene.operator(state.deformation.shape[0])(state.deformation)
            state, solution = solve_coarse(
                views, scene.model, state, offsets, self.settings.coarse, self._of("coarse", state)
            )
        for stage in self.settings.maps:
            state = refine_maps(scene, state, stage, self._of(stage.name, state))
        levels = {level: scene.predict(state, self.settings.size, level) for level in LEVELS}
        return Refined(state, levels, views, solution)

    def extra_repr(self) -> str:
        """Model and weights."""
        values = ", ".join(f"{name}={float(w.detach()):.3g}" for name, w in self.weights().items())
        return f"{self._model.info.name!r}, {values}"

    def _of(self, stage: str, state: FaceState) -> dict[str, Tensor]:
        """Weights of one stage by their own names."""
        prefix = f"{stage}/"
        return {
            name.removeprefix(prefix): weight.to(state.identity)
            for name, weight in self.weights().items()
            if name.startswith(prefix)
        }

    def _scene(self, state: FaceState, views: tuple[View, ...], sharing: Sharing) -> Scene:
        """Views around a model in the state's precision, which is kept with all it brings along."""
        dtype, device = state.identity.dtype, state.identity.device
        if (dtype, device) not in self._scenes:
            model = self._model.to(dtype).to(device)
            name = chosen_backend("auto", device)
            # nvdiffrast has no second derivatives; the reference runs anywhere
            backend = rasterizer("reference" if name == "nvdiffrast" else name, device)
            self._scenes[dtype, device] = Scene((), model, sharing, backend, device)
        scene = replace(self._scenes[dtype, device], views=views, sharing=sharing)
        return framed(scene, state)

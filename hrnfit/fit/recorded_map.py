"""A map stage on a CUDA device: one Gauss-Newton iteration is one recorded computation.

Look, light, consensus, equations, damped step and the look at where it leads, all in tensors; the host reads one
small tensor of energies per attempt and decides as on the CPU (`map_stage.py`, whose laws these are). An attempt
that fails is repeated by a second recording, from the equations of the first. Recordings know of a fit only what
they are given, so the next fit with the same model and shapes records nothing.

Memory besides the windows (40 bytes a pixel and view): about 300 bytes per texel and view at the peak, and 106
doubles per node of a deformation map, 34 of a displacement map.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from hrnfit.energy import skin_plain
from hrnfit.energy.light_field import light_of_frames
from hrnfit.energy.shared_albedo import Consensus, TexelViews, centred_columns
from hrnfit.fit.border_tensors import BorderTensors, border_equations, packed, unpacked
from hrnfit.fit.free_map import FreeMap
from hrnfit.fit.map_border import OTHERS
from hrnfit.fit.map_constants import MapConstants
from hrnfit.fit.shared_skin import SkinSettings, focal_columns, pose_columns
from hrnfit.fit.skin_place import SkinPlace, SkinViews, skin_place
from hrnfit.render.rasterizer import Rasterizer
from hrnfit.solve.gauss_newton import moved
from hrnfit.solve.map_newton import MapEquations, solve_map_equations
from hrnfit.solve.solver import Leaves
from hrnfit.solve.stencil import Stencil, node_sums


@dataclass(frozen=True, eq=False)
class MapIteration:
    """The recorded computations of one stage, as functions of tensors."""

    views: SkinViews
    border: BorderTensors
    constants: MapConstants
    free: FreeMap
    names: tuple[str, ...]
    """The free leaves: the map, then those of the border."""
    settings: SkinSettings
    limits: dict[str, float]
    rasterizer: Rasterizer

    def first(self, damping: Tensor, shrink: Tensor, *values: Tensor) -> tuple[Tensor, ...]:
        """From leaves: report, candidate leaves, and what `again` takes.

        The report: energies there (data, smoothness, prior of the border), their sum at the candidate, and the
        relative residual of the step.
        """
        leaves = dict(zip(self.names, values, strict=True))
        on = skin_operations(damping.device)
        place, seen = self._look(leaves)
        light = self._light(place, seen)
        agreed = on.agreement(seen, light, self.settings.kernel_scale)
        equations = self._equations(leaves, place, seen, agreed)
        kept = (light, *_flat(equations))
        here = self._energies(leaves, agreed)
        step = (damping, shrink)
        report, candidate = self._attempt(leaves, light, equations, *step)
        return torch.cat([here, report]), *candidate, *kept

    def again(
        self, damping: Tensor, shrink: Tensor, light: Tensor, *rest: Tensor
    ) -> tuple[Tensor, ...]:
        """Another attempt from the same leaves: the last two entries of the report, candidate leaves.

        rest: the leaves, then what `first` gave after the candidate and the light.
        """
        leaves = dict(zip(self.names, rest[: len(self.names)], strict=True))
        equations = self._unflat(rest[len(self.names) :])
        report, candidate = self._attempt(leaves, light, equations, damping, shrink)
        return report, *candidate

    def _attempt(
        self,
        leaves: Leaves,
        light: Tensor,
        equations: MapEquations,
        damping: Tensor,
        shrink: Tensor,
    ) -> tuple[Float[Tensor, "2"], tuple[Tensor, ...]]:
        change, others, left = solve_map_equations(equations, self.constants.ladder, damping)
        name, *border = self.names
        step = {name: self._leaf(change, leaves[name]), **unpacked(others, leaves, tuple(border))}
        there = moved(leaves, step, self.limits, shrink.to(leaves[name]))
        on = skin_operations(light.device)
        seen = self._look(there)[1]
        agreed = on.agreement(seen, light, self.settings.kernel_scale)
        energy = self._energies(there, agreed).sum()
        return torch.stack([energy, left]), tuple(there[n] for n in self.names)

    def _look(self, leaves: Leaves) -> tuple[SkinPlace, TexelViews]:
        """The derivatives are in the head frame."""
        views, c = self.views, self.constants
        place = self._place(leaves)
        S = views.channels.shape[-1]
        depth = self.rasterizer.rasterize(place.points, c.faces, S, S).depth
        seen = skin_operations(depth.device).read_skin(
            views.channels,
            views.size,
            place.K,
            place.T_cam_head[:, :3],
            place.of_view,
            place.head,
            place.normals,
            depth,
            c.compared,
        )
        return place, seen

    def _place(self, leaves: Leaves) -> SkinPlace:
        c = self.constants
        return skin_place(self.views, leaves, c.texels, c.operator, c.faces)

    def _light(self, place: SkinPlace, seen: TexelViews) -> Float[Tensor, "V P 3"]:
        s = self.settings
        if s.offset <= 0:
            return torch.zeros_like(seen.colour)
        look = (place.normals, place.of_view, place.T_cam_head[:, :3])
        agree = skin_operations(seen.colour.device).agreement
        numbers = (self.constants.texels, s.offset, s.kernel_scale)
        return light_of_frames(seen, *look, *numbers, agree=agree)

    def _energies(self, leaves: Leaves, agreed: Consensus) -> Float[Tensor, "3"]:
        """Data, smoothness, prior of the border."""
        x = self._channels(leaves[self.names[0]])
        smooth = (x * self.constants.regulariser(x[None])[0]).sum()
        if self.free.name == "deformation":
            smooth = smooth + (self._slid(x) * self._pull(x)).sum()
        prior = (self.border.prior * self._moved(leaves).square()).sum()
        return torch.stack([agreed.energy.double(), smooth, prior])

    def _equations(
        self, leaves: Leaves, place: SkinPlace, seen: TexelViews, agreed: Consensus
    ) -> MapEquations:
        c, k = self.constants, self.free.grid.channels
        columns = self._columns(place, seen)
        on = skin_operations(columns.device)
        values, nodes = on.texel_equations(columns, agreed), self.free.grid.nodes
        data, pull = node_sums(values, c.texels.places, c.ramps, k * k)
        blocks = data.view(9, k, k, nodes, nodes) + c.regulariser.blocks
        stencil = Stencil(blocks, c.regulariser.form)
        x = self._channels(leaves[self.names[0]])
        gradient = pull + c.regulariser(x[None])[0]
        if self.free.name == "deformation":
            blocks[4] += self.views.sliding
            gradient = gradient + self._pull(x)
        own = self._border_columns(leaves, place, seen)
        if own is None:
            q = self.border.prior.new_zeros
            outer = (q(0, k, nodes, nodes), q(0, 0), q(0))
        else:
            centred = centred_columns(columns, agreed)
            outer = border_equations(
                own, centred, agreed, self.border, self._moved(leaves), c.texels, c.ramps
            )
        return MapEquations(stencil, gradient, self._stiffness(stencil), *outer)

    def _slid(self, x: Float[Tensor, "3 D D"]) -> Float[Tensor, "3 D D"]:
        """Moves since the stage began."""
        return x - self.views.deformation.movedim(-1, 0).double()

    def _pull(self, x: Float[Tensor, "3 D D"]) -> Float[Tensor, "3 D D"]:
        """Gradient (half) of what holds sliding skin."""
        return (self.views.sliding * self._slid(x)).sum(1)

    def _stiffness(self, stencil: Stencil) -> Float[Tensor, "k D D"]:
        """The diagonal; of rows that of the map that they have in common, as in `solve_tied`."""
        own = stencil.diagonal()
        return own if self.free.rows == 1 else own[:1].expand_as(own)

    def _columns(self, place: SkinPlace, seen: TexelViews) -> Float[Tensor, "V P 3 k"]:
        """As `FreeMap.columns`, rows in `MapConstants.basis`."""
        if self.free.name == "deformation":
            return seen.jacobian
        along = skin_operations(seen.jacobian.device).slopes_along
        return along(
            seen.jacobian, place.normals, place.of_view, self.constants.basis, self.views.row
        )

    def _border_columns(
        self, leaves: Leaves, place: SkinPlace, seen: TexelViews
    ) -> Float[Tensor, "V P 3 o"] | None:
        frame, parts = self.views.frame, []
        if not {"pose", "log_focal"} & set(leaves):
            return None
        R, t = place.T_cam_head[:, :3, :3], place.T_cam_head[:, None, :3, 3]
        J, x_cam = seen.jacobian @ R.mT[:, None], place.head[place.of_view] @ R.mT + t
        if "pose" in leaves:
            rotation = leaves["pose"][frame, :3]
            head, T = place.T_world_head[frame], self.views.T_cam_world
            parts.append(pose_columns(J, x_cam, T, head, rotation))
        if "log_focal" in leaves:
            parts.append(focal_columns(J, x_cam))
        return torch.cat(parts, dim=-1)

    def _moved(self, leaves: Leaves) -> Float[Tensor, "q"]:
        names = tuple(n for n in OTHERS if n in leaves)
        return packed(leaves, names, self.border.start) - self.border.start

    def _channels(self, leaf: Tensor) -> Float[Tensor, "k D D"]:
        """The map as the equations have it: channels first, float64, rows in `MapConstants.basis`."""
        if self.free.name == "deformation":
            return leaf.movedim(-1, 0).double()
        return torch.tensordot(self.constants.basis, leaf.double(), 1)

    def _leaf(self, maps: Float[Tensor, "k D D"], like: Tensor) -> Tensor:
        """Inverse of `_channels`."""
        if self.free.name == "deformation":
            return maps.movedim(0, -1).to(like)
        return torch.tensordot(self.constants.basis.T, maps, 1).to(like)

    def _unflat(self, parts: tuple[Tensor, ...]) -> MapEquations:
        return MapEquations(Stencil(parts[0], self.constants.regulariser.form), *parts[1:])


def _flat(equations: MapEquations) -> tuple[Tensor, ...]:
    """Inverse of `MapIteration._unflat`."""
    e = equations
    return (e.stencil.blocks, e.gradient, e.stiffness, e.coupling, e.corner, e.corner_gradient)


def skin_operations(device: torch.device) -> Any:
    """The module of the shared albedo's operations on a device."""
    if device.type == "cuda":
        from hrnfit.energy import skin_cuda  # local: triton

        return skin_cuda
    return skin_plain

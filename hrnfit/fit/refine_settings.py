"""What a `RefineLayer` does: one coarse solve, then map stages. Values only.

Weights here are where training starts; the layer keeps their logarithms as its parameters.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hrnfit.check import check_one_of
from hrnfit.energy.kernel import KERNELS
from hrnfit.fit.first_order_stage import RATES, TermWeight
from hrnfit.fit.terms import TERMS
from hrnfit.solve.unrolled import AdamSteps, GradientSteps, check_rates

COARSE_LEAVES = ("identity", "expression", "pose", "log_focal")
"""Leaves that landmarks determine."""

TWICE = (
    *("landmark", "photometric", "contour", "contour_rows", "silhouette"),
    *("deformation_tv", "deformation_bending", "deformation_size", "rigidity", "fold"),
    *("displacement_size", "displacement_tv", "identity_prior", "expression_prior"),
    *("expression_bounds", "albedo_prior", "light_colour", "light_softness", "light_positivity"),
    *("focal_prior", "camera_prior", "albedo_map_size", "albedo_map_tv", "albedo_map_chroma"),
)
"""Terms whose slope can be differentiated: each is tested against finite differences."""

SOLVERS = ("theseus", "own")
BACKWARD = ("implicit", "gauss_newton", "unroll")
JAWS = ("outline", "surface")
LEVELS = ("coarse", "mid", "fine")


@dataclass(frozen=True)
class CoarseSolve:
    """Landmarks of all views, and Gaussian priors around the state that came in."""

    free: tuple[str, ...] = COARSE_LEAVES
    """`log_focal` is free in views whose camera is unknown, and held elsewhere."""
    evidence: float = 60.0
    """Independent landmarks that one view's points are worth (`LandmarkStart.evidence`)."""
    view_gain: float = 0.5
    """Evidence of n views of one frame grows as n to this power."""
    identity_deviation: float = 0.3
    """Prior on each coefficient's change, standard deviations of the model."""
    expression_deviation: float | None = None
    """The same for expression; None: 0.2 for activations of blendshapes, else 1."""
    rotation_deviation: float = 0.1
    """Prior on the change of the head's pose, rad."""
    translation_deviation: float = 30.0
    """The same, mm."""
    focal_deviation: float = 0.05
    """Prior on the change of the log focal factor."""
    kernel: str = "cauchy"
    """One of `energy.kernel.KERNELS`."""
    jaw: str = "outline"
    """What the jaw of given 68 points marks: the `outline` in the picture, or the `surface`."""
    max_steps: int = 50
    tolerance: float = 1e-9
    """Relative fall of the energy at which it ends."""
    solver: str = "theseus"
    """`theseus`, or the library's `own` Levenberg-Marquardt, which needs nothing installed."""
    backward: str = "implicit"
    """`implicit`: the implicit function theorem with the full Hessian (`solve/implicit.py`), exact at the
    minimum. `gauss_newton`: Theseus' own implicit step; its gradients were off by 1 to 5 % under kernel
    `square` where landmarks miss by some 2 mm, and by 12 to 130 % under `cauchy`. `unroll`: through all
    steps of Theseus, whose start is then taken as a constant."""

    def __post_init__(self) -> None:
        _check_free(self.free, COARSE_LEAVES)
        check_one_of("kernel", self.kernel, KERNELS)
        check_one_of("solver", self.solver, SOLVERS)
        check_one_of("backward", self.backward, BACKWARD)
        if self.solver == "own" and self.backward != "implicit":
            raise ValueError(
                f"backward: {self.backward!r} is Theseus' alone; with solver='own' take 'implicit'"
            )
        check_one_of("jaw", self.jaw, JAWS)


@dataclass(frozen=True)
class MapStage:
    """A fixed number of differentiable steps on some leaves, by rendering or by terms of the maps alone."""

    name: str
    """Unique among the stages; weights are called `name/term`."""
    terms: Mapping[str, TermWeight]
    """Terms of `fit/terms.py` that can be differentiated twice, each with a first weight above 0."""
    method: GradientSteps | AdamSteps
    """Steps, rates of the free leaves, and how many of the steps derivatives flow through."""
    free: tuple[str, ...] = ("deformation",)
    level: str = "mid"
    """`coarse`, `mid` or `fine`: what is rendered."""
    size: int = 64
    """Window, px."""

    def __post_init__(self) -> None:
        if not self.name or "." in self.name or "/" in self.name:
            raise ValueError(f"stage: expected a name without '.' and '/', got {self.name!r}")
        where = f"stage {self.name!r}: "
        if not self.terms:
            raise ValueError(f"{where}no terms; a stage needs at least one")
        for name, term in self.terms.items():
            check_one_of(f"{where}term", name, TERMS)
            if name not in TWICE:
                raise ValueError(
                    f"{where}term {name!r} cannot be differentiated twice, so steps under it have no "
                    f"gradient; possible: {', '.join(TWICE)}"
                )
            check_one_of(f"{where}kernel of {name!r}", term.kernel, KERNELS)
            if not 0.0 < term.weight < float("inf"):
                raise ValueError(
                    f"{where}weight of {name!r}: its logarithm is trained, so expected a finite number "
                    f"> 0, got {term.weight}; leave the term out to drop it"
                )
        check_one_of(f"{where}level", self.level, LEVELS)
        _check_free(self.free, tuple(RATES))
        check_rates(self.method.rates, self.free)
        if self.size < 1:
            raise ValueError(f"{where}size: expected a positive number of px, got {self.size}")


def default_maps() -> tuple[MapStage, ...]:
    """One mid stage: the deformation map follows the photographs and stays smooth.

    Gradients flow through three of its ten steps. Steps that go far over sharp skin amplify what little
    the first one changed: on a synthetic face the gradient in the logarithm of the weight of smoothness
    had the wrong sign at 0.01 and below through all ten, and the right one at every weight through three.
    """
    terms = {"photometric": TermWeight(1.0, "abs"), "deformation_tv": TermWeight(0.1)}
    steps = GradientSteps({"deformation": 0.5}, steps=10, momentum=0.8, truncate=3)
    return (MapStage("mid", terms, steps, size=96),)


@dataclass(frozen=True)
class RefineSettings:
    """A coarse solve and the map stages after it."""

    coarse: CoarseSolve | None = field(default_factory=CoarseSolve)
    """None: coefficients and pose stay as they come in."""
    maps: tuple[MapStage, ...] = field(default_factory=default_maps)
    size: int = 128
    """Window of the predictions that come back, px."""

    def __post_init__(self) -> None:
        names = [*(["coarse"] if self.coarse else []), *(stage.name for stage in self.maps)]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"stages: {', '.join(twice)} named twice; give each its own name")

    def first_weights(self) -> dict[str, float]:
        """Every weight by `stage/name`, where training starts. Those of the coarse solve are factors on
        its evidence and on its priors, 1."""
        weights = {}
        if self.coarse is not None:
            weights |= {f"coarse/{name}": 1.0 for name in ("landmark", *self.coarse.free)}
        for stage in self.maps:
            weights |= {f"{stage.name}/{name}": t.weight for name, t in stage.terms.items()}
        return weights


def _check_free(free: tuple[str, ...], known: tuple[str, ...]) -> None:
    if not free:
        raise ValueError(f"free: no leaf is free; possible: {', '.join(known)}")
    for name in free:
        check_one_of("free", name, known)

"""A recipe: who shares what, and the stages of a fit in order. Read from YAML, checked key by key
(`recipe_values.py`).
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml

from hrnfit.fit.coefficient_stage import CoefficientSettings
from hrnfit.fit.first_order_stage import FirstOrderSettings
from hrnfit.fit.initialize import LandmarkStart
from hrnfit.fit.map_stage import MapSettings
from hrnfit.fit.recipe_values import build
from hrnfit.fit.surface_stage import SurfaceSettings

Solver = Literal["map", "coefficients", "surface", "adam", "lbfgs"]
SETTINGS: dict[str, type] = {
    "map": MapSettings,
    "coefficients": CoefficientSettings,
    "surface": SurfaceSettings,
    "adam": FirstOrderSettings,
    "lbfgs": FirstOrderSettings,
}
SHARES = ("view", "frame", "subject")
STARTS = ("auto", "networks", "landmarks")
APPEARANCES = ("fit", "start")


@dataclass(frozen=True)
class Share:
    """Which views share a row of the light and of the displacement map."""

    light: str = "view"
    """`view`, `frame` (one light per instant) or `subject`."""
    displacement: str = "subject"
    """`view` as in the paper, `frame`, or `subject`."""


@dataclass(frozen=True)
class Resolution:
    """Texels per side of the maps."""

    deformation: int = 64
    displacement: int = 256
    albedo: int = 512


@dataclass(frozen=True)
class Stage:
    """One solve: what is free, at which level, by which solver with which settings."""

    name: str
    level: str
    solver: str
    free: tuple[str, ...]
    settings: Any
    """An instance of `SETTINGS[solver]`."""


@dataclass(frozen=True)
class Recipe:
    """Everything about a fit but its input and its model."""

    name: str
    description: str = ""
    share: Share = field(default_factory=Share)
    resolution: Resolution = field(default_factory=Resolution)
    initialize: str = "auto"
    """What the first stage starts from: `networks`, falling back to landmarks with a warning when there are
    no weights for the model; `landmarks`; or `auto`, networks when there are weights, else landmarks."""
    start: LandmarkStart = field(default_factory=LandmarkStart)
    """Of the landmark start, which also comes before the networks: it finds bad views and focal lengths."""
    appearance: str = "fit"
    """Light and albedo of the result: `fit`, solved from the photographs at the end, or `start`, what the
    networks say, where there are any."""
    stages: tuple[Stage, ...] = ()

    @cached_property
    def text(self) -> str:
        """The recipe as YAML, with every default spelled out; writing it takes 25 ms."""
        document = dataclasses.asdict(self)
        document["stages"] = [_stage_document(stage) for stage in self.stages]
        return yaml.safe_dump(_plain(document), sort_keys=False)


def recipe_names() -> list[str]:
    """Recipes that ship with the library."""
    return sorted(path.stem for path in _folder().iterdir() if path.name.endswith(".yaml"))


def load_recipe(name_or_path: str | Path, overrides: Mapping[str, object] | None = None) -> Recipe:
    """A recipe by name or from a YAML file, with single entries replaced.

    overrides: dotted key -> value, such as {"stages.skin-384.steps": 5}; a stage by name or number.
    Raises FileNotFoundError naming the known recipes, ValueError for unknown keys and wrong types.
    """
    path = Path(name_or_path)
    if path.suffix not in (".yaml", ".yml"):
        path = _folder() / f"{name_or_path}.yaml"
    if not path.is_file() and Path(name_or_path).is_file():
        raise ValueError(f"recipe {name_or_path}: expected a file that ends in .yaml or .yml")
    if not path.is_file():
        raise FileNotFoundError(
            f"recipe {str(name_or_path)!r}: no such recipe; known are {', '.join(recipe_names())}, "
            "or give the path of a YAML file"
        )
    content = path.read_bytes()
    if not overrides:
        return _as_written(content, path)
    document = copy.deepcopy(_parsed(content, path))
    for key, value in overrides.items():
        _override(document, key.split("."), value, key)
    return recipe_from(document, f"recipe {path.stem}")


@lru_cache(maxsize=16)
def _as_written(content: bytes, path: Path) -> Recipe:
    """The recipe of a file; the same object for the same content, which takes 15 ms to read."""
    return recipe_from(_parsed(content, path), f"recipe {path.stem}")


@lru_cache(maxsize=16)
def _parsed(content: bytes, path: Path) -> dict[str, Any]:
    """The YAML values of a file; not to be changed."""
    try:
        document = yaml.safe_load(content.decode("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"recipe {path}: not valid YAML: {error}") from error
    if not isinstance(document, dict):
        raise ValueError(f"recipe {path}: expected a mapping with name and stages")
    return document


def recipe_from(document: Mapping[str, Any], where: str = "recipe") -> Recipe:
    """A recipe from plain YAML values; ValueError names what is wrong and where."""
    plain = {key: value for key, value in document.items() if key != "stages"}
    recipe = build(Recipe, plain, where, allowed={"stages"})
    for name in ("light", "displacement"):
        value = getattr(recipe.share, name)
        if value not in SHARES:
            raise ValueError(f"{where}: share.{name}: expected {', '.join(SHARES)}, got {value!r}")
    for name, known in (("initialize", STARTS), ("appearance", APPEARANCES)):
        value = getattr(recipe, name)
        if value not in known:
            raise ValueError(f"{where}: {name}: expected {', '.join(known)}, got {value!r}")
    stages = document.get("stages") or []
    if not isinstance(stages, list):
        raise ValueError(f"{where}: stages: expected a list")
    built = tuple(_stage(entry, f"{where}: stage {i}") for i, entry in enumerate(stages))
    names = [stage.name for stage in built]
    if len(set(names)) != len(names):
        raise ValueError(f"{where}: stages need different names, got {', '.join(names)}")
    return replace(recipe, stages=built)


def _stage(entry: Any, where: str) -> Stage:
    """A stage; every key that is not of the stage itself is one of its solver's settings."""
    if not isinstance(entry, Mapping):
        raise ValueError(f"{where}: expected a mapping with name, solver, level and free")
    values = dict(entry)
    head = {k: values.pop(k, None) for k in ("name", "level", "solver", "free")}
    for key in ("name", "solver", "free"):
        if not head[key]:
            raise ValueError(f"{where}: missing {key}")
    where = f"{where} ({head['name']})"
    solver = head["solver"]
    if solver not in SETTINGS:
        raise ValueError(f"{where}: solver: expected {', '.join(SETTINGS)}, got {solver!r}")
    level = head["level"] or "mid"
    if level not in ("coarse", "mid", "fine"):
        raise ValueError(f"{where}: level: expected coarse, mid or fine, got {level!r}")
    free = tuple(head["free"]) if isinstance(head["free"], list) else (str(head["free"]),)
    allowed = SETTINGS[solver].LEAVES
    for name in free:
        if name not in allowed:
            raise ValueError(f"{where}: free: {solver} moves {', '.join(allowed)}, not {name!r}")
    settings = build(SETTINGS[solver], values, where)
    return Stage(str(head["name"]), level, solver, free, settings)


def _override(document: Any, path: list[str], value: object, key: str) -> None:
    """Replace one entry of the raw document; a list's entries are found by name or number."""
    for i, part in enumerate(path):
        last = i == len(path) - 1
        if isinstance(document, list):
            names = [
                str(e.get("name", n)) if isinstance(e, dict) else str(n)
                for n, e in enumerate(document)
            ]
            if part not in names and not (part.isdigit() and int(part) < len(document)):
                raise ValueError(f"--set {key}: no {part!r} here; known: {', '.join(names)}")
            at: Any = names.index(part) if part in names else int(part)
        else:
            at = part
            if not last and part not in document:
                document[part] = {}
        if last:
            document[at] = value
        else:
            document = document[at]
            if not isinstance(document, (dict, list)):
                raise ValueError(f"--set {key}: {part!r} is a value and has no entries")


def _stage_document(stage: Stage) -> dict[str, Any]:
    head = {k: getattr(stage, k) for k in ("name", "level", "solver", "free")}
    return {**head, **dataclasses.asdict(stage.settings)}


def _plain(value: Any) -> Any:
    """Tuples as lists, for YAML."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def _folder() -> Path:
    """`recipes/` of the installed package, or of a source checkout."""
    package = Path(str(resources.files("hrnfit")))
    installed = package / "recipes"
    return installed if installed.is_dir() else package.parent / "recipes"

"""A recipe: who shares what, and the stages of a fit in order. Read from YAML, checked key by key.

An unknown key is an error that names the nearest known one; a number that YAML reads as text
(`1e-3`) is taken as the number it looks like.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml

from hrnfit.fit.coefficient_stage import CoefficientSettings
from hrnfit.fit.first_order_stage import FirstOrderSettings
from hrnfit.fit.initialize import LandmarkStart
from hrnfit.fit.map_stage import MapSettings
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
LEAST = {"size": 16, "texels": 8, "steps": 1, "rounds": 1, "max_steps": 1}
LEAST |= {"deformation": 4, "displacement": 8, "albedo": 8}
"""Smallest value of a setting; of the others 0, without 0 itself where they divide (`_deviation`,
`_scale`)."""
MOST: dict[str, int] = dict.fromkeys(
    ("size", "texels", "deformation", "displacement", "albedo"), 8192
)
"""Largest side of a window or a map: ten maps of 8192 texels take 8 GB."""


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

    @property
    def text(self) -> str:
        """The recipe as YAML, with every default spelled out."""
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
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"recipe {path}: not valid YAML: {error}") from error
    if not isinstance(document, dict):
        raise ValueError(f"recipe {path}: expected a mapping with name and stages")
    for key, value in (overrides or {}).items():
        _override(document, key.split("."), value, key)
    return recipe_from(document, f"recipe {path.stem}")


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


def build(kind: type, values: Any, where: str, allowed: set[str] | None = None) -> Any:
    """A dataclass from a mapping: unknown keys and wrong types are errors, numbers as text are not."""
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}: expected a mapping, got {values!r}")
    hints = typing.get_type_hints(kind)
    known = [f.name for f in dataclasses.fields(kind)]
    for key in values:
        if key not in known and key not in (allowed or set()):
            nearest = difflib.get_close_matches(str(key), [*known, *(allowed or ())], 1, 0.0)
            hint = f"did you mean {nearest[0]!r}? " if nearest else ""
            raise ValueError(f"{where}: unknown key {key!r}; {hint}known: {', '.join(known)}")
    arguments = {k: convert(hints[k], v, f"{where}: {k}") for k, v in values.items() if k in known}
    for key, value in arguments.items():
        if hints[key] in (int, float):
            _check_range(key, value, f"{where}: {key}")
    missing = [
        f.name
        for f in dataclasses.fields(kind)
        if f.default is dataclasses.MISSING
        and f.default_factory is dataclasses.MISSING
        and f.name not in arguments
    ]
    if missing:
        raise ValueError(f"{where}: missing {', '.join(missing)}")
    return kind(**arguments)


def convert(hint: Any, value: Any, where: str) -> Any:
    """A YAML value as the type a field declares."""
    origin = typing.get_origin(hint)
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where)  # type: ignore[arg-type]
    if origin in (typing.Union, types.UnionType):
        options = [o for o in typing.get_args(hint) if o is not type(None)]
        return None if value is None else convert(options[0], value, where)
    if origin is tuple:
        values = value if isinstance(value, (list, tuple)) else [value]
        return tuple(convert(typing.get_args(hint)[0], v, where) for v in values)
    if origin in (dict, Mapping) or (origin is not None and origin.__name__ == "Mapping"):
        if not isinstance(value, Mapping):
            raise ValueError(f"{where}: expected a mapping, got {value!r}")
        inner = typing.get_args(hint)[1]
        return {str(k): convert(inner, v, f"{where}.{k}") for k, v in value.items()}
    if hint in (int, float):
        return _number(hint, value, where)
    if hint is bool and not isinstance(value, bool):
        raise ValueError(f"{where}: expected true or false, got {value!r}")
    if hint is str and not isinstance(value, (str, int, float)):
        raise ValueError(f"{where}: expected text, got {value!r}")
    return str(value) if hint is str else value


def _check_range(key: str, value: float, where: str) -> None:
    least, most = LEAST.get(key, 0), MOST.get(key, math.inf)
    if value < least or value > most:
        limits = f"at least {least}" if most == math.inf else f"{least} to {most}"
        raise ValueError(f"{where}: expected {limits}, got {value:g}")
    if value == 0 and key.endswith(("_deviation", "_scale")):
        raise ValueError(f"{where}: expected a number above 0, got 0; 1e-6 holds it fixed")


def _number(kind: type, value: Any, where: str) -> Any:
    try:
        if not math.isfinite(float(value)):
            raise ValueError
        if isinstance(value, bool) or (kind is int and float(value) != int(float(value))):
            raise ValueError
        return kind(float(value))
    except (TypeError, ValueError, OverflowError):
        noun = "a whole number" if kind is int else "a number"
        raise ValueError(f"{where}: expected {noun}, got {value!r}") from None


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

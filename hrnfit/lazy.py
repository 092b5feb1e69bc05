"""Lazy values of an object that know which unknowns they depend on, so that the others can be kept.

A solve moves a few unknowns, and evaluates an object of lazy values at each of its steps. Values that
depend on none of the moving unknowns are the same at every step: they are asked of `Fixed`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Fixed:
    """Where an object finds the values that a solve does not move."""

    moving: frozenset[str]
    """Unknowns that move."""
    value: Callable[[str], Any]
    """Value of a lazy attribute by its name."""


class Lazy(cached_property[T]):
    """A cached property of an object with a field `fixed`, and the unknowns that it depends on."""

    def __init__(self, compute: Callable[[Any], T], unknowns: tuple[str, ...]) -> None:
        super().__init__(compute)
        self.unknowns = frozenset(unknowns)

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> Any:
        if instance is None:
            return self
        fixed: Fixed | None = instance.fixed
        name = self.attrname
        if fixed is None or name is None or not self.unknowns.isdisjoint(fixed.moving):
            return super().__get__(instance, owner)
        instance.__dict__[name] = fixed.value(name)
        return instance.__dict__[name]


def lazy(*unknowns: str) -> Callable[[Callable[[Any], T]], Lazy[T]]:
    """Computed when first asked for; a function of these unknowns and of constants."""

    def of(compute: Callable[[Any], T]) -> Lazy[T]:
        return Lazy(compute, unknowns)

    return of

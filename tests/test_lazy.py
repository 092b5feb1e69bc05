"""Lazy values: computed once, and asked of `Fixed` when nothing that moves is among their unknowns."""

from __future__ import annotations

from dataclasses import dataclass, field

from hrnfit.lazy import Fixed, lazy


@dataclass(frozen=True, eq=False)
class Sum:
    calls: list[str] = field(default_factory=list)
    fixed: Fixed | None = None

    @lazy("x")
    def left(self) -> int:
        self.calls.append("left")
        return 1

    @lazy("x", "y")
    def both(self) -> int:
        self.calls.append("both")
        return self.left + 1


def test_a_value_is_computed_once_and_when_asked_for():
    owner = Sum()
    assert owner.calls == []
    assert (owner.both, owner.both) == (2, 2)
    assert owner.calls == ["both", "left"]


def test_what_does_not_move_is_asked_of_the_fixed_values():
    asked = []

    def value(name: str) -> int:
        asked.append(name)
        return 10

    owner = Sum(fixed=Fixed(frozenset({"y"}), value))
    assert (owner.both, owner.both) == (11, 11)
    assert (owner.calls, asked) == (["both"], ["left"])

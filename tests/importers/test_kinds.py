"""The table of importers: what it says of options."""

from __future__ import annotations

from pathlib import Path

import pytest

from hrnfit.importers.kinds import KINDS, ImportOptions, import_model


def test_options_that_mean_nothing_are_refused():
    with pytest.raises(
        ValueError, match=r"part: the kind 'bfm17' has no such option; it takes --extras"
    ):
        import_model("bfm17", Path("x"), "x", ImportOptions(part="face"))
    with pytest.raises(
        ValueError, match="modes: the kind 'npz' has no such option; it takes no option"
    ):
        import_model("npz", Path("x"), "x", ImportOptions(modes=3))
    with pytest.raises(ValueError, match="modes: expected 1 or more, got 0"):
        import_model("bfm19", Path("x"), "x", ImportOptions(modes=0))
    with pytest.raises(FileNotFoundError, match="no such file"):
        import_model("bfm19", Path("x"), "x", ImportOptions(modes=1))


def test_options_are_those_there_are():
    names = set(ImportOptions.__dataclass_fields__)
    assert all(set(kind.takes) <= names for kind in KINDS.values())

"""What a fit is made of and under which terms: the table of parts, and the check for commercial use.

The one source of truth: docs/licences.md is written from it, `hrnfit licences` and `result.json` quote
it. Nothing heavy is imported here, and no model is read: terms of a model are in `model/terms.py`.
"""

from hrnfit.licences.part import Commercial, LicenceError, Part, PartKind, check_commercial
from hrnfit.licences.table import PARTS, is_installed, known_part

__all__ = [
    "PARTS",
    "Commercial",
    "LicenceError",
    "Part",
    "PartKind",
    "check_commercial",
    "is_installed",
    "known_part",
]

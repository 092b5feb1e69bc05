"""Stated licences and what they mean."""

from __future__ import annotations

import pytest

from hrnfit.licences.spdx import Terms, terms_of_expression, terms_of_text

P, W, U, C, N = (
    Terms.PERMISSIVE,
    Terms.WEAK_COPYLEFT,
    Terms.UNKNOWN,
    Terms.COPYLEFT,
    Terms.NON_COMMERCIAL,
)


@pytest.mark.parametrize(
    ("expression", "terms"),
    [
        ("MIT", P),
        ("BSD-3-Clause AND 0BSD AND MIT AND Zlib AND CC0-1.0", P),
        ("Apache-2.0 WITH LLVM-exception", P),
        ("MPL-2.0", W),
        ("LGPL-2.1-or-later", W),
        ("GPL-3.0-only", C),
        ("AGPL-3.0-or-later", C),
        ("MIT OR GPL-2.0", P),  # the better one may be taken
        ("MIT AND GPL-2.0", C),  # both apply
        ("MIT AND (LGPL-2.1 OR GPL-2.0)", W),
        ("GPL-2.0 OR MIT AND LGPL-3.0", W),  # AND binds tighter
        ("CC-BY-NC-4.0", N),
        ("MIT OR LicenseRef-ours", P),
        ("MIT AND LicenseRef-ours", U),
        ("LicenseRef-ours", U),
        ("MIT AND", U),
        ("(MIT", U),
        ("MIT)", U),
        ("", U),
    ],
)
def test_expressions(expression, terms):
    assert terms_of_expression(expression) is terms


@pytest.mark.parametrize(
    ("text", "terms"),
    [
        ("BSD License", P),
        ("BSD", P),
        ("Apache 2.0", P),
        ("Python Software Foundation License", P),
        ("ISC License (ISCL)", P),
        ("Mozilla Public License 2.0 (MPL 2.0)", W),
        ("GNU Lesser General Public License v3 (LGPLv3)", W),
        ("GNU General Public License v3 (GPLv3)", C),
        ("GNU Affero General Public License v3", C),
        ("Free for non-commercial use", N),
        ("for research only", N),
        ("MIT OR Apache-2.0", P),
        ("Permission is hereby granted, free of charge, to any person ...", P),
        ("Redistribution and use in source and binary forms, with or without ...", P),
        ("limited to whom it concerns", U),
        ("", U),
    ],
)
def test_names_and_texts(text, terms):
    assert terms_of_text(text) is terms


def test_what_is_to_be_looked_at():
    assert [t.label for t in Terms if t.flagged] == ["unknown", "copyleft", "non commercial"]

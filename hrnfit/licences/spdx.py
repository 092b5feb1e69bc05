"""What a stated software licence means: permissive, weak or strong copyleft, non-commercial, unknown.

SPDX expressions are read with their precedence (WITH, AND, OR): of alternatives the best may be taken,
and of what applies together the worst counts. Names and whole texts are recognised by their words.
"""

from __future__ import annotations

import re
from enum import IntEnum


class Terms(IntEnum):
    """From the best to the worst."""

    PERMISSIVE = 0
    WEAK_COPYLEFT = 1
    """Changes to its own files are to be published (MPL), or it must stay replaceable (LGPL)."""
    UNKNOWN = 2
    COPYLEFT = 3
    """What contains it falls under it too (GPL, AGPL)."""
    NON_COMMERCIAL = 4

    @property
    def label(self) -> str:
        return self.name.lower().replace("_", " ")

    @property
    def flagged(self) -> bool:
        """Whether it is to be looked at before a product contains it."""
        return self >= Terms.UNKNOWN


WORDS: tuple[tuple[Terms, str], ...] = (
    (
        Terms.NON_COMMERCIAL,
        r"non-?\s?commercial|\bCC[- ]BY[- ]NC|research (purposes? )?only|\bPolyForm[- ]Noncommercial",
    ),
    (
        Terms.WEAK_COPYLEFT,
        r"\bLGPL|lesser general public|library general public|\bMPL\b|mozilla public|\bEPL\b|\bCDDL\b",
    ),
    (Terms.COPYLEFT, r"\bA?GPL|general public license|\bEUPL\b|\bSSPL\b|\bOSL\b"),
    (
        Terms.PERMISSIVE,
        r"\b0?BSD|\bMIT\b|\bMIT-|apache|\bISC\b|\bZlib|\bPSF\b|python software foundation|\bHPND|\bBSL\b"
        r"|\bBSL-1|boost software|unlicense|\bCC0|public domain|\bNCSA\b|\bPython-2"
        r"|permission is hereby granted, free of charge|redistribution and use in source and binary forms",
    ),
)
"""Looked for in this order: the text of the LGPL names the GPL, and notices of Apache quote others."""


def terms_of_text(text: str) -> Terms:
    """Terms of a licence's name or whole text, by its words; of an expression by its operators."""
    if re.search(r"\s(OR|AND|WITH)\s", text) and len(text) < 400:
        return terms_of_expression(text)
    for terms, words in WORDS:
        if re.search(words, text, re.IGNORECASE):
            return terms
    return Terms.UNKNOWN


def terms_of_expression(expression: str) -> Terms:
    """Terms of an SPDX expression; `UNKNOWN` when it is not one."""
    tokens = re.findall(r"[()]|[^\s()]+", expression)
    try:
        terms, rest = _either(tokens)
    except IndexError:
        return Terms.UNKNOWN
    return terms if not rest else Terms.UNKNOWN


def _either(tokens: list[str]) -> tuple[Terms, list[str]]:
    """Alternatives: the best counts."""
    terms, rest = _together(tokens)
    while rest and rest[0].upper() == "OR":
        other, rest = _together(rest[1:])
        terms = min(terms, other)
    return terms, rest


def _together(tokens: list[str]) -> tuple[Terms, list[str]]:
    """What applies together: the worst counts."""
    terms, rest = _single(tokens)
    while rest and rest[0].upper() == "AND":
        other, rest = _single(rest[1:])
        terms = max(terms, other)
    return terms, rest


def _single(tokens: list[str]) -> tuple[Terms, list[str]]:
    """A name, with its exception, or an expression in parentheses."""
    if tokens[0] == "(":
        terms, rest = _either(tokens[1:])
        if rest[0] != ")":
            return Terms.UNKNOWN, rest
        return terms, rest[1:]
    terms, rest = terms_of_text(tokens[0]), tokens[1:]
    if rest and rest[0].upper() == "WITH":
        rest = rest[2:]
    return terms, rest

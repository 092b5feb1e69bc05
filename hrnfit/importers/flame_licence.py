"""Which licence a FLAME file was given out under: told by its checksum, or by the user.

Releases 2017 to 2023 are for non-commercial research; FLAME 2023 Open is CC-BY 4.0 with a list of
prohibited uses. The archives name their files alike, so neither name nor content is proof; checksums
are (as published by several projects that pin them).
"""

from __future__ import annotations

from dataclasses import dataclass

from hrnfit.model.face_model import ModelInfo

OPEN, ACADEMIC = "cc-by-4.0", "non-commercial"

SOURCE = "FLAME, Max Planck Institute for Intelligent Systems (flame.is.tue.mpg.de)"

CITATION = (
    "cite Li, Bolkart, Black, Li, Romero: Learning a model of facial shape and expression from 4D "
    "scans, ACM Transactions on Graphics 36(6), 2017"
)

LICENCES = {
    OPEN: ("CC-BY 4.0 (FLAME 2023 Open), (c) Max-Planck-Gesellschaft", True),
    ACADEMIC: ("FLAME academic model licence, non-commercial, (c) Max-Planck-Gesellschaft", False),
}
"""Text, and whether it permits commercial use."""


@dataclass(frozen=True)
class Release:
    """One published file."""

    name: str
    licence: str


RELEASES = {
    "efcd14cc4a69f3a3d9af8ded80146b5b6b50df3bd74cf69108213b144eba725b": Release(
        "FLAME 2020", ACADEMIC
    ),
    "8fb1af0db1abb51053ead8fd1f2624a63d01c9602f4a4fb4ea23bd2c82017fa0": Release(
        "FLAME 2023", ACADEMIC
    ),
    "e75a0990728ba038c7da2a420ae4396f7ddd7781366c13026066c5b24f127623": Release(
        "FLAME 2023 Open", OPEN
    ),
}
"""Known files by SHA-256."""


def flame_info(
    checksum: str, given: str | None, looks_open: bool, companions: tuple[str, ...]
) -> ModelInfo:
    """Provenance of an imported file, unnamed.

    given: the licence that the user accepted, None to go by the checksum. looks_open: whether the file
    has the mark of the Open release. companions: names of further files that were taken in; all come
    under non-commercial terms. Raises ValueError for a licence that is not known, or that
    the file was not given out under.
    """
    if given is not None and given.lower() not in LICENCES:
        raise ValueError(f"licence '{given}': expected {' or '.join(LICENCES)}")
    release = RELEASES.get(checksum)
    if release is not None and given is not None and given.lower() != release.licence:
        raise ValueError(
            f"licence '{given}': by its checksum this file is {release.name}, which is {release.licence}"
        )
    if release is None and (given or "").lower() == OPEN and not looks_open:
        raise ValueError(
            f"licence '{given}': FLAME 2023 Open holds supr_expression_metadata, which this file lacks; it "
            "is another release, which was not given out under that licence"
        )
    chosen = release.licence if release else (given or ACADEMIC).lower()
    text, commercial = LICENCES[chosen]
    notes = [CITATION]
    if chosen == OPEN:
        notes.append("no defamatory, fake, pornographic or misleading use")
    elif release is None and looks_open:
        notes.append(
            "the file looks like FLAME 2023 Open; if you accepted that licence, add it with "
            f"--licence {OPEN}"
        )
    if commercial and companions:
        commercial = False
        notes.append(
            f"{', '.join(companions)}: under non-commercial terms of their own, so no commercial use "
            "of the whole; add the model without them for that"
        )
    return ModelInfo("flame", text, commercial, SOURCE, "flame", "; ".join(notes))

"""Which FLAME file may be sold."""

from __future__ import annotations

import pytest

from hrnfit.importers import flame_licence
from hrnfit.importers.flame_licence import OPEN
from hrnfit.model.format_error import ModelFormatError
from tests.importers.flame_files import as_release, imported, written
from tests.importers.write_flame import (
    Raw,
    raw_flame,
)


@pytest.fixture(scope="module")
def raw() -> Raw:
    return raw_flame()


def test_an_unknown_file_is_not_for_commerce(tmp_path, raw):
    path = written(tmp_path, raw)
    info = imported(path).info
    assert not info.commercial
    assert "non-commercial" in info.licence
    assert "--licence cc-by-4.0" in info.note
    stated = imported(path, licence="CC-BY-4.0").info
    assert "CC-BY 4.0" in stated.licence
    assert not stated.commercial  # the embeddings beside it are not
    assert "flame_static_embedding.pkl" in stated.note


def test_the_open_release_is_known_by_its_checksum(tmp_path, raw, monkeypatch):
    path = written(tmp_path, raw)
    as_release(monkeypatch, path, OPEN)
    assert "CC-BY 4.0" in imported(path).info.licence
    as_release(monkeypatch, path, "non-commercial")
    with pytest.raises(
        ModelFormatError, match="this file is FLAME of the test, which is non-commercial"
    ):
        imported(path, licence="cc-by-4.0")
    with pytest.raises(
        ModelFormatError, match=r"licence 'mit': expected cc-by-4\.0 or non-commercial"
    ):
        imported(path, licence="mit")


def test_the_open_release_alone_may_be_sold():
    digest = next(k for k, release in flame_licence.RELEASES.items() if release.licence == OPEN)
    info = flame_licence.flame_info(digest, None, True, ())
    assert info.commercial
    assert "defamatory" in info.note
    for other in set(flame_licence.RELEASES) - {digest}:
        assert not flame_licence.flame_info(other, None, False, ()).commercial


def test_the_open_licence_is_not_taken_for_another_release():
    with pytest.raises(ValueError, match="holds supr_expression_metadata, which this file lacks"):
        flame_licence.flame_info("00", "cc-by-4.0", False, ())
    assert flame_licence.flame_info("00", "CC-BY-4.0", True, ()).commercial

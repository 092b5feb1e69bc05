"""`hrnfit models get`: licence first, pinned files, conversion; from a server on this machine."""

from __future__ import annotations

import hashlib
import json
import re

import pytest

from hrnfit import cli_models
from hrnfit.importers import get
from hrnfit.importers.download import DownloadError
from hrnfit.importers.get import SOURCES, get_model, licence_notice, read_manifest, source_named
from hrnfit.importers.kinds import KINDS, ImportOptions
from hrnfit.model import ict, store
from hrnfit.model.ict_parts import SLICES
from hrnfit.model.load import load_model
from tests.importers.file_server import Behaviour, serving
from tests.importers.write_ict import write_full_folder
from tests.model.ict_files import small_head


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A source of a small head: its files by path, the manifest in a folder of its own."""
    monkeypatch.setenv("HRNFIT_HOME", str(tmp_path / "home"))
    folder = tmp_path / "made"
    folder.mkdir()
    write_full_folder(folder)
    files = {f"FaceXModel/{p.name}": p.read_bytes() for p in sorted(folder.glob("*.obj"))}
    files["LICENSE"] = b"terms"
    manifest = {
        "repository": "https://example.org/small",
        "commit": "0123456789abcdef",
        "base_url": "http://127.0.0.1:9/never/",
        "files": [
            [path, len(data), hashlib.sha256(data).hexdigest()] for path, data in files.items()
        ],
    }
    (tmp_path / "ict.json").write_text(json.dumps(manifest))
    monkeypatch.setattr(get, "MANIFESTS", tmp_path)
    head = small_head()
    layout = ict.Layout(head.slices, tuple(int(v) for v in head.marks))
    published = ict.import_folder
    monkeypatch.setattr(ict, "import_folder", lambda *given: published(*given, layout))
    return files


@pytest.mark.parametrize("name", list(SOURCES))
def test_manifests_are_pinned_and_complete(name):
    source = SOURCES[name]
    manifest = read_manifest(source)
    paths = [file.path for file in manifest.files]
    assert source.kind in KINDS
    assert source.licence_file in paths
    assert re.fullmatch(r"[0-9a-f]{40}", manifest.commit)
    assert manifest.commit in manifest.base_url
    assert manifest.base_url.startswith("https://")
    assert len(set(paths)) == len(paths)
    for file in manifest.files:
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert re.fullmatch(r"[\w./-]+", file.path)
        assert ".." not in file.path.split("/")
        assert not file.path.startswith("/")
        assert file.size > 0


def test_the_manifest_of_ict_is_its_whole_folder():
    names = [f.path.split("/")[-1] for f in read_manifest(SOURCES["ict"]).files]
    assert {f"identity{k:03d}.obj" for k in range(100)} < set(names)
    assert {"generic_neutral_mesh.obj", "jawOpen.obj", "eyeLookIn_L.obj", "LICENSE"} < set(names)
    assert len(names) == 1 + 100 + 57 + 1
    assert max(stop for _, stop in SLICES.values()) < 26719


def test_a_model_is_fetched_and_converted(small, tmp_path):
    behaviour, steps = Behaviour(small), []
    with serving(behaviour) as base:
        model, target = get_model(
            "ict",
            "mine",
            ImportOptions(part="full"),
            accept_licence=True,
            base_url=base,
            progress=lambda *step: steps.append(step),
        )
    assert target.is_file()
    assert load_model("mine").n_vertices == model.n_vertices == int((~small_head().irises).sum())
    digests = dict(model.info.files)
    mean = small["FaceXModel/generic_neutral_mesh.obj"]
    assert digests["generic_neutral_mesh.obj"] == hashlib.sha256(mean).hexdigest()
    assert len(behaviour.asked) == len(small)
    assert steps[-1][0] == steps[-1][1] == sum(map(len, small.values()))
    assert not list((tmp_path / "home" / "downloads").iterdir())  # 400 MB are not left behind


def test_the_notice_stays_with_the_model(small, tmp_path):
    """The licence asks for it, and the downloads are deleted."""
    with serving(Behaviour(small)) as base:
        _, target = get_model("ict", "mine", accept_licence=True, base_url=base)
    assert (target.parent / "mine.LICENCE.txt").read_bytes() == b"terms"
    assert "mine.LICENCE" not in store.model_files()


def test_two_downloads_at_once_are_one_too_many(small, tmp_path):
    behaviour = Behaviour(small)
    lock = tmp_path / "home" / "downloads" / "ict-0123456789ab.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    with serving(behaviour) as base:
        with pytest.raises(DownloadError, match=rf"under way; .* delete {re.escape(str(lock))}"):
            get_model("ict", "mine", accept_licence=True, base_url=base)
        assert behaviour.asked == []
        assert lock.exists()  # it is the other's
        lock.unlink()
        get_model("ict", "mine", accept_licence=True, base_url=base)
    assert not lock.exists()


def test_the_lock_is_released_after_a_failure(small, tmp_path):
    seen = []

    def interrupted(*_: object) -> None:
        seen.extend((tmp_path / "home" / "downloads").glob("*.lock"))
        raise KeyboardInterrupt

    with serving(Behaviour(small)) as base, pytest.raises(KeyboardInterrupt):
        get_model("ict", "mine", accept_licence=True, base_url=base, progress=interrupted)
    assert len(seen) == 1
    assert not seen[0].exists()


def test_the_variable_names_a_mirror_and_files_may_stay(small, tmp_path, monkeypatch):
    with serving(Behaviour(small)) as base:
        monkeypatch.setenv("HRNFIT_DOWNLOAD_ICT", base)
        get_model("ict", "one", accept_licence=True, keep_files=True)
    folder = tmp_path / "home" / "downloads" / "ict-0123456789ab"
    assert (folder / "LICENSE").read_bytes() == b"terms"
    # nothing answers any more, and nothing is asked
    get_model("ict", "two", ImportOptions(part="head+eyes"), accept_licence=True)
    assert "mouth_interior" not in load_model("two").regions


def test_nothing_is_downloaded_without_a_word(small):
    behaviour = Behaviour(small)
    with serving(behaviour) as base:
        with pytest.raises(
            ValueError, match=r"not accepted, so nothing was downloaded.*--accept-lic"
        ):
            get_model("ict", "mine", accept_licence=False, base_url=base)
        with pytest.raises(ValueError, match="part: expected face or head"):
            get_model("ict", "mine", ImportOptions(part="hair"), accept_licence=True, base_url=base)
        with pytest.raises(ValueError, match="model name 'generic' is taken"):
            get_model("ict", "generic", accept_licence=True, base_url=base)
    assert behaviour.asked == []


def test_a_taken_name_is_seen_before(small):
    behaviour = Behaviour(small)
    with serving(behaviour) as base:
        get_model("ict", "mine", accept_licence=True, base_url=base)
        asked = len(behaviour.asked)
        with pytest.raises(ValueError, match="there is a model 'mine' already"):
            get_model("ict", "mine", accept_licence=True, base_url=base)
        assert len(behaviour.asked) == asked
        get_model("ict", "mine", accept_licence=True, base_url=base, replace_existing=True)


def test_other_names_are_refused():
    with pytest.raises(ValueError, match=r"model 'itc': .* did you mean 'ict'"):
        source_named("itc")


def test_the_command(small, capsys):
    with serving(Behaviour(small)) as base:
        with pytest.raises(ValueError, match="--accept-licence"):
            cli_models.main(["get", "ict", "--base-url", base])
        shown = capsys.readouterr().out
        assert "MIT License, (c) 2020 USC Institute for Creative Technologies" in shown
        assert "no warranty" in shown
        cli_models.main(["get", "ict", "--base-url", base, "--accept-licence", "--name", "mine"])
    assert "added 'mine'" in capsys.readouterr().out
    assert load_model("mine").info.kind == "ict"


def test_the_notice_says_how_much_and_from_where():
    notice = licence_notice("ict")
    assert "159 files, 405 MB, from https://github.com/ICT-VGL/ICT-FaceKit" in notice
    assert "/LICENSE" in notice

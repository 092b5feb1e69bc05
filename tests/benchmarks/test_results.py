"""Results on disk can be read back, grow set by set, and read as tables."""

from __future__ import annotations

import json

import pytest

from benchmarks import results, speed, summary
from benchmarks.accuracy import chosen

ROW = {"median": 0.5, "mean": 0.6, "p95": 2.0, "normal_mean": 8.0, "scale": 1.0}


def entry(name: str, median: float, **more: object) -> dict[str, object]:
    rows = [
        {"level": level, "mode": mode, "region": region} | ROW | {"median": median * share}
        for level, share in (("ICT mean face", 3), ("coarse", 2), ("mid", 1), ("fine", 0.9))
        for mode in ("none", "sim")
        for region in ("now", "nosetip70")
    ]
    return {"set": name, "model": "ict", "seconds": 12.3, "rows": rows} | more


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(results, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


def test_what_is_written_is_read_and_later_sets_are_added(folder):
    assert results.read("accuracy") == {}
    results.write("accuracy", "mm", {"rig5/ict/a": entry("rig5", 0.2)}, ["rig3", "rig5"])
    entries = results.read("accuracy")
    entries["rig3/ict/a"] = entry("rig3", 0.3)
    results.write("accuracy", "mm", entries, ["rig3", "rig5"])
    again = json.loads((folder / "accuracy.json").read_text())
    assert list(again["entries"]) == ["rig3/ict/a", "rig5/ict/a"]
    assert again["entries"] == entries
    assert [p.name for p in folder.iterdir()] == ["accuracy.json"]  # nothing half-written is left


def test_compact_json_is_json():
    value = {"a": [1, 2], "b": {"c": [{"d": None}, {"e": "ü"}], "f": []}, "g": {}}
    assert json.loads(results.compact(value)) == value
    assert '{"d": null}' in results.compact(value)


def test_table_holds_every_cell_once():
    lines = results.table(("set", "mm"), [("rig3", "0.28"), ("wild", results.number(None))]).split(
        "\n"
    )
    assert lines == ["| set  |   mm |", "| ---- | ---: |", "| rig3 | 0.28 |", "| wild |      |"]


def test_accuracy_tables_hold_the_aims():
    vertex = {"level": "mid", "region": "now", "median": 0.15, "p95": 0.5, "along_median": 0.1,
              "along_p95": 0.3, "across_median": 0.12}  # fmt: skip
    entries = {
        "rig3/ict/rig": entry("rig3", 0.25),
        "dist3/ict/rig": entry("dist3", 0.26),
        "wild5/ict/wild": entry("wild5", 0.4, focal_factors={"a": 0.9, "b": 1.04}),
        "synthetic3/ict/1": entry("synthetic3", 0.2, vertices=[vertex]),
        "rig3/generic/rig": entry("rig3", 0.01, model="generic"),
    }
    found = {row[0] + row[1]: row[2] for row in summary._aims(entries)}
    assert found["rig3median, none"] == "0.250"  # of ICT, not of the other model
    assert found["dist3median, none, over rig3"] == "0.010"
    assert found["wild5largest focal error, %"] == "10.000"
    assert found["synthetic3median per vertex, mean of subjects"] == "0.150"
    assert found["rig9median, none"] == ""
    text = summary.accuracy(entries)
    assert "0.90, 1.04" in text
    assert "0.150" in text


def test_unknown_set_is_an_error_that_names_the_known():
    assert chosen("all", ["rig3", "wild5"]) == ["rig3", "wild5"]
    with pytest.raises(ValueError, match="unknown set 'rig4'; known: rig3, wild5"):
        chosen("rig4", ["rig3", "wild5"])


def test_speed_table_shows_cold_and_warm():
    fit = {"seconds": 10.0, "cpu": 15.0, "load": 1.0, "stages": {"landmarks": 2.0, "skin": 5.0}}
    text = speed.summary({"rig3/ict": {"views": 3, "cold": fit, "warm": fit | {"seconds": 8.0}}})
    assert "rig3/ict cold" in text
    assert text.count("3.0") == 1  # the cold one's rest
    assert "skin 5.0" in text

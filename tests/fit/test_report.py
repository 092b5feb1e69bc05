"""The report: one file, nothing loaded from outside, everything in it, text escaped."""

from __future__ import annotations

import base64
import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest

from hrnfit.fit.curves import stage_curves, weighted_series
from hrnfit.fit.licensing import licence_record
from hrnfit.fit.overlay import view_pictures
from hrnfit.fit.report import (
    licence_table,
    provenance_list,
    report_page,
    residual_table,
    stage_table,
)
from hrnfit.fit.report_mesh import MAX_TRIANGLES, octahedral, seats, split_seams, viewer_document
from hrnfit.fit.report_pictures import colours
from hrnfit.fit.result import LEVELS, StageReport
from hrnfit.licences import Part
from hrnfit.render.backend import rasterizer
from hrnfit.solve.solver import Outcome
from tests.fit.small_result import make_result

VOID = {"meta", "link", "img", "input", "br", "circle", "line", "path"}


class Balanced(HTMLParser):
    """Collects tags, ids and addresses; fails on a tag that closes another."""

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.ids += [values["id"]] if "id" in values else []
        self.addresses += [values[k] for k in ("src", "href") if values.get(k)]
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        assert self.stack[-1:] == [tag], f"</{tag}> closes {self.stack[-3:]}"
        self.stack.pop()


@pytest.fixture(scope="module")
def result():
    return make_result(views=3)


@pytest.fixture(scope="module")
def page(result):
    drawn = [view_pictures(result, i, rasterizer("cpu"), 60) for i in range(3)]
    return report_page(result, drawn)


def test_page_is_well_formed_and_loads_nothing(page):
    parser = Balanced()
    parser.feed(page)
    assert parser.stack == []
    assert len(parser.ids) == len(set(parser.ids))
    assert all(a.startswith(("data:", "#")) for a in parser.addresses)
    assert not re.search(r"https?://|@import|url\(", page)


def test_every_view_level_and_stage_is_on_the_page(page, result):
    for name in result.view_names:
        assert f"<b>{name}</b>" in page
    for level in (*LEVELS, "textured"):
        assert page.count(f'class="layer l-{level}"') == len(result.view_names)
    for stage in result.stages:
        assert f"<b>{stage.name}</b>" in page
    assert "lower the rates, or check the cameras and images" in page


def test_text_from_outside_is_escaped(page):
    assert "no face &lt;found&gt;; check" in page
    assert "<found>" not in page


def test_hostile_names_stay_text(result):
    name = '</script><img src=x onerror="alert(1)">'
    hostile = replace(
        result,
        view_names=(name, "b", "c"),
        stages=(replace(result.stages[0], name=name),),
        provenance={name: name, "recipe": name, "model": {"name": name}},
    )
    drawn = [view_pictures(hostile, i, rasterizer("cpu"), 40) for i in range(3)]
    page = report_page(hostile, drawn)
    assert "<img src=x" not in page
    assert page.count("</script>") == 3


def test_viewer_document_unpacks_to_the_meshes(result):
    document = json.loads(json.dumps(viewer_document(result)))
    assert len(document["topologies"]) == 2  # coarse and mid share theirs
    head = np.array([1200.0, -300.0, 900.0])
    for level in LEVELS:
        packed, mesh = document["levels"][level], result.mesh(level)
        topology = document["topologies"][packed["topology"]]
        codes = np.frombuffer(base64.b64decode(packed["position"]), "<u2").reshape(-1, 3)
        points = codes * packed["step"] + packed["low"]
        index = np.frombuffer(base64.b64decode(topology["index"]), f"<u{topology['index_bytes']}")
        want = mesh.vertices.numpy()[mesh.faces.numpy().ravel()] - head
        np.testing.assert_allclose(points[index], want, atol=0.003)
        uv = np.frombuffer(base64.b64decode(topology["uv"]), "<u2").reshape(-1, 2) / 65535
        np.testing.assert_allclose(
            uv[index], mesh.uv.numpy()[mesh.uv_faces.numpy().ravel()], atol=1e-5
        )


def test_large_fine_meshes_are_shown_as_mid(result, monkeypatch):
    monkeypatch.setattr("hrnfit.fit.report_mesh.MAX_TRIANGLES", 2000)
    document = viewer_document(result)
    assert len(document["topologies"]) == 1
    assert "too large for this page" in document["levels"]["fine"]["info"]
    assert MAX_TRIANGLES > 2000


def test_octahedral_round_trip(generator):
    import torch

    n = torch.nn.functional.normalize(torch.randn(500, 3, generator=generator).double(), dim=-1)
    poles = np.concatenate([n.numpy(), np.eye(3), -np.eye(3)])
    flat = octahedral(poles) / 32767
    x, y = flat.T
    z = 1 - np.abs(x) - np.abs(y)
    folded = np.where(z < 0, (1 - np.abs(y)) * np.where(x < 0, -1, 1), x)
    y = np.where(z < 0, (1 - np.abs(x)) * np.where(y < 0, -1, 1), y)
    back = np.stack([folded, y, z], -1)
    back /= np.linalg.norm(back, axis=1, keepdims=True)
    assert np.degrees(np.arccos(np.clip((back * poles).sum(1), -1, 1))).max() < 0.01


def test_seams_are_split_once_per_place_in_the_chart():
    faces = np.array([[0, 1, 2], [2, 1, 3]])
    corner, split = split_seams(faces, np.array([[0, 1, 2], [2, 4, 3]]))
    assert len(corner) == 5  # vertex 1 stands at two places
    assert np.array_equal(corner[split][..., 0], faces)


def test_seats_turn_the_camera_to_the_front(result):
    # cameras of the small result stand at yaw -30, 0, 30 degrees, 0.1 high
    named = {seat["name"]: seat for seat in seats(result)}
    tilt = math.atan2(0.1, 1.0)
    assert named["cam_1"]["yaw"] == pytest.approx(0, abs=1e-6)
    assert named["cam_1"]["pitch"] == pytest.approx(tilt, abs=1e-6)
    assert named["cam_2"]["yaw"] == pytest.approx(-math.pi / 6, abs=1e-6)
    assert named["Subject's left"]["yaw"] == pytest.approx(-math.pi / 2)


def test_weighted_series_put_the_total_first_and_weigh_the_terms(result):
    series = dict(weighted_series(result.stages[1]))
    assert list(series) == ["total", "photometric", "smooth"]
    assert series["smooth"][0] == pytest.approx(0.5 * 0.02)


def test_curves_end_where_the_energy_ends():
    stage = StageReport("s", "mid", Outcome.CONVERGED, 2, 1.0, (1.0, 0.5, 0.0))
    picture = stage_curves(stage)
    # linear axis from 0 to 1 between y = 194 and 12; x from 50 to 390
    assert 'd="M50.0 12.0L220.0 103.0L390.0 194.0"' in picture


def test_curves_of_nothing_and_of_nan():
    empty = StageReport("s", "mid", Outcome.STALLED, 0, 0.0)
    assert "No energies were recorded" in stage_curves(empty)
    bad = replace(empty, energies=(math.nan, 2.0, math.inf))
    assert "nan" not in stage_curves(bad).lower()


def test_tables_say_numbers_outcomes_and_gaps(result):
    table = stage_table(result.stages)
    assert "converged" in table
    assert "3.05 → 0.05" in table
    rows = residual_table(replace(result, view_residuals={"cam_1": {"landmark": 2.5}}))
    assert "2.5" in rows
    assert rows.count("–") == 2


def test_provenance_folds_the_recipe_and_leaves_out_the_empty():
    text = provenance_list({"device": "cpu", "command": "", "recipe": "a: 1", "commercial": True})
    assert "cpu" in text
    assert "yes" in text
    assert "<pre>a: 1</pre>" in text
    assert "command" not in text
    assert "Nothing was recorded" in provenance_list({})


def test_licences_are_a_table_of_their_own_with_a_verdict():
    free = Part("ict", "model", "MIT", "yes", "there", attribution="(c) <USC>")
    research = Part("nvdiffrast", "renderer", "research only", "no", "there", note="ask & pay")
    record = licence_record([free, research], False)
    text = licence_table(record)
    assert "not all may be used commercially" in text
    assert '<span class="pill good">yes</span>' in text
    assert '<span class="pill bad">no</span>' in text
    assert "(c) &lt;USC&gt;" in text
    assert "ask &amp; pay" in text
    asked = licence_table(licence_record([free], True))
    assert "all of it may be used commercially, which was asked for" in asked
    assert "nvdiffrast" not in provenance_list(record)
    assert "Nothing was recorded" in licence_table({})


def test_the_page_shows_the_licences(result):
    parts = [Part("ict", "model", "MIT", "yes", "there", attribution="(c) USC")]
    named = replace(result, provenance={**result.provenance, **licence_record(parts, True)})
    drawn = [view_pictures(named, i, rasterizer("cpu"), 40) for i in range(3)]
    page = report_page(named, drawn)
    parser = Balanced()
    parser.feed(page)
    assert parser.stack == []
    assert "h-licences" in parser.ids
    assert "(c) USC" in page


def test_colours_of_the_ends_and_the_middle():
    import torch

    ramp = ((0, 0, 0), (100, 50, 0), (200, 200, 200))
    got = colours(torch.tensor([[-1.0, 0.25, 0.5, 2.0, math.nan]]), ramp)[0]
    assert got.tolist() == [[0, 0, 0], [50, 25, 0], [100, 50, 0], [200, 200, 200], [0, 0, 0]]

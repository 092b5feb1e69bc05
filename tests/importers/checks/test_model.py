"""Each finding is found on a model that has been damaged that way, and on no sound one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
import torch

from hrnfit.geometry.uv import disk_chart
from hrnfit.importers.checks.bases import largest_cosine
from hrnfit.importers.checks.finding import Finding, Verdict, graded
from hrnfit.importers.checks.model import check_model, worst
from hrnfit.model import ict
from hrnfit.model.contour import jaw_candidates
from hrnfit.model.face_model import LandmarkSet
from hrnfit.model.linear import LinearFaceModel
from hrnfit.model.symmetry import mirror_pairs
from tests.importers.write_ict import compact_full_arrays
from tests.model.faces import ibug_vertices, small_model

OK, WARN, FAIL = Verdict.OK, Verdict.WARN, Verdict.FAIL
Damage = Callable[[LinearFaceModel], LinearFaceModel]


@cache
def sound() -> LinearFaceModel:
    """The sheet with orthogonal identity modes of 3 to 1 mm, moves of 8 mm, and every optional part."""
    model = small_model(identity=4, expression=3)
    flat = torch.linalg.qr(model.identity_basis.double().T).Q.T.float()
    sizes = torch.tensor([3.0, 2.0, 1.5, 1.0])[:, None] * model.n_vertices**0.5
    move = model.expression_basis.reshape(3, -1, 3)
    move = 8.0 * move / move.norm(dim=2).amax(dim=1)[:, None, None]
    marks = model.landmarks["ibug68"]
    aside = (0.02 * (torch.arange(68) % 20))[
        :, None
    ]  # so coarse a sheet has two points at one vertex
    weights = (1.0 - aside) * marks.barycentric + aside * marks.barycentric.roll(1, dims=1)
    marks = replace(marks, barycentric=weights)
    dense, weights = torch.zeros(478, dtype=torch.int32), torch.full((478, 3), 1.0 / 3.0)
    for face_mesh, ibug in {33: 36, 133: 39, 362: 42, 263: 45, 61: 48, 291: 54, 4: 30}.items():
        dense[face_mesh], weights[face_mesh] = marks.triangles[ibug], marks.barycentric[ibug]
    return replace(
        model,
        identity_basis=flat * sizes,
        expression_basis=move.flatten(1),
        mirror=mirror_pairs(model.mean),
        jaw_contour=jaw_candidates(model.mean, ibug_vertices(model.mean)[:17], model.faces),
        landmarks={"ibug68": marks, "mediapipe478": LandmarkSet(dense, weights, torch.zeros(478))},
    )


def findings(model: LinearFaceModel) -> dict[str, Finding]:
    return {finding.name: finding for finding in check_model(model)}


def test_a_sound_model_has_nothing_to_complain_of():
    found = findings(sound())
    bad = {n: f for n, f in found.items() if f.verdict is not OK}
    assert not bad
    assert all(not f.advice for f in found.values())
    assert worst(tuple(found.values())) is OK


def test_a_full_head_has_one_too():
    model = ict.from_compact(compact_full_arrays(), "small.npz", "full")
    found = findings(model)
    for name in ("edges", "chart: overlap", "chart: flips", "mirror pairs", "winding", "size"):
        assert found[name].verdict is OK, found[name]


def modes(change: Callable[[torch.Tensor], torch.Tensor], key: str = "identity_basis") -> Damage:
    return lambda model: replace(model, **{key: change(getattr(model, key))})


def points(change: Callable[[torch.Tensor], torch.Tensor]) -> Damage:
    return lambda model: replace(model, mean=change(model.mean))


def marks(change: Callable[[torch.Tensor], torch.Tensor]) -> Damage:
    """The iBUG points in another order."""

    def damaged(model: LinearFaceModel) -> LinearFaceModel:
        own = model.landmarks["ibug68"]
        order = change(torch.arange(68))
        moved = LandmarkSet(own.triangles[order], own.barycentric[order], own.spread[order])
        return replace(model, landmarks=model.landmarks | {"ibug68": moved})

    return damaged


def missing(rows: list[int], scheme: str = "ibug68") -> Damage:
    def damaged(model: LinearFaceModel) -> LinearFaceModel:
        own = model.landmarks[scheme]
        triangles = own.triangles.clone()
        triangles[rows] = -1
        return replace(
            model, landmarks=model.landmarks | {scheme: replace(own, triangles=triangles)}
        )

    return damaged


def with_faces(model: LinearFaceModel, faces: torch.Tensor) -> LinearFaceModel:
    """Other triangles, each with its place in the chart by vertex."""
    return replace(model, faces=faces, uv_faces=faces)


def with_vertices(model: LinearFaceModel, added: torch.Tensor) -> LinearFaceModel:
    """Further vertices that no triangle uses."""
    k = len(added)
    return replace(
        model,
        mean=torch.cat([model.mean, added]),
        identity_basis=torch.nn.functional.pad(model.identity_basis, (0, 3 * k)),
        expression_basis=torch.nn.functional.pad(model.expression_basis, (0, 3 * k)),
        uv=torch.cat([model.uv, torch.full((k, 2), 0.5)]),
        regions={n: torch.nn.functional.pad(m, (0, k)) for n, m in model.regions.items()},
        mirror=None,
    )


def doubled(model: LinearFaceModel) -> LinearFaceModel:
    """The first triangle hangs on copies of its vertices, as at a seam."""
    n = model.n_vertices
    more = with_vertices(model, model.mean[model.faces[0].long()])
    faces = model.faces.clone()
    faces[0] = torch.tensor([n, n + 1, n + 2])
    return with_faces(more, faces)


def flat_triangle(model: LinearFaceModel) -> LinearFaceModel:
    mean = model.mean.clone()
    a, b, c = model.faces[300].long().tolist()
    mean[a] = 0.5 * (mean[b] + mean[c])
    return replace(model, mean=mean)


def folded_chart(model: LinearFaceModel) -> LinearFaceModel:
    uv = model.uv.clone()
    uv[:, 0] = 0.5 - (uv[:, 0] - 0.5).abs()
    return replace(model, uv=uv)


def unmutual(model: LinearFaceModel) -> LinearFaceModel:
    assert model.mirror is not None
    mirror = model.mirror.clone()
    mirror[0] = mirror[5]
    return replace(model, mirror=mirror)


def with_hole(model: LinearFaceModel) -> LinearFaceModel:
    keep = torch.ones(len(model.faces), dtype=torch.bool)
    keep[700] = False  # a triangle of 6 mm amid the sheet
    small = 0.4 * (model.mean - model.mean.mean(dim=0)) + model.mean.mean(dim=0)
    return with_faces(replace(model, mean=small), model.faces[keep])


def nearest_marks_doubled(model: LinearFaceModel) -> LinearFaceModel:
    return marks(lambda order: order.index_fill(0, torch.tensor([61]), 62))(model)


def without(**changes: object) -> Damage:
    return lambda model: replace(model, **changes)  # type: ignore[arg-type]


DAMAGES: dict[str, tuple[str, Verdict, Damage, str]] = {
    "nan in a mode": ("numbers", FAIL, modes(lambda b: b.index_fill(1, torch.tensor([7]), torch.nan)), "identity"),
    "nan in the albedo": ("numbers", FAIL, modes(lambda b: b * torch.nan, "albedo_mean"), "albedo"),
    "the same mode twice": ("identity: independent", FAIL, modes(lambda b: b[[0, 1, 1, 3]]), "cosine 1"),
    "mixed modes": ("identity: independent", WARN, modes(lambda b: b + 0.3 * b.roll(1, 0)), "cosine 0"),
    "unit modes": ("identity: per standard deviation", FAIL, modes(lambda b: b / 100.0), "RMS"),
    "modes twice too large": ("identity: per standard deviation", WARN, modes(lambda b: b * 6.0), "RMS"),
    "modes in another order": ("identity: largest first", WARN, modes(lambda b: b.flip(0)), "3 larger"),
    "no modes": ("identity", WARN, modes(lambda b: b[:0]), "0 modes"),
    "huge expressions": ("expressions: largest move", FAIL, modes(lambda b: b * 100.0, "expression_basis"), "800"),
    "faint expressions": ("expressions: largest move", WARN, modes(lambda b: b * 0.05, "expression_basis"), "0.4"),
    "a still expression": ("expressions: all move something", WARN, modes(lambda b: b * torch.tensor([[1.0], [0], [1]]), "expression_basis"), "expression1"),
    "the same expression twice": ("expressions: independent", WARN, modes(lambda b: b[[0, 0, 2]], "expression_basis"), "expression0"),
    "one name twice": ("expressions: names", FAIL, without(expression_names=("a", "a", "b")), "2 names for 3"),
    "centimetres": ("size", FAIL, points(lambda p: p / 10.0), "20 high"),
    "too large": ("size", WARN, points(lambda p: p * 2.2), "440 high"),
    "inside out": ("winding", FAIL, lambda m: with_faces(m, m.faces.flip(1)), "looks forward"),
    "back to front": ("winding", FAIL, points(lambda p: p * torch.tensor([-1.0, 1.0, -1.0])), "0 %"),
    "a triangle twice": ("edges", FAIL, lambda m: with_faces(m, torch.cat([m.faces, m.faces[:1], m.faces[:1].flip(1)])), "of"),
    "one triangle turned": ("winding of neighbours", FAIL, lambda m: with_faces(m, torch.cat([m.faces[:500], m.faces[500:501].flip(1), m.faces[501:]])), "edges"),
    "a small hole": ("boundaries", WARN, with_hole, "loops"),
    "a stray vertex": ("unused vertices", FAIL, lambda m: with_vertices(m, torch.zeros(1, 3)), "1 of"),
    "a seam of vertices": ("doubled vertices", WARN, doubled, "on borders"),
    "a flat triangle": ("triangles without area", WARN, flat_triangle, "1 of"),
    "pairs that are none": ("mirror pairs", FAIL, unmutual, "not mutual"),
    "pairs far apart": ("mirror pairs", WARN, points(lambda p: p + torch.tensor([1.0, 0.0, 0.0])), "gap 2"),
    "a chart beyond the square": ("chart: square", FAIL, modes(lambda uv: uv * 1.5, "uv"), "1.4"),
    "a small chart": ("chart: square", WARN, modes(lambda uv: uv * 0.4, "uv"), "used"),
    "a folded chart": ("chart: overlap", FAIL, folded_chart, "texels"),
    "a turned triangle in the chart": ("chart: flips", FAIL, folded_chart, "turned over"),
    "a starved face": ("chart: density", WARN, modes(lambda uv: 0.5 + 0.5 * (2 * uv - 1).sign() * (2 * uv - 1).abs() ** 5, "uv"), "of the mean"),
    "a stretched chart": ("chart: stretch", WARN, modes(lambda uv: uv * torch.tensor([1.0, 0.1]), "uv"), "95 %"),
    "codes for an albedo": ("albedo: range", FAIL, modes(lambda a: a * 255.0, "albedo_mean"), "117"),
    "a black albedo": ("albedo: range", WARN, modes(lambda a: a * 0.05, "albedo_mean"), "mean 0.0"),
    "albedo modes in codes": ("albedo: modes", WARN, modes(lambda a: a * 255.0, "albedo_basis"), "%"),
    "no landmarks": ("landmarks", FAIL, without(landmarks={}), "none"),
    "half of the landmarks": ("landmarks: present", FAIL, missing(list(range(30, 60))), "38 of 68"),
    "no jaw points": ("landmarks: present", WARN, missing(list(range(17))), "51 of 68"),
    "left for right": ("landmarks: order", FAIL, marks(lambda o: torch.cat([o[:36], o[42:48], o[36:42], o[48:]])), "right eye"),
    "another order": ("landmarks: order", FAIL, marks(lambda o: o.flip(0)), "eyes above"),
    "the jaw turned": ("landmarks: order", WARN, marks(lambda o: torch.cat([o[:17].flip(0), o[17:]])), "jaw from"),
    "eyes too near": ("landmarks: eyes apart", WARN, points(lambda p: p * torch.tensor([0.7, 1.0, 1.0])), "mm"),
    "decimetres": ("landmarks: eyes apart", FAIL, points(lambda p: p / 100.0), "0.7 mm"),
    "one point twice": ("landmarks: distinct", WARN, nearest_marks_doubled, "0 mm"),
    "dense points elsewhere": ("dense landmarks", FAIL, points(lambda p: p), ""),
    "few dense points": ("dense landmarks", WARN, missing(list(range(300, 478)), "mediapipe478"), "300 of 478"),
    "bare": ("optional parts", WARN, without(regions={}, mirror=None), "regions, mirror pairs"),
}  # fmt: skip
"""By what was done: the finding, its verdict, the damage, and what its measurement says."""


def scattered(model: LinearFaceModel) -> LinearFaceModel:
    """Dense points 20 mm from where they belong."""
    own = model.landmarks["mediapipe478"]
    triangles = own.triangles.clone()
    triangles[[33, 263]] = triangles[[263, 33]]
    return replace(
        model, landmarks=model.landmarks | {"mediapipe478": replace(own, triangles=triangles)}
    )


DAMAGES["dense points elsewhere"] = ("dense landmarks", FAIL, scattered, "partners")


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found(name):
    what, verdict, damage, said = DAMAGES[name]
    found = findings(damage(sound()))
    assert what in found
    assert found[what].verdict is verdict, found[what]
    assert said in found[what].measured, found[what]
    assert found[what].advice


def test_every_finding_is_tried():
    """No finding that no damage can bring about."""
    assert {finding.name for finding in check_model(sound())} <= {d[0] for d in DAMAGES.values()}


def test_opposite_activations_are_no_twins():
    """Jaw left and jaw right as activations; of modes with a sign they would be one."""
    basis = sound().expression_basis.clone()
    basis[1] = -basis[0]
    pair = replace(sound(), expression_basis=basis)
    assert findings(pair)["expressions: independent"].verdict is OK
    signed = replace(pair, expression_is_blendshape=False)
    assert findings(signed)["expressions: independent"].verdict is WARN


def test_largest_cosine_by_hand():
    rows = torch.tensor([[1.0, 0, 0], [0, 2, 0], [-3, 0, 3], [0, 0, 0]]).reshape(4, 1, 3)
    value, pair = largest_cosine(rows)
    assert value == pytest.approx(0.5**0.5)
    assert set(pair) == {0, 2}
    assert largest_cosine(rows, signed=True)[0] == 0.0


def test_the_worse_condition_decides():
    assert graded("x", "1", fail=True, warn=True, advice="do").verdict is FAIL
    assert graded("x", "1", warn=True, advice="do").advice == "do"
    assert graded("x", "1", advice="do").advice == ""


def test_charts_are_judged_on_the_face_alone():
    """Texels far from the nose may be few: a chart that starves the rim is fine."""
    model = sound()
    far = 0.02 + 0.98 * torch.exp(-((model.mean[:, :2].norm(dim=1) / 90.0) ** 8))
    uv = disk_chart(model.mean, model.faces, far, steps=8)
    assert findings(replace(model, uv=uv))["chart: density"].verdict is OK

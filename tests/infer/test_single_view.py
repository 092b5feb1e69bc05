"""One photograph through networks whose answers are known: what comes out, on which maps, and what goes wrong."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from hrnfit.infer.networks import MAP_SIZE, Networks, check_networks, convention_of, own_maps
from hrnfit.infer.own_maps import OwnMaps
from hrnfit.infer.single_view import Predictor, ViewPrediction, undiluted
from hrnfit.nets.analyzer import AnalyzerConfig
from hrnfit.nets.deretouch import DeretouchConfig, DeretouchNet
from hrnfit.nets.generator import GeneratorConfig
from hrnfit.nets.hrn import Convention, Hrn, HrnConfig, resized
from hrnfit.nets.released import Released
from hrnfit.observe.observation import View
from hrnfit.render.cpu import CpuRasterizer
from hrnfit.render.texture import resized_map, uv_raster
from tests.fit.small_scene import face, rig, views_of

ANALYZER = AnalyzerConfig(4, 3, 5, 8, (1, 1, 1, 1))
MID, HIGH = GeneratorConfig(6, 3, 4, 1), GeneratorConfig(9, 1, 4, 1)
IDENTITY = torch.tensor([0.5, -1.0, 0.25, 2.0])


class Constant(nn.Module):
    """A network that answers one value."""

    def __init__(self, channels: int, value: float) -> None:
        super().__init__()
        self.value = value
        self.channels = channels

    def forward(self, x: Tensor) -> Tensor:
        return torch.full((len(x), self.channels, *x.shape[-2:]), self.value)


def planted(
    convention: Convention = "hrnfit", mid: float | None = None, high: float | None = None
) -> Hrn:
    """An analyzer that says `IDENTITY` and a frontal head of every crop; generators that say one value."""
    torch.manual_seed(0)
    hrn = Hrn(HrnConfig(ANALYZER, mid and MID, high and HIGH, convention))
    for head in hrn.net_recon.final_layers:
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    hrn.net_recon.final_layers[0].bias.data.copy_(IDENTITY)
    if mid is not None:
        hrn.mid_net = Constant(3, mid)
        hrn.alpha.data.fill_(0.5)
    if high is not None:
        hrn.high_net = Constant(1, high)
        hrn.beta.data.fill_(0.2)
    return hrn.eval().requires_grad_(False)


def predictor(networks: Networks, model=None) -> Predictor:
    model = model or face()
    raster = uv_raster(model.uv, model.uv_faces, model.faces, MAP_SIZE, MAP_SIZE)
    renderer = CpuRasterizer()
    maps = convention_of(networks, model, renderer, lambda size: raster)
    return Predictor(networks, model, maps, own_maps(model, renderer, raster))


def view(k: int = 1) -> View:
    return views_of(rig())[k]


def predict(*, deretouch: DeretouchNet | None = None, **answers) -> ViewPrediction:
    return predictor(Networks(planted(**answers), deretouch)).predict(view())


def test_an_analyzer_alone_says_coefficients_and_no_maps():
    said = predict()
    assert torch.equal(said.identity, IDENTITY)
    assert torch.equal(said.T_analyzer_head, torch.eye(4))
    assert said.deformation is said.displacement is said.deretouched is None
    assert 0.1 < float(said.weight.mean()) <= 1.0
    # 0.8 on the constant of each colour, nothing else
    assert bool((said.light_head[0] > 0).all())
    assert float(said.light_head[1:].abs().max()) == 0.0


@pytest.mark.parametrize("convention", ["hrnfit", "released"])
def test_generators_answers_become_mm_in_the_head_frame(convention):
    said = predict(convention=convention, mid=0.5, high=0.25)
    seen = resized_map(said.weight[..., None], 64)[..., 0] > 0.9
    assert said.deformation is not None
    assert said.displacement is not None
    # 0.5 * 0.1 dm * alpha 0.5, and 0.25 * 0.1 dm * beta 0.2
    torch.testing.assert_close(
        said.deformation[seen].median(0).values, torch.full((3,), 2.5), atol=1e-3, rtol=0
    )
    said_mm = float(said.displacement[said.weight > 0.9].abs().median())
    # a released map is converted by its shading, of which one value has little
    assert said_mm == pytest.approx(0.5, abs=1e-3 if convention == "hrnfit" else 0.2)


def test_half_seen_skin_keeps_its_whole_offset():
    said = predict(mid=0.5)
    assert said.deformation is not None
    half = resized(said.weight[None, None], 64)[0, 0]
    half = (half > 0.01) & (half < 0.8)
    assert int(half.sum()) > 20
    assert float((said.deformation[half] - 2.5).abs().max()) < 1e-4


def test_undiluted_by_hand():
    mask = torch.tensor([[[1.0, 0.5], [1e-6, 0.0]]])
    masked = 3.0 * mask[:, None]
    torch.testing.assert_close(undiluted(masked, mask), torch.tensor([[[[3.0, 3.0], [3.0, 0.0]]]]))


def test_a_view_without_a_mask_is_all_face():
    networks = predictor(Networks(planted()))
    bare = networks.predict(replace(view(), mask=None))
    white = networks.predict(replace(view(), mask=torch.ones(view().image.shape[:2])))
    assert torch.equal(bare.weight, white.weight)
    black = networks.predict(replace(view(), mask=torch.zeros(view().image.shape[:2])))
    assert float(black.weight.max()) == 0.0


def retoucher(bias: float = 0.0) -> DeretouchNet:
    """Without a bias it answers one half everywhere: the blend that changes nothing."""
    network = DeretouchNet(DeretouchConfig(4))
    nn.init.zeros_(network.outc.conv.weight)
    nn.init.constant_(network.outc.conv.bias, bias)
    return network.eval().requires_grad_(False)


@pytest.mark.parametrize("answers", [{}, {"mid": 0.1}, {"mid": 0.1, "convention": "released"}])
def test_a_texture_that_needs_no_retouching_leaves_the_models_albedo(answers):
    said = predict(deretouch=retoucher(), **answers)
    assert said.deretouched is not None
    own = resized_map(face().albedo(said.albedo), MAP_SIZE)
    torch.testing.assert_close(said.deretouched, own, atol=2e-3, rtol=0)


def test_a_small_retouching_network_runs():
    torch.manual_seed(0)
    network = DeretouchNet(DeretouchConfig(4)).eval().requires_grad_(False)
    said = predict(deretouch=network)
    assert said.deretouched is not None
    assert float(said.deretouched.min()) >= 0.0
    assert float(said.deretouched.max()) <= 1.0


@pytest.mark.parametrize(
    ("answers", "told"),
    [
        ({"mid": float("nan")}, "the deformation network answers NaN"),
        ({"mid": 0.1, "high": float("nan")}, "the displacement network answers NaN"),
    ],
)
def test_nan_is_named_with_its_view(answers, told):
    with pytest.raises(ValueError, match=f"cam_1: {told}; add its weights again"):
        predict(**answers)
    with pytest.raises(ValueError, match="cam_1: the de-retouching network answers NaN"):
        predict(deretouch=retoucher(float("nan")))


def test_a_view_without_landmarks_is_refused():
    with pytest.raises(ValueError, match="cam_1: no landmarks; the networks' crop needs five"):
        predictor(Networks(planted())).predict(replace(view(), landmarks=None))


def test_maps_follow_the_weights_and_an_analyzer_alone_has_ours():
    chart = predictor(Networks(planted("released", 0.1))).convention
    assert isinstance(chart, Released)
    assert isinstance(predictor(Networks(planted("hrnfit", 0.1))).convention, OwnMaps)
    assert isinstance(predictor(Networks(planted("released"))).convention, OwnMaps)


def test_a_chart_with_seams_takes_an_analyzer_and_refuses_released_generators():
    """One vertex with two places in the chart."""
    model = face()
    uv_faces = model.uv_faces.clone()
    uv_faces[0, 0] = len(model.uv)
    uv = torch.cat([model.uv, model.uv[model.uv_faces[0, :1].long()]])
    seamed = replace(model, uv=uv, uv_faces=uv_faces)
    said = predictor(Networks(planted("released")), seamed).predict(view())
    assert torch.equal(said.identity, IDENTITY)
    with pytest.raises(ValueError, match="released weights need a chart with one place per vertex"):
        predictor(Networks(planted("released", 0.1)), seamed)


def test_networks_of_another_model_or_in_training_are_refused():
    small = face(identity=3)
    with pytest.raises(
        ValueError, match=r"'mine': predict 4 identity.* model 'sheet' has 3, 3 and 5"
    ):
        check_networks(Networks(planted(), name="mine"), small)
    with pytest.raises(ValueError, match="'mine': in training mode"):
        check_networks(Networks(planted().train(), name="mine"), face())
    check_networks(Networks(planted()), face())

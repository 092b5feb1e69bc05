"""The kernels of the shared albedo against plain torch: in Triton's interpreter, or on a device."""

from __future__ import annotations

import os

import pytest
import torch

if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")
pytest.importorskip("triton")

from hrnfit.energy import skin_cuda, skin_plain
from hrnfit.energy.shared_albedo import (
    Consensus,
    TexelSource,
    TexelViews,
    column_blocks,
    consensus,
    read_texels,
)
from hrnfit.geometry.rotation import rotation_exp

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
V, P, S = 3, 40, 24


def random(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(DEVICE)


def seen_texels() -> TexelViews:
    weight = random(V, P).clamp_min(0.0)
    weight[:, :5] = 0.0
    weight[1:, 5:10] = 0.0
    return TexelViews(random(V, P, 3), random(V, P, 3, 3), weight)


def test_reading_agrees_with_torch():
    channels = random(V, 10, S, S)
    channels[:, 9] = (channels[:, 9] > -1.5).float()
    K = torch.tensor([[100.0, 0.0, 12.0], [0.0, 110.0, 11.0], [0.0, 0.0, 1.0]], device=DEVICE)
    K = K.expand(V, 3, 3).contiguous()
    R = rotation_exp(0.3 * random(V, 3))
    t = torch.tensor([0.0, 0.0, 200.0], device=DEVICE).expand(V, 3)
    head, normals = 12.0 * random(2, P, 3), random(2, P, 3)
    normals[..., 2] -= 2.0
    normals = normals / normals.norm(dim=-1, keepdim=True)
    frame = torch.tensor([0, 1, 0], device=DEVICE)
    depth = 200.0 + 10.0 * random(V, S, S)
    depth[:, :3] = torch.inf
    compared = (torch.arange(P, device=DEVICE) > 3).float()
    x_cam = head[frame] @ R.mT + t[:, None]
    theirs = read_texels(TexelSource(channels), K, x_cam, normals[frame] @ R.mT, depth)
    motion = torch.cat([R, t[..., None]], dim=-1)
    size = torch.tensor(float(S), device=DEVICE)
    place = (K, motion, frame, head)
    mine = skin_cuda.read_skin(channels, size, *place, normals, depth, compared)
    assert 0.1 < float((theirs.weight > 0).float().mean()) < 0.9
    assert torch.allclose(mine.colour, theirs.colour, atol=1e-3)
    assert torch.allclose(mine.weight, theirs.weight * compared, atol=1e-4)
    by_head = theirs.jacobian @ R[:, None]
    assert torch.allclose(mine.jacobian, by_head, atol=1e-3)


@pytest.mark.parametrize("permuted", [(0, 1, 2), (2, 0, 1)])
def test_consensus_agrees_with_torch_however_its_input_lies_in_memory(permuted):
    seen, light = seen_texels(), 0.1 * random(V, P, 3)
    back = [permuted.index(i) for i in range(3)]
    light = light.permute(permuted).contiguous().permute(back)
    mine, theirs = skin_cuda.agreement(seen, light, 0.6), consensus(seen, light, 0.6)
    watched = seen.weight.sum(0) > 0
    assert torch.allclose(mine.mean[watched], theirs.mean[watched], atol=1e-5)
    assert torch.allclose(mine.residual[:, watched], theirs.residual[:, watched], atol=1e-5)
    for name in ("weight", "energy", "seen"):
        assert torch.allclose(getattr(mine, name), getattr(theirs, name), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("k", [1, 3, 5])
def test_blocks_agree_with_torch(k):
    seen, light, columns = seen_texels(), 0.1 * random(V, P, 3), random(V, P, 3, k)
    agreed: Consensus = consensus(seen, light, 0.6)
    hessian, gradient, _ = column_blocks(columns, agreed)
    theirs = torch.cat([hessian.flatten(1), gradient], dim=1).T
    assert torch.allclose(skin_plain.texel_equations(columns, agreed), theirs)
    mine = skin_cuda.texel_equations(columns, agreed)
    assert torch.allclose(mine, theirs, rtol=1e-4, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no CUDA device")
def test_reading_more_texels_than_32_bits_count():
    """The last view's derivatives lie beyond 2^31 numbers; texels but the first and last ones are in one place."""
    views, texels, some = 16, 15_000_000, 40
    if torch.cuda.mem_get_info()[0] < 40e9:
        pytest.skip("less than 40 GB of GPU memory are free")
    head = torch.zeros(1, texels, 3, device=DEVICE)
    head[0, :some], head[0, -some:] = 12.0 * random(2, some, 3)
    normals = head.new_tensor([0.0, 0.0, -1.0]).expand(1, texels, 3)
    K = head.new_tensor([[100.0, 0.0, 12.0], [0.0, 110.0, 11.0], [0.0, 0.0, 1.0]])
    motion = torch.eye(3, 4, device=DEVICE)
    motion[2, 3] = 200.0
    of_view = (K.repeat(views, 1, 1), motion.repeat(views, 1, 1))
    frame = torch.zeros(views, dtype=torch.int64, device=DEVICE)
    windows = (random(views, 10, S, S), torch.tensor(float(S), device=DEVICE))
    depth = torch.full((views, S, S), 300.0, device=DEVICE)
    windows[0][:, 9] = 1.0

    def read(here: torch.Tensor) -> TexelViews:
        compared = torch.ones(here.shape[1], device=DEVICE)
        place = (*of_view, frame, here, normals[:, : here.shape[1]])
        return skin_cuda.read_skin(*windows, *place, depth, compared)

    whole = read(head)
    for part in (slice(0, some), slice(texels - some, texels)):
        wanted = read(head[:, part].contiguous())
        assert bool(wanted.weight[-1].any())
        for name in ("colour", "jacobian", "weight"):
            assert torch.equal(getattr(whole, name)[-1, part], getattr(wanted, name)[-1])

"""Which view of a rig is the wrong one, when another meets it by chance."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from hrnfit.fit.frame_pose import inconsistent_view
from hrnfit.fit.landmark_views import LandmarkView, landmark_views
from tests.fit.test_initialize import SmallFace, rig


def with_focal(wrong: int, factor: float) -> list[LandmarkView]:
    """Three views with 3 px of noise, of which one has another focal length than it says."""
    views = list(rig((-0.3, 0.0, 0.3)))
    K = views[wrong].camera.K.clone()
    K[:2, :2] *= factor
    views[wrong] = replace(views[wrong], camera=replace(views[wrong].camera, K=K))
    generator = torch.Generator().manual_seed(0)
    return [
        replace(view, pixels=view.pixels + 3.0 * torch.randn(68, 2, generator=generator))
        for view in landmark_views(views, SmallFace())
    ]


@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_a_wrong_focal_length_is_not_blamed_on_a_right_view(wrong):
    """Two rays with a wrong focal length still meet, nearer to the camera, at points of no face."""
    assert inconsistent_view(with_focal(wrong, 1.5)) == f"cam_{wrong}"


def test_a_right_rig_names_nobody():
    assert inconsistent_view(with_focal(0, 1.0)) is None

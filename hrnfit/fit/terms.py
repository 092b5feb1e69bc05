"""Energy terms by the name a recipe uses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hrnfit.energy.contour import NearestContour, RowContour
from hrnfit.energy.landmark import LandmarkTerm
from hrnfit.energy.perceptual import Embedding, Perceptual
from hrnfit.energy.photometric import Photometric
from hrnfit.energy.prior import (
    AlbedoMapChroma,
    AlbedoMapSize,
    AlbedoMapVariation,
    AlbedoPrior,
    CameraPrior,
    ExpressionBounds,
    ExpressionPrior,
    FocalPrior,
    IdentityPrior,
    LightColour,
    LightPositivity,
    LightSoftness,
)
from hrnfit.energy.rigidity import FoldBarrier, Rigidity
from hrnfit.energy.silhouette import Silhouette
from hrnfit.energy.smooth import (
    DeformationBending,
    DeformationSize,
    DeformationVariation,
    DisplacementSize,
    DisplacementVariation,
)
from hrnfit.energy.term import Term

TERMS: dict[str, Any] = {
    "landmark": LandmarkTerm,
    "photometric": Photometric,
    "perceptual": Perceptual,
    "contour": NearestContour,
    "contour_rows": RowContour,
    "silhouette": Silhouette,
    "deformation_tv": DeformationVariation,
    "deformation_bending": DeformationBending,
    "deformation_size": DeformationSize,
    "displacement_size": DisplacementSize,
    "displacement_tv": DisplacementVariation,
    "rigidity": Rigidity,
    "fold": FoldBarrier,
    "identity_prior": IdentityPrior,
    "expression_prior": ExpressionPrior,
    "expression_bounds": ExpressionBounds,
    "albedo_prior": AlbedoPrior,
    "light_colour": LightColour,
    "light_softness": LightSoftness,
    "light_positivity": LightPositivity,
    "focal_prior": FocalPrior,
    "camera_prior": CameraPrior,
    "albedo_map_size": AlbedoMapSize,
    "albedo_map_tv": AlbedoMapVariation,
    "albedo_map_chroma": AlbedoMapChroma,
}


def make_term(
    name: str, scheme: str, settings: Mapping[str, Any], embedding: Embedding | None = None
) -> Term:
    """A term with its settings; landmarks are compared in the scheme that the views have, faces by the
    embedding. Raises ValueError for the perceptual term without an embedding."""
    extra: dict[str, Any] = {}
    if name == "landmark":
        extra = {"scheme": scheme}
    elif name == "perceptual":
        extra = {"embedding": check_embedding(embedding)}
    return TERMS[name](**extra, **settings)


def check_embedding(embedding: Embedding | None) -> Embedding:
    """The embedding, if there is one."""
    if embedding is None:
        raise ValueError(
            "term 'perceptual': no embedding of faces to compare with; add ArcFace weights: "
            "hrnfit nets add arcface PATH, or pass embedding="
        )
    return embedding

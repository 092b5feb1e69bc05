"""Where the embedding of the perceptual term comes from: given by the caller, or kept by the user."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import torch

from hrnfit.energy.perceptual import Embedding
from hrnfit.fit.first_order_stage import FirstOrderSettings
from hrnfit.fit.licensing import stated_part
from hrnfit.fit.recipe import Recipe
from hrnfit.fit.scene import Scene
from hrnfit.fit.terms import check_embedding
from hrnfit.infer.load_networks import kept
from hrnfit.licences import Part
from hrnfit.nets.network_info import network_part


@dataclass(frozen=True)
class EmbeddingChoice:
    """The embedding of a fit and its terms."""

    embedding: Embedding | None
    part: Part | None


def choose_embedding(recipe: Recipe, given: Embedding | None) -> EmbeddingChoice:
    """What the recipe's perceptual terms compare with: the caller's, else ArcFace weights that the user keeps.

    Nothing when no stage names the term. Raises ValueError when one does and there is no embedding.
    """
    if not needs_embedding(recipe):
        return EmbeddingChoice(None, None)
    if given is not None:
        substitute = "a recipe without the term perceptual"
        return EmbeddingChoice(given, stated_part(given, "weights", substitute))
    for loaded in kept("arcface").values():
        return EmbeddingChoice(cast(Embedding, loaded.module), network_part(loaded.info))
    check_embedding(None)
    raise AssertionError("check_embedding accepts None")


def needs_embedding(recipe: Recipe) -> bool:
    """Whether a stage of the recipe names the perceptual term."""
    settings = [stage.settings for stage in recipe.stages]
    return any(isinstance(s, FirstOrderSettings) and "perceptual" in s.terms for s in settings)


def with_embedding(scene: Scene, recipe: Recipe, embedding: Embedding | None) -> Scene:
    """The scene with the embedding that the recipe's perceptual terms compare with.

    Raises ValueError when a stage names the term and there is none, or when a network is still in
    training mode, where it would answer otherwise each time.
    """
    if needs_embedding(recipe):
        check_embedding(embedding)
    if getattr(embedding, "training", False):
        raise ValueError("embedding: the network is in training mode; call its eval() first")
    if isinstance(embedding, torch.nn.Module):
        embedding = cast(Embedding, embedding.to(scene.device))  # in place, as torch does
    return replace(scene, embedding=embedding)

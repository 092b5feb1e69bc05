"""Where the embedding of the perceptual term comes from: given by the caller, asked for before any work."""

from __future__ import annotations

from dataclasses import replace

from hrnfit.energy.perceptual import Embedding
from hrnfit.fit.first_order_stage import FirstOrderSettings
from hrnfit.fit.recipe import Recipe
from hrnfit.fit.scene import Scene
from hrnfit.fit.terms import check_embedding


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
    return replace(scene, embedding=embedding)

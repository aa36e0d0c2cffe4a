"""Weights by name, by file or by seed: from what a user asks for to a loaded network.

    resolve(variant, checkpoint, tag, ...) -> Source --load--> tresnet.Checkpoint

A :class:`~tresnet_deploy.contracts.Source` is written into each artefact, so that any later step
can load the same weights again, or say that they are no longer the same.
"""

from tresnet_deploy.weights.hub import cache_folder, published
from tresnet_deploy.weights.seeded import random_checkpoint
from tresnet_deploy.weights.sources import RANDOM, load, resolve

__all__ = ["RANDOM", "cache_folder", "load", "published", "random_checkpoint", "resolve"]

"""The table of variants as data with a schema version."""

from __future__ import annotations

from dataclasses import dataclass

from tresnet.variants import VARIANTS, Variant
from tresnet_deploy.contracts import SCHEMA_VERSION


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """Every named TResNet, in the order of the table."""

    variants: tuple[Variant, ...]
    schema_version: int = SCHEMA_VERSION


def catalogue() -> Catalogue:
    """Return all rows of the table."""
    return Catalogue(variants=VARIANTS)

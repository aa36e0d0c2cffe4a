"""Where along a network its blocks get noisier."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

from tresnet_deploy.results import BlockSnr

MARKED: Final = 3
"""How many blocks are pointed at."""

_LEAST_DB: Final = 1.0  # a smaller fall is no place to look at


def falls(blocks: Sequence[BlockSnr]) -> dict[str, float]:
    """Return by how many dB a block is noisier than the one before, where that is much."""
    return {
        now.block: before.snr_db - now.snr_db
        for before, now in itertools.pairwise(blocks)
        if before.snr_db is not None
        and now.snr_db is not None
        and before.snr_db - now.snr_db >= _LEAST_DB
    }


def steepest(blocks: Sequence[BlockSnr]) -> tuple[str, ...]:
    """Return the blocks with the largest falls, the largest first."""
    found = falls(blocks)
    return tuple(sorted(found, key=lambda block: -found[block])[:MARKED])

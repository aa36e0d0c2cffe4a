"""Where accuracy goes inside the network, for people."""

from __future__ import annotations

import itertools
from typing import Final

from tresnet_deploy.cli._tables import table
from tresnet_deploy.results import BlockSnr, ParityReport

_FALLS: Final = 3  # blocks that are pointed at
_LEAST_DB: Final = 1.0  # a smaller fall is no place to look at


def text(report: ParityReport) -> str:
    """Return the SNR of each block's output, stage by stage; the steepest falls are marked."""
    stages = [stage for stage in report.stages if stage.blocks]
    last = stages[-1].blocks
    falls = _falls(last)
    marked = sorted(falls, key=lambda block: -falls[block])[:_FALLS]
    rows = [
        (
            each.block,
            *(_decibels(stage.blocks[index]) for stage in stages),
            f"{falls[each.block]:+.1f}" if each.block in falls else "-",
            "<" if each.block in marked else "",
        )
        for index, each in enumerate(last)
    ]
    heads = ("block", *(stage.stage for stage in stages), "lost dB", "")
    return (
        f"SNR of each block's output against eager PyTorch in dB, {report.block_images} images\n"
        f"{table(heads, rows, indent='  ')}\n"
        f"  lost: from one block to the next in {stages[-1].stage}"
    )


def _falls(blocks: tuple[BlockSnr, ...]) -> dict[str, float]:
    """Return by how many dB each block is noisier than the one before, where that is much."""
    return {
        now.block: before.snr_db - now.snr_db
        for before, now in itertools.pairwise(blocks)
        if before.snr_db is not None
        and now.snr_db is not None
        and before.snr_db - now.snr_db >= _LEAST_DB
    }


def _decibels(each: BlockSnr) -> str:
    return "exact" if each.snr_db is None else f"{each.snr_db:.1f}"

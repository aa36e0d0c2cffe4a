"""Where accuracy goes inside the network, for people."""

from __future__ import annotations

from tresnet_deploy.cli._tables import table
from tresnet_deploy.metrics.falls import falls, steepest
from tresnet_deploy.results import BlockSnr, ParityReport


def text(report: ParityReport) -> str:
    """Return the SNR of each block's output, stage by stage; the steepest falls are marked."""
    stages = [stage for stage in report.stages if stage.blocks]
    last = stages[-1].blocks
    found, marked = falls(last), steepest(last)
    rows = [
        (
            each.block,
            *(_decibels(stage.blocks[index]) for stage in stages),
            f"{found[each.block]:+.1f}" if each.block in found else "-",
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


def _decibels(each: BlockSnr) -> str:
    return "exact" if each.snr_db is None else f"{each.snr_db:.1f}"

"""Where in the network accuracy went: the error of each block, in the engine and before it."""

from __future__ import annotations

from typing import Final

from tresnet_deploy.metrics.falls import steepest
from tresnet_deploy.report.axes import Axis, logarithmic
from tresnet_deploy.report.charts import Chart, ChartRow, Dot
from tresnet_deploy.report.data import ReportData
from tresnet_deploy.report.words import noise, noise_of
from tresnet_deploy.results import BlockSnr, StageParity

_LEAST: Final = 1e-8  # below float32's own resolution of 6e-8
_MOST: Final = 1.0
_COLUMNS: Final = 3  # stages beside the plot: the last ones, which end with what is shipped


def block_chart(data: ReportData) -> Chart | None:
    """Return the error of each block of the subject, None where blocks were not compared.

    Where the engine shows no inner tensors it is that of the last file before it.
    """
    stages = [stage for stage in (data.parity.stages if data.parity else ()) if stage.blocks]
    if not stages or data.parity is None:
        return None
    subject = next((stage for stage in stages if data.is_subject(stage)), stages[-1])
    others = [stage for stage in stages if stage is not subject][-(_COLUMNS - 1) :]
    shown = (*others, subject)
    axis = logarithmic(_LEAST * 100, _MOST * 100, unit=" %")
    return Chart(
        title="Where in the network accuracy went",
        lead=(
            f"The output of each block in {subject.stage} against eager PyTorch, on "
            f"{data.parity.block_images:,} images. The error is the root mean square difference "
            "over the output's own size. The columns are signal to noise in dB; dark are the "
            "blocks at which it falls most."
        ),
        plot_head="error, logarithmic: left is closer",
        heads=tuple(stage.stage for stage in shown),
        axis=axis,
        rows=tuple(_row(block, index, shown, axis) for index, block in enumerate(subject.blocks)),
    )


def _row(block: BlockSnr, index: int, shown: tuple[StageParity, ...], axis: Axis) -> ChartRow:
    share = noise_of(block.snr_db)
    at = axis.at(100 * share)
    return ChartRow(
        name=block.block,
        kind="subject" if block.block in steepest(shown[-1].blocks) else "engine",
        values=tuple(_decibels(stage.blocks[index]) for stage in shown),
        dot=Dot(at=at, low=at, high=at, stem=True),
        said=f"{block.block}: error {noise(share)}",
    )


def _decibels(each: BlockSnr) -> str:
    return "exact" if each.snr_db is None else f"{each.snr_db:.1f}"

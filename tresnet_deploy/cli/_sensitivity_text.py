"""A sensitivity report for people."""

from __future__ import annotations

from typing import Final

from tresnet_deploy.cli._tables import percent, table
from tresnet_deploy.images import counted
from tresnet_deploy.int8_results import Effect, SensitivityReport

_SHOWN: Final = 30  # of a hundred layers the worst tell the story; the JSON has all


def text(report: SensitivityReport) -> str:
    """Return the whole report, the most harmful first."""
    ranked = report.ranked()
    shown = ranked[:_SHOWN]
    more = len(ranked) - len(shown)
    tail = f"\n  and {more} more in sensitivity.json" if more else ""
    return (
        f"{report.architecture} in INT8 on {counted(report.images)}: {report.image_source}\n"
        f"against the float graph: SNR {decibels(report.int8_snr_db)} dB, same top-1 "
        f"{percent(report.int8_agreement)}\n\n"
        f"{table(_heads(report), [_row(effect) for effect in shown], indent='  ')}{tail}\n\n"
        "alone in INT8: all others are float; alone in float: all others are INT8; noise: the "
        "share of\nthe INT8 graph's noise that goes when it stays float"
    )


def decibels(snr_db: float | None) -> str:
    """Return an SNR; two equal sets of scores have none."""
    return "exact" if snr_db is None else f"{snr_db:.1f}"


def _heads(report: SensitivityReport) -> tuple[str, ...]:
    return (
        report.basis.by,
        "noise",
        "alone in INT8: SNR dB",
        "same top-1",
        "alone in float: SNR dB",
        "same top-1",
        "weights",
    )


def _row(effect: Effect) -> tuple[str, ...]:
    return (
        effect.name,
        percent(effect.noise_share),
        decibels(effect.only_snr_db),
        percent(effect.only_agreement),
        decibels(effect.without_snr_db),
        percent(effect.without_agreement),
        f"{effect.parameters:,}",
    )

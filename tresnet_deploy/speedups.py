"""What the times of a benchmark say: this file is about speeds, ratios, intervals and verdicts.

A ratio is taken within each round, between contestants that ran in the same seconds, and the
interval comes from resampling rounds: what slows a whole round slows both and cancels.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Final, Literal

import numpy as np
import numpy.typing as npt

from tresnet_deploy.contracts import Precision
from tresnet_deploy.results import BenchmarkRow, Interval, Ratio

Speeds = npt.NDArray[np.float64]
Rounds = tuple[tuple[float, ...], ...]
Scenario = Literal["latency", "throughput"]

RESAMPLES: Final = 10_000  # leaves about 0.2 % of noise in a 95 % bound
_PERCENTILES: Final = (2.5, 97.5)
_MS_PER_S: Final = 1000.0
# trtexec warns at a coefficient of variation of 2.5 %, measured with locked GPU clocks; nobody
# locks a laptop's clocks, so a row drifts when its second half of rounds is 5 % away from its
# first, and no round of one half is within the other: scatter alone seldom does that.
DRIFT_LIMIT: Final = 0.05
_RANK: Final[dict[Precision, int]] = {"fp32": 0, "bf16": 1, "fp16": 1, "int8": 2, "fp8": 2}


def round_speeds(rounds_ms: Rounds, batch: int, scenario: Scenario) -> Speeds:
    """Return images per second of each round.

    Latency is what one request sees, so it is taken from a round's median; throughput is what a
    queue sees, so it is all images of a round over all its time.
    """
    if scenario == "latency":
        step_ms = [float(np.median(times)) for times in rounds_ms]
    else:
        step_ms = [float(np.mean(times)) for times in rounds_ms]
    return batch * _MS_PER_S / np.array(step_ms)


def speeds_of(row: BenchmarkRow) -> Speeds:
    """Return images per second of each round of ``row``."""
    return round_speeds(row.samples_ms, row.batch, row.scenario)


def ratio_between(row: BenchmarkRow, baseline: BenchmarkRow) -> Ratio:
    """Return how many times as fast ``row`` is as ``baseline``: the median over paired rounds."""
    value, interval = median_ratio(speeds_of(row) / speeds_of(baseline))
    return Ratio(baseline=baseline.name, value=value, interval=interval)


def median_ratio(paired: Speeds) -> tuple[float, Interval]:
    """Return the median of the ratios ``paired`` (rounds,), and its 95 % interval.

    The interval is the percentile bootstrap over rounds (Efron and Tibshirani, chapter 13), the
    same rounds for both sides of a ratio. It is deterministic.
    """
    draws = np.random.default_rng(0).integers(0, len(paired), (RESAMPLES, len(paired)))
    low, high = np.percentile(np.median(paired[draws], axis=1), _PERCENTILES)
    return float(np.median(paired)), Interval(low=float(low), high=float(high))


def drifted(speeds: Speeds) -> bool:
    """Return whether the last rounds were clearly faster or slower than the first ones."""
    half = len(speeds) // 2
    if half == 0:  # one round has no trend
        return False
    first, last = speeds[:half], speeds[-half:]
    moved = abs(np.median(last) / np.median(first) - 1) > DRIFT_LIMIT
    return bool(moved and (max(first) < min(last) or max(last) < min(first)))


def with_ratios(rows: tuple[BenchmarkRow, ...], *, baseline: str) -> tuple[BenchmarkRow, ...]:
    """Return ``rows`` with their ratios to ``baseline`` and to the fastest PyTorch row.

    Rows that failed parity get none; a row is compared only with rows of its batch and scenario.
    """
    return tuple(_with_ratio(row, _rivals(rows, row), baseline) for row in rows)


def _with_ratio(row: BenchmarkRow, rivals: tuple[BenchmarkRow, ...], baseline: str) -> BenchmarkRow:
    if row.parity == "fail":
        return row
    base = next((rival for rival in rivals if rival.name == baseline), None)
    eager = [rival for rival in rivals if rival.parity == "baseline"]
    best = max(eager, key=lambda rival: rival.images_per_s, default=None)
    return dataclasses.replace(
        row,
        ratio=ratio_between(row, base) if base else None,
        best_pytorch=ratio_between(row, best) if best and row.parity != "baseline" else None,
    )


def _rivals(rows: Iterable[BenchmarkRow], row: BenchmarkRow) -> tuple[BenchmarkRow, ...]:
    same = (row.batch, row.scenario)
    return tuple(rival for rival in rows if (rival.batch, rival.scenario) == same)


def headline_rows(rows: Iterable[BenchmarkRow]) -> tuple[BenchmarkRow, ...]:
    """Return latency rows, and throughput rows of each contestant's best batch."""
    rows = tuple(rows)
    latency = tuple(row for row in rows if row.scenario == "latency")
    best: dict[str, BenchmarkRow] = {}
    for row in rows:
        if row.scenario == "throughput":
            best[row.name] = max(best.get(row.name, row), row, key=lambda each: each.images_per_s)
    return latency + tuple(best.values())


def verdicts(rows: tuple[BenchmarkRow, ...]) -> tuple[str, ...]:
    """Return what the rows say in plain sentences, the negative ones included."""
    # Throughput at batch 1 is judged by the very samples of the latency scenario.
    rows = tuple(row for row in rows if (row.scenario, row.batch) != ("throughput", 1))
    return tuple(dict.fromkeys((*_winners(rows), *_failures(rows), *_wasted(rows))))


def _winners(rows: tuple[BenchmarkRow, ...]) -> Iterator[str]:
    for batch, scenario in dict.fromkeys((row.batch, row.scenario) for row in rows):
        group = [row for row in rows if (row.batch, row.scenario) == (batch, scenario)]
        ours = [row for row in group if row.parity in ("pass", "not checked") and row.ratio]
        if not ours:
            continue
        best = max(ours, key=lambda row: row.images_per_s)
        assert best.ratio is not None
        where = f"{scenario}, batch {batch}"
        label = best.name if best.parity == "pass" else f"{best.name} (parity not checked)"
        if best.ratio.baseline == best.name:
            continue
        if best.ratio.interval.low <= 1:
            yield f"{where}: no engine is measurably faster than {best.ratio.baseline}"
        else:
            yield f"{where}: {label} is the fastest, {_claim(best)}"


def _claim(row: BenchmarkRow) -> str:
    """Name the ratio to the baseline, and the one to PyTorch at its best, which is more honest."""
    assert row.ratio is not None
    claim = f"{times(row.ratio)} {row.ratio.baseline}"
    best = row.best_pytorch
    if best is None or best.baseline == row.ratio.baseline:
        return claim
    return f"{claim}, {best.value:.2f}x the fastest PyTorch here ({best.baseline})"


def _failures(rows: tuple[BenchmarkRow, ...]) -> Iterator[str]:
    for row in rows:
        if row.parity == "fail":
            yield f"{row.name} failed parity: it is timed, but no speed-up is claimed for it"


def _wasted(rows: tuple[BenchmarkRow, ...]) -> Iterator[str]:
    """Say where a lower precision buys nothing over a higher one of the same backend."""
    engines = [row for row in rows if row.parity in ("pass", "not checked")]
    for row in engines:
        higher = [
            rival
            for rival in _rivals(engines, row)
            if rival.backend == row.backend and _RANK[rival.precision] < _RANK[row.precision]
        ]
        for rival in sorted(higher, key=lambda each: -each.images_per_s)[:1]:
            ratio = ratio_between(row, rival)
            if ratio.interval.high < 1:
                yield (
                    f"{row.scenario}, batch {row.batch}: {row.precision} is slower than "
                    f"{rival.precision} on {row.backend} here ({times(ratio)}): "
                    f"ship {rival.precision}"
                )


def times(ratio: Ratio) -> str:
    """Return a ratio and its interval as people read them: 3.94x (95 % 3.88 to 4.01)."""
    return f"{ratio.value:.2f}x (95 % {ratio.interval.low:.2f} to {ratio.interval.high:.2f})"

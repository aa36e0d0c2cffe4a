"""The results of bench/accuracy.py as a table, verdicts and a page."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from tresnet_deploy import metrics
from tresnet_deploy.report.axes import linear
from tresnet_deploy.report.charts import Chart, ChartRow, Dot
from tresnet_deploy.results import Interval

Classes = npt.NDArray[np.int64]
OURS: Final = "ours"  # how the names of our rows begin
AUTO: Final = "ours, auto"
MIXED: Final = "ours, auto + mixed"
MIN_MAX: Final = "ours, plain min-max"
HEADS: Final = ("quantiser", "top-1", "drop in points", "95 % interval", "agreement", "worst", "s")
LOST_MOST: Final = 0.002
AGREEMENT_LEAST: Final = 0.985
COLLAPSE: Final = 0.10
RESCUED: Final = 0.005
SPEEDS_LEAST: Final = {AUTO: 0.98, MIXED: 0.90}


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one quantiser's engine answered on all test images, (N,), or why it answered nothing."""

    name: str
    seed: int
    cpu_seconds: float
    answers: tuple[int, ...] = ()
    failed: str = ""


@dataclass(frozen=True, kw_only=True)
class Speed:
    """The throughput of ours over NNCF's engine, measured in turns."""

    name: str
    batch: int
    ratio: float
    interval: Interval


@dataclass(frozen=True, kw_only=True)
class Results:
    """All that was measured on one network; `reference` are the float network's answers."""

    title: str
    labels: tuple[int, ...]
    reference: tuple[int, ...]
    runs: tuple[Run, ...]
    speeds: tuple[Speed, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Row:
    """One quantiser over its seeds: the seed whose drop is the median, and the largest drop."""

    name: str
    correct: npt.NDArray[np.bool_]
    top1: float
    drop: float
    interval: Interval
    agreement: float
    worst: float
    cpu_seconds: float

    def cells(self) -> tuple[str, ...]:
        """Return what the table says, under HEADS."""
        return (
            self.name,
            f"{self.top1:.2%}",
            f"{100 * self.drop:+.2f}",
            f"{100 * self.interval.low:+.2f} to {100 * self.interval.high:+.2f}",
            f"{self.agreement:.2%}",
            f"{100 * self.worst:+.2f}",
            f"{self.cpu_seconds:.0f}",
        )


def rows(results: Results) -> tuple[Row, ...]:
    """Return a row for each quantiser that answered under any seed."""
    labels, reference = np.array(results.labels), np.array(results.reference)
    before = reference == labels
    found = []
    for name in dict.fromkeys(run.name for run in results.runs):
        runs = [run for run in results.runs if run.name == name and not run.failed]
        judged = sorted(
            (before.mean() - (answers == labels).mean(), seed, answers)
            for seed, answers in enumerate(np.array(run.answers) for run in runs)
        )
        if not judged:
            continue
        _, _, answers = judged[len(judged) // 2]
        drop, interval = metrics.paired_drop(before, answers == labels)
        shares = [float((answers == reference).mean()) for *_, answers in judged]
        found.append(
            Row(
                name=name,
                correct=answers == labels,
                top1=float((answers == labels).mean()),
                drop=drop,
                interval=interval,
                agreement=float(np.median(shares)),
                worst=float(judged[-1][0]),
                cpu_seconds=float(np.median([run.cpu_seconds for run in runs])),
            )
        )
    return tuple(found)


def markdown(results: Results) -> str:
    """Return the table, the verdicts and the notes."""
    labels, reference = np.array(results.labels), np.array(results.reference)
    top1 = f"{(reference == labels).mean():.2%}"
    lines = [f"### {results.title}: {len(labels):,} test images, FP32 top-1 {top1}", ""]
    lines += ["| " + " | ".join(HEADS) + " |", "|---" + "|--:" * (len(HEADS) - 1) + "|"]
    lines += ["| " + " | ".join(row.cells()) + " |" for row in rows(results)]
    lines += ["", *(f"- {line}" for line in (*verdicts(results), *results.notes)), ""]
    return "\n".join(lines)


def verdicts(results: Results) -> Iterator[str]:
    """Give each goal with what was found and whether it is met."""
    found = {row.name: row for row in rows(results)}
    others = [row for row in found.values() if not row.name.startswith(OURS)]
    best = min(others, key=lambda row: row.drop, default=None)
    collapsed = MIN_MAX in found and found[MIN_MAX].drop > COLLAPSE
    for name in (AUTO, MIXED):
        if name not in found:
            continue
        row = found[name]
        yield _verdict(
            row.drop <= LOST_MOST, f"{name} loses {_points(row.drop)}, goal {_points(LOST_MOST)}"
        )
        agrees = f"{name} agrees on {row.agreement:.2%}, goal {AGREEMENT_LEAST:.1%}"
        yield _verdict(row.agreement >= AGREEMENT_LEAST, agrees)
        if best is not None:
            behind, interval = metrics.paired_drop(best.correct, row.correct)
            text = f"{name} is {_points(behind)} behind the best rival, {best.name} "
            text += f"({100 * interval.low:+.2f} to {100 * interval.high:+.2f})"
            yield _verdict(interval.low <= 0, text)
        if collapsed:
            text = f"min-max loses {_points(found[MIN_MAX].drop)}, {name} {_points(row.drop)}"
            yield _verdict(row.drop <= RESCUED, f"{text}, goal {_points(RESCUED)}")
    for speed in results.speeds:
        least = SPEEDS_LEAST[speed.name]
        text = f"{speed.name} runs at {speed.ratio:.3f} of NNCF's speed, batch {speed.batch} "
        text += f"({speed.interval.low:.3f} to {speed.interval.high:.3f}), goal {least:g}"
        yield _verdict(speed.ratio >= least, text)
    for run in results.runs:
        if run.failed:
            yield f"{run.name}, seed {run.seed}, failed: {run.failed}"


def _points(share: float) -> str:
    return f"{100 * share:.2f} points"


def _verdict(met: bool, text: str) -> str:
    return f"{'met' if met else 'MISSED'}: {text}"


def chart(results: Results) -> Chart:
    """Return the drops with their intervals, ours in another colour."""
    found = rows(results)
    ends = [100 * end for row in found for end in (row.interval.low, row.interval.high)]
    axis = linear(min(0.0, *ends), max(0.0, *ends))
    return Chart(
        title=results.title,
        lead="Points of top-1 lost against FP32, with the paired 95 % interval; medians of seeds.",
        plot_head="drop in points",
        heads=("top-1", "drop", "agreement", "worst seed", "CPU s"),
        axis=axis,
        reference=axis.at(0.0),
        rows=tuple(
            ChartRow(
                name=row.name,
                kind="subject" if row.name.startswith(OURS) else "baseline",
                values=tuple(cell for i, cell in enumerate(row.cells()) if i in {1, 2, 4, 5, 6}),
                dot=Dot(
                    at=axis.at(100 * row.drop),
                    low=axis.at(100 * row.interval.low),
                    high=axis.at(100 * row.interval.high),
                ),
                said=f"{row.name}: {row.cells()[2]} points",
            )
            for row in found
        ),
    )

"""The verdicts of bench/accuracy.py: what counts as met, and that losers are named."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

BENCH = Path(__file__).parents[2] / "bench"
IMAGES = 1000
LABELS = tuple(range(10)) * (IMAGES // 10)


@pytest.fixture(scope="module")
def table(script: Callable[[Path], ModuleType]) -> ModuleType:
    return script(BENCH / "accuracy_table.py")


def _answers(*, wrong: int) -> tuple[int, ...]:
    """The labels, the first ``wrong`` of them off by one."""
    return tuple((label + (row < wrong)) % 10 for row, label in enumerate(LABELS))


def _results(table: ModuleType, runs: dict[str, tuple[int, ...]]) -> Any:
    return table.Results(
        title="a network",
        labels=LABELS,
        reference=_answers(wrong=100),
        runs=tuple(
            table.Run(name=name, seed=seed, cpu_seconds=1.0, answers=_answers(wrong=wrong))
            for name, every in runs.items()
            for seed, wrong in enumerate(every)
        ),
    )


def test_a_row_is_the_seed_whose_drop_is_the_median(table: ModuleType) -> None:
    (row,) = table.rows(_results(table, {table.AUTO: (130, 101, 110)}))

    assert row.drop == pytest.approx(0.010)
    assert row.worst == pytest.approx(0.030)
    assert row.agreement == pytest.approx(0.99)
    assert row.interval.low < row.drop < row.interval.high


def test_two_points_lost_are_missed_goals(table: ModuleType) -> None:
    found = list(table.verdicts(_results(table, {"NNCF": (100,), table.AUTO: (120,)})))

    assert found[0] == "MISSED: ours, auto loses 2.00 points, goal 0.20 points"
    assert found[1].startswith("MISSED: ours, auto agrees on 98.00%")
    assert found[2].startswith("MISSED: ours, auto is 2.00 points behind the best rival, NNCF")


def test_a_difference_within_chance_is_no_defeat(table: ModuleType) -> None:
    found = list(table.verdicts(_results(table, {"NNCF": (100,), table.AUTO: (101,)})))

    assert [line.partition(":")[0] for line in found] == ["met"] * 3


def test_a_rescue_is_judged_only_where_min_max_collapses(table: ModuleType) -> None:
    held = _results(table, {table.MIN_MAX: (110,), table.AUTO: (100,)})
    collapsed = _results(table, {table.MIN_MAX: (400,), table.AUTO: (100,)})

    assert not [line for line in table.verdicts(held) if "min-max" in line]
    assert "met: min-max loses 30.00 points, ours, auto 0.00 points, goal 0.50 points" in list(
        table.verdicts(collapsed)
    )


def test_a_quantiser_that_failed_is_told_with_its_reason(table: ModuleType) -> None:
    results = _results(table, {table.AUTO: (100,)})
    failed = table.Run(name="NNCF", seed=2, cpu_seconds=1.0, failed="no memory")
    results = table.Results(
        title=results.title,
        labels=LABELS,
        reference=results.reference,
        runs=(*results.runs, failed),
    )

    text = table.markdown(results)

    assert "- NNCF, seed 2, failed: no memory" in text
    assert "| NNCF |" not in text


def test_the_chart_marks_no_loss_and_ours(table: ModuleType) -> None:
    found = table.chart(_results(table, {"NNCF": (150,), table.AUTO: (100,)}))

    assert [row.kind for row in found.rows] == ["baseline", "subject"]
    assert found.rows[1].dot.at == pytest.approx(found.reference)
    assert np.all([0 <= row.dot.low <= row.dot.high <= 100 for row in found.rows])

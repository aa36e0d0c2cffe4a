"""Axes and numbers: round ticks, positions in percent, true minus signs."""

from __future__ import annotations

import pytest

from tresnet_deploy.report.axes import linear, logarithmic, signed, symmetric
from tresnet_deploy.report.words import (
    factor,
    milliseconds,
    noise,
    noise_of,
    percent,
    points,
    significant,
)


def texts(axis) -> list[str]:  # type: ignore[no-untyped-def]
    return [tick.text for tick in axis.ticks]


def test_linear_ticks_are_round_and_few() -> None:
    assert texts(linear(0, 4.2, unit="×")) == ["0×", "1×", "2×", "3×", "4×"]
    assert texts(linear(0, 13)) == ["0.0", "2.5", "5.0", "7.5", "10.0", "12.5"]
    assert texts(linear(0, 0.9)) == ["0.0", "0.2", "0.4", "0.6", "0.8"]
    assert texts(linear(0, 900)) == ["0", "200", "400", "600", "800"]


def test_a_symmetric_axis_has_zero_in_its_middle() -> None:
    axis = symmetric(1.0)
    assert axis.at(0.0) == 50.0
    assert texts(axis) == ["−1.0", "−0.5", "0.0", "0.5", "1.0"]


def test_logarithmic_ticks_are_1_2_5_finer_when_short_and_decades_when_long() -> None:
    assert texts(logarithmic(0.8, 60, unit=" ms")) == [
        "1 ms",
        "2 ms",
        "5 ms",
        "10 ms",
        "20 ms",
        "50 ms",
    ]
    assert texts(logarithmic(3.0, 14.0)) == ["3", "5", "7", "10"]
    assert texts(logarithmic(71, 509, unit=" ms")) == ["100 ms", "200 ms", "500 ms"]
    assert texts(logarithmic(1.11, 1.18)) == ["1.1", "1.15", "1.2"]
    assert texts(logarithmic(1e-6, 100, unit=" %")) == [
        "10⁻⁶ %",
        "10⁻⁴ %",
        "0.01 %",
        "1 %",
        "100 %",
    ]


def test_positions_are_in_percent_and_stay_on_the_axis() -> None:
    axis = linear(0, 4)
    assert [axis.at(value) for value in (-1, 0, 1, 4, 9)] == [0, 0, 25, 100, 100]
    decades = logarithmic(1, 100)
    assert decades.at(10) == pytest.approx(50)
    assert decades.at(0) == 0


def test_an_axis_over_a_single_value_still_has_a_width() -> None:
    assert linear(0, 0).at(0) == 0
    assert logarithmic(5, 5).at(5) == 50
    assert symmetric(0).at(0) == 50


def test_numbers_read_as_people_write_them() -> None:
    assert signed(-0.001, 2) == "0.00"
    assert [points(v) for v in (-0.001, 0.002, 0.0, 0.00001)] == ["−0.10", "+0.20", "0.00", "0.00"]
    assert [significant(v) for v in (0, 0.12345, 1.5, 12.34, 1234.5)] == [
        "0",
        "0.123",
        "1.50",
        "12.3",
        "1,234",
    ]
    assert milliseconds(0.5) == "0.500 ms"
    assert factor(3.944) == "3.94×"
    assert percent(0.914) == "91.40 %"


def test_noise_is_the_amplitude_that_a_signal_to_noise_ratio_leaves() -> None:
    assert noise_of(20.0) == pytest.approx(0.1)
    assert [noise(v) for v in (0.0, 1e-6, 0.045)] == ["none", "<0.01 %", "4.5 %"]
    assert noise_of(None) == 0.0

"""The pages of INT8, and what the report shows of blocks: bars, a curve, and no name trusted."""

from __future__ import annotations

import dataclasses

import pytest

from tresnet_deploy.int8_results import (
    Basis,
    BlockLatency,
    Effect,
    Judged,
    LatencyTable,
    MixedReport,
    Mixture,
    SensitivityReport,
)
from tresnet_deploy.report import ReportData, render
from tresnet_deploy.report.blame import block_chart
from tresnet_deploy.report.int8 import (
    headline,
    mixed_page,
    scatter,
    sensitivity_charts,
    sensitivity_page,
)
from tresnet_deploy.results import BlockSnr

SHARES = {"stem": 0.1, "layer1.0": 0.4, "layer2.0": 0.2, "layer3.0": -0.05}


@pytest.fixture
def report() -> SensitivityReport:
    return SensitivityReport(
        architecture="tresnet_m",
        file="tresnet_m.onnx",
        basis=Basis(
            graph_sha256="a",
            calibration_sha256="b",
            images_sha256="c",
            method="mse",
            settings="",
            by="block",
            tool_version="1",
        ),
        images=64,
        image_source="photographs",
        int8_snr_db=30.5,
        int8_agreement=0.97,
        effects=tuple(
            Effect(
                name=name,
                block=name,
                modules=(f"{name}.conv1.conv",),
                parameters=1000,
                only_snr_db=None if share < 0 else 40.0,
                only_agreement=1.0,
                without_snr_db=31.0,
                without_agreement=0.98,
                noise_share=share,
            )
            for name, share in SHARES.items()
        ),
        seconds=1.0,
        notes=("<script>alert(1)</script>",),
    )


def point(*kept: str, ms: float, agreement: float, drop: float, met: bool) -> Mixture:
    judged = Judged(agreement=agreement, snr_db=30.0, top1=0.9 - drop, drop=drop)
    return Mixture(kept=kept, latency_ms=ms, judged=judged, met=met, efficient=True)


@pytest.fixture
def mixed() -> MixedReport:
    return MixedReport(
        architecture="tresnet_m",
        file="tresnet_m.onnx",
        graph_sha256="a",
        bound="a drop in top-1 of at most 0.5 %",
        bound_kind="max-drop",
        bound_share=0.005,
        kept=("layer1.0",),
        curve=(
            point(ms=3.0, agreement=0.97, drop=0.02, met=False),
            point("layer1.0", ms=3.5, agreement=0.99, drop=0.004, met=True),
            point("stem", "layer1.0", ms=3.8, agreement=0.995, drop=0.0, met=True),
        ),
        latencies=LatencyTable(
            engine="openvino",
            device="CPU",
            batch=1,
            blocks=(BlockLatency(block="stem", float_ms=7.0, int8_ms=3.0),),
        ),
        judged_on="engines of openvino",
        images=500,
        image_source="photographs",
    )


def test_the_headline_names_the_fewest_blocks_that_make_half_of_the_noise(
    report: SensitivityReport,
) -> None:
    assert headline(report) == (
        "INT8 has SNR 30.5 dB and 97.00 % same top-1; layer1.0, layer2.0 (2 of 4 blocks) make "
        "60 % of the noise"
    )


def test_bars_stand_in_the_order_of_the_network(report: SensitivityReport) -> None:
    (chart,) = sensitivity_charts(report)
    assert [row.name for row in chart.rows] == list(SHARES)
    assert [row.kind for row in chart.rows] == ["engine", "subject", "subject", "engine"]
    bars = [row.bar.length for row in chart.rows if row.bar]
    assert bars[3] == 0
    assert bars[1] == max(bars)


def test_the_page_trusts_no_text_and_asks_the_network_for_nothing(
    report: SensitivityReport,
) -> None:
    html = sensitivity_page(report)
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "http:" not in html
    assert "https:" not in html
    assert "exact" in html


def test_the_curve_shows_what_was_asked_for(mixed: MixedReport) -> None:
    found = scatter(mixed)
    assert found.y_head == "change of top-1, points"
    assert found.points[-1].kind == "subject"  # drawn over the others
    assert [each.kind for each in found.points[:-1]] == ["failed", "engine"]
    heights = {each.said: each.y for each in found.points}
    failed = next(y for said, y in heights.items() if said.startswith("0 float"))
    assert failed > found.bound  # svg counts downwards
    assert len(found.lines) == 2


def test_the_mixed_page_says_what_is_kept_and_what_it_costs(
    mixed: MixedReport, report: SensitivityReport
) -> None:
    html = mixed_page(mixed, report)
    assert "1 of 1 blocks in float keep a drop in top-1 of at most 0.5 %" in html
    assert "top-1 −0.40 points, in 50.0 % of the float" in html
    assert "INT8 gains nothing here" not in html
    none = dataclasses.replace(mixed, kept=None)
    assert "No mixture keeps a drop in top-1 of at most 0.5 %" in mixed_page(none, report)


def test_a_curve_of_one_point_can_be_drawn(mixed: MixedReport, report: SensitivityReport) -> None:
    one = dataclasses.replace(mixed, curve=mixed.curve[:1], kept=())
    assert "Accuracy against latency" in mixed_page(one, report)


def test_the_report_shows_blocks_where_they_were_compared(
    report_data: ReportData, report: SensitivityReport
) -> None:
    assert report_data.parity is not None
    assert block_chart(report_data) is None
    ratios = {"stem": None, "layer1.0": 40.0, "layer1.1": 20.0, "layer1.2": 19.8}
    blocks = tuple(BlockSnr(block=block, snr_db=ratio) for block, ratio in ratios.items())
    stages = tuple(dataclasses.replace(stage, blocks=blocks) for stage in report_data.parity.stages)
    parity = dataclasses.replace(report_data.parity, stages=stages, block_images=32)
    data = dataclasses.replace(report_data, parity=parity, sensitivity=report)
    chart = block_chart(data)
    assert chart is not None
    assert chart.heads == ("Q/DQ ONNX", "openvino fp32", "openvino int8")
    assert [row.values[-1] for row in chart.rows] == ["exact", "40.0", "20.0", "19.8"]
    assert [row.name for row in chart.rows if row.kind == "subject"] == ["layer1.1"]
    html = render(data)
    assert "Where in the network accuracy went" in html
    assert "What each block costs in INT8" in html

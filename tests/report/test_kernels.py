"""The kernels part of the page: drawn in order, with findings, and not known where not known."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tresnet_deploy import fusions
from tresnet_deploy.fusions import FusionReport
from tresnet_deploy.report import FusedEngine, ReportData, render

from .test_report import Page

GOLDEN = Path(__file__).resolve().parents[1] / "fusions"


def known(precision: str) -> FusionReport:
    return fusions.parse((GOLDEN / f"rtx_1_7_{precision}.txt").read_text("utf-8"))


@pytest.fixture
def fused_data(report_data: ReportData) -> ReportData:
    engines = tuple(
        FusedEngine(name=f"m.{precision}.tensorrt-rtx.engine", report=known(precision))
        for precision in ("fp16", "int8")
    )
    return dataclasses.replace(report_data, fused=engines)


def test_each_kernel_is_drawn_once_and_listed(fused_data: ReportData) -> None:
    page = Page(render(fused_data))
    kernels = [known(precision).totals for precision in ("fp16", "int8")]
    drawn = sum(totals.kernels for totals in kernels if totals is not None)
    assert page.count("title") - 1 == drawn  # one is the page's own
    for totals in kernels:
        assert totals is not None
        assert f"All {totals.kernels} kernels, by the builder's log" in page.text


def test_findings_say_how_many_what_and_where(fused_data: ReportData) -> None:
    page = Page(render(fused_data))
    assert "m.int8.tensorrt-rtx.engine" in page.text
    assert "quantisation left 2 a kernel that does nothing but quantise or dequantise" in page.text
    assert "layer2.0.shortcut.pool/AveragePool/QuantizeLinear" in page.text
    assert "the graph was not at hand" in page.text


def test_the_ribbon_says_in_words_what_it_shows(fused_data: ReportData) -> None:
    labels = [attrs.get("aria-label") for tag, attrs in Page(render(fused_data)).tags]
    assert "22 kernels in order, 3 of them compute nothing" in labels


def test_kernels_that_are_not_known_give_the_reason(report_data: ReportData) -> None:
    unknown = FusedEngine(name="m.engine", report=fusions.parse("gibberish <b>"))
    page = Page(render(dataclasses.replace(report_data, fused=(unknown,))))
    assert "Not known: the builder's text lists no layers" in page.text


def test_names_of_nodes_are_shown_not_run(report_data: ReportData) -> None:
    text = (GOLDEN / "rtx_1_7_fp16.txt").read_text("utf-8")
    hostile = text.replace("stem.conv/Conv]", "<script>/Conv]")
    engine = FusedEngine(name="m.engine", report=fusions.parse(hostile))
    html = render(dataclasses.replace(report_data, fused=(engine,)))
    assert "<script" not in html
    assert "&lt;script&gt;/Conv" in html


def test_without_such_an_engine_there_is_no_such_part(report_data: ReportData) -> None:
    assert "Kernels" not in Page(render(report_data)).text

"""The page: what it says, that it is whole by itself, and that it trusts no name."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tresnet_deploy.report import ReportData, headline, render
from tresnet_deploy.results import Flip

VOID = frozenset(("meta", "link", "img", "br", "line", "rect", "circle", "path"))


class Page(HTMLParser):
    """Checks nesting; keeps visible text, tags with their attributes, and classes."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(html)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.texts.append(data.strip())

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(filter(None, self.texts)))

    def count(self, tag: str, **wanted: str) -> int:
        return sum(
            each == tag and all((attrs.get(k) or "").startswith(v) for k, v in wanted.items())
            for each, attrs in self.tags
        )


def test_the_page_is_well_nested_and_tells_the_whole_result_in_one_sentence(
    report_data: ReportData,
) -> None:
    page = Page(render(report_data))
    assert headline(report_data) in page.text
    assert re.fullmatch(
        r"INT8 engine \(openvino\) passed: 4\.\d\d× pytorch eager fp32 at batch 1 "
        r"\(95 % interval \d\.\d\d to \d\.\d\d\), "
        r"top-1 −0\.20 points \(95 % interval −1\.00 to \+0\.20\)",
        headline(report_data),
    )


def test_a_doubtful_ratio_carries_its_doubt_wherever_the_headline_goes(
    report_data: ReportData,
) -> None:
    assert report_data.benchmark is not None
    doubtful = dataclasses.replace(report_data.benchmark, doubts=("the machine was busy",))
    data = dataclasses.replace(report_data, benchmark=doubtful)
    assert "; not for publication), top-1" in headline(data)
    assert "times not for publication: the machine was busy" in Page(render(data)).text


def test_the_page_asks_the_network_for_nothing(report_data: ReportData) -> None:
    html = render(report_data)
    assert not re.search(r"https?:|//[a-z]|@import|url\(|<script|<iframe|<object", html)
    assert "default-src 'none'" in html
    links = [
        attrs[name]
        for _, attrs in Page(html).tags
        for name in ("src", "href", "xlink:href")
        if attrs.get(name)
    ]
    assert links
    assert all(str(link).startswith("data:") for link in links)


def test_names_that_hold_markup_are_shown_not_run(report_data: ReportData) -> None:
    hostile = '<script>alert("x")</script>'
    assert report_data.parity is not None
    stage = report_data.stage
    assert stage is not None
    flip = Flip(image=hostile, reference=hostile, candidate="a & b", margin=1.0, label=hostile)
    stages = tuple(
        dataclasses.replace(each, flips=(flip,)) if each is stage else each
        for each in report_data.parity.stages
    )
    html = render(
        dataclasses.replace(
            report_data,
            parity=dataclasses.replace(report_data.parity, stages=stages),
            command=hostile,
        )
    )
    assert "<script" not in html
    assert "a &amp; b" in html
    assert hostile in Page(html).text


def test_speed_is_drawn_with_eager_as_one_and_with_intervals(report_data: ReportData) -> None:
    page = Page(render(report_data))
    assert "speed-up over pytorch eager fp32 = 1" in page.text
    assert "pytorch eager fp32 " in page.text
    assert "1.00× baseline" in page.text
    latency_and_throughput, engines, pytorch = 2, 2, 4
    assert page.count("rect", **{"class": "subject"}) >= latency_and_throughput
    assert page.count("tr", **{"class": "engine-row"}) >= engines * latency_and_throughput
    assert page.count("tr", **{"class": "baseline-row"}) >= pytorch * latency_and_throughput
    assert page.count("line", **{"class": "whisker"}) > 0


def test_every_plot_says_in_words_what_it_shows(report_data: ReportData) -> None:
    plots = [attrs for tag, attrs in Page(render(report_data)).tags if tag == "svg"]
    assert all(attrs.get("aria-label") for attrs in plots if attrs.get("role") == "img")


def test_a_row_without_a_parity_check_is_labelled(report_data: ReportData) -> None:
    assert "parity not checked" in Page(render(report_data)).text


def test_flipped_images_are_shown_with_classes_label_margin_and_outcome(
    report_data: ReportData,
) -> None:
    page = Page(render(report_data))
    assert page.count("img", src="data:image/png;base64,") == 6
    assert "no picture" in page.text
    assert "T-shirt/top → Trouser label: T-shirt/top margin 0.120 · now wrong" in page.text
    assert "wrong before and after" in page.text
    assert "now right" in page.text


def test_many_flips_show_the_largest_margins_and_say_where_the_rest_is(
    report_data: ReportData,
) -> None:
    stage = report_data.stage
    assert report_data.parity is not None
    assert stage is not None
    flips = tuple(
        Flip(image=f"{n}.png", reference="a", candidate="b", margin=n / 10) for n in range(1, 31)
    )
    stages = (*report_data.parity.stages[:-1], dataclasses.replace(stage, flips=flips))
    parity = dataclasses.replace(report_data.parity, stages=stages)
    page = Page(render(dataclasses.replace(report_data, parity=parity)))
    assert page.count("div", **{"class": "flip"}) == 12 + 1  # and the box around them
    assert "The 12 largest margins are shown; parity.json lists all." in page.text
    assert "margin 3.00" in page.text
    assert "margin 0.100" not in page.text


def test_no_flips_are_good_news(report_data: ReportData) -> None:
    assert report_data.parity is not None
    stages = tuple(dataclasses.replace(each, flips=()) for each in report_data.parity.stages)
    parity = dataclasses.replace(report_data.parity, stages=stages)
    page = Page(render(dataclasses.replace(report_data, parity=parity)))
    assert "None of 500 images changed class." in page.text


def test_a_failed_report_leads_with_the_failure_and_shows_no_speed_up(
    failed_data: ReportData,
) -> None:
    page = Page(render(failed_data))
    assert headline(failed_data) == (
        "INT8 engine (openvino) failed: no speed-up claimed, "
        "top-1 −11.00 points (95 % interval −13.90 to −8.10)"
    )
    assert "openvino int8: top-1 agreement is 87.00 %, must be at least 98.00 %" in page.text
    assert "failed parity: no speed-up shown" in page.text
    assert "latency p50, batch 1" not in page.text
    assert "times not for publication: this was a quick run" in page.text
    opened = [attrs for tag, attrs in page.tags if tag == "details" and "open" in attrs]
    assert len(opened) == 1


def test_a_report_without_labels_speaks_of_agreement(report_data: ReportData) -> None:
    assert report_data.parity is not None
    stages = tuple(dataclasses.replace(each, accuracy=None) for each in report_data.parity.stages)
    parity = dataclasses.replace(report_data.parity, stages=stages, reference_accuracy=None)
    data = dataclasses.replace(report_data, parity=parity)
    assert "same top-1 as the original on 98.60 % of the images" in headline(data)
    assert "Accuracy on" not in Page(render(data)).text


@pytest.mark.parametrize("missing", ["parity", "benchmark"])
def test_a_report_can_do_without_a_part(report_data: ReportData, missing: str) -> None:
    data = dataclasses.replace(report_data, **{missing: None})  # type: ignore[arg-type]
    page = Page(render(data))
    assert headline(data) in page.text
    assert ("Where accuracy went" in page.text) == (missing != "parity")
    assert ("How latency spreads" in page.text) == (missing != "benchmark")


def test_without_a_comparison_nothing_is_said_to_have_passed(report_data: ReportData) -> None:
    data = dataclasses.replace(report_data, parity=None)
    assert headline(data).startswith("INT8 engine (openvino) not compared: 4.")


def test_origin_lists_every_file_with_parent_hash_and_settings(report_data: ReportData) -> None:
    text = Page(render(report_data)).text
    assert "m.int8.openvino.xml build-engine (openvino) int8" in text
    assert "m.int8.onnx " in text
    assert report_data.subject.sha256[:12] in text
    assert "method percentile" in text
    assert "2. quantize m.int8.onnx reused" in text
    assert "equal to eager PyTorch within 1e-5 on 4 images" in text


def test_a_file_that_is_gone_is_said_to_be_gone(report_data: ReportData) -> None:
    report_data.artifacts[0].path.unlink()
    assert "m.onnx export fp32 gone" in Page(render(report_data)).text


def test_the_page_is_small_enough_to_send(report_data: ReportData, tmp_path: Path) -> None:
    assert len(render(report_data).encode()) < 200_000

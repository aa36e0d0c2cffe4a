"""A benchmark on a GPU in the page: the device's own times, and NVIDIA's command."""

from __future__ import annotations

import dataclasses

from tresnet_deploy.report.data import ReportData
from tresnet_deploy.report.gpu import gpu_part
from tresnet_deploy.report.page import render

COMMAND = "trtexec --loadEngine=m.engine --noCudaGraph"


def on_gpu(data: ReportData) -> ReportData:
    """Let the rows of INT8 have run on a GPU, the slower one without a CUDA graph."""
    assert data.benchmark is not None
    rows = []
    for row in data.benchmark.rows:
        if data.is_subject(row):
            timed = dataclasses.replace(
                row, device_p50_ms=0.9 * row.p50_ms, cuda_graph=True, transfers=False
            )
            slower = dataclasses.replace(
                timed,
                name=f"{row.name} slower",
                cuda_graph=False,
                images_per_s=row.images_per_s / 2,
                equivalent=COMMAND,
                memory_mib=171.4,
            )
            rows += [slower, timed]
        else:
            rows.append(row)
    benchmark = dataclasses.replace(data.benchmark, rows=tuple(rows))
    return dataclasses.replace(data, benchmark=benchmark)


def test_a_benchmark_of_cpus_has_no_gpu_part(report_data: ReportData) -> None:
    assert gpu_part(report_data) is None
    assert "On the GPU" not in render(report_data)


def test_each_step_has_the_devices_time_beside_the_clocks(report_data: ReportData) -> None:
    part = gpu_part(on_gpu(report_data))
    assert part is not None
    assert [(row.batch, row.cuda_graph, row.copies) for row in part.rows] == [
        (1, "no", "no"),
        (1, "yes", "no"),
        (8, "no", "no"),
        (8, "yes", "no"),
    ]
    assert part.rows[0].memory_mib == "171"
    assert float(part.rows[1].device_ms) < float(part.rows[1].clock_ms)
    assert part.commands == (COMMAND,)


def test_the_page_shows_it(report_data: ReportData) -> None:
    page = render(on_gpu(report_data))
    assert "On the GPU" in page
    assert COMMAND in page


def test_the_faster_of_two_ways_stands_for_the_engine(report_data: ReportData) -> None:
    row = on_gpu(report_data).row("latency", 1)
    assert row is not None
    assert row.cuda_graph

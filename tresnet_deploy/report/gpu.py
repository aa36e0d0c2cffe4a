"""The GPU part: what the device's own clock said, and NVIDIA's command for the same measurement."""

from __future__ import annotations

from dataclasses import dataclass

from tresnet_deploy.report.data import ReportData
from tresnet_deploy.report.words import significant
from tresnet_deploy.results import BenchmarkRow


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuRow:
    """One contestant at one batch size; times are medians in milliseconds."""

    name: str
    batch: int
    device_ms: str
    clock_ms: str
    cuda_graph: str
    copies: str
    memory_mib: str


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuPart:
    """Rows that ran on a GPU, and commands that measure the same."""

    rows: tuple[GpuRow, ...]
    commands: tuple[str, ...]


def gpu_part(data: ReportData) -> GpuPart | None:
    """Return what a benchmark on a GPU has to tell, None where none ran on one."""
    rows = data.benchmark.rows if data.benchmark else ()
    # Latency at batch 1 is measured by the very steps of throughput at batch 1.
    seen = [row for row in rows if row.scenario == "throughput"]
    timed = tuple(_row(row) for row in seen if row.device_p50_ms is not None)
    commands = tuple(dict.fromkeys(row.equivalent for row in seen if row.equivalent))
    return GpuPart(rows=timed, commands=commands) if timed else None


def _row(row: BenchmarkRow) -> GpuRow:
    assert row.device_p50_ms is not None
    return GpuRow(
        name=row.name,
        batch=row.batch,
        device_ms=significant(row.device_p50_ms),
        clock_ms=significant(row.p50_ms),
        cuda_graph=_said(row.cuda_graph),
        copies=_said(row.transfers),
        memory_mib="–" if row.memory_mib is None else f"{row.memory_mib:.0f}",
    )


def _said(value: bool | None) -> str:
    return "–" if value is None else "yes" if value else "no"

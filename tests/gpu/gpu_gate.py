"""A pytest plugin for ``make test-gpu``: nothing passes by being skipped, and a table is printed.

    PYTHONPATH=tests/gpu pytest -p gpu_gate -m gpu

Without a GPU the run fails before its first test. A skipped test fails, unless its reason begins
with NOT_HERE: what this very GPU cannot do, such as an engine for a generation that it is not of.
Tests of the contract of backends run as well, for the two backends of NVIDIA.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import Any

import pytest

from tresnet_deploy import environment, gpus

NOT_HERE = ("not for this GPU", "tensorrt-rtx: builds for GPUs elsewhere")
BACKENDS = ("tensorrt", "tensorrt-rtx")
NO_GPU = "no NVIDIA GPU is visible: these tests prove nothing without one"
_ROWS = pytest.StashKey[list[tuple[str, str, float, str]]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_ROWS] = []


def pytest_sessionstart(session: pytest.Session) -> None:
    if not gpus.visible():
        pytest.exit(NO_GPU, returncode=1)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Count a backend's contract among the tests for GPUs, where the backend is NVIDIA's."""
    for item in items:
        spec = getattr(item, "callspec", None)
        if spec is not None and spec.params.get("backend") in BACKENDS:
            item.add_marker(pytest.mark.gpu)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Iterator[pytest.TestReport]:
    report: Any = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        reason = _reason(report)
        if not reason.startswith(NOT_HERE):
            report.outcome = "failed"
            report.longrepr = f"skipped where nothing may be: {reason}"
    if report.when == "call" or report.outcome != "passed":
        measured = [f"{name} {value}" for name, value in item.user_properties]
        why = [] if report.passed else [_reason(report)]
        row = (item.nodeid, report.outcome, report.duration, ", ".join((*measured, *why)))
        item.config.stash[_ROWS].append(row)
    return report


def _reason(report: pytest.TestReport) -> str:
    """Return why a test was skipped, or the line of the error that it failed with."""
    detail = report.longrepr
    crash = getattr(detail, "reprcrash", None)
    text = str(detail[2]) if isinstance(detail, tuple) else crash.message if crash else str(detail)
    return str(text.removeprefix("Skipped: ").partition("\n")[0])


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Fail a run in which nothing ran."""
    passed = [row for row in session.config.stash[_ROWS] if row[1] == "passed"]
    if exitstatus == pytest.ExitCode.OK and not passed:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    rows = config.stash[_ROWS]
    if not rows:
        return
    terminalreporter.section("to paste")
    terminalreporter.write_line("\n".join(table(rows)))


def table(rows: list[tuple[str, str, float, str]]) -> Iterator[str]:
    """Give the run as a table in Markdown, the machine first."""
    yield f"GPU: {', '.join(map(str, gpus.visible()))}; CUDA of the driver: {gpus.driver_version()}"
    versions = environment.versions() | {"Python": platform.python_version()}
    yield ", ".join(f"{name} {version}" for name, version in versions.items())
    yield ""
    yield "| test | result | seconds | measured |"
    yield "|---|---|--:|---|"
    for name, outcome, seconds, said in rows:
        yield f"| {name.replace('|', '/')} | {outcome} | {seconds:.1f} | {said.replace('|', '/')} |"

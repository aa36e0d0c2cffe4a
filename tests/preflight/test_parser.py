"""The parser's check: a real TensorRT-RTX where it is installed, and processes that misbehave."""

from __future__ import annotations

import textwrap
from pathlib import Path

import onnx
import onnx_ir as ir
import pytest

from tresnet_deploy import preflight
from tresnet_deploy.backends import _nvinfer_support
from tresnet_deploy.preflight import parser

from .conftest import graph

RELU = "(float[N,4] x) => (float[N,4] y) { y = Relu(x) }"
DET = "(float[2,2] x) => (float y) { h = Relu(x) [det] y = Det(h) }"


def saved(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "net.onnx"
    onnx.save(ir.to_proto(graph(text)), path)
    return path


@pytest.fixture
def real() -> str:
    return pytest.importorskip("tensorrt_rtx", reason="tensorrt-rtx is not installed").__version__


def test_a_graph_that_the_parser_takes_is_said_so_with_its_version(
    tmp_path: Path, real: str
) -> None:
    report = preflight.check(saved(tmp_path, RELU))
    assert report.parser.state == "takes it"
    assert report.parser.runtime == f"TensorRT-RTX {real}"


def test_a_graph_that_the_parser_refuses_is_an_error_in_its_own_words(
    tmp_path: Path, real: str
) -> None:
    report = preflight.check(saved(tmp_path, DET))
    (found,) = (each for each in report.findings if each.rule == "TRT090")
    assert found.nodes == ("det",)
    assert found.message == "Det: unsupported node"
    assert report.parser.state == "refuses it"


def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """Let a module called tensorrt_rtx be imported whose import does ``body``."""
    (tmp_path / "tensorrt_rtx.py").write_text(body, "utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path))


def test_a_parser_that_dies_is_an_error_that_says_how(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake(tmp_path, monkeypatch, "import os, sys; sys.stderr.write('terminate'); os.abort()")
    report = preflight.check(saved(tmp_path, RELU))
    (found,) = report.findings
    assert found.rule == "TRT091"
    assert "ended with -6, saying: terminate" in found.message


def test_a_parser_that_hangs_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path, monkeypatch, "import time; time.sleep(60)")
    path = saved(tmp_path, RELU)
    answer = _nvinfer_support.ask("tensorrt_rtx", path, timeout_s=1)
    assert answer == "the parser of tensorrt_rtx did not answer within 1 s"


def test_without_a_runtime_the_static_rules_stand_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parser.importlib.util, "find_spec", lambda name: None)
    report = preflight.check(saved(tmp_path, DET))
    assert report.parser.state == "not asked"
    assert "pip install tensorrt-rtx" in report.parser.message
    assert {each.rule for each in report.findings} == {"TRT010", "TRT030"}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "raise ImportError('libcudart.so.13 is missing')",
            "tensorrt_rtx does not load: libcudart.so.13 is missing",
        ),
        (
            """
            __version__ = "11.4"
            class ILogger: pass
            def Builder(logger): raise TypeError("factory function returned nullptr")
            """,
            "its builder does not start here: factory function returned nullptr",
        ),
    ],
    ids=["does not load", "needs a GPU"],
)
def test_a_runtime_that_cannot_be_asked_here_is_no_fault_of_the_graph(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, message: str
) -> None:
    fake(tmp_path, monkeypatch, textwrap.dedent(body))
    report = preflight.check(saved(tmp_path, RELU))
    assert report.findings == ()
    assert (report.parser.state, report.parser.message) == ("not asked", message)

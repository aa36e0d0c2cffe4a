"""INT8 on processors that add two products of bytes in 16 bits: x86 without VNNI."""

from contextlib import closing
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import InvalidGraph

from tresnet_deploy import environment, graph_files
from tresnet_deploy.backends import onnxruntime as backend
from tresnet_deploy.backends._onnxruntime_session import PROVIDERS, OnnxRuntimeSession, Provider
from tresnet_deploy.contracts import Artifact, Batch, run
from tresnet_deploy.errors import RunError
from tresnet_deploy.registry import BACKENDS

from .conftest import Images

ENGINES = ("onnxruntime", "openvino")
NEAR = 0.05  # of the logits: 26 dB; a stem that overflows is 13 dB away


@pytest.mark.parametrize("overflows", [True, False])
@pytest.mark.parametrize("name", ENGINES)
def test_an_int8_engine_is_safe_where_the_processor_overflows_unless_told(
    demo_int8: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, overflows: bool
) -> None:
    monkeypatch.setattr(environment, "overflows_int8", lambda: overflows)
    module = BACKENDS.load(name)
    for asked, wanted in ((None, overflows), (not overflows, not overflows)):
        options = module.Options(overflow_safe=asked)
        path = tmp_path / f"engine{module.WRITES}"
        made = module.build(demo_int8, path, batch=Batch(), options=options)
        assert made.settings[f"{name}.overflow_safe"] is wanted


def test_a_float_engine_leaves_it_open(demo_graph: Artifact, tmp_path: Path) -> None:
    options = backend.Options()
    made = backend.build(demo_graph, tmp_path / "e.onnx", batch=Batch(), options=options)
    assert made.settings["onnxruntime.overflow_safe"] is None


@pytest.mark.parametrize(("provider", "in_float"), [("cpu", True), ("cuda", False)])
def test_only_on_the_processor_itself_q_dq_is_kept_out_of_integer_kernels(
    monkeypatch: pytest.MonkeyPatch, provider: Provider, in_float: bool
) -> None:
    monkeypatch.setattr(environment, "overflows_int8", lambda: True)
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [PROVIDERS[provider]])
    entries: dict[str, str] = {}

    class Settings:
        def add_session_config_entry(self, name: str, value: str) -> None:
            entries[name] = value

    def refused(*_args: object, **_more: object) -> None:
        raise InvalidGraph

    monkeypatch.setattr(onnxruntime, "SessionOptions", Settings)
    monkeypatch.setattr(onnxruntime, "InferenceSession", refused)
    with pytest.raises(RunError):
        OnnxRuntimeSession(b"", options=backend.Options(provider=provider))
    assert (entries.get("session.disable_quant_qdq") == "1") is in_float


def exact(graph: Artifact, images: Images) -> Images:
    """Return the logits of a Q/DQ graph that is computed in float, pair by pair."""
    plain = onnxruntime.SessionOptions()
    plain.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(graph.path), plain)
    return np.asarray(session.run(None, {"images": images})[0])


def test_onnx_runtime_computes_a_graph_as_it_is_in_float(
    demo_int8: Artifact, images: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "overflows_int8", lambda: True)
    with closing(backend.session_of(graph_files.load(demo_int8.path))) as session:
        found = run(session, {"images": images})["logits"]
    np.testing.assert_allclose(found, exact(demo_int8, images), atol=1e-4)


@pytest.mark.parametrize("name", ENGINES)
def test_loaded_as_it_is_a_graph_comes_near_to_what_it_says_on_any_processor(
    demo_int8: Artifact, images: Images, name: str
) -> None:
    with closing(BACKENDS.load(name).load(demo_int8)) as session:
        found = run(session, {"images": images})["logits"]
    wanted = exact(demo_int8, images)
    assert np.linalg.norm(found - wanted) < NEAR * np.linalg.norm(wanted)

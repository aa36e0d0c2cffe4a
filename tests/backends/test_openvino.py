"""OpenVINO's own promises: what is compiled when, and the blob that is trusted or not."""

import dataclasses
import errno
import logging
from contextlib import closing
from pathlib import Path

import numpy as np
import openvino
import pytest

from tresnet_deploy import artifacts, build
from tresnet_deploy.backends import openvino as backend
from tresnet_deploy.contracts import Artifact, Batch, run
from tresnet_deploy.errors import BuildError
from tresnet_deploy.images import demo_images

from .conftest import Build, Images, copied

SIZES = Batch(min=1, opt=2, max=4)


@pytest.fixture(scope="module")
def int8_engine(demo_int8: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Return an INT8 engine, which has a compiled form beside it."""
    return build.build(
        demo_int8,
        tmp_path_factory.mktemp("openvino_int8") / "tresnet.int8.openvino.xml",
        backend="openvino",
        batch=SIZES,
        images=demo_images("calibration"),
    )


def compiled_batches(artifact: Artifact) -> set[int | None]:
    with closing(backend.load(artifact)) as session:
        return set(session._requests)


def test_weights_of_fp32_engines_are_not_rounded_to_fp16(build_engine: Build) -> None:
    model = openvino.Core().read_model(build_engine("openvino", SIZES).path)
    weights = [op for op in model.get_ops() if op.get_type_name() == "Constant"]
    assert openvino.Type.f16 not in [weight.get_element_type() for weight in weights]


def test_the_named_batch_sizes_are_compiled_each_and_the_others_together(
    build_engine: Build, images: Images
) -> None:
    artifact = build_engine("openvino", SIZES)
    with closing(backend.load(artifact)) as session:
        for size in (1, 2, 3, 4, 1):
            run(session, {"images": images[:size]})
        assert set(session._requests) == {1, 2, 4, None}


def test_an_int8_engine_loads_the_form_compiled_when_it_was_built(int8_engine: Artifact) -> None:
    names = [each.name for each in int8_engine.companions]
    assert names == ["tresnet.int8.openvino.bin", "tresnet.int8.openvino.blob"]
    assert compiled_batches(int8_engine) == {SIZES.min}


def test_the_compiled_form_computes_what_compiling_again_does(
    int8_engine: Artifact, images: Images
) -> None:
    without = dataclasses.replace(int8_engine, companions=())
    with closing(backend.load(int8_engine)) as one, closing(backend.load(without)) as other:
        found = [run(each, {"images": images[:1]})["logits"] for each in (one, other)]
    np.testing.assert_array_equal(*found)


@pytest.mark.parametrize(
    "foreign",
    [{"versions": {"openvino": "2025.0"}}, {"device": "another processor"}],
    ids=["version", "processor"],
)
def test_a_form_compiled_elsewhere_is_put_aside_with_a_note(
    int8_engine: Artifact,
    images: Images,
    foreign: dict[str, str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    moved = dataclasses.replace(int8_engine, **foreign)  # type: ignore[arg-type]
    assert compiled_batches(moved) == set()
    assert "compiling it again for this machine" in caplog.text
    with closing(backend.load(moved)) as session:
        assert np.isfinite(run(session, {"images": images})["logits"]).all()


def test_a_blob_that_the_sidecar_does_not_name_is_never_read(
    build_engine: Build, tmp_path: Path
) -> None:
    path = copied(build_engine("openvino", SIZES), tmp_path)
    path.with_suffix(".blob").write_bytes(b"native code of somebody else")
    assert compiled_batches(artifacts.read(path)) == set()


@pytest.mark.parametrize(
    ("precision", "hint"), [("fp32", "f32"), ("bf16", "bf16"), ("fp16", "f16")]
)
def test_the_float_precision_of_an_engine_is_a_hint(precision: str, hint: str) -> None:
    assert backend.options_for(precision).inference_precision == hint  # type: ignore[arg-type]


@pytest.mark.parametrize(("native", "hint"), [(True, "bf16"), (False, "f32")])
def test_what_int8_leaves_in_float_is_bf16_where_the_cpu_has_it(
    native: bool, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend.environment, "computes_bf16", lambda: native)
    assert backend.options_for("int8").inference_precision == hint


def failing(model: openvino.Model, path: Path, *, compress_to_fp16: bool) -> None:
    raise RuntimeError("basic_ios::clear: iostream error")


def test_a_full_disk_is_told_from_other_failures_to_write(
    demo_graph: Artifact, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend.openvino, "save_model", failing)
    path = tmp_path / "a.openvino.xml"
    with pytest.raises(BuildError, match="cannot write"):
        backend.build(demo_graph, path, batch=SIZES, options=backend.Options())
    monkeypatch.setattr(backend.shutil, "disk_usage", lambda _: type("Usage", (), {"free": 0}))
    with pytest.raises(OSError, match="No space left") as caught:
        backend.build(demo_graph, path, batch=SIZES, options=backend.Options())
    assert caught.value.errno == errno.ENOSPC

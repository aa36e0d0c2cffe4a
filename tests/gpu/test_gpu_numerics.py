"""Engines on a GPU against eager FP32 PyTorch, and against ONNX Runtime on the same graph."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tresnet_deploy.contracts import Array, Artifact, Precision

from .conftest import COSINES, SIZES, Engine, least_cosine, scores

pytestmark = pytest.mark.gpu
Record = Callable[[str, object], None]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8", "fp8"])
def test_an_engine_gives_the_scores_of_eager_fp32_pytorch(
    *,
    backend: str,
    precision: Precision,
    engine: Engine,
    images: Array,
    reference: Array,
    record_property: Record,
) -> None:
    found = scores(engine(backend, precision), images)
    least = least_cosine(found, reference)
    record_property("least cosine", f"{least:.5f}")
    record_property("largest difference", f"{np.abs(found - reference).max():.4f}")
    assert least >= COSINES[precision]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_an_engine_gives_the_scores_of_its_graph_in_onnx_runtime(
    *,
    backend: str,
    precision: Precision,
    engine: Engine,
    graph: Callable[[Precision], Artifact],
    images: Array,
    record_property: Record,
) -> None:
    found = scores(engine(backend, precision), images)
    least = least_cosine(found, scores(graph(precision), images))
    record_property("least cosine", f"{least:.5f}")
    # The integers are the same in both; only sums in floating point differ.
    assert least >= (0.9999 if precision == "fp32" else 0.995)


def test_every_batch_size_gives_the_same_scores(
    backend: str, engine: Engine, images: Array
) -> None:
    artifact = engine(backend, "fp32")
    whole = scores(artifact, images)
    for size in range(SIZES.min, SIZES.max + 1):
        found = scores(artifact, images[:size])
        np.testing.assert_allclose(found, whole[:size], atol=2e-2, err_msg=f"batch {size}")


def test_bytes_with_normalisation_in_the_graph_are_read_right(
    backend: str, images: Array, reference: Array, tmp_path_factory: pytest.TempPathFactory
) -> None:
    from tresnet_deploy import build, export, weights
    from tresnet_deploy.images import demo_checkpoint, demo_images

    folder = tmp_path_factory.mktemp("bytes")
    source = weights.resolve(checkpoint=demo_checkpoint())
    graph = export.export(
        weights.load(source),
        folder / "tresnet.onnx",
        source=source,
        options=export.ExportOptions(layout="uint8-nhwc"),
        images=demo_images("calibration"),
    )
    made = build.build(
        graph,
        folder / build.file_name(graph, backend, "fp32"),
        backend=backend,
        batch=SIZES,
        images=demo_images("calibration"),
    )
    as_bytes = np.rint(images * 255).astype(np.uint8).transpose(0, 2, 3, 1)
    assert least_cosine(scores(made, np.ascontiguousarray(as_bytes)), reference) >= 0.999

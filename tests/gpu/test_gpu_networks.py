"""Networks of full size on a GPU: the scores, and the speeds to paste."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tresnet_deploy import build, contestants, export, quantize, weights
from tresnet_deploy.contracts import Artifact, Batch, Precision
from tresnet_deploy.images import sample_photos
from tresnet_deploy.registry import BACKENDS
from tresnet_deploy.timing import Schedule

from .conftest import COSINES, least_cosine, scores

pytestmark = [pytest.mark.gpu, pytest.mark.slow, pytest.mark.timeout(1800)]
Record = Callable[[str, object], None]
BATCH = Batch(min=1, opt=32, max=32)
SCHEDULE = Schedule(rounds=5, seconds=0.5)


@pytest.fixture(scope="module", params=["m", "l"])
def network(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The ONNX file of a network with seeded weights, at 224 px."""
    source = weights.resolve(variant=request.param, tag=weights.RANDOM)
    return export.export(
        weights.load(source),
        tmp_path_factory.mktemp(request.param) / f"tresnet_{request.param}.onnx",
        source=source,
        options=export.ExportOptions(),
        images=sample_photos(),
    )


def typed(graph: Artifact, precision: Precision, folder: Path) -> Artifact:
    target = folder / f"tresnet.{precision}.onnx"
    if precision == "fp16":
        return quantize.convert(graph, target, precision="fp16")
    if precision == "int8":
        options = quantize.QuantizeOptions(samples=8)
        return quantize.quantize(graph, target, images=sample_photos(), options=options)
    return graph


def test_a_network_of_full_size_is_right_and_timed(
    *, backend: str, network: Artifact, tmp_path: Path, record_property: Record
) -> None:
    engines: list[Artifact] = []
    images = contestants.pictures_of(sample_photos())(network.preprocess, 8)
    reference = scores(network, images)
    for precision in ("fp32", "fp16", "int8"):
        graph = typed(network, precision, tmp_path)
        engine = build.build(
            graph,
            tmp_path / build.file_name(graph, backend, precision),
            backend=backend,
            batch=BATCH,
            options=BACKENDS.load(backend).options_for(precision),
            images=sample_photos(),
        )
        least = least_cosine(scores(engine, images), reference)
        record_property(f"{precision} least cosine", f"{least:.5f}")
        # Seeded weights decide nothing clearly: integers are held to the file's own scores.
        held_to = scores(graph, images) if precision == "int8" else reference
        assert least_cosine(scores(engine, images), held_to) >= COSINES[precision]
        engines.append(engine)
    options = contestants.Options(batches=(1, BATCH.max), schedule=SCHEDULE)
    report = contestants.measure(tuple(engines), sample_photos(), folder=tmp_path, options=options)
    for row in report.rows:
        if row.scenario == "throughput":
            speed = f"{row.images_per_s:.0f} img/s, {row.device_p50_ms or 0:.3f} ms on the GPU"
            record_property(f"{row.name} at {row.batch}:", speed)
    record_property("doubts:", "; ".join(report.doubts) or "none")

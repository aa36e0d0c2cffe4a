"""Triton's config.pbtxt for an engine: what its backends accept, and the reasons.

Names and rules are those of Triton's model_config.proto and of the sources of its backends. Triton
itself has not run these files; a test reads them with the published schema.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tresnet_deploy.contracts import Artifact, TensorSpec
from tresnet_deploy.errors import UsageError
from tresnet_deploy.packaging.pbtxt import Field, Numbers, Word, text

LABELS: Final = "labels.txt"
CONFIG: Final = "config.pbtxt"
MODEL_FILES: Final = {
    "openvino": "model.xml",
    "onnxruntime": "model.onnx",
    "tensorrt": "model.plan",
}
"""Backends of ours that Triton has too, and the file name that each looks for."""

_PLATFORMS: Final = {"onnxruntime": "onnxruntime_onnx", "tensorrt": "tensorrt_plan"}
_TYPES: Final = {
    "float32": "TYPE_FP32",
    "float16": "TYPE_FP16",
    "uint8": "TYPE_UINT8",
    "int8": "TYPE_INT8",
    "int32": "TYPE_INT32",
    "int64": "TYPE_INT64",
}
_IMAGE_AXES: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """How Triton should serve a model; None leaves the choice to what suits the backend.

    ``max_batch`` is the largest batch that the server gathers of single requests,
    ``queue_delay_us`` how long it may wait for that. ``threads`` are those of each instance.
    """

    name: str
    max_batch: int | None = None
    instances: int = 1
    threads: int | None = None
    queue_delay_us: int = 0


def config_of(engine: Artifact, serving: Serving) -> str:
    """Return the text of config.pbtxt.

    Raises:
        UsageError: Triton has no backend for the engine, or it does not take such batches.
    """
    return text(tuple(_fields(engine, serving)))


def largest_batch(engine: Artifact, serving: Serving) -> int:
    """Return ``max_batch_size``; 0 where the engine has one batch size only, as Triton wants it.

    OpenVINO's backend compiles the model for ``max_batch_size`` images and fills every smaller
    batch up with zeros, so a lone request would cost as much as a full batch. CPUs gain little by
    batches: the default there is the smallest that the engine takes, usually 1.

    Raises:
        UsageError: ``serving`` asks for more than the engine takes.
    """
    batch = engine.batch
    if batch is None or batch.fixed:
        if serving.max_batch is not None:
            raise UsageError(
                f"{engine.path.name} takes batches of {batch.max if batch else 'one size'} only, "
                "so the server cannot gather others",
                hints=("leave --max-batch out", "tresnet-deploy build-engine --batch 1:8:16"),
            )
        return 0
    if serving.max_batch is None:
        return batch.min if engine.backend == "openvino" else batch.max
    if not batch.takes(serving.max_batch):
        raise UsageError(
            f"{engine.path.name} takes batches of {batch.min} to {batch.max}, not "
            f"{serving.max_batch}",
            hints=(f"--max-batch {batch.max}",),
        )
    return serving.max_batch


def notes_of(engine: Artifact, serving: Serving) -> Iterator[str]:
    """Give what the user should know about how Triton will run the engine."""
    largest = largest_batch(engine, serving)
    batch = engine.batch
    if engine.backend == "openvino":
        if largest > 1:
            yield (
                f"Triton's OpenVINO backend runs every batch as one of {largest}, filled up with "
                "zeros: a lone request costs as much"
            )
        if engine.settings.get("openvino.inference_precision") != "bf16":
            yield (
                "Triton's OpenVINO backend cannot be told to compute in FP32: on a CPU with bf16 "
                "it computes the float part in bf16, which was not compared"
            )
    if engine.backend == "tensorrt" and batch is not None and not batch.fixed and batch.min > 1:
        yield f"requests of fewer than {batch.min} images fail: the engine's profile starts there"


def _fields(engine: Artifact, serving: Serving) -> Iterator[Field]:
    backend = engine.backend or ""
    largest = largest_batch(engine, serving)
    yield "name", serving.name
    yield "backend", backend
    if backend in _PLATFORMS:
        yield "platform", _PLATFORMS[backend]
    yield "default_model_filename", MODEL_FILES[backend]
    yield "max_batch_size", largest
    for spec in engine.inputs:
        yield "input", tuple(_input(spec, engine, batched=largest > 0))
    for spec in engine.outputs:
        yield "output", tuple(_output(spec, engine, batched=largest > 0))
    yield "version_policy", (("latest", (("num_versions", 1),)),)
    yield (
        "instance_group",
        (
            ("count", serving.instances),
            ("kind", Word("KIND_GPU" if backend == "tensorrt" else "KIND_CPU")),
        ),
    )
    if largest > 1:
        yield "dynamic_batching", tuple(_batching(engine, serving, largest))
    for size in sorted({1, largest} if largest else {1}):
        yield "model_warmup", tuple(_warmup(engine, size, batched=largest > 0))
    for name, value in _parameters(engine, serving, largest):
        yield "parameters", (("key", name), ("value", (("string_value", value),)))


def _input(spec: TensorSpec, engine: Artifact, *, batched: bool) -> Iterator[Field]:
    yield "name", spec.name
    yield "data_type", Word(_type(spec))
    dims = _dims(spec, batched=batched)
    if len(dims) == _IMAGE_AXES:  # Triton allows the format only where it names all dims
        nhwc = engine.preprocess.layout == "uint8-nhwc"
        yield "format", Word("FORMAT_NHWC" if nhwc else "FORMAT_NCHW")
    yield "dims", Numbers(dims)


def _output(spec: TensorSpec, engine: Artifact, *, batched: bool) -> Iterator[Field]:
    yield "name", spec.name
    yield "data_type", Word(_type(spec))
    yield "dims", Numbers(_dims(spec, batched=batched))
    if engine.labels.names:
        yield "label_filename", LABELS


def _batching(engine: Artifact, serving: Serving, largest: int) -> Iterator[Field]:
    assert engine.batch is not None
    # What the engine was tuned for first; a padded one gains nothing by stopping early.
    padded = engine.backend == "openvino"
    preferred = {largest} if padded else {min(engine.batch.opt, largest), largest}
    yield "preferred_batch_size", Numbers(tuple(sorted(size for size in preferred if size > 1)))
    yield "max_queue_delay_microseconds", serving.queue_delay_us


def _warmup(engine: Artifact, size: int, *, batched: bool) -> Iterator[Field]:
    """Give one warm-up request: kernels are chosen and memory is taken before the first user."""
    yield "name", f"batch {size}" if batched else "one request"
    yield "batch_size", size
    for spec in engine.inputs:
        dims = Numbers(_concrete(spec, engine, batched=batched))
        yield (
            "inputs",
            (
                ("key", spec.name),
                (
                    "value",
                    (("data_type", Word(_type(spec))), ("dims", dims), ("zero_data", True)),
                ),
            ),
        )


def _parameters(engine: Artifact, serving: Serving, largest: int) -> Iterator[tuple[str, str]]:
    backend = engine.backend
    threads = serving.threads or engine.settings.get(f"{backend}.threads") or 0
    if backend == "onnxruntime":
        if threads:
            yield "intra_op_thread_count", str(threads)
        yield "inter_op_thread_count", "1"
    if backend == "openvino":
        yield "PERFORMANCE_HINT", "LATENCY" if serving.instances == 1 else "THROUGHPUT"
        yield "NUM_STREAMS", str(serving.instances)  # instances share one compiled model
        if threads:
            yield "INFERENCE_NUM_THREADS", str(int(threads) * serving.instances)
        if engine.settings.get("openvino.inference_precision") == "bf16":
            yield "HINT_BF16", "YES"
        if largest > 1:
            yield "ENABLE_BATCH_PADDING", "YES"
        if largest:
            yield "SKIP_OV_DYNAMIC_BATCHSIZE", "YES"  # no auto-batching beneath the server's own


def _type(spec: TensorSpec) -> str:
    if spec.dtype not in _TYPES:
        raise UsageError(f"Triton has no type for {spec.dtype}, which {spec.name} has")
    return _TYPES[spec.dtype]


def _dims(spec: TensorSpec, *, batched: bool) -> tuple[int, ...]:
    """Return the shape as Triton lists it: without the batch where the server makes batches."""
    shape = spec.shape[1:] if batched else spec.shape
    return tuple(size if isinstance(size, int) else -1 for size in shape)


def _concrete(spec: TensorSpec, engine: Artifact, *, batched: bool) -> tuple[int, ...]:
    """Return the shape of an image of the usual size, for sides that the graph leaves open."""
    image = engine.preprocess
    nhwc = image.layout == "uint8-nhwc"
    usual = (image.height_px, image.width_px, 3) if nhwc else (3, image.height_px, image.width_px)
    first = engine.batch.max if engine.batch else 1
    whole = tuple(
        size if isinstance(size, int) else known
        for size, known in zip(spec.shape, (first, *usual), strict=True)
    )
    return whole[1:] if batched else whole

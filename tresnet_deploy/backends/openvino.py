"""OpenVINO: the fastest CPU engine measured here, in FP32, bf16 and INT8."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import openvino
from openvino import properties
from openvino.properties import hint

from tresnet_deploy.backends._cpu import available_cores
from tresnet_deploy.backends._feeds import bound, check
from tresnet_deploy.contracts import Array, Artifact, Batch, Feeds, TensorSpec
from tresnet_deploy.errors import RunError

READS: Final = "onnx"
WRITES: Final = ".openvino.xml"

InferencePrecision = Literal["f32", "bf16", "f16"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """``threads`` 0: one for each physical core that this process may use.

    ``inference_precision`` is what the float part of the graph is computed in: the one setting of
    precision that is not in the graph.
    """

    threads: int = 0
    inference_precision: InferencePrecision = "f32"


class OpenVinoSession:
    """A compiled model with one inference request."""

    def __init__(self, compiled: openvino.CompiledModel, *, batch: Batch | None = None) -> None:
        """Wrap ``compiled``; ``batch`` bounds what bind takes."""
        self._batch = batch
        self.inputs = tuple(_spec(port) for port in compiled.inputs)
        self.outputs = tuple(_spec(port) for port in compiled.outputs)
        self._request: openvino.InferRequest | None = compiled.create_infer_request()
        self._bound: tuple[str, ...] | None = None

    def bind(self, feeds: Feeds) -> None:
        """Copy ``feeds`` into tensors of the runtime."""
        request = bound(self._request)
        check(self.inputs, feeds, batch=self._batch)
        for name, array in feeds.items():
            tensor = openvino.Tensor(np.ascontiguousarray(array), shared_memory=False)
            request.set_tensor(name, tensor)
        self._bound = tuple(feeds)

    def step(self) -> None:
        """Run once on what is bound."""
        bound(self._bound)
        request = bound(self._request)
        try:
            request.start_async()
            request.wait()
        except RuntimeError as error:
            raise RunError(f"OpenVINO failed while running: {error}") from error

    def fetch(self) -> dict[str, Array]:
        """Copy the outputs of the last step out."""
        bound(self._bound)
        request = bound(self._request)
        return {
            spec.name: np.array(request.get_output_tensor(index).data)
            for index, spec in enumerate(self.outputs)
        }

    def close(self) -> None:
        """Drop the request and with it the compiled model."""
        self._request = None
        self._bound = None


def load(artifact: Artifact) -> OpenVinoSession:
    """Load an engine, or an ONNX artefact as it is.

    Raises:
        RunError: OpenVINO refuses the file.
    """
    core = openvino.Core()
    try:
        compiled = core.compile_model(core.read_model(artifact.path), "CPU", settings(Options()))
    except RuntimeError as error:
        raise RunError(f"OpenVINO cannot load {artifact.path.name}: {error}") from error
    return OpenVinoSession(compiled, batch=artifact.batch)


def settings(options: Options) -> dict[str, object]:
    """Return OpenVINO's properties for ``options``: one stream with the lowest latency."""
    kinds = {"f32": openvino.Type.f32, "bf16": openvino.Type.bf16, "f16": openvino.Type.f16}
    return {
        hint.performance_mode: hint.PerformanceMode.LATENCY,
        hint.inference_precision: kinds[options.inference_precision],
        properties.inference_num_threads: options.threads or available_cores(),
    }


def _spec(port: openvino.ConstOutput) -> TensorSpec:
    name = port.get_any_name()
    shape = tuple(
        f"{name}_{axis}" if dimension.is_dynamic else dimension.get_length()
        for axis, dimension in enumerate(port.get_partial_shape())
    )
    return TensorSpec(
        name=name, dtype=np.dtype(port.get_element_type().to_dtype()).name, shape=shape
    )

"""A model in OpenVINO: this file is about compiling it for a batch size and running it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import openvino

from tresnet_deploy.backends._feeds import bound, check
from tresnet_deploy.contracts import Array, Batch, Feeds, TensorSpec
from tresnet_deploy.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Mapping

DEVICE = "CPU"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A model compiled before, and the batch size that it was compiled for."""

    model: openvino.CompiledModel
    batch: int


class OpenVinoSession:
    """A model that is compiled when a batch size is first bound.

    Compiled for one size it runs 1-7 % faster than for any size, so the sizes that an engine names
    (smallest, preferred, largest) each get their own; all others share one. Compiling takes a
    second or so, and each keeps its own copy of the weights, so there are at most four.
    """

    def __init__(
        self,
        model: openvino.Model,
        *,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        properties: Mapping[str, object],
        batch: Batch | None = None,
        compiled: Compiled | None = None,
    ) -> None:
        """Take ``model``; ``batch`` bounds what bind takes, ``compiled`` saves compiling."""
        self.inputs = inputs
        self.outputs = outputs
        self._core = openvino.Core()
        self._model: openvino.Model | None = model
        self._properties = dict(properties)
        self._batch = batch
        self._requests: dict[int | None, openvino.InferRequest] = {}
        if compiled is not None:
            self._requests[compiled.batch] = compiled.model.create_infer_request()
        self._bound: openvino.InferRequest | None = None

    def bind(self, feeds: Feeds) -> None:
        """Copy ``feeds`` into tensors of the runtime."""
        model = bound(self._model)
        check(self.inputs, feeds, batch=self._batch)
        try:
            request = self._request(model, feeds[self.inputs[0].name].shape[0])
            for name, array in feeds.items():
                tensor = openvino.Tensor(np.ascontiguousarray(array), shared_memory=False)
                request.set_tensor(name, tensor)
        except RuntimeError as error:
            raise RunError(f"OpenVINO cannot prepare the model for its input: {error}") from error
        self._bound = request

    def step(self) -> None:
        """Run once on what is bound."""
        request = bound(self._bound)
        try:
            request.start_async()  # infer() would copy the outputs
            request.wait()
        except RuntimeError as error:
            raise RunError(f"OpenVINO failed while running: {error}") from error

    def fetch(self) -> dict[str, Array]:
        """Copy the outputs of the last step out."""
        request = bound(self._bound)
        return {spec.name: np.array(request.get_tensor(spec.name).data) for spec in self.outputs}

    def close(self) -> None:
        """Drop the requests, and with them the compiled models."""
        self._bound = None
        self._requests.clear()
        self._model = None

    def _request(self, model: openvino.Model, size: int) -> openvino.InferRequest:
        named = () if self._batch is None else (self._batch.min, self._batch.opt, self._batch.max)
        key = size if size in named else None
        if key not in self._requests:
            if key is not None:
                model = with_batch(model, size)
            compiled = self._core.compile_model(model, DEVICE, self._properties)
            self._requests[key] = compiled.create_infer_request()
        return self._requests[key]


def with_batch(model: openvino.Model, size: int | tuple[int, int]) -> openvino.Model:
    """Return a copy of ``model`` for batches of ``size``, or between two sizes."""
    shapes = {}
    for index, port in enumerate(model.inputs):
        shape = port.get_partial_shape()
        shape[0] = openvino.Dimension(size) if isinstance(size, int) else openvino.Dimension(*size)
        shapes[index] = shape
    copy = model.clone()
    copy.reshape(shapes)
    return copy

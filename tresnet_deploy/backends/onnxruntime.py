"""ONNX Runtime: runs any graph of ours, and the second fastest CPU engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx_ir
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from tresnet_deploy.backends._cpu import available_cores
from tresnet_deploy.backends._feeds import bound, check, output_shape
from tresnet_deploy.contracts import Array, Artifact, Batch, Feeds, TensorSpec
from tresnet_deploy.errors import RunError

READS: Final = "onnx"
WRITES: Final = ".onnxruntime.onnx"

_ERRORS: Final = (
    errors.EPFail,
    errors.Fail,
    errors.InvalidArgument,
    errors.InvalidGraph,
    errors.InvalidProtobuf,
    errors.NoSuchFile,
    errors.NotImplemented,
    errors.RuntimeException,
)
_DTYPES: Final = {
    "tensor(float)": "float32",
    "tensor(float16)": "float16",
    "tensor(double)": "float64",
    "tensor(uint8)": "uint8",
    "tensor(int8)": "int8",
    "tensor(int32)": "int32",
    "tensor(int64)": "int64",
    "tensor(bool)": "bool",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """``threads`` 0: one for each physical core that this process may use."""

    threads: int = 0


class OnnxRuntimeSession:
    """A loaded graph whose inputs and outputs stay bound between steps."""

    def __init__(self, model: str | bytes, *, options: Options, batch: Batch | None = None) -> None:
        """Load a file's path or a serialised model; ``batch`` bounds what bind takes."""
        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = options.threads or available_cores()
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 3  # errors: warnings speak of ONNX Runtime's own rewrites
        try:
            session = onnxruntime.InferenceSession(
                model, settings, providers=["CPUExecutionProvider"]
            )
        except _ERRORS as error:
            raise RunError(f"ONNX Runtime cannot load {_named(model)}: {error}") from error
        self._batch = batch
        self.inputs = tuple(_spec(value) for value in session.get_inputs())
        self.outputs = tuple(_spec(value) for value in session.get_outputs())
        self._session: onnxruntime.InferenceSession | None = session
        self._values: dict[str, onnxruntime.OrtValue] = {}
        self._binding: onnxruntime.IOBinding | None = None

    def bind(self, feeds: Feeds) -> None:
        """Copy ``feeds`` into values of the runtime and make room for the outputs."""
        symbols = check(self.inputs, feeds, batch=self._batch)
        binding = bound(self._session).io_binding()
        for name, array in feeds.items():
            value = self._values.get(name)
            if value is None or tuple(value.shape()) != array.shape:
                value = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                    array.shape, array.dtype.type
                )
                self._values[name] = value
            value.update_inplace(np.ascontiguousarray(array))
            binding.bind_ortvalue_input(name, value)
        for spec in self.outputs:
            shape = output_shape(spec, symbols)
            if shape is None:
                binding.bind_output(spec.name)
            else:
                room = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                    shape, np.dtype(spec.dtype).type
                )
                binding.bind_ortvalue_output(spec.name, room)
        self._binding = binding

    def step(self) -> None:
        """Run once on what is bound."""
        session, binding = bound(self._session), bound(self._binding)
        try:
            session.run_with_iobinding(binding)
        except _ERRORS as error:
            raise RunError(f"ONNX Runtime failed while running: {error}") from error

    def fetch(self) -> dict[str, Array]:
        """Copy the outputs of the last step out."""
        values = bound(self._binding).get_outputs()
        return {spec.name: value.numpy() for spec, value in zip(self.outputs, values, strict=True)}

    def close(self) -> None:
        """Drop the bound values and the runtime's session."""
        self._binding = None
        self._values.clear()
        self._session = None


def session_of(
    model: onnx_ir.Model, *, extra_outputs: Sequence[str] = (), options: Options | None = None
) -> OnnxRuntimeSession:
    """Load an in-memory graph; the tensors named in ``extra_outputs`` are fetched as well.

    The model itself is not changed. Used by calibration and to find where accuracy goes.

    Raises:
        RunError: ONNX Runtime refuses the graph, or it has no such tensor.
    """
    proto = onnx_ir.to_proto(model)
    present = {value.name for value in proto.graph.output}
    for name in dict.fromkeys(extra_outputs):
        if name not in present:
            proto.graph.output.add(name=name)
    return OnnxRuntimeSession(proto.SerializeToString(), options=options or Options())


def load(artifact: Artifact) -> OnnxRuntimeSession:
    """Load an engine, or an ONNX artefact as it is.

    Raises:
        RunError: ONNX Runtime refuses the file.
    """
    threads = artifact.settings.get("threads", 0)
    options = Options(threads=threads if isinstance(threads, int) else 0)
    return OnnxRuntimeSession(str(artifact.path), options=options, batch=artifact.batch)


def _named(model: str | bytes) -> str:
    return Path(model).name if isinstance(model, str) else "the graph"


def _spec(value: onnxruntime.NodeArg) -> TensorSpec:
    if value.type not in _DTYPES:
        raise RunError(f"the tensor {value.name} is {value.type}, which NumPy cannot hold")
    shape = tuple(
        f"{value.name}_{axis}" if size is None else size for axis, size in enumerate(value.shape)
    )
    return TensorSpec(name=value.name, dtype=_DTYPES[value.type], shape=shape)

"""A graph in ONNX Runtime: this file is about loading it on a provider and running it there."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as errors

from tresnet_deploy import environment
from tresnet_deploy.backends._cpu import Threads, available_cores
from tresnet_deploy.backends._feeds import Symbols, bound, check, output_shape
from tresnet_deploy.contracts import Array, Batch, Feeds, TensorSpec
from tresnet_deploy.errors import RunError, UnavailableError

Provider = Literal["cpu", "cuda", "tensorrt"]

PROVIDERS: Final[dict[Provider, str]] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
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
# ONNX Runtime 1.32 drops a ReLU before any quantiser, though FP8 has negative numbers; and it gives
# biases the product of two scales, which in FP16 becomes 0.
_INT8_ONLY: Final = ("ReluQuantRewrite", "WeightBiasQuantization")
_SPINNING: Final = "session.intra_op.allow_spinning"
# Q/DQ pairs become integer kernels, unless this is 1.
_QDQ_IN_FLOAT: Final = "session.disable_quant_qdq"
_ERRORS_ONLY: Final = 3  # of log_severity_level: warnings speak of ONNX Runtime's own rewrites


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Where and how to run. ``threads`` 0: one for each physical core this process may use.

    ``provider`` "cuda" and "tensorrt" need an NVIDIA GPU and onnxruntime-gpu (extra ``cuda``).
    Tests marked ``gpu`` run them there; this code has not met a GPU yet. ``overflow_safe``: an
    INT8 engine has no integers that a CPU overflows with which adds two products of bytes in 16
    bits; None: as this CPU needs it.
    """

    threads: Threads = 0
    provider: Provider = "cpu"
    overflow_safe: bool | None = None


class OnnxRuntimeSession:
    """A loaded graph whose inputs and outputs stay bound, on its device, between steps."""

    def __init__(
        self,
        model: str | bytes,
        *,
        options: Options,
        batch: Batch | None = None,
        alone: bool = True,
        int8: bool = True,
    ) -> None:
        """Load a file's path or a serialised model; ``batch`` bounds what bind takes.

        One of many sessions that take turns is not ``alone``: its threads do not spin between
        steps, which would hold up the others, and it keeps no memory for the next step.
        ``int8`` False leaves out the rewrites that are right for INT8 with FP32 scales only.
        """
        session = _opened(model, options, alone=alone, int8=int8)
        self._device = "cpu" if options.provider == "cpu" else "cuda"
        self._batch = batch
        self.inputs = tuple(_spec(value) for value in session.get_inputs())
        self.outputs = tuple(_spec(value) for value in session.get_outputs())
        self._session: onnxruntime.InferenceSession | None = session
        self._inputs: dict[str, onnxruntime.OrtValue] = {}
        self._binding: onnxruntime.IOBinding | None = None

    def bind(self, feeds: Feeds) -> None:
        """Copy ``feeds`` into values of the runtime and make room for the outputs."""
        binding = bound(self._session).io_binding()
        symbols = check(self.inputs, feeds, batch=self._batch)
        for name, array in feeds.items():
            value = self._inputs.get(name)
            if value is None or tuple(value.shape()) != array.shape:
                value = self._room(array.shape, array.dtype)
                self._inputs[name] = value
            value.update_inplace(np.ascontiguousarray(array))
            binding.bind_ortvalue_input(name, value)
        for spec in self.outputs:
            self._bind_output(binding, spec, symbols)
        self._binding = binding

    def _bind_output(
        self, binding: onnxruntime.IOBinding, spec: TensorSpec, symbols: Symbols
    ) -> None:
        shape = output_shape(spec, symbols)
        if shape is None:
            binding.bind_output(spec.name, self._device)
        else:
            binding.bind_ortvalue_output(spec.name, self._room(shape, np.dtype(spec.dtype)))

    def _room(self, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> onnxruntime.OrtValue:
        return onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, dtype.type, self._device)

    def step(self) -> None:
        """Run once on what is bound."""
        session, binding = bound(self._session), bound(self._binding)
        try:
            session.run_with_iobinding(binding)
            binding.synchronize_outputs()
        except _ERRORS as error:
            raise RunError(f"ONNX Runtime failed while running: {error}") from error

    def fetch(self) -> dict[str, Array]:
        """Copy the outputs of the last step out."""
        values = bound(self._binding).get_outputs()
        return {spec.name: value.numpy() for spec, value in zip(self.outputs, values, strict=True)}

    def close(self) -> None:
        """Drop the bound values and the runtime's session."""
        self._binding = None
        self._inputs.clear()
        self._session = None


def _opened(
    model: str | bytes, options: Options, *, alone: bool, int8: bool
) -> onnxruntime.InferenceSession:
    settings = onnxruntime.SessionOptions()
    settings.add_session_config_entry(_SPINNING, str(int(alone)))
    settings.enable_cpu_mem_arena = alone
    settings.intra_op_num_threads = options.threads or available_cores()
    settings.inter_op_num_threads = 1
    settings.log_severity_level = _ERRORS_ONLY
    on_cpu = options.provider == "cpu"
    if on_cpu and not options.overflow_safe and environment.overflows_int8():
        settings.add_session_config_entry(_QDQ_IN_FLOAT, "1")
    wanted = PROVIDERS[options.provider]
    name = Path(model).name if isinstance(model, str) else "the graph"
    if wanted not in onnxruntime.get_available_providers():
        raise _no_provider(wanted)
    try:
        session = onnxruntime.InferenceSession(
            model,
            settings,
            providers=list(dict.fromkeys((wanted, PROVIDERS["cpu"]))),
            disabled_optimizers=[] if int8 else list(_INT8_ONLY),
        )
    except _ERRORS as error:
        raise RunError(f"ONNX Runtime cannot load {name}: {error}") from error
    if wanted not in session.get_providers():  # it falls back to the CPU without an error
        raise _no_provider(wanted)
    return session


def _no_provider(wanted: str) -> UnavailableError:
    return UnavailableError(
        f"ONNX Runtime {onnxruntime.__version__} has no usable {wanted} here",
        hints=(
            "pip uninstall onnxruntime && pip install 'tresnet-deploy[cuda]', on a machine with "
            "an NVIDIA GPU",
            "leave the provider out to run on the CPU",
        ),
    )


def _spec(value: onnxruntime.NodeArg) -> TensorSpec:
    if value.type not in _DTYPES:
        raise RunError(f"the tensor {value.name} is {value.type}, which NumPy cannot hold")
    shape = tuple(
        f"{value.name}_{axis}" if size is None else size for axis, size in enumerate(value.shape)
    )
    return TensorSpec(name=value.name, dtype=_DTYPES[value.type], shape=shape)

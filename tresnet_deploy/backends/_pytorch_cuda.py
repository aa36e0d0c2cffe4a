"""PyTorch on a GPU, as the ladder of baselines that an engine there is compared with.

Each rung is one thing more that PyTorch users do: TF32, automatic mixed precision, channels-last,
FP16 weights, torch.compile. Timed by CUDA events as well as by the clock. Not run on a GPU yet;
tests drive it on a CPU with stand-ins for the events.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Literal

import torch
from torch import Tensor, nn

from tresnet_deploy.backends._feeds import bound, check
from tresnet_deploy.backends._pytorch_session import tensor_of
from tresnet_deploy.contracts import Array, Feeds, TensorSpec
from tresnet_deploy.errors import RunError

_DEVICE: Final = "cuda"
_MIB: Final = 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class CudaOptions:
    """One rung. "amp" computes in FP16 where autocast does, "fp16" has FP16 weights as well."""

    name: str
    compute: Literal["fp32", "amp", "fp16"] = "fp32"
    tf32: bool = True
    channels_last: bool = False
    compile: bool = False


LADDER: Final = (
    CudaOptions(name="pytorch eager fp32", tf32=False),
    CudaOptions(name="pytorch eager tf32"),
    CudaOptions(name="pytorch eager amp fp16", compute="amp"),
    CudaOptions(name="pytorch channels-last amp fp16", compute="amp", channels_last=True),
    CudaOptions(name="pytorch channels-last fp16", compute="fp16", channels_last=True),
    CudaOptions(name="pytorch compiled fp16", compute="fp16", channels_last=True, compile=True),
)
"""From what everyone runs to the fastest that PyTorch has; the first is the reference."""


def missing() -> str:
    """Return why PyTorch cannot compute on a GPU here, or nothing where it can."""
    if torch.version.cuda is None:
        return f"this PyTorch, {torch.__version__}, was built without CUDA"
    return "" if torch.cuda.is_available() else "PyTorch finds no GPU"


class PyTorchCudaSession:
    """A module in evaluation mode on the first GPU, run without gradients."""

    def __init__(
        self,
        module: nn.Module,
        *,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        options: CudaOptions,
    ) -> None:
        """Copy ``module`` to the GPU; the caller's stays where it is."""
        self.inputs = inputs
        self.outputs = outputs
        self._options = options
        with _cuda_errors():
            self._free = torch.cuda.mem_get_info()[0]
            self._start = _event()
            self._end = _event()
            self._module: Callable[..., Any] | None = _prepared(module, options)
        self._pinned: tuple[Tensor, ...] | None = None
        self._bound: tuple[Tensor, ...] = ()
        self._results: tuple[Tensor, ...] | None = None

    def bind(self, feeds: Feeds) -> None:
        """Copy ``feeds`` to the GPU by way of pinned memory."""
        bound(self._module)
        check(self.inputs, feeds)
        self._results = None
        last = self._options.channels_last
        tensors = [tensor_of(feeds[spec.name], channels_last=last) for spec in self.inputs]
        with _cuda_errors():
            self._pinned = tuple(tensor.pin_memory() for tensor in tensors)
            self._bound = tuple(tensor.to(_DEVICE) for tensor in self._pinned)

    def step(self) -> None:
        """Run once on what is bound; return when the GPU has finished."""
        self._run(transfers=False)

    def step_with_transfers(self) -> None:
        """Do what step does, with copies from and to pinned memory."""
        self._run(transfers=True)

    def _run(self, *, transfers: bool) -> None:
        module, pinned = bound(self._module), bound(self._pinned)
        with _cuda_errors(), _settings(self._options):
            self._start.record()
            if transfers:
                for there, here in zip(self._bound, pinned, strict=True):
                    there.copy_(here, non_blocking=True)
            results = module(*self._bound)
            results = results if isinstance(results, tuple) else (results,)
            if transfers:
                results = tuple(result.to("cpu", non_blocking=True) for result in results)
            self._end.record()
            self._end.synchronize()
        self._results = results

    def device_ms(self) -> float:
        """Return the milliseconds that the last step took on the GPU, by CUDA events."""
        bound(self._results)
        return float(self._start.elapsed_time(self._end))

    def memory_mib(self) -> float:
        """Return the device memory that this session took, as far as nobody else took any."""
        return float(max(0, self._free - torch.cuda.mem_get_info()[0]) / _MIB)

    def gpu_id(self) -> str:
        """Return what nvidia-smi --id takes for the GPU."""
        return f"GPU-{torch.cuda.get_device_properties(0).uuid}"

    def fetch(self) -> dict[str, Array]:
        """Copy the outputs of the last step out."""
        pairs = zip(self.outputs, bound(self._results), strict=True)
        return {spec.name: result.float().cpu().numpy().copy() for spec, result in pairs}

    def close(self) -> None:
        """Drop the module, its memory, and what was compiled for it."""
        self._module = self._pinned = self._results = None
        self._bound = ()
        if self._options.compile:
            torch.compiler.reset()
        torch.cuda.empty_cache()


class _HalfInside(nn.Module):
    """Takes and gives what the FP32 network does, and computes in FP16."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.half()

    def forward(self, images: Tensor) -> Tensor:
        x = images.half() if images.dtype.is_floating_point else images
        scores: Tensor = self.network(x)
        return scores.float()


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]


def _prepared(module: nn.Module, options: CudaOptions) -> Callable[..., Any]:
    own = copy.deepcopy(module).to(_DEVICE)
    if options.compute == "fp16":
        own = _HalfInside(own)
    if options.channels_last:
        # nn.Module.to's overloads do not know a memory format alone.
        own.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if not options.compile:
        return own
    # A full graph or an error: falling back to eager in silence would spoil every measurement.
    return torch.compile(own, fullgraph=True, dynamic=False, mode="max-autotune")


@contextmanager
def _settings(options: CudaOptions) -> Iterator[None]:
    """Set what PyTorch keeps for the whole process, as other rungs run in between."""
    precision = "tf32" if options.tf32 else "ieee"
    # cudnn is a module that swaps its own class for one with these attributes.
    cudnn: Any = torch.backends.cudnn
    matmul, convolution = torch.backends.cuda.matmul, cudnn.conv
    before = (matmul.fp32_precision, convolution.fp32_precision, cudnn.benchmark)
    matmul.fp32_precision = convolution.fp32_precision = precision
    cudnn.benchmark = True
    amp = torch.autocast(_DEVICE, torch.float16, enabled=options.compute == "amp")
    try:
        with torch.inference_mode(), amp:
            yield
    finally:
        matmul.fp32_precision, convolution.fp32_precision, cudnn.benchmark = before


@contextmanager
def _cuda_errors() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        raise RunError(f"PyTorch failed on the GPU: {error}") from error

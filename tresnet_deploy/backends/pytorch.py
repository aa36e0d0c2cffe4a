"""PyTorch: the eager baselines, and the deploy form as an exported program (``.pt2``).

It computes from the checkpoint, not from the ONNX graph: its engine is the network that every
other engine is compared with, folded and set up as PyTorch runs it fastest.
"""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from tresnet.deploy_form import deploy_form
from tresnet_deploy import environment, weights
from tresnet_deploy.backends import _engine
from tresnet_deploy.backends._pytorch_session import Network, Options, PyTorchSession
from tresnet_deploy.contracts import (
    Artifact,
    Batch,
    Precision,
    Preprocess,
    Probe,
    TensorSpec,
)
from tresnet_deploy.eager import Deployed
from tresnet_deploy.errors import ArtifactError, BuildError, RunError, UsageError

READS: Final = "checkpoint"
WRITES: Final = ".pt2"
GRAPHS: Final[Mapping[Precision, Precision]] = {"fp32": "fp32", "bf16": "fp32"}

_NAME: Final = "pytorch"
_TRACED_BATCH: Final = 2  # torch.export takes a batch of 1 for a constant


def session(
    module: nn.Module,
    inputs: tuple[TensorSpec, ...],
    outputs: tuple[TensorSpec, ...],
    *,
    compile: bool = False,  # noqa: A002  torch.compile is what people know
    channels_last: bool = False,
    autocast: torch.dtype | None = None,
) -> PyTorchSession:
    """Return eager or compiled PyTorch as a session: the baselines of comparing and timing.

    Raises:
        UsageError: ``autocast`` is neither None nor bfloat16, the one 16-bit type of CPUs here.
    """
    if autocast not in (None, torch.bfloat16):
        raise UsageError(f"PyTorch runs in float32 or bfloat16 on a CPU, not in {autocast}")
    options = Options(compile=compile, channels_last=channels_last, bf16=autocast is not None)
    return PyTorchSession(
        _prepared(module, options), inputs=inputs, outputs=outputs, options=options
    )


def _prepared(module: nn.Module, options: Options) -> Network:
    """Return ``module`` as ``options`` want it; the caller's own is left as it is."""
    if options.channels_last:
        # nn.Module.to's overloads do not know a memory format alone.
        module = copy.deepcopy(module).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if not options.compile:
        return module
    return torch.compile(module, dynamic=False, options={"freezing": True})


def options_for(precision: Precision) -> Options:
    """Return the options that make the engine of ``precision``."""
    return Options(bf16=precision == "bf16")


def probe() -> Probe:
    """Say what PyTorch can do on this CPU."""
    able: tuple[Precision, ...] = ("fp32", "bf16") if environment.computes_bf16() else ("fp32",)
    return Probe(
        usable=True,
        reason="runs on the CPU; INT8 is made as a Q/DQ graph, which PyTorch does not run",
        version=torch.__version__,
        devices=(environment.processor(),),
        precisions=able,
    )


def build(source: Artifact, path: Path, *, batch: Batch, options: Options) -> Artifact:
    """Write the deploy form of the network behind ``source`` as an exported program to ``path``.

    Raises:
        DeployError: the weights that ``source`` was made from cannot be loaded any more.
        BuildError: torch.export refuses the network.
    """
    (spec,) = source.inputs
    network = deploy_form(weights.load(source.source).model)
    module = Deployed(network, source.preprocess, source.labels.activation).eval()
    try:
        program = torch.export.export(
            module,
            (_example(spec, source.preprocess, batch),),
            dynamic_shapes=(_dynamic_axes(spec, batch),),
        )
    except (RuntimeError, torch._dynamo.exc.UserError) as error:
        raise BuildError(f"torch.export refuses the network: {error}") from error
    # Not straight to the file: PyTorch's own writer aborts the process when the disk is full.
    buffer = io.BytesIO()
    torch.export.save(program, buffer)
    path.write_bytes(buffer.getbuffer())
    return _engine.describe(
        source,
        path,
        backend=_NAME,
        precision="bf16" if options.bf16 else "fp32",
        batch=batch,
        device=_engine.this_cpu(),
        options=options,
        versions={"torch": torch.__version__},
    )


def load(artifact: Artifact) -> PyTorchSession:
    """Load an engine; what the sidecar vouches for is trusted, so check it before.

    Raises:
        ArtifactError: it is another backend's engine, or a graph, which PyTorch cannot run.
        RunError: PyTorch refuses the file.
    """
    if artifact.kind != "engine":
        raise ArtifactError(
            f"{artifact.path} is no engine of PyTorch, which does not run ONNX graphs",
            hints=("tresnet-deploy build-engine --backend pytorch",),
        )
    options = _engine.options_of(artifact, Options, backend=_NAME)
    try:
        module = torch.export.load(artifact.path).module()
    except (RuntimeError, ValueError, OSError) as error:
        raise RunError(
            f"PyTorch {torch.__version__} cannot load {artifact.path.name}: {error}",
            hints=("tresnet-deploy build-engine --backend pytorch --overwrite",),
        ) from error
    return PyTorchSession(
        _prepared(module, options),
        inputs=artifact.inputs,
        outputs=artifact.outputs,
        options=options,
        batch=artifact.batch,
    )


def _example(spec: TensorSpec, preprocess: Preprocess, batch: Batch) -> Tensor:
    """Return an input to trace with."""
    size = batch.max if batch.fixed else _TRACED_BATCH
    sides = (preprocess.height_px, preprocess.width_px)
    shape = (size, *sides, 3) if preprocess.layout == "uint8-nhwc" else (size, 3, *sides)
    return torch.zeros(shape, dtype=getattr(torch, spec.dtype))


def _dynamic_axes(spec: TensorSpec, batch: Batch) -> dict[int, object]:
    """Return the open axes: the batch in its bounds, and sides that the graph leaves open."""
    axes: dict[int, object] = {
        axis: torch.export.Dim.AUTO
        for axis, extent in enumerate(spec.shape)
        if isinstance(extent, str)
    }
    if batch.fixed:
        axes.pop(0, None)
        return axes
    return {**axes, 0: torch.export.Dim("batch", min=batch.min, max=batch.max)}

"""PyTorch: the eager baselines, and the deploy form as an exported program (``.pt2``).

It computes from the checkpoint, not from the ONNX graph: its engine is the network that every
other engine is compared with, folded and set up as PyTorch runs it fastest.
"""

from __future__ import annotations

import copy
import io
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from tresnet.deploy_form import deploy_form
from tresnet_deploy import environment, trust, weights
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
PRECISION_OPTION: Final = "bf16"

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
    own = copy.deepcopy(module) if channels_last else module  # the caller's keeps its layout
    return PyTorchSession(_prepared(own, options), inputs=inputs, outputs=outputs, options=options)


def _prepared(module: nn.Module, options: Options) -> Network:
    """Set ``module``, which is ours to change, up as ``options`` say."""
    if options.channels_last:
        # nn.Module.to's overloads do not know a memory format alone.
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if not options.compile:
        return module
    # A full graph or an error: falling back to eager in silence would spoil every measurement.
    return torch.compile(module, fullgraph=True, dynamic=False, options={"freezing": True})


def options_for(precision: Precision) -> Options:
    """Return the options that make the engine of ``precision``."""
    return Options(bf16=precision == "bf16")


def probe() -> Probe:
    """Say what PyTorch can do on this CPU."""
    able: tuple[Precision, ...] = ("fp32", "bf16") if environment.computes_bf16() else ("fp32",)
    return Probe(
        usable=True,
        reason="runs on the CPU; INT8 is made as a Q/DQ graph, which PyTorch does not run",
        version=str(torch.__version__),
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
        with _quiet():
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
        versions={"torch": str(torch.__version__)},
    )


def load(artifact: Artifact) -> PyTorchSession:
    """Load an engine.

    Raises:
        ArtifactError: it is another backend's engine or was changed since its build, or it is a
            graph, which PyTorch cannot run.
        RunError: PyTorch refuses the file.
    """
    if artifact.kind != "engine":
        raise ArtifactError(
            f"{artifact.path} is no engine of PyTorch, which does not run ONNX graphs",
            hints=("tresnet-deploy build-engine --backend pytorch",),
        )
    options = _engine.options_of(artifact, Options, backend=_NAME)
    trust.check_before_loading(artifact)
    module = _read(artifact.path)
    return PyTorchSession(
        _prepared(module, options),
        inputs=artifact.inputs,
        outputs=artifact.outputs,
        options=options,
        batch=artifact.batch,
    )


def _read(path: Path) -> nn.Module:
    error: Exception | None = None
    if zipfile.is_zipfile(path):  # torch.export.load prints a traceback for anything else
        try:
            with _quiet():
                return torch.export.load(path).module()
        except (RuntimeError, ValueError, LookupError, zipfile.BadZipFile) as caught:
            error = caught
    raise RunError(
        f"PyTorch {torch.__version__} cannot load {path.name}: {error or 'it is no .pt2 archive'}",
        hints=("tresnet-deploy build-engine --backend pytorch --overwrite",),
    ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence what torch 2.13 says about itself: it copies its pytree specs in a deprecated way."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*LeafSpec.*", category=FutureWarning)
        yield


def _example(spec: TensorSpec, preprocess: Preprocess, batch: Batch) -> Tensor:
    """Return an input to trace with."""
    size = batch.max if batch.fixed else max(_TRACED_BATCH, batch.min)
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

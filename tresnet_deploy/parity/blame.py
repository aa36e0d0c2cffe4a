"""Where accuracy goes inside the network: this file is about the output of each block.

    eager PyTorch (hooks)      stem, layer1.0, layer1.1, ... head
    each file on the way       the tensors between its blocks, by the names that the export gave

A block of the graph is called as its torch module, and quantisation keeps the name of what it
gives. So the same tensor is found in the eager network, the ONNX files and, where a runtime shows
inner tensors, in the engine. Showing them keeps a runtime from fusing across them: the figures are
those of its kernels, its speed is not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np

from tresnet_deploy import graph_files, weights
from tresnet_deploy.artifacts import told_apart
from tresnet_deploy.blocks import segments
from tresnet_deploy.contracts import Array, Artifact, Batch, Progress, Session, no_progress, run
from tresnet_deploy.errors import RunError, UnavailableError, UsageError
from tresnet_deploy.images import ImageSet, batches
from tresnet_deploy.registry import BACKENDS
from tresnet_deploy.results import BlockSnr

if TYPE_CHECKING:
    from torch import Tensor, nn

    from tresnet import TResNet

IMAGES: Final = 32  # SNR of a block settles with dozens of images

SHOWS_INNER: Final = ("onnxruntime", "openvino")
"""Backends with ``showing(artifact, names)``: a session that gives inner tensors as well."""

_AT_ONCE: Final = 4  # images: every border of L at 224 px then takes 100 MiB a stage

Values = Mapping[str, Array]
Show = Callable[[Array], Values]
"""Runs images (N, ...) and returns the output of each block."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Blame:
    """The SNR of each block's output by stage, stages named by their files; and what is missing.

    Files of one name go by their folders too. The deploy form has no file: it goes by None.
    """

    images: int = 0
    blocks: Mapping[str | None, tuple[BlockSnr, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Sums:
    """Power of the reference and of the difference, by block."""

    signal: dict[str, float] = field(default_factory=dict)
    noise: dict[str, float] = field(default_factory=dict)

    def add(self, reference: Values, found: Values) -> None:
        for block, wanted in reference.items():
            value = found[block].astype(np.float64)
            # Channels that padding has added come last and are 0.
            value = value[:, : wanted.shape[1]] if wanted.ndim > 1 else value
            signal, noise = np.square(wanted, dtype=np.float64), np.square(value - wanted)
            self.signal[block] = self.signal.get(block, 0.0) + float(signal.sum())
            self.noise[block] = self.noise.get(block, 0.0) + float(noise.sum())

    def blocks(self) -> tuple[BlockSnr, ...]:
        return tuple(
            BlockSnr(block=block, snr_db=_decibels(self.signal[block], self.noise[block]))
            for block in self.signal
        )


def _decibels(signal: float, noise: float) -> float | None:
    return 10 * math.log10(signal / noise) if signal and noise else None


def blame(
    files: tuple[Artifact, ...],
    images: ImageSet,
    *,
    progress: Progress = no_progress,
    quiet: bool = False,
) -> Blame:
    """Return how near each block's output is to eager FP32 PyTorch's, in each of ``files``.

    ``files`` lie on the way to one engine, and the FP32 ONNX file is among them.

    Raises:
        UsageError: it is not: it says what the blocks' tensors are called.
        ImageError: no image is readable.
        DeployError: as loading and running raise.
    """
    graph = next((f for f in files if f.kind == "onnx" and f.precision == "fp32"), None)
    if graph is None:
        raise UsageError(
            "blame needs the FP32 ONNX file beside the engine: its nodes tell the blocks apart",
            hints=("leave --blame out", "tresnet-deploy export, then build the engine from it"),
        )
    names = {s.blocks[-1]: s.target for s in segments(graph_files.load(graph.path).graph)}
    called = told_apart(file.path for file in files)
    notes: list[str] = []
    seen = 0
    with ExitStack() as held:
        original, folded = _networks(graph, quiet=quiet)
        reference = held.enter_context(_hooked(original, graph, tuple(names)))
        shows: dict[str | None, Show] = {
            None: held.enter_context(_hooked(folded, graph, tuple(names)))
        }
        for file in files:
            try:
                shows[called[file.path]] = _opened(file, names, held)
            except (RunError, UnavailableError) as error:
                notes.append(f"{called[file.path]} shows no inner tensors: {error.message}")
        sums: dict[str | None, _Sums] = {name: _Sums() for name in shows}
        for batch in batches(images, graph.preprocess, _AT_ONCE, progress=progress, what="blame"):
            wanted = reference(batch.array)
            seen += len(batch.files)
            for name, show in shows.items():
                sums[name].add(wanted, show(batch.array))
    return Blame(
        images=seen,
        blocks={name: found.blocks() for name, found in sums.items()},
        notes=tuple(notes),
    )


def _networks(graph: Artifact, *, quiet: bool) -> tuple[TResNet, TResNet]:
    """Return the network with its original weights, and its deploy form."""
    from tresnet.deploy_form import deploy_form

    original = weights.load(graph.source, quiet=quiet).model
    return original, deploy_form(original)


@contextmanager
def _hooked(network: TResNet, graph: Artifact, blocks: tuple[str, ...]) -> Iterator[Show]:
    """Give a function that runs the eager ``network`` and returns what its ``blocks`` give."""
    import torch

    from tresnet_deploy.eager import Deployed

    found: dict[str, Array] = {}

    def keep(block: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            found[block] = output.numpy().copy()  # later layers may work in place

        return hook

    module = Deployed(network, graph.preprocess, graph.labels.activation).eval()
    *inner, last = blocks
    hooks = [network.get_submodule(b).register_forward_hook(keep(b)) for b in inner]

    def show(images: Array) -> Values:
        with torch.inference_mode():
            scores: Tensor = module(torch.from_numpy(np.ascontiguousarray(images)))
        return {**{block: found[block] for block in inner}, last: scores.numpy()}

    try:
        yield show
    finally:
        for hook in hooks:
            hook.remove()


def _opened(file: Artifact, names: Mapping[str, str], held: ExitStack) -> Show:
    """Return a function that runs ``file`` and gives the tensors ``names``, by block.

    Raises:
        RunError: the runtime refuses the file, or shows no inner tensors of it.
    """
    backend = file.backend or SHOWS_INNER[0]
    if backend not in SHOWS_INNER:
        raise RunError(f"{backend} runs it as a whole")
    *inner, last = names
    session: Session = held.enter_context(
        closing(BACKENDS.load(backend).showing(file, tuple(names[block] for block in inner)))
    )
    # A runtime's own passes may rename tensors: their order is what both sides agree on.
    output, *tensors = (spec.name for spec in session.outputs)
    held_by = dict(zip(inner, tensors, strict=True))

    def show(images: Array) -> Values:
        found = _run(session, images, file.batch)
        return {**{block: found[held_by[block]] for block in inner}, last: found[output]}

    return show


def _run(session: Session, images: Array, batch: Batch | None) -> Values:
    """Return all outputs for ``images``, in batches that the session takes."""
    spec = session.inputs[0]
    fixed = spec.shape[0]
    least, most = (batch.min, batch.max) if batch else (1, len(images))
    if isinstance(fixed, int):
        least = most = fixed
    parts: list[Values] = []
    for start in range(0, len(images), most):
        part = images[start : start + most]
        missing = max(0, least - len(part))
        fed = np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]) if missing else part
        found = run(session, {spec.name: fed})
        parts.append({name: value[: len(part)] for name, value in found.items()})
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}

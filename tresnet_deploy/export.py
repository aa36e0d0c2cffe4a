"""Checkpoint to ONNX: this file is about the export step and what it promises.

A copy of the network is folded (InPlace-ABN and BatchNorm into convolutions), traced, rewritten by
the passes that serve every engine, saved, and compared with the untouched eager network. The file
appears only if that comparison passes.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final, Literal

import numpy as np
import onnx_ir as ir

from tresnet.architecture import COLOURS, InputRule
from tresnet.checkpoint import Checkpoint
from tresnet.deploy_form import deploy_form
from tresnet_deploy import __version__, artifacts, export_check, graph_files, passes, tracing
from tresnet_deploy.contracts import (
    Activation,
    Array,
    Artifact,
    Batch,
    Labels,
    Layout,
    Preprocess,
    Progress,
    Scalar,
    Source,
    no_progress,
)
from tresnet_deploy.eager import Deployed
from tresnet_deploy.errors import UsageError
from tresnet_deploy.images import ImageSet, batches
from tresnet_deploy.preprocess import from_rule

DEFAULT_OPSET: Final = 18
NEWEST_OPSET: Final = 23  # the newest that torch 2.13's translations were written for
_CHECKED_BATCHES: Final = (1, 3)
_SIDE_STEP_PX: Final = 32  # the second size of a dynamic graph: one more pixel of the last map
_STEPS: Final = 4
_WHAT: Final = "export"
_TOOLS: Final = ("torch", "onnx", "onnxscript")


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportOptions:
    """How the graph is to look.

    ``batch`` None leaves the batch symbolic, a range too: it is what engines are built for unless
    they are asked for another. ``image_size`` is (height, width) in pixels, None the
    checkpoint's own. ``normalize`` puts mean and std into the graph; a "uint8-nhwc" input always
    does. ``multi_label`` None lets the head and the activation decide.
    """

    opset: int = DEFAULT_OPSET
    batch: Batch | None = None
    image_size: tuple[int, int] | None = None
    dynamic_size: bool = False
    operators: Literal["function", "inline", "plugin"] = "function"
    normalize: bool = False
    layout: Layout = "float32-nchw"
    activation: Activation = "none"
    multi_label: bool | None = None
    pad_channels: bool = False

    def __post_init__(self) -> None:
        """Refuse what no graph can be."""
        if not DEFAULT_OPSET <= self.opset <= NEWEST_OPSET:
            raise UsageError(
                f"opset {self.opset} is not between {DEFAULT_OPSET} and {NEWEST_OPSET}, which "
                "torch.onnx.export writes",
                hints=(f"--opset {DEFAULT_OPSET}",),
            )
        if self.batch is not None and not 1 <= self.batch.min <= self.batch.opt <= self.batch.max:
            raise UsageError(f"a batch of {self.batch} must rise from 1 or more")

    @property
    def fixed_batch(self) -> int | None:
        """The only batch size that the graph takes, None where it is symbolic."""
        return self.batch.max if self.batch is not None and self.batch.fixed else None


def preprocess_for(rule: InputRule, options: ExportOptions) -> Preprocess:
    """Return how images are prepared for a graph made with ``options``.

    Raises:
        UsageError: TResNet cannot take that image size.
    """
    return from_rule(
        rule,
        size=options.image_size,
        layout=options.layout,
        normalize_in_graph=options.normalize or options.layout == "uint8-nhwc",
    )


def labels_for(checkpoint: Checkpoint, options: ExportOptions) -> Labels:
    """Return what the outputs mean.

    Heads with a bottleneck and ML-Decoder heads were published for multi-label data, so these are
    multi-label unless the options say otherwise; so are one output alone, and every graph that ends
    in a sigmoid.

    Raises:
        UsageError: one output is asked to choose among classes.
    """
    head = checkpoint.architecture.head
    multi_label = options.multi_label
    if head.classes == 1 and (options.activation == "softmax" or multi_label is False):
        asked = "--activation softmax" if options.activation == "softmax" else "--single-label"
        raise UsageError(
            f"{asked} does not fit a network of one output, which is then certain of every image",
            hints=("--activation sigmoid, for the probability that the class is shown",),
        )
    if multi_label is None:
        guess = (head.kind != "linear" or head.classes == 1) and options.activation != "softmax"
        multi_label = guess or options.activation == "sigmoid"
    return Labels(
        classes=head.classes,
        names=checkpoint.class_names or (),
        multi_label=multi_label,
        activation=options.activation,
    )


def file_name(checkpoint: Checkpoint) -> str:
    """Return what the ONNX file of this network is called: after its row of the table."""
    name = checkpoint.architecture.name
    return f"{name if name.isidentifier() else 'tresnet'}.onnx"


def export(
    checkpoint: Checkpoint,
    target: Path,
    *,
    source: Source,
    options: ExportOptions,
    images: ImageSet,
    overwrite: bool = False,
    load: export_check.Loader | None = None,
    progress: Progress = no_progress,
) -> Artifact:
    """Write ``target``, checked on ``images``, and return it; the checkpoint's model is untouched.

    ``load`` opens the engine to check with; None takes ONNX Runtime, or the next that is installed.

    Raises:
        UsageError: the options fit no TResNet, or ``target`` exists and may not be overwritten.
        ImageError: none of the images is readable.
        UnavailableError: the folder cannot be written.
        ExportError: torch refused, or the graph computes something else; nothing is left behind.
    """
    colours = checkpoint.architecture.in_channels
    if colours != COLOURS:
        raise UsageError(
            f"the network reads images of {colours} channels, and those here are RGB",
            hints=("a checkpoint for RGB images",),
        )
    preprocess = preprocess_for(checkpoint.input_rule, options)
    labels = labels_for(checkpoint, options)
    inputs = _check_inputs(images, preprocess, options)
    progress(1, _STEPS, _WHAT)
    with artifacts.publishing(target, overwrite=overwrite) as staging:
        model = _graph_of(checkpoint, preprocess, options)
        progress(2, _STEPS, _WHAT)
        taken, given = graph_files.tensor_specs(model)
        artifact = Artifact(
            path=staging.path,
            kind="onnx",
            step="export",
            sha256="",
            architecture=checkpoint.architecture.name,
            precision="fp32",
            inputs=taken,
            outputs=given,
            preprocess=preprocess,
            labels=labels,
            source=source,
            batch=options.batch,
            settings=_settings(options),
            versions={name: version(name) for name in _TOOLS},
        )
        graph_files.embed(model, artifact)
        graph_files.save(model, staging.path)
        progress(3, _STEPS, _WHAT)
        reference = Deployed(copy.deepcopy(checkpoint.model), preprocess, options.activation).eval()
        agreement = export_check.check(reference, artifact, inputs, load=load)
        progress(_STEPS, _STEPS, _WHAT)
        return staging.finish(dataclasses.replace(artifact, verified=str(agreement)))


def _graph_of(checkpoint: Checkpoint, preprocess: Preprocess, options: ExportOptions) -> ir.Model:
    plan = tracing.InputPlan(
        layout=options.layout,
        height_px=preprocess.height_px,
        width_px=preprocess.width_px,
        batch=options.fixed_batch,
        dynamic_size=options.dynamic_size,
    )
    folded = Deployed(deploy_form(checkpoint.model), preprocess, options.activation).eval()
    output = "logits" if options.activation == "none" else "probabilities"
    model = tracing.trace(folded, plan, output=output, opset=options.opset)
    model.graph.name = checkpoint.architecture.name
    model.producer_name = "tresnet-deploy"
    model.producer_version = __version__
    passes.run(model, _passes_for(options))
    return model


def _passes_for(options: ExportOptions) -> tuple[str, ...]:
    names = passes.order_for("export")
    if options.pad_channels:
        names = (*names, "pad-channels")
    if options.operators == "inline":
        names = (*names, "inline-operators")
    if options.operators == "plugin":
        names = (*names, "plugin-operators")
    return names


def _settings(options: ExportOptions) -> dict[str, Scalar]:
    return {
        "opset": options.opset,
        "operators": options.operators,
        "dynamic_size": options.dynamic_size,
        "pad_channels": options.pad_channels,
    }


def _check_inputs(
    images: ImageSet, preprocess: Preprocess, options: ExportOptions
) -> tuple[Array, ...]:
    """Return two batches of different sizes, and of different images."""
    low, high = _CHECKED_BATCHES
    if options.batch is not None:
        low, high = options.batch.min, min(options.batch.max, options.batch.min - low + high)
    second = preprocess
    if options.dynamic_size:
        second = dataclasses.replace(
            preprocess,
            height_px=preprocess.height_px + _SIDE_STEP_PX,
            width_px=preprocess.width_px + 2 * _SIDE_STEP_PX,
        )
    first = _some(images, preprocess, range(low))
    return first, _some(images, second, range(low, low + high))


def _some(images: ImageSet, preprocess: Preprocess, numbers: Sequence[int]) -> Array:
    """Return the images of these numbers, counting on from the first after the last."""
    files = tuple(images.files[number % len(images)] for number in numbers)
    chosen = dataclasses.replace(images, files=files)
    (batch,) = batches(chosen, preprocess, len(files), strict=True)
    return np.asarray(batch.array)

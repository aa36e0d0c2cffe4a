"""The proof that goes with each export: the graph against the eager network with original weights.

The bound is 1e-5 of the logits' root mean square, over the images given, at two batch sizes.
Networks that amplify rounding (FReLU's do, with random weights) cannot hold that in float32; for
those, float64 tells how far float32 itself is off, and the graph may be that far off as well.
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnx.reference
import torch
from torch import Tensor, nn

from tresnet_deploy.contracts import Array, Artifact, Feeds, Session, TensorSpec, run
from tresnet_deploy.errors import ExportError, UnavailableError
from tresnet_deploy.registry import BACKENDS

TOLERANCE: Final = 1e-5  # about ten times what two float32 implementations differ by (TRESNET 6)
_NOISE_FACTOR: Final = 4.0  # graph and eager round independently, and images differ
_CHECKERS: Final = (
    "onnxruntime",  # runs float32 as written
    "openvino",
)

Loader = Callable[[Artifact], Session]


@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How far graph and eager network are apart; ``scale`` is what the errors are relative to."""

    engine: str
    images: int
    batch_sizes: tuple[int, ...]
    max_abs: float
    scale: float
    noise: float | None = None

    @property
    def relative(self) -> float:
        """The largest error over the scale of the outputs."""
        return self.max_abs / self.scale

    @property
    def bound(self) -> float:
        """The largest absolute error allowed."""
        return max(TOLERANCE * self.scale, _NOISE_FACTOR * (self.noise or 0.0))

    @property
    def passed(self) -> bool:
        """True when the graph computes the network; False as well for NaN."""
        return self.max_abs <= self.bound

    def __str__(self) -> str:
        """Return one line for people."""
        sizes = " and ".join(str(size) for size in self.batch_sizes)
        text = (
            f"max abs error {self.max_abs:.2g} ({self.relative:.2g} of the outputs' scale "
            f"{self.scale:.3g}) against eager PyTorch, {self.images} images, batches of {sizes}, "
            f"{self.engine}"
        )
        if self.noise is None:
            return text
        return f"{text}; float32 itself is {self.noise:.2g} off float64 here"


class ReferenceSession:
    """onnx's own evaluator in NumPy: slow, and always there."""

    def __init__(self, artifact: Artifact) -> None:
        """Load the graph of ``artifact``."""
        self.inputs: tuple[TensorSpec, ...] = artifact.inputs
        self.outputs: tuple[TensorSpec, ...] = artifact.outputs
        self._evaluator = onnx.reference.ReferenceEvaluator(str(artifact.path))
        self._feeds: dict[str, Array] = {}
        self._results: dict[str, Array] = {}

    def bind(self, feeds: Feeds) -> None:
        """Keep ``feeds``."""
        self._feeds = dict(feeds)

    def step(self) -> None:
        """Evaluate the graph."""
        names = [spec.name for spec in self.outputs]
        results = self._evaluator.run(names, self._feeds)
        self._results = {name: np.asarray(each) for name, each in zip(names, results, strict=True)}

    def fetch(self) -> dict[str, Array]:
        """Return the outputs of the last step."""
        return self._results

    def close(self) -> None:
        """Nothing is held."""


def open_session(artifact: Artifact) -> tuple[str, Session]:
    """Return the first engine that is installed, by name, with ``artifact`` loaded."""
    for name in _CHECKERS:
        try:
            backend = BACKENDS.load(name)
        except UnavailableError:
            continue
        session: Session = backend.load(artifact)
        return name, session
    return "onnx's reference evaluator, as no engine is installed", ReferenceSession(artifact)


def check(
    reference: nn.Module, artifact: Artifact, inputs: Sequence[Array], *, load: Loader | None = None
) -> Agreement:
    """Return how well the graph of ``artifact`` agrees with ``reference`` on each of ``inputs``.

    Each input is one batch; the outputs are compared as they are, probabilities on their own scale
    of 1.

    Raises:
        ExportError: the network's own outputs are not finite, or the graph is further off than
            rounding explains.
    """
    name, session = open_session(artifact) if load is None else ("the given engine", load(artifact))
    probabilities = artifact.labels.activation != "none"
    (in_spec,), (out_spec,) = artifact.inputs, artifact.outputs
    try:
        wanted = [_eager(reference, array) for array in inputs]
        found = [run(session, {in_spec.name: array})[out_spec.name] for array in inputs]
    finally:
        session.close()
    if not all(np.isfinite(array).all() for array in wanted):
        raise ExportError(
            "the eager network itself gives NaN or infinity on real images: the checkpoint is "
            "damaged, or its weights do not belong to this network"
        )
    agreement = Agreement(
        engine=name,
        images=sum(len(array) for array in inputs),
        batch_sizes=tuple(len(array) for array in inputs),
        max_abs=_furthest(wanted, found),
        scale=1.0 if probabilities else _root_mean_square(wanted),
    )
    if not agreement.passed:
        exact = [_eager(copy.deepcopy(reference).double(), array) for array in inputs]
        agreement = dataclasses.replace(agreement, noise=_furthest(exact, wanted))
    if not agreement.passed:
        raise ExportError(
            f"the graph does not compute the network: {agreement}; allowed: {agreement.bound:.2g}"
        )
    return agreement


def _eager(model: nn.Module, array: Array) -> Array:
    images = torch.from_numpy(array)
    parameter = next(model.parameters())
    if images.is_floating_point():
        images = images.to(parameter.dtype)
    with torch.inference_mode():
        result: Tensor = model(images)
    return np.asarray(result.numpy())


def _furthest(first: Sequence[Array], second: Sequence[Array]) -> float:
    pairs = zip(first, second, strict=True)
    return float(max(np.abs(a.astype(np.float64) - b).max() for a, b in pairs))


def _root_mean_square(outputs: Sequence[Array]) -> float:
    values = np.concatenate([array.ravel().astype(np.float64) for array in outputs])
    return float(np.sqrt(np.square(values).mean())) or 1.0

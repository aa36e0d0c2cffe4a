"""A module in PyTorch as a session: this file is about running it without gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from tresnet_deploy.backends._cpu import Threads, available_cores
from tresnet_deploy.backends._feeds import bound, check
from tresnet_deploy.contracts import Array, Batch, Feeds, TensorSpec
from tresnet_deploy.errors import RunError

Network = Callable[..., Any]
"""A module, or what torch.compile has made of one."""

_IMAGE_RANK: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """``threads`` 0: one for each physical core that this process may use.

    ``bf16`` runs under autocast; ``compile`` compiles by inductor when a shape is first run, which
    takes a C++ compiler and about a minute.
    """

    threads: Threads = 0
    channels_last: bool = True
    bf16: bool = False
    compile: bool = False


def tensor_of(array: Array, *, channels_last: bool) -> Tensor:
    """Return a copy of ``array``; images (N, C, H, W) of floats in channels-last order if asked."""
    tensor = torch.tensor(np.ascontiguousarray(array))
    images = tensor.dtype.is_floating_point and tensor.ndim == _IMAGE_RANK
    if channels_last and images:
        return tensor.contiguous(memory_format=torch.channels_last)
    return tensor


class PyTorchSession:
    """A module in evaluation mode, run without gradients."""

    def __init__(
        self,
        module: Network,
        *,
        inputs: tuple[TensorSpec, ...],
        outputs: tuple[TensorSpec, ...],
        options: Options,
        batch: Batch | None = None,
    ) -> None:
        """Take ``module``, which stays the caller's; the number of threads is set process-wide."""
        self.inputs = inputs
        self.outputs = outputs
        self._batch = batch
        self._options = options
        self._module: Network | None = module
        self._bound: tuple[Tensor, ...] | None = None
        self._results: tuple[Tensor, ...] | None = None
        torch.set_num_threads(options.threads or available_cores())

    def bind(self, feeds: Feeds) -> None:
        """Copy ``feeds`` into tensors."""
        bound(self._module)
        check(self.inputs, feeds, batch=self._batch)
        self._results = None
        last = self._options.channels_last
        self._bound = tuple(tensor_of(feeds[each.name], channels_last=last) for each in self.inputs)

    def step(self) -> None:
        """Run once on what is bound."""
        module, tensors = bound(self._module), bound(self._bound)
        autocast = torch.autocast("cpu", torch.bfloat16, enabled=self._options.bf16)
        try:
            with torch.inference_mode(), autocast:
                results = module(*tensors)
        except RuntimeError as error:
            raise RunError(f"PyTorch failed while running: {error}") from error
        self._results = results if isinstance(results, tuple) else (results,)

    def fetch(self) -> dict[str, Array]:
        """Copy the outputs of the last step out."""
        pairs = zip(self.outputs, bound(self._results), strict=True)
        return {spec.name: result.float().numpy().copy() for spec, result in pairs}

    def close(self) -> None:
        """Drop the module and its tensors, and what was compiled for it.

        Dynamo compiles one piece of code for at most 8 modules or shapes, and keeps all of them.
        """
        self._module = self._bound = self._results = None
        if self._options.compile:
            torch.compiler.reset()

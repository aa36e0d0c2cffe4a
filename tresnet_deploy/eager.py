"""The eager network with the graph's own input and output: this file is about that wrapper.

The exporter traces it, and parity compares with it, so that both sides take the same array.
"""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn

from tresnet_deploy.contracts import Activation, Preprocess

MAX_8_BIT: Final = 255
_CHANNELS_FIRST: Final = (0, 3, 1, 2)


class Deployed(nn.Module):
    """Images as ``preprocess`` leaves them to logits, or to probabilities after an activation.

    (N, 3, H, W) float32 or (N, H, W, 3) uint8 -> (N, classes). What the preprocessing assigns to
    the graph (scaling by 255, mean and standard deviation) happens here.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self, network: nn.Module, preprocess: Preprocess, activation: Activation = "none"
    ) -> None:
        """Wrap ``network``, which stays the caller's: nothing is copied."""
        super().__init__()
        self.takes_bytes = preprocess.layout == "uint8-nhwc"
        asked = self.takes_bytes or preprocess.normalize_in_graph
        self.normalizes = asked and not is_plain(preprocess)
        self.register_buffer("mean", torch.tensor(preprocess.mean).reshape(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(preprocess.std).reshape(1, -1, 1, 1))
        self.network = network
        self.activation = activation

    def forward(self, images: Tensor) -> Tensor:
        """The logits or probabilities."""
        x = images
        if self.takes_bytes:
            x = x.permute(_CHANNELS_FIRST).to(self.mean.dtype) / MAX_8_BIT  # (N, 3, H, W)
        if self.normalizes:
            x = (x - self.mean) / self.std
        logits: Tensor = self.network(x)
        if self.activation == "softmax":
            return logits.softmax(1)
        return logits.sigmoid() if self.activation == "sigmoid" else logits


def is_plain(preprocess: Preprocess) -> bool:
    """True when mean and standard deviation change nothing, as with the MIIL weights."""
    return not any(preprocess.mean) and set(preprocess.std) == {1.0}

"""The layers that TResNet's blocks are made of: this file is about what each one computes.

Shapes are NCHW. Sources: the paper (arXiv 2003.13630) and the TResNet repository; In-Place
Activated BatchNorm is arXiv 1712.02616, FReLU arXiv 2007.11824.
"""

import importlib
from collections.abc import Callable
from typing import Final, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _NormBase

from .architecture import SPACE_TO_DEPTH_BLOCK
from .errors import ArchitectureError, MissingPackageError

NormKind = Literal["auto", "inplace_abn", "batchnorm"]
Gammas = Literal["absolute", "plain"]

InPlaceOperator = Callable[..., Tensor]

NORM_EPS: Final = 1e-5
"""Added to the variance and, by InPlace-ABN, to the absolute gamma as well."""


def in_place_operator(norm: NormKind) -> InPlaceOperator | None:
    """The `inplace_abn` function that trains in place, or None for BatchNorm and leaky ReLU.

    Raises:
        MissingPackageError: `norm` is "inplace_abn" and the package cannot be imported.
    """
    if norm == "batchnorm":
        return None
    try:
        # A build against another torch fails here too, with an undefined symbol.
        module = importlib.import_module("inplace_abn.functions")
    except ImportError as error:
        if norm == "auto":
            return None
        raise MissingPackageError(
            f"norm='inplace_abn' needs the package inplace-abn, which does not import ({error}): "
            "pip install --no-build-isolation 'tresnet-deploy[abn]', or use norm='batchnorm'"
        ) from error
    return cast("InPlaceOperator", module.inplace_abn)


class SpaceToDepth(nn.Module):
    """Moves 4x4 blocks of pixels into channels: (N, C, H, W) -> (N, 16 C, H/4, W/4).

    Output channel (row*4 + column)*C + c holds input channel c of that row and column of the block,
    the order of ONNX's SpaceToDepth. `F.pixel_unshuffle` orders channels differently.
    """

    def forward(self, x: Tensor) -> Tensor:
        """The rearranged tensor."""
        n, c, h, w = x.shape
        b = SPACE_TO_DEPTH_BLOCK
        x = x.reshape(n, c, h // b, b, w // b, b)  # (N, C, H/4, row, W/4, column)
        x = x.permute(0, 3, 5, 1, 2, 4)  # (N, row, column, C, H/4, W/4)
        return x.reshape(n, b * b * c, h // b, w // b)


class BlurPool2d(nn.Module):
    """Anti-aliased downsampling: (N, C, H, W) -> (N, C, ceil(H/2), ceil(W/2)).

    A depthwise convolution of stride 2 with the binomial filter [1, 2, 1] x [1, 2, 1] / 16 after
    reflect padding by one pixel (arXiv 1904.11486). The filter is exact in float16 and bfloat16.
    """

    filter: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.channels = channels
        self.register_buffer("filter", self._filter(), persistent=False)

    def _filter(self) -> Tensor:
        line = torch.tensor([1.0, 2.0, 1.0])
        square = torch.outer(line, line) / line.sum() ** 2
        return square.repeat(self.channels, 1, 1, 1)  # (C, 1, 3, 3)

    def reset_filter(self) -> None:
        """Make the constant anew; needed after the module was built on the meta device."""
        self.filter = self._filter()

    def forward(self, x: Tensor) -> Tensor:
        """The blurred map at half the resolution."""
        x = F.pad(x, (1, 1, 1, 1), mode="reflect")
        return F.conv2d(x, self.filter, stride=2, groups=self.channels)


class SqueezeExcite(nn.Module):
    """Scales each channel by a gate that reads the mean of all channels (arXiv 1709.01507)."""

    def __init__(self, channels: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, hidden, 1)
        self.fc2 = nn.Conv2d(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The gated map, of the shape of `x`."""
        gate = x.mean((2, 3), keepdim=True)  # (N, C, 1, 1)
        gate = self.fc2(F.relu(self.fc1(gate), inplace=True))
        return x * torch.sigmoid(gate)


class FastGlobalAvgPool2d(nn.Module):
    """Mean over height and width: (N, C, H, W) -> (N, C)."""

    def forward(self, x: Tensor) -> Tensor:
        """The mean of each channel."""
        return x.mean((2, 3))


class ActivatedNorm(_NormBase):
    """BatchNorm and leaky ReLU as one layer: `leaky((x - mean) / sqrt(var + eps) * gamma + bias)`.

    With `gammas="absolute"` gamma is |weight| + eps, as InPlace-ABN computes it, and the stored
    weight may have either sign; with "plain" gamma is the weight itself. `slope=None` leaves the
    activation out. State dicts are equal in both forms.

    In training an absolute norm runs `operator` (InPlace-ABN) when given: it writes its output over
    its input and saves only that, so the convolution's output need not be kept for the backward
    pass. In evaluation all forms are ordinary torch operators, which export and take float16.

    It is no `nn.BatchNorm2d`, as InPlace-ABN is none: `nn.SyncBatchNorm.convert_sync_batchnorm`
    would put a norm in its place that has neither slope nor absolute gammas.
    """

    def __init__(
        self,
        channels: int,
        *,
        slope: float | None,
        gammas: Gammas = "absolute",
        operator: InPlaceOperator | None = None,
    ) -> None:
        super().__init__(channels, eps=NORM_EPS)
        if operator is not None and gammas == "plain":
            raise ArchitectureError(
                "InPlace-ABN always takes the absolute value of its gammas: "
                "plain gammas need norm='batchnorm'"
            )
        self.slope = slope
        self.gammas = gammas
        self.operator = operator

    @property
    def in_place(self) -> bool:
        """Whether the next forward pass keeps only its output, which nobody may then overwrite."""
        return self.operator is not None and self.training

    def gamma(self, dtype: torch.dtype | None = None) -> Tensor:
        """The factor of each normalised channel, shape (C,), computed in `dtype` if given."""
        weight = self.weight if dtype is None else self.weight.to(dtype)
        if self.gammas == "plain":
            return weight
        # Not abs(): its gradient at 0 is 0, and every residual branch starts with gamma 0.
        return torch.where(weight < 0, -weight, weight) + self.eps

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (BatchNorm2d's name for it)
        """The normalised, activated map; in training `input` may be overwritten."""
        if self.operator is not None and self.training:
            return self._forward_in_place(input, self.operator)
        x = F.batch_norm(
            input,
            self.running_mean,
            self.running_var,
            self.gamma(),
            self.bias,
            self.training,
            self.momentum or 0.0,
            self.eps,
        )
        if self.slope is not None:
            x = F.leaky_relu(x, self.slope, inplace=True)
        return x

    def _forward_in_place(self, x: Tensor, operator: InPlaceOperator) -> Tensor:
        return operator(
            x,
            self.weight,
            self.bias,
            self.running_mean,
            self.running_var,
            training=True,
            momentum=self.momentum,
            eps=self.eps,
            activation="identity" if self.slope is None else "leaky_relu",
            activation_param=self.slope or 0.0,
        )

    def extra_repr(self) -> str:
        """The settings that `print(model)` shows."""
        operator = "InPlace-ABN" if self.operator is not None else "BatchNorm"
        return f"{self.num_features}, slope={self.slope}, gammas={self.gammas}, {operator}"


class FReLU(nn.Module):
    """max(x, norm(conv(x))) with a depthwise 3x3 convolution: a ReLU whose bend looks around."""

    def __init__(self, channels: int, *, gammas: Gammas = "plain") -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.norm: nn.Module = ActivatedNorm(channels, slope=None, gammas=gammas)

    def forward(self, x: Tensor) -> Tensor:
        """The activated map, of the shape of `x`."""
        return torch.maximum(x, self.norm(self.conv(x)))

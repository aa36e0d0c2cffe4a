"""ResNet-50, the yardstick of the TResNet paper: this file is about nothing but its layers.

torchvision's v1.5 (arXiv 1512.03385 with the stride in the 3x3 convolution), kept here so that the
benchmark needs no torchvision.
"""

from typing import Final

from torch import Tensor, nn
from torch.nn import functional as F

DEPTHS: Final = (3, 4, 6, 3)
PARAMETERS: Final = 25_557_032


def conv_bn_relu(inside: int, out: int, kernel: int, stride: int) -> list[nn.Module]:
    """The unit that everything is made of."""
    conv = nn.Conv2d(inside, out, kernel, stride, kernel // 2, bias=False)
    return [conv, nn.BatchNorm2d(out), nn.ReLU(inplace=True)]


def resnet_stem() -> nn.Sequential:
    """(N, 3, H, W) -> (N, 64, H/4, W/4): 7x7 of stride 2, max pool."""
    return nn.Sequential(*conv_bn_relu(3, 64, 7, 2), nn.MaxPool2d(3, 2, 1))


class Residual(nn.Module):
    """1x1 -> 3x3 -> 1x1 -> add -> ReLU; out = 4 planes."""

    def __init__(self, inside: int, planes: int, stride: int) -> None:
        super().__init__()
        out = planes * 4
        self.branch = nn.Sequential(
            *conv_bn_relu(inside, planes, 1, 1),
            *conv_bn_relu(planes, planes, 3, stride),
            nn.Conv2d(planes, out, 1, bias=False),
            nn.BatchNorm2d(out),
        )
        self.skip: nn.Module = nn.Identity()
        if stride != 1 or inside != out:
            conv = nn.Conv2d(inside, out, 1, stride, bias=False)
            self.skip = nn.Sequential(conv, nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        """(N, inside, H, W) -> (N, 4 planes, H/stride, W/stride)."""
        return F.relu(self.branch(x) + self.skip(x), inplace=True)


def resnet50(classes: int = 1000) -> nn.Sequential:
    """The whole network, randomly initialised."""
    layers: list[nn.Module] = [resnet_stem()]
    inside = 64
    for stage, depth in enumerate(DEPTHS):
        planes = 64 * 2**stage
        for block in range(depth):
            layers.append(Residual(inside, planes, 2 if block == 0 and stage > 0 else 1))
            inside = planes * 4
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inside, classes))

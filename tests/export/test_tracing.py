"""What torch's exporter must not do unnoticed."""

import pytest
import torch
from torch import Tensor, nn

from tresnet_deploy import tracing
from tresnet_deploy.errors import ExportError

PLAN = tracing.InputPlan(
    layout="float32-nchw", height_px=8, width_px=8, batch=None, dynamic_size=False
)


class Freezing(nn.Module):
    """Works for the batch that it is traced with, and for no other."""

    def forward(self, x: Tensor) -> Tensor:
        return x.reshape(2, -1)


class Deciding(nn.Module):
    """Takes its way by the values of the images."""

    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


class BatchFree(nn.Module):
    """Forgets the batch."""

    def forward(self, x: Tensor) -> Tensor:
        return x.sum((0, 2, 3)).reshape(1, 3)


@pytest.mark.parametrize("network", [Freezing(), BatchFree()])
def test_a_frozen_batch_is_an_error(network: nn.Module) -> None:
    with pytest.raises(ExportError, match=r"axis 0|batch|dimension"):
        tracing.trace(network.eval(), PLAN, output="y", opset=18)


def test_what_torch_cannot_trace_is_an_export_error_with_its_cause() -> None:
    with pytest.raises(ExportError, match=r"torch\.onnx\.export failed: .+") as caught:
        tracing.trace(Deciding().eval(), PLAN, output="y", opset=18)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("layout", "shape", "dtype"),
    [
        ("float32-nchw", (2, 3, 8, 12), torch.float32),
        ("uint8-nhwc", (2, 8, 12, 3), torch.uint8),
    ],
)
def test_the_example_has_the_layout_of_the_input(
    layout: str, shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    plan = tracing.InputPlan(layout=layout, height_px=8, width_px=12, batch=None, dynamic_size=True)
    example = plan.example()
    assert (tuple(example.shape), example.dtype) == (shape, dtype)
    assert [shape[axis] for axis in plan.names()] == [2, 8, 12]

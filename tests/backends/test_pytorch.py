"""PyTorch's own promises: the eager baselines, and no graph that is not its own."""

import pytest
import torch
from torch import nn

from tresnet_deploy.backends import pytorch as backend
from tresnet_deploy.contracts import Artifact, Batch, Preprocess, TensorSpec, run
from tresnet_deploy.errors import ArtifactError, RunError, UsageError

from .conftest import Images

INPUTS = (TensorSpec(name="images", dtype="float32", shape=("n", 3, 64, 64)),)
OUTPUTS = (TensorSpec(name="features", dtype="float32", shape=("n", 8, 62, 62)),)


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv2d(3, 8, 3).eval()


def test_channels_last_leaves_the_callers_module_as_it_is(
    network: nn.Module, images: Images
) -> None:
    plain = run(backend.session(network, INPUTS, OUTPUTS), {"images": images})["features"]
    other = backend.session(network, INPUTS, OUTPUTS, channels_last=True)
    found = run(other, {"images": images})["features"]
    assert abs(found - plain).max() < 1e-5
    assert next(network.parameters()).is_contiguous()


def test_autocast_computes_in_bfloat16_and_answers_in_float32(
    network: nn.Module, images: Images
) -> None:
    plain = run(backend.session(network, INPUTS, OUTPUTS), {"images": images})["features"]
    session = backend.session(network, INPUTS, OUTPUTS, autocast=torch.bfloat16)
    found = run(session, {"images": images})["features"]
    assert found.dtype == "float32"
    assert 0 < abs(found - plain).max() < 0.05


def test_other_autocasts_are_refused(network: nn.Module) -> None:
    with pytest.raises(UsageError, match=r"float32 or bfloat16 on a CPU, not in torch\.float16"):
        backend.session(network, INPUTS, OUTPUTS, autocast=torch.float16)


def test_a_network_that_breaks_while_running_is_a_run_error(images: Images) -> None:
    session = backend.session(nn.Conv2d(4, 8, 3), INPUTS, OUTPUTS)
    session.bind({"images": images})
    with pytest.raises(RunError, match="PyTorch failed while running"):
        session.step()


def test_an_onnx_graph_is_refused_with_what_to_do(demo_graph: Artifact) -> None:
    with pytest.raises(ArtifactError, match="does not run ONNX graphs") as caught:
        backend.load(demo_graph)
    assert caught.value.hints == ("tresnet-deploy build-engine --backend pytorch",)


def test_sides_that_a_graph_leaves_open_stay_open() -> None:
    spec = TensorSpec(name="images", dtype="float32", shape=("batch", 3, "height", "width"))
    axes = backend._dynamic_axes(spec, Batch(min=2, opt=2, max=2))
    assert set(axes) == {2, 3}


@pytest.mark.parametrize(("least", "traced"), [(1, 2), (4, 4)])
def test_a_range_is_traced_with_a_batch_within_it(least: int, traced: int) -> None:
    preprocess = Preprocess(height_px=64, width_px=64)
    example = backend._example(INPUTS[0], preprocess, Batch(min=least, opt=8, max=16))
    assert example.shape == (traced, 3, 64, 64)

"""The operators as torch custom ops: numbers, gradients, tracing, and the kernels behind them."""

import copy
import pickle
import re
from collections.abc import Callable

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import Tensor, nn
from tresnet_deploy.plugins import torch_ops
from tresnet_deploy.plugins.kernels import Source, host, plans
from tresnet_deploy.plugins.torch_ops import composed, cuda, operators

from tresnet import create
from tresnet.architecture import Architecture, Head
from tresnet.layers import BlurPool2d, SpaceToDepth
from tresnet_deploy import tracing
from tresnet_deploy.errors import UsageError

SIZES = ((2, 2), (2, 3), (3, 3), (5, 8), (7, 7), (8, 12))
SLOPES = (1.0, 0.1)
FORMATS = (torch.contiguous_format, torch.channels_last)
OPCHECKS = (
    "test_schema",
    "test_autograd_registration",
    "test_faketensor",
    "test_aot_dispatch_dynamic",
)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def away_from_zero(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """Values whose activation has a gradient."""
    x = torch.randn(shape, dtype=dtype)
    return (x.sign() * (x.abs() + 0.1)).requires_grad_()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("memory_format", FORMATS)
def test_the_blur_is_the_layer(size: tuple[int, int], memory_format: torch.memory_format) -> None:
    x = torch.randn(2, 6, *size).contiguous(memory_format=memory_format)
    y = operators().blur_pool2d(x, 1.0)
    torch.testing.assert_close(y, BlurPool2d(6)(x))
    assert y.is_contiguous(memory_format=memory_format)


def test_the_blur_takes_the_leaky_relu_along() -> None:
    x = torch.randn(2, 6, 8, 8)
    expected = BlurPool2d(6)(nn.functional.leaky_relu(x, 0.01))
    torch.testing.assert_close(operators().blur_pool2d(x, 0.01), expected)


@pytest.mark.parametrize("memory_format", FORMATS)
def test_space_to_depth_is_the_layer_and_depth_to_space_undoes_it(
    memory_format: torch.memory_format,
) -> None:
    x = torch.randn(2, 3, 8, 12).contiguous(memory_format=memory_format)
    y = operators().space_to_depth(x, 4)
    assert torch.equal(y, SpaceToDepth()(x))
    assert torch.equal(operators().depth_to_space(y, 4), x)
    assert y.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("shape", [(1, 1, 4, 4), (1, 16, 1, 1), (3, 1, 2, 2)])
def test_a_result_never_shares_memory_with_its_input(shape: tuple[int, ...]) -> None:
    x = torch.randn(shape)
    op = operators().space_to_depth if shape[2] > 1 else operators().depth_to_space
    y = op(x, 2 if shape[2] == 2 else 4)
    assert y.untyped_storage().data_ptr() != x.untyped_storage().data_ptr()


@pytest.mark.parametrize(
    ("size", "slope"), [((2, 2), 1.0), ((2, 3), 0.1), ((3, 3), 1.0), ((4, 5), 0.1)]
)
def test_the_gradient_of_the_blur_is_right(size: tuple[int, int], slope: float) -> None:
    x = away_from_zero(1, 2, *size)
    assert torch.autograd.gradcheck(lambda x: operators().blur_pool2d(x, slope), x)


@pytest.mark.parametrize("slope", SLOPES)
def test_the_second_derivative_of_the_blur_is_right(slope: float) -> None:
    x = away_from_zero(1, 2, 3, 2)
    assert torch.autograd.gradgradcheck(lambda x: operators().blur_pool2d(x, slope), x)


@pytest.mark.parametrize("name", ["space_to_depth", "depth_to_space"])
def test_the_gradient_of_space_to_depth_is_right(name: str) -> None:
    op = getattr(operators(), name)
    x = away_from_zero(1, 4, 4, 2)
    assert torch.autograd.gradcheck(lambda x: op(x, 2), x)
    assert torch.autograd.gradgradcheck(lambda x: op(x, 2), x)


def kept_for_backward(work: Callable[[Tensor], Tensor], x: Tensor) -> int:
    """Elements that autograd saves."""
    sizes: list[int] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()), lambda t: t):
        work(x)
    return sum(sizes)


def test_the_blur_keeps_nothing_for_the_backward_pass_where_the_layer_keeps_two_maps() -> None:
    x = away_from_zero(1, 2, 8, 8)
    filter_ = 2 * 3 * 3
    padded = 2 * 10 * 10
    assert kept_for_backward(BlurPool2d(2).double(), x) == x.numel() + padded + filter_
    assert kept_for_backward(lambda x: operators().blur_pool2d(x, 1.0), x) == 0
    assert kept_for_backward(lambda x: operators().blur_pool2d(x, 0.1), x) == x.numel()


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("space_to_depth", lambda: (away_from_zero(2, 3, 8, 8), 4)),
        ("depth_to_space", lambda: (away_from_zero(2, 16, 2, 2), 4)),
        ("blur_pool2d", lambda: (away_from_zero(2, 3, 5, 8), 1.0)),
        ("blur_pool2d", lambda: (away_from_zero(2, 3, 5, 8), 0.1)),
        ("blur_pool2d_backward", lambda: (away_from_zero(2, 3, 3, 4), None, 5, 8, 1.0)),
        (
            "blur_pool2d_backward",
            lambda: (away_from_zero(2, 3, 3, 4), torch.randn(2, 3, 5, 8).double(), 5, 8, 0.1),
        ),
    ],
)
def test_torchs_own_checks_of_an_op_pass(name: str, arguments: Callable[[], tuple]) -> None:
    found = torch.library.opcheck(getattr(operators(), name), arguments(), test_utils=OPCHECKS)
    assert set(found.values()) == {"SUCCESS"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of torch's own compiler
def test_a_network_compiles_without_a_graph_break() -> None:
    network = nn.Sequential(SpaceToDepth(), nn.Conv2d(48, 8, 3), BlurPool2d(8))
    plain = copy.deepcopy(network)
    torch_ops.use_custom_ops(network)
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    x = torch.randn(2, 3, 32, 32)
    compiled(x).sum().backward()
    plain(x).sum().backward()
    torch.testing.assert_close(compiled(x), plain(x))
    torch.testing.assert_close(network[1].weight.grad, plain[1].weight.grad)


def test_a_whole_network_trains_and_answers_as_before() -> None:
    architecture = Architecture(width=16, depths=(1, 1, 1, 1), head=Head.linear(5))
    plain = create(architecture, norm="batchnorm")
    swapped = torch_ops.use_custom_ops(copy.deepcopy(plain))
    x = torch.randn(2, 3, 32, 32)
    assert list(swapped.state_dict()) == list(plain.state_dict())
    for network in (plain, swapped):
        network(x).sum().backward()
    torch.testing.assert_close(swapped(x), plain(x))
    for (name, ours), (_, theirs) in zip(
        swapped.named_parameters(), plain.named_parameters(), strict=True
    ):
        torch.testing.assert_close(ours.grad, theirs.grad, msg=name, rtol=1e-3, atol=1e-4)


def test_swapping_is_undone_and_survives_a_copy() -> None:
    network = torch_ops.use_custom_ops(nn.Sequential(SpaceToDepth(), BlurPool2d(48)))
    kinds = [torch_ops.OperatorSpaceToDepth, torch_ops.OperatorBlurPool2d]
    assert [type(module) for module in copy.deepcopy(network)] == kinds
    assert [type(module) for module in torch_ops.use_plain_layers(network)] == [
        SpaceToDepth,
        BlurPool2d,
    ]


def test_a_pickled_layer_registers_its_ops_where_it_is_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    saved = pickle.dumps(torch_ops.OperatorBlurPool2d(3))
    registered: list[bool] = []
    monkeypatch.setattr(torch_ops, "operators", lambda: registered.append(True))
    layer = pickle.loads(saved)
    assert registered == [True]
    assert layer(torch.zeros(1, 3, 8, 8)).shape == (1, 3, 4, 4)


def test_a_network_with_custom_ops_exports_as_any_other() -> None:
    network = nn.Sequential(SpaceToDepth(), BlurPool2d(48)).eval()
    torch_ops.use_custom_ops(network)
    plan = tracing.InputPlan(
        layout="float32-nchw", height_px=32, width_px=32, batch=None, dynamic_size=True
    )
    model = tracing.trace(network, plan, output="y", opset=18)
    calls = [node.op_identifier() for node in model.graph if node.domain == "tresnet"]
    assert calls == [("tresnet", "SpaceToDepth", ""), ("tresnet", "BlurPool2d", "")]
    assert isinstance(model, ir.Model)


@pytest.mark.parametrize(
    ("name", "shape", "number", "words"),
    [
        ("blur_pool2d", (1, 2, 1, 8), 1.0, "height and width must be 2 or more, not 1x8"),
        ("blur_pool2d", (2, 8, 8), 1.0, "takes a map (N, C, H, W), not one of shape (2, 8, 8)"),
        ("space_to_depth", (1, 2, 6, 8), 4, "multiples of 4, not 6x8"),
        ("space_to_depth", (1, 2, 9, 9), 3, "blocks of 2 and 4, not of 3"),
        ("depth_to_space", (1, 20, 2, 2), 4, "a multiple of 16, not 20"),
    ],
)
def test_what_no_kernel_takes_is_refused(
    name: str, shape: tuple[int, ...], number: float, words: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        getattr(operators(), name)(torch.randn(shape), number)


@pytest.fixture
def on_host(host_kernels: dict[Source, host.HostKernels]) -> cuda.Launcher:
    """In the place of a GPU: the kernels for this CPU, on the memory of CPU tensors."""

    def run(plan: plans.Launch[int], tensors: tuple[Tensor | None, ...]) -> None:
        host_kernels[plan.source].run(plan, cuda.pointers_of(tensors))

    return run


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("memory_format", FORMATS)
@pytest.mark.parametrize("size", [(7, 7), (8, 12), (2, 8)])
def test_what_a_gpu_is_handed_computes_the_same(
    on_host: cuda.Launcher,
    dtype: torch.dtype,
    memory_format: torch.memory_format,
    size: tuple[int, int],
) -> None:
    x = torch.randn(2, 16, *size).to(dtype).contiguous(memory_format=memory_format)
    for slope in SLOPES:
        y = cuda.blur(x, slope, run=on_host)
        exact = composed.blur(x.double(), slope)
        torch.testing.assert_close(y, exact.to(dtype))
        assert y.is_contiguous(memory_format=memory_format)
        read = None if slope == 1 else x
        gradient = cuda.blur_backward(y, read, *size, slope, run=on_host)
        wide = None if read is None else read.double()
        exact = composed.blur_backward(y.double(), wide, *size, slope)
        torch.testing.assert_close(gradient, exact.to(dtype))
        assert gradient.is_contiguous(memory_format=memory_format)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.uint8])
@pytest.mark.parametrize("memory_format", FORMATS)
def test_what_a_gpu_is_handed_moves_the_same(
    on_host: cuda.Launcher, dtype: torch.dtype, memory_format: torch.memory_format
) -> None:
    for width in (12, 16):
        x = torch.randint(0, 200, (2, 3, 8, width)).to(dtype)
        x = x.contiguous(memory_format=memory_format)
        y = cuda.space_to_depth(x, 4, run=on_host)
        assert torch.equal(y, composed.space_to_depth(x, 4))
        assert torch.equal(cuda.depth_to_space(y, 4, run=on_host), x)


def test_a_view_into_a_tensor_is_aligned_before_it_is_read(on_host: cuda.Launcher) -> None:
    x = torch.randn(1 + 2 * 8 * 8)[1:].view(1, 2, 8, 8)
    assert x.data_ptr() % 16
    torch.testing.assert_close(cuda.blur(x, 1.0, run=on_host), composed.blur(x, 1.0))


def test_types_without_a_kernel_take_torchs_operators() -> None:
    x = torch.randn(1, 2, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(cuda.blur(x, 0.1), composed.blur(x, 0.1))
    torch.testing.assert_close(cuda.space_to_depth(x, 4), composed.space_to_depth(x, 4))
    empty = torch.randn(0, 2, 8, 8)
    assert cuda.blur(empty, 1.0).shape == (0, 2, 4, 4)
    assert np.prod(cuda.space_to_depth(empty, 4).shape) == 0

"""The whole network: sizes it takes, options of create, and that it can be exported."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from tresnet.architecture import Architecture, Head, Slopes
from tresnet.blocks import BasicBlock, Bottleneck
from tresnet.errors import ArchitectureError, InputSizeError
from tresnet.layers import ActivatedNorm, BlurPool2d, SpaceToDepth
from tresnet.model import TResNet, check_input, create
from tresnet.variants import find

Fill = Callable[[TResNet], TResNet]


@pytest.fixture(scope="module")
def network(tiny: Architecture, fill: Fill) -> TResNet:
    return fill(create(tiny))


@pytest.mark.parametrize(
    ("height", "width"),
    [(20, 20), (28, 28), (36, 36), (100, 84), (20, 224), (224, 224), (368, 368), (640, 640)],
)
def test_every_multiple_of_four_from_20_px_works(network: TResNet, height: int, width: int) -> None:
    with torch.no_grad():
        features = network.features(torch.rand(1, 3, height, width))
        assert features.shape == (1, 256, -(-height // 32), -(-width // 32))
        assert network.head(features).shape == (1, 1000)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 230, 224), "image height 230 px.*so resize to 232 px"),
        ((1, 3, 224, 229), "image width 229 px.*so resize to 228 px"),
        ((1, 3, 16, 16), "image height 16 px: TResNet takes multiples of 4 from 20 px up"),
        ((1, 1, 224, 224), r"must have the shape \(N, 3, H, W\), not \(1, 1, 224, 224\)"),
        ((3, 224, 224), r"not \(3, 224, 224\)"),
    ],
)
def test_other_sizes_raise_an_error_that_names_the_nearest_good_one(
    network: TResNet, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(InputSizeError, match=message) as caught:
        network(torch.rand(shape))
    assert isinstance(caught.value, ValueError)


def test_the_input_check_can_be_called_alone() -> None:
    check_input(torch.Size((8, 3, 448, 448)))


def test_stages_shrink_the_map_and_widen_it(network: TResNet, images: Tensor) -> None:
    x = network.stem(network.space_to_depth(images))
    shapes = [tuple(x.shape[1:])]
    for stage in (network.layer1, network.layer2, network.layer3, network.layer4):
        x = stage(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [(8, 16, 16), (8, 16, 16), (16, 8, 8), (128, 4, 4), (256, 2, 2)]


def test_v1_begins_with_basic_blocks_and_v2_has_none() -> None:
    with torch.device("meta"):
        kinds = {
            family: [type(block) for block in TResNet(_shallow(family)).blocks()]
            for family in ("v1", "v2")
        }
    assert kinds["v1"] == [BasicBlock, BasicBlock, Bottleneck, Bottleneck]
    assert kinds["v2"] == [Bottleneck] * 4


def _shallow(family: str) -> Architecture:
    return Architecture(width=8, depths=(1, 1, 1, 1), family=family)


def test_slopes_reach_the_stem_and_the_blocks() -> None:
    model = create("s", width_factor=0.125, slopes=Slopes(stem=0.5, block=0.25))
    slopes = [m.slope for m in model.modules() if isinstance(m, ActivatedNorm)]
    assert slopes[0] == 0.5
    assert set(slopes[1:]) == {0.25, None}


def test_residual_branches_start_at_zero(tiny: Architecture) -> None:
    for block in create(tiny).blocks():
        last = block.conv2 if isinstance(block, BasicBlock) else block.conv3
        assert not last.norm.weight.any()
        assert block.conv1.norm.weight.all()


def test_create_takes_a_row_a_name_or_an_architecture(tiny: Architecture) -> None:
    by_name = create("tresnet-s", width_factor=0.125, classes=7).architecture
    by_row = create(find("s").scaled(0.125), head=Head.linear(7)).architecture
    assert by_name == by_row
    assert create(tiny).architecture is tiny


def test_create_refuses_options_that_an_architecture_already_holds(tiny: Architecture) -> None:
    with pytest.raises(ArchitectureError, match="already holds classes"):
        create(tiny, classes=10)
    with pytest.raises(ArchitectureError, match="classes=10 contradicts the head of 5 classes"):
        create("s", classes=10, head=Head.linear(5))


def test_frelu_networks_have_plain_gammas_unless_told_otherwise() -> None:
    frelu = Architecture(width=8, depths=(1, 1, 1, 1), family="v2", activation="frelu")
    assert create(frelu).gammas == "plain"
    assert create(frelu, gammas="absolute", norm="batchnorm").gammas == "absolute"


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # inside torch's inductor
def test_parameter_free_modules_are_compiled_on_request_only(tiny: Architecture) -> None:
    kinds = {
        wanted: {
            type(module)
            for module in create(tiny, compile_parameter_free=wanted).modules()
            if module._compiled_call_impl is not None
        }
        for wanted in (False, True)
    }
    assert kinds == {False: set(), True: {SpaceToDepth, BlurPool2d}}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")  # inside torch's inductor
@pytest.mark.parametrize("module", [SpaceToDepth(), BlurPool2d(3)], ids=["space", "blur"])
def test_compiling_a_parameter_free_module_leaves_its_numbers_alone(
    module: nn.Module, images: Tensor
) -> None:
    expected = module(images)
    module.compile()
    torch.testing.assert_close(module(images), expected, atol=1e-6, rtol=0)


def test_export_keeps_batch_height_and_width_dynamic(fill: Fill, images: Tensor) -> None:
    # The other heads see no height or width: tests/export has one of them with symbolic sides.
    head = Head.ml_decoder(5, embedding=16)
    model = fill(create(Architecture(width=8, depths=(1, 1, 1, 1), head=head)))
    sides = {2: 4 * torch.export.Dim("rows"), 3: 4 * torch.export.Dim("columns")}
    shapes = {"x": {0: torch.export.Dim("batch"), **sides}}
    program = torch.export.export(model, (images,), dynamic_shapes=shapes)
    other = torch.rand(3, 3, 100, 84)
    with torch.no_grad():
        expected = model(other)
        torch.testing.assert_close(program.module()(other), expected, atol=1e-5, rtol=1e-5)


def test_the_eager_network_still_works_after_an_export(network: TResNet, images: Tensor) -> None:
    with torch.no_grad():
        before = network(images)
        torch.export.export(network, (images,))
        after = network(images)
    assert type(after) is Tensor
    assert torch.equal(before, after)


def test_printing_a_block_shows_its_parts_in_the_order_of_the_data() -> None:
    with torch.device("meta"):
        block = TResNet(_shallow("v2")).layer2[0]
    names = [name for name, _ in block.named_children()]
    assert names == ["conv1", "conv2", "blur", "se", "conv3", "shortcut", "activation"]

"""The table of variants, checked against the networks that it describes."""

import math
import subprocess
import sys

import pytest
import torch
from torch import nn

from tresnet.architecture import Architecture, Head, InputRule, Slopes
from tresnet.errors import ArchitectureError
from tresnet.model import TResNet
from tresnet.variants import VARIANTS, UnknownVariantError, Variant, architecture, find

# Torch-free beside the table itself: params of timm's and the official code, GMACs at 224 px.
COUNTS = {
    "tresnet_m": (31_389_032, 5.735),
    "tresnet_l": (55_989_256, 10.876),
    "tresnet_xl": (78_436_244, 15.165),
    "tresnet_v2_l": (46_174_824, 8.812),
    "tresnet_mld_xl": (69_300_712, 12.525),
}


def macs(model: nn.Module, image_px: int) -> float:
    """Multiply-adds of convolutions and linear layers for one image, in units of 10^9."""
    total = 0

    def count(module: nn.Module, _: object, out: torch.Tensor) -> None:
        nonlocal total
        pixels = out.shape[2] * out.shape[3] if out.ndim == 4 else 1
        total += pixels * module.weight.numel()

    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            module.register_forward_hook(count)
    model(torch.empty(1, 3, image_px, image_px, device="meta"))
    return total / 1e9


@pytest.fixture(scope="module", params=VARIANTS, ids=lambda row: row.name)
def row(request: pytest.FixtureRequest) -> Variant:
    return request.param


def test_the_tables_counts_are_those_of_the_network(row: Variant) -> None:
    with torch.device("meta"):
        model = TResNet(architecture(row)).eval()
    assert sum(p.numel() for p in model.parameters()) == row.params
    assert macs(model, 224) == pytest.approx(row.gmacs, abs=6e-4)


@pytest.mark.parametrize("name", COUNTS)
def test_the_tables_counts_are_those_of_the_published_code(name: str) -> None:
    assert (find(name).params, find(name).gmacs) == COUNTS[name]


def test_a_network_of_448_px_costs_four_times_one_of_224_px_but_for_its_head() -> None:
    with torch.device("meta"):
        model = TResNet(architecture("m")).eval()
    assert macs(model, 448) == pytest.approx(22.93, abs=5e-3)


def test_a_variants_name_is_found_back_from_its_numbers(row: Variant) -> None:
    assert architecture(row).name == row.name


def test_an_unnamed_network_describes_itself_in_numbers() -> None:
    wanted = architecture("m", width_factor=0.25)
    assert wanted.name == "TResNet(width 16, depths 3-4-11-3, v1)"
    frelu = Architecture(width=8, depths=(1, 1, 1, 1), family="v2", activation="frelu")
    assert frelu.name == "TResNet(width 8, depths 1-1-1-1, v2, FReLU)"


@pytest.mark.parametrize("spelling", ["l", "L", "tresnet_l", "tresnet-l", "TResNet-L", " l "])
def test_one_variant_is_found_under_many_spellings(spelling: str) -> None:
    assert find(spelling).name == "tresnet_l"


def test_the_two_networks_called_l_are_told_apart() -> None:
    assert find("l_v2") is find("tresnet_v2_l")
    assert find("l") is not find("v2_l")


def test_a_scaled_variant_is_found_under_its_own_name() -> None:
    scaled = find("m").scaled(0.25)
    assert find(scaled.name) == scaled
    assert find("M_x0.25").width == 16


def test_an_unknown_variant_names_the_nearest_ones() -> None:
    with pytest.raises(UnknownVariantError, match=r"'tresnet_xxl': did you mean xl") as caught:
        find("tresnet_xxl")
    assert "There are m, l, xl" in str(caught.value)
    assert isinstance(caught.value, ValueError)


def test_every_published_weights_file_has_a_tag_of_its_own(row: Variant) -> None:
    tags = [weights.tag for weights in row.weights]
    assert len(set(tags)) == len(tags)
    assert all(weights.repository == f"timm/{row.name}.{weights.tag}" for weights in row.weights)


def test_the_default_weights_are_the_first_and_others_go_by_tag() -> None:
    assert find("m").find_weights().top1 == 83.090
    assert find("m").find_weights("miil_in21k").classes == 11221
    with pytest.raises(UnknownVariantError, match="choose one of: miil_in21k_ft_in1k, miil_in1k"):
        find("m").find_weights("in22k")
    with pytest.raises(UnknownVariantError, match="no weights on a hub"):
        find("s").find_weights()


@pytest.mark.parametrize(
    ("name", "factor", "width"), [("m", 0.25, 16), ("l", 0.5, 38), ("v2_l", 0.3, 16), ("m", 2, 128)]
)
def test_a_width_factor_rounds_as_the_family_does(name: str, factor: float, width: int) -> None:
    assert find(name).scaled(factor).width == width


def test_impossible_networks_are_refused() -> None:
    with pytest.raises(ArchitectureError, match=r"width_factor must be in \(0, 64\], not 0"):
        find("m").scaled(0)
    with pytest.raises(ArchitectureError, match=r"in \(0, 64\], not inf"):
        find("m_x" + 400 * "9")
    with pytest.raises(ArchitectureError, match="slopes must be finite"):
        Slopes(stem=math.inf)
    for changed in ({"std": (1, 0, 1)}, {"mean": (0, 0, 10**400)}, {"image_px": 0}):
        with pytest.raises(ArchitectureError, match="images cannot be prepared by"):
            InputRule(**{"image_px": 64, "resize": "crop", **changed})
    with pytest.raises(ArchitectureError, match="must all be 1 or more"):
        Architecture(width=8, depths=(1, 0, 1, 1))
    with pytest.raises(ArchitectureError, match="every size of a head"):
        Head.linear(0)
    with pytest.raises(ArchitectureError, match="multiple of the 8 attention heads"):
        Head.ml_decoder(10, embedding=12)
    with pytest.raises(ArchitectureError, match="2 groups of 2 outputs cannot hold 5 classes"):
        Head(kind="ml_decoder", classes=5, groups=2, embedding=8, factor=2, hidden=8)


def test_the_table_needs_no_torch() -> None:
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "import tresnet, tresnet.variants, tresnet.errors\n"
        "print(tresnet.variants.find('l').name, 'safetensors' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "tresnet_l False\n"


def test_names_that_need_torch_are_imported_when_first_used() -> None:
    import tresnet

    assert tresnet.TResNet is TResNet
    assert set(tresnet.__all__) <= {name for name in tresnet.__all__ if getattr(tresnet, name)}
    with pytest.raises(AttributeError, match="has no attribute 'cretae'"):
        tresnet.cretae  # noqa: B018

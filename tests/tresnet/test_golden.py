"""The published networks' own logits, from every golden file and in every wrapper."""

import argparse
import copy
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from tresnet.architecture import Slopes
from tresnet.checkpoint import Checkpoint, load, load_state
from tresnet.deploy_form import deploy_form
from tresnet.layouts import file_key, translate
from tresnet.wrappers import find_state_dict

pytestmark = pytest.mark.slow

State = dict[str, Tensor]
CARS = Slopes(stem=1e-6, block=1e-6)
FOUND = {
    "asl_l_openimages": "tresnet_l with a bottleneck head of 9605 classes",
    "danbooru_d": "tresnet_d with an ML-Decoder head of 12547 classes",
    "mld_m_coco": "tresnet_m with an ML-Decoder head of 80 classes",
    "timm_tresnet_m": "tresnet_m with a linear head of 1000 classes",
    "tresnet_l": "tresnet_l with a linear head of 1000 classes",
    "tresnet_m": "tresnet_m with a linear head of 1000 classes",
    "tresnet_v2_l_cars": "tresnet_v2_l with a linear head of 1000 classes",
}


@pytest.fixture(scope="session")
def loaded(golden) -> Checkpoint:
    """The golden network, from its flat state dict."""
    return load_state(golden.state, slopes=CARS if "cars" in golden.name else None)


def largest_error(model: torch.nn.Module, golden, *, images: int = 1) -> float:
    dtype = next(model.parameters()).dtype
    with torch.no_grad():
        logits = model(golden.images[:images].to(dtype))[:, :1000]
    return (logits.double() - golden.logits[:images]).abs().max().item()


def magnifies_rounding(golden) -> bool:
    """Whether float32 cannot be within 1e-5: the published FReLU's own is 4e-3 off its float64."""
    return golden.description["float32_noise"] > 1e-5


def test_float32_logits_are_the_published_codes_within_1e_5(golden, loaded: Checkpoint) -> None:
    bound = 3 * golden.description["float32_noise"] if magnifies_rounding(golden) else 1e-5
    assert largest_error(loaded.model, golden, images=2) < bound


def test_float64_logits_are_the_published_codes_within_2e_9(golden, loaded: Checkpoint) -> None:
    # 2e-6 would do for gammas converted in float32; ours are converted where they are used.
    assert largest_error(copy.deepcopy(loaded.model).double(), golden) < 2e-9


def test_the_deploy_form_has_the_same_logits_within_1e_5(golden, loaded: Checkpoint) -> None:
    dtype = torch.float64 if magnifies_rounding(golden) else torch.float32
    assert largest_error(deploy_form(loaded.model, dtype=dtype), golden) < 1e-5


def test_the_network_is_recognised_from_its_shapes(golden, loaded: Checkpoint) -> None:
    assert loaded.architecture.summary == FOUND[golden.name]
    assert loaded.layout == golden.description["layout"]
    plain = loaded.layout == "timm" or loaded.architecture.activation == "frelu"
    assert loaded.gammas == ("plain" if plain else "absolute")
    parameters = sum(p.numel() for p in loaded.model.parameters())
    assert parameters == golden.description["parameters"]


def test_our_names_map_back_to_every_name_in_the_file(golden, loaded: Checkpoint) -> None:
    keys = {key for key in golden.state if not key.endswith("num_batches_tracked")}
    ours = {
        file_key(key, loaded.architecture, loaded.layout)
        for key in loaded.model.state_dict()
        if not key.endswith("num_batches_tracked")
    }
    assert ours == keys


def prefixed(prefix: str) -> Callable[[State], dict]:
    return lambda state: {f"{prefix}{key}": tensor for key, tensor in state.items()}


def with_blurs(state: State) -> dict:
    filters = {
        f"body.{place}.op.filt": torch.rand(4, 1, 3, 3)
        for place in ("layer2.0.conv1.1", "layer3.0.conv2.1", "layer4.0.conv2.1")
    }
    return {**state, **filters}


def without_counters(state: State) -> dict:
    return {key: t for key, t in state.items() if not key.endswith("num_batches_tracked")}


def with_dummy_attention(state: State) -> dict:
    return {**state, "head.decoder.layers.0.self_attn.in_proj_weight": torch.zeros(3)}


def garbage(state: State) -> State:
    """The same network with other numbers: loading it instead would show."""
    return {key: torch.ones_like(tensor) for key, tensor in state.items()}


WRAPPERS: dict[str, Callable[[State], dict]] = {
    "model": lambda s: {"model": s},
    "state_dict": lambda s: {"state_dict": s},
    "ema over model": lambda s: {"model": garbage(s), "ema": s},
    "state_dict_ema over state_dict": lambda s: {"state_dict": garbage(s), "state_dict_ema": s},
    "nested": lambda s: {"checkpoint": {"model": s}, "epoch": 3},
    "data parallel": prefixed("module."),
    "compiled lightning": lambda s: {"state_dict": prefixed("model._orig_mod.")(s)},
    "with blur filters": with_blurs,
    "without counters": without_counters,
    "with dummy attention": with_dummy_attention,
    "training script": lambda s: {
        "epoch": 1,
        "arch": "tresnet_l",
        "state_dict": s,
        "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}},
        "args": argparse.Namespace(lr=0.1),
        "metric": 80.0,
    },
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_every_wrapper_yields_the_very_same_tensors(golden, wrapper: str) -> None:
    flat = our_tensors(golden.state)
    wrapped = our_tensors(WRAPPERS[wrapper](golden.state))
    assert wrapped.keys() == flat.keys()
    assert all(same_memory(wrapped[key], flat[key]) for key in flat)


def our_tensors(content: dict) -> Mapping[str, Tensor]:
    """What `load_state` builds the network from."""
    state = find_state_dict(content)
    translation = translate(state.tensors, state.layout)
    assert not translation.unknown
    return translation.tensors


def same_memory(a: Tensor, b: Tensor) -> bool:
    return (a.data_ptr(), a.shape, a.stride()) == (b.data_ptr(), b.shape, b.stride())


def test_a_file_with_class_names_gives_them_in_the_order_of_the_outputs(golden) -> None:
    classes = golden.description["classes"]
    names = {index: f"class {index}" for index in reversed(range(classes))}
    content = {"model": golden.state, "num_classes": classes, "idx_to_class": names}
    assert find_state_dict(content).class_names == tuple(f"class {k}" for k in range(classes))


@pytest.mark.parametrize("golden", ["mld_m_coco", "timm_tresnet_m", "tresnet_m"], indirect=True)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_the_same_weights_come_out_of_every_kind_of_file(
    golden, loaded: Checkpoint, tmp_path: Path, suffix: str
) -> None:
    path = tmp_path / f"weights{suffix}"
    if suffix == ".safetensors":
        safetensors.torch.save_file(golden.state, path)
    else:
        torch.save({"model": golden.state}, path)
    checkpoint = load(path)
    path.unlink()  # the weights must not depend on the file any more
    ours, theirs = checkpoint.model.state_dict(), loaded.model.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize("golden", ["tresnet_m", "timm_tresnet_m"], indirect=True)
def test_the_wrong_gammas_would_spoil_the_logits(golden, loaded: Checkpoint) -> None:
    wrong = "absolute" if loaded.gammas == "plain" else "plain"
    checkpoint = load_state(golden.state, gammas=wrong)
    assert checkpoint.gammas_reason == "as asked for"
    assert largest_error(checkpoint.model, golden) > 0.1 * golden.logits.std()


@pytest.mark.parametrize("golden", ["tresnet_v2_l_cars"], indirect=True)
def test_the_usual_slopes_would_shift_the_cars_networks_logits(golden) -> None:
    error = largest_error(load_state(golden.state).model, golden)
    assert 1e-4 < error < 0.05

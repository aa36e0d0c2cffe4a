"""Reading small checkpoints: layouts, forks, what is guessed and what a caller can override."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import Tensor

from tresnet.architecture import Architecture, Head, InputRule, Slopes
from tresnet.checkpoint import Checkpoint, load, load_state, save_miil
from tresnet.errors import ArchitectureError, CheckpointError, CheckpointMismatchError
from tresnet.layouts import file_key
from tresnet.model import TResNet, create
from tresnet.saving import miil_state

Fill = Callable[[TResNet], TResNet]
State = dict[str, Tensor]

TINY = {
    "v1": Architecture(width=8, depths=(1, 2, 2, 1), head=Head.linear(5)),
    "v2": Architecture(width=8, depths=(2, 1, 1, 1), family="v2", head=Head.with_bottleneck(5)),
    "frelu": Architecture(
        width=8,
        depths=(1, 1, 1, 1),
        family="v2",
        activation="frelu",
        head=Head.ml_decoder(5, groups=2, embedding=16, hidden=24),
    ),
}
RULE = InputRule(image_px=64, resize="squish", mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))


@pytest.fixture(scope="module", params=TINY)
def network(request: pytest.FixtureRequest, fill: Fill) -> TResNet:
    return fill(create(TINY[request.param]))


@pytest.fixture(scope="module")
def v1(fill: Fill) -> TResNet:
    return fill(create(TINY["v1"]))


def timm_state(model: TResNet) -> State:
    return {
        file_key(key, model.architecture, "timm"): tensor
        for key, tensor in model.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }


def assert_same(checkpoint: Checkpoint, model: TResNet) -> None:
    ours, theirs = checkpoint.model.state_dict(), model.state_dict()
    assert ours.keys() == theirs.keys()
    for key, tensor in theirs.items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(ours[key], tensor), key


def test_what_is_saved_is_loaded(network: TResNet, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    names = [f"näme {k}" for k in range(5)]
    save_miil(network, path, class_names=names, input_rule=RULE, metadata={"epochs": "3"})
    checkpoint = load(path)
    assert_same(checkpoint, network)
    assert checkpoint.architecture == network.architecture
    assert checkpoint.gammas == network.gammas
    assert checkpoint.class_names == tuple(names)
    assert (checkpoint.input_rule, checkpoint.input_reason) == (RULE, "as the file's metadata says")
    assert not checkpoint.model.training
    assert [file.name for file in tmp_path.iterdir()] == ["weights.safetensors"]
    with safetensors.safe_open(path, "pt") as file:
        assert file.metadata()["epochs"] == "3"


def test_an_input_rule_written_with_whole_numbers_is_read_back(v1: TResNet, tmp_path: Path) -> None:
    rule = InputRule(image_px=64, resize="crop", crop_pct=1, mean=(0, 0, 0), std=(1, 1, 1))
    save_miil(v1, tmp_path / "weights.safetensors", input_rule=rule)
    assert load(tmp_path / "weights.safetensors").input_rule == rule


def test_a_loaded_network_computes_what_the_saved_one_did(network: TResNet, images: Tensor) -> None:
    checkpoint = load_state(miil_state(network))
    with torch.no_grad():
        assert torch.equal(checkpoint.model(images), network(images))


def test_a_loaded_network_trains_on(network: TResNet, images: Tensor) -> None:
    model = load_state(miil_state(network)).model.train()
    model(images).sum().backward()
    assert all(p.grad is not None for p in model.parameters() if p.requires_grad)


def test_saved_files_have_the_official_names(v1: TResNet) -> None:
    names = miil_state(v1)
    assert {"body.conv1.0.weight", "body.conv1.1.running_var", "head.fc.bias"} <= names.keys()
    assert {"body.layer2.0.conv1.0.0.weight", "body.layer2.0.conv1.0.1.weight"} <= names.keys()
    assert {"body.layer3.0.conv2.0.1.bias", "body.layer3.0.downsample.1.1.bias"} <= names.keys()
    assert not any("num_batches_tracked" in name or "filt" in name for name in names)


def test_a_fork_with_a_wrapped_norm_has_plain_gammas(v1: TResNet) -> None:
    state = {}
    for key, tensor in miil_state(v1).items():
        head, _, name = key.rpartition(".")
        is_norm = head.endswith(".1") and "downsample.1.0" not in key
        state[f"{head}.bn.{name}" if is_norm else key] = tensor
    checkpoint = load_state(state)
    assert checkpoint.gammas == "plain"
    assert "body.conv1.1.bn.weight only exists" in checkpoint.gammas_reason
    assert_same(checkpoint, v1)


def test_frelu_networks_have_plain_gammas(fill: Fill) -> None:
    checkpoint = load_state(miil_state(fill(create(TINY["frelu"]))))
    assert checkpoint.gammas == "plain"
    assert "depthwise_conv_bn" in checkpoint.gammas_reason
    assert checkpoint.slopes_reason == "FReLU networks have no leaky ReLU"


def test_the_timm_layout_keeps_its_gammas_and_the_miil_layout_takes_absolutes(
    v1: TResNet, images: Tensor
) -> None:
    absolute = load_state(miil_state(v1))
    plain = load_state(timm_state(v1))
    forced = load_state(timm_state(v1), gammas="absolute")
    assert (absolute.gammas, plain.gammas, forced.gammas) == ("absolute", "plain", "absolute")
    assert (absolute.layout, plain.layout) == ("miil", "timm")
    with torch.no_grad():
        logits = [c.model(images) for c in (absolute, plain, forced)]
    assert torch.equal(logits[0], logits[2])
    assert (logits[0] - logits[1]).abs().max() > 0.1 * logits[0].std()


def test_plain_gammas_cannot_train_in_place(v1: TResNet) -> None:
    pytest.importorskip("inplace_abn")
    with pytest.raises(ArchitectureError, match="plain gammas need norm='batchnorm'"):
        load_state(timm_state(v1), norm="inplace_abn")


def test_a_decoder_trained_with_xformers_or_ported_to_timm_loads_too(fill: Fill) -> None:
    model = fill(create(TINY["frelu"]))
    state = miil_state(model)
    attention = "head.decoder.layers.0.multihead_attn."
    for kind in ("weight", "bias"):
        parts = state.pop(f"{attention}in_proj_{kind}").chunk(3)
        for name, part in zip("qkv", parts, strict=True):
            state[f"{attention}in_proj_container.{name}_proj.{kind}"] = part
        state[f"{attention}proj.{kind}"] = state.pop(f"{attention}out_proj.{kind}")
    for name in ("embed_standart.weight", "query_embed.weight", "duplicate_pooling"):
        state[f"head.{name}"] = state.pop(f"head.decoder.{name}")
    assert_same(load_state(state), model)


@pytest.mark.parametrize(("averaged", "wrapper"), [(True, "state_dict_ema"), (False, "state_dict")])
def test_the_moving_average_is_taken_unless_told_otherwise(
    v1: TResNet, averaged: bool, wrapper: str
) -> None:
    other = {key: tensor + 1 for key, tensor in miil_state(v1).items()}
    content = {"state_dict": other, "state_dict_ema": miil_state(v1), "epoch": 7}
    checkpoint = load_state(content, averaged=averaged)
    assert checkpoint.wrapper == wrapper
    stem = checkpoint.model.stem.conv.weight
    assert torch.equal(stem, v1.stem.conv.weight + (0 if averaged else 1))


@pytest.mark.parametrize("raw_first", [True, False])
@pytest.mark.parametrize(
    ("raw", "average"), [("", "ema."), ("model.", "ema_model."), ("net.", "net.ema.")]
)
def test_a_moving_average_beside_the_weights_in_one_mapping_is_not_mixed_with_them(
    v1: TResNet, raw: str, average: str, raw_first: bool
) -> None:
    trained = {f"{raw}{key}": tensor + 1 for key, tensor in miil_state(v1).items()}
    averaged = {f"{average}{key}": tensor for key, tensor in miil_state(v1).items()}
    state = {**trained, **averaged} if raw_first else {**averaged, **trained}
    checkpoint = load_state(state)
    assert_same(checkpoint, v1)
    assert checkpoint.prefix == average
    assert checkpoint.ignored == (f"{raw}body.conv1.0.weight",)
    stem = load_state(state, averaged=False).model.stem.conv.weight
    assert torch.equal(stem, v1.stem.conv.weight + 1)


def test_a_name_that_only_holds_the_letters_of_ema_is_no_average(v1: TResNet) -> None:
    content = {"semantic": miil_state(v1), "plain": miil_state(v1)}
    with pytest.raises(CheckpointMismatchError, match="2 TResNets"):
        load_state(content)


def test_two_networks_without_a_name_for_the_average_are_refused(v1: TResNet) -> None:
    content = {"student": miil_state(v1), "teacher": miil_state(v1)}
    with pytest.raises(CheckpointMismatchError, match=r"2 TResNets \(student:body.*, teacher:body"):
        load_state(content)


def test_wrapper_prefix_and_ignored_keys_are_reported(v1: TResNet) -> None:
    state = {f"module.{key}": tensor for key, tensor in miil_state(v1).items()}
    state["module.body.layer2.0.conv1.1.op.filt"] = torch.rand(16, 1, 3, 3)
    checkpoint = load_state({"model": {**state, "epoch": 3}})
    assert (checkpoint.wrapper, checkpoint.prefix) == ("model", "module.")
    assert checkpoint.ignored == ("epoch", "body.layer2.0.conv1.1.op.filt")


def test_half_precision_weights_become_float32(v1: TResNet) -> None:
    state = {key: tensor.half() for key, tensor in miil_state(v1).items()}
    model = load_state(state).model
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert torch.equal(model.stem.conv.weight, state["body.conv1.0.weight"].float())


def write_hub_folder(folder: Path, model: TResNet, config: object) -> None:
    safetensors.torch.save_file(timm_state(model), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))


HUB_CONFIG = {
    "architecture": "tresnet_m",
    "num_classes": 5,
    "label_names": ["a", "b", "c", "d", "e"],
    "pretrained_cfg": {
        "input_size": [3, 448, 448],
        "crop_pct": 0.9,
        "mean": [0.0, 0.0, 0.5],
        "std": [1, 1, 1],
        "interpolation": "bicubic",
    },
}


@pytest.mark.parametrize("name", [".", "model.safetensors"])
def test_a_timm_hub_folder_brings_its_input_rule_and_names(
    v1: TResNet, tmp_path: Path, name: str
) -> None:
    write_hub_folder(tmp_path, v1, HUB_CONFIG)
    checkpoint = load(tmp_path / name)
    assert checkpoint.input_rule == InputRule(
        image_px=448,
        resize="crop",
        crop_pct=0.9,
        mean=(0.0, 0.0, 0.5),
        std=(1.0, 1.0, 1.0),
        interpolation="bicubic",
    )
    assert checkpoint.input_reason == "as config.json beside the weights says"
    assert checkpoint.class_names == ("a", "b", "c", "d", "e")
    assert checkpoint.path == tmp_path / "model.safetensors"
    assert len(checkpoint.sha256) == 64


def test_a_hub_folders_squash_mode_ignores_the_aspect_ratio(v1: TResNet, tmp_path: Path) -> None:
    settings = {**HUB_CONFIG["pretrained_cfg"], "crop_mode": "squash"}
    write_hub_folder(tmp_path, v1, {"pretrained_cfg": settings})
    rule = load(tmp_path).input_rule
    assert (rule.resize, rule.crop_pct) == ("squish", 1.0)


def test_an_explicit_rule_and_slopes_go_before_what_the_file_says(
    v1: TResNet, tmp_path: Path
) -> None:
    write_hub_folder(tmp_path, v1, HUB_CONFIG)
    checkpoint = load(tmp_path, input_rule=RULE, slopes=Slopes(stem=0.1, block=0.2))
    assert (checkpoint.input_rule, checkpoint.input_reason) == (RULE, "as asked for")
    assert checkpoint.architecture.slopes == Slopes(stem=0.1, block=0.2)
    assert checkpoint.model.stem.norm.slope == 0.1


def test_expectations_of_variant_and_classes_are_checked(v1: TResNet) -> None:
    state = miil_state(v1)
    load_state(state, classes=5)
    found = r"TResNet\(width 8, depths 1-2-2-1, v1\) with a linear head of 5 classes"
    with pytest.raises(CheckpointMismatchError, match=f"{found}, not of tresnet_l"):
        load_state(state, variant="l")
    with pytest.raises(CheckpointMismatchError, match=f"{found}, not of one with 1000 classes"):
        load_state(state, classes=1000)


def test_a_network_in_deploy_form_is_not_saved_as_a_checkpoint(v1: TResNet, tmp_path: Path) -> None:
    from tresnet.deploy_form import deploy_form

    with pytest.raises(CheckpointError, match="is in deploy form"):
        save_miil(deploy_form(v1), tmp_path / "weights.safetensors")


def test_saving_checks_the_number_of_class_names(v1: TResNet, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="2 class names for a network of 5 classes"):
        save_miil(v1, tmp_path / "weights.safetensors", class_names=["a", "b"])


def test_a_folder_that_cannot_be_written_is_one_clear_error(v1: TResNet, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot write .*nowhere.* No such file"):
        save_miil(v1, tmp_path / "nowhere" / "weights.safetensors")

"""Weights of a graph rounded by what its layers read: other integers, and nothing else differs."""

import logging
from collections.abc import Mapping

import numpy as np
import onnx_ir as ir
import pytest
from tresnet_deploy.calibration import Noise, Pictures

from tresnet_deploy import passes
from tresnet_deploy.contracts import Array, Artifact, Batch, Preprocess, run
from tresnet_deploy.errors import ImageError
from tresnet_deploy.images import demo_images, of_files, sample
from tresnet_deploy.precision.grids import INT8
from tresnet_deploy.precision.pairs import insert
from tresnet_deploy.precision.placement import ALL_ROLES, place
from tresnet_deploy.quantize import QuantizeOptions, quantize, weight_rounding
from tresnet_deploy.quantize.graphs import runtime_session
from tresnet_deploy.quantize.second_moments import Reader
from tresnet_deploy.quantize.weight_rounding import Reconstruction, reconstruct

from .conftest import SIDE_PX, Network, evaluated, parsed, ranges_of

NOISE = Noise(count=6, seed=0, preprocess=Preprocess(height_px=SIDE_PX, width_px=SIDE_PX))
SAMPLES = 12


def noise_images() -> Array:
    return np.concatenate([portion.array for portion in NOISE.portions(3)])


def quantised(model: ir.Model, images: Array) -> ir.Model:
    made = model.clone()
    insert(made, place(made.graph, which=ALL_ROLES), ranges_of(model, images))
    return made


def inlined(model: ir.Model) -> ir.Model:
    """Return ``model`` with the convolutions of its blurs, which can then be INT8 too."""
    passes.run(model, ("inline-operators",))
    return model


def rounded(
    model: ir.Model, made: ir.Model, *, batch: Batch | None = None, seed: int = 0
) -> Reconstruction:
    return reconstruct(model, made, runtime_session, NOISE, grid=INT8, batch=batch, seed=seed)


def constants(model: ir.Model) -> Mapping[str, Array]:
    return {
        name: np.asarray(value.const_value.numpy())
        for name, value in model.graph.initializers.items()
        if value.const_value is not None
    }


def convolution(attributes: str, kernel: tuple[int, ...]) -> ir.Model:
    weight = np.random.default_rng(0).normal(size=kernel).astype(np.float32)
    weight[:, :, 0, 0] *= 8  # steps are large beside the other weights
    return parsed(
        f"g (float[N,3,{SIDE_PX},{SIDE_PX}] x) => (float[N,C,P,Q] y) "
        f"{{ y = Conv <{attributes}> (x, w) }}",
        w=weight,
    )


@pytest.mark.parametrize(
    ("attributes", "kernel"),
    [
        ("pads = [0, 0, 0, 0]", (4, 3, 1, 1)),
        ("pads = [1, 1, 1, 1]", (4, 3, 3, 3)),
        ("pads = [0, 1, 2, 1], strides = [2, 2]", (4, 3, 3, 3)),
        ("pads = [2, 2, 2, 2], dilations = [2, 2], strides = [2, 1]", (4, 3, 3, 3)),
    ],
)
def test_the_output_of_a_convolution_errs_less(attributes: str, kernel: tuple[int, ...]) -> None:
    model = convolution(attributes, kernel)
    images = noise_images()
    made = quantised(model, images)

    def power(given: Array) -> float:
        return float(np.square(given.astype(np.float64)).mean())

    def error(graph: ir.Model) -> float:
        scale = constants(made)["x/scale"]
        coded = (np.rint(np.clip(images / scale, -127, 127)) * scale).astype(np.float32)
        wanted = evaluated(model, coded)  # of what the INT8 layer reads: weights alone differ
        return power(run(runtime_session(graph), {"x": images})["y"] - wanted) / power(wanted)

    before = error(made)
    (layer,) = rounded(model, made).layers
    assert error(made) < before
    # Of each image so many pixels are read that none is left out here.
    assert layer.before == pytest.approx(before, rel=0.02)
    assert layer.after == pytest.approx(error(made), rel=0.02)


@pytest.mark.parametrize("kind", ["linear", "decoder", "frelu"])
def test_only_integers_of_weights_change(network: Network, kind: str) -> None:
    model = inlined(network(kind))
    made = quantised(model, noise_images())
    before, nodes = constants(made), [(node.name, node.op_type) for node in made.graph]
    found = rounded(model, made)
    after = constants(made)
    assert [(node.name, node.op_type) for node in made.graph] == nodes
    assert list(before) == list(after)
    changed = {name for name in before if not np.array_equal(before[name], after[name])}
    assert changed
    assert all(name.endswith("/int8") for name in changed)
    for name in changed:
        assert after[name].dtype == np.int8
        assert after[name].shape == before[name].shape
        assert after[name].min() >= -127
    assert all(each.after <= each.before for each in found.layers)
    assert found.changed == len(found.layers) >= len(changed)
    assert found.remaining < 1


def test_depthwise_convolutions_are_left_with_a_reason(network: Network) -> None:
    model = inlined(network("frelu"))
    made = quantised(model, noise_images())
    found = rounded(model, made)
    assert found.left
    assert {each.reason.partition(":")[0] for each in found.left} == {"it is grouped"}
    assert not {each.match for each in found.left} & {each.layer for each in found.layers}


def test_a_matrix_product_is_rounded_whichever_way_its_weights_lie() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(12, 4)).astype(np.float32)
    made = {}
    for name, array, attributes in (("a", weight, ""), ("b", weight.T, "<transB = 1>")):
        model = parsed(
            "g (float[N,3,2,2] x) => (float[N,4] y) "
            f"{{ f = Flatten (x)  y = Gemm {attributes} (f, w) }}",
            w=array,
        )
        made[name] = quantised(model, np.ones((1, 3, 2, 2), np.float32))
        noise = Noise(count=40, seed=0, preprocess=Preprocess(height_px=2, width_px=2))
        found = reconstruct(model, made[name], runtime_session, noise, grid=INT8)
        assert found.changed == 1
    first, second = (constants(made[name])["w/int8"] for name in ("a", "b"))
    np.testing.assert_array_equal(first, second.T)


def test_padding_by_the_runtime_is_left_with_a_reason() -> None:
    model = convolution('auto_pad = "SAME_UPPER"', (4, 3, 3, 3))
    found = rounded(model, quantised(model, noise_images()))
    assert not found.layers
    assert found.remaining == 1
    assert [each.reason for each in found.left] == ["its padding is left to the runtime"]


def test_a_fixed_batch_is_filled_up_without_counting_the_filling(network: Network) -> None:
    model = inlined(network("linear"))
    made, again = (quantised(model, noise_images()) for _ in range(2))
    free = rounded(model, made)
    fixed = rounded(model, again, batch=Batch(min=4, opt=4, max=4))
    for one, other in zip(free.layers, fixed.layers, strict=True):
        assert one.before == pytest.approx(other.before, rel=1e-3)


def test_passes_that_hold_less_see_what_was_rounded_before(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = inlined(network("linear"))
    made = quantised(model, noise_images())
    whole = rounded(model, made.clone())
    monkeypatch.setattr(weight_rounding, "_MOMENTS_BYTES", 1)
    told: list[tuple[int, int | None, str]] = []
    single = reconstruct(
        model,
        made,
        runtime_session,
        NOISE,
        grid=INT8,
        progress=lambda done, total, what: told.append((done, total, what)),
    )
    assert [each.layer for each in single.layers] == [each.layer for each in whole.layers]
    assert single.layers[0] == whole.layers[0]
    count = len(whole.layers)
    assert [done for done, _, what in told if what == "layers rounded"] == list(range(count))


def test_patches_are_drawn_by_the_seed_where_there_are_more_than_are_taken() -> None:
    reader = Reader(source="x", scale=1.0, length=27, kernel=(3, 3), pads=(1, 1, 1, 1))
    values = np.random.default_rng(0).random((3, 8, 8), dtype=np.float32)
    every = reader.patches(values, 64, np.random.default_rng(0))
    assert every.shape == (64, 27)
    first, again, other = (
        reader.patches(values, 10, np.random.default_rng(seed)) for seed in (0, 0, 1)
    )
    assert first.shape == (10, 27)
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    known = {row.tobytes() for row in every}
    assert {row.tobytes() for row in first} <= known


def test_without_a_readable_image_there_is_one_clear_error(
    network: Network, tmp_path_factory: pytest.TempPathFactory
) -> None:
    empty = tmp_path_factory.mktemp("none") / "a.png"
    empty.write_bytes(b"")
    model = inlined(network("linear"))
    data = Pictures(images=of_files([empty]), preprocess=NOISE.preprocess)
    with pytest.raises(ImageError, match="none of the 1 images is readable"):
        reconstruct(model, quantised(model, noise_images()), runtime_session, data, grid=INT8)


@pytest.mark.parametrize(
    "extras",
    [{}, {"equalize": True}, {"bias_correction": True}, {"weights": "mse"}],
    ids=["alone", "equalized", "biases corrected", "weights by mse"],
)
def test_it_goes_with_every_other_extra_and_leaves_their_scales(
    small_graph: Artifact,
    tmp_path_factory: pytest.TempPathFactory,
    caplog: pytest.LogCaptureFixture,
    extras: dict[str, object],
) -> None:
    from tresnet_deploy import graph_files

    folder = tmp_path_factory.mktemp("rounded")
    images = sample(demo_images("calibration"), SAMPLES, seed=0)
    held = {}
    for rounding in ("nearest", "gptq"):
        options = QuantizeOptions(
            samples=SAMPLES,
            weight_rounding=rounding,  # type: ignore[arg-type]
            **extras,  # type: ignore[arg-type]
        )
        caplog.clear()
        with caplog.at_level(logging.DEBUG, logger="tresnet_deploy.quantize"):
            made = quantize(
                small_graph, folder / f"{rounding}.onnx", images=images, options=options
            )
        assert made.settings["weight_rounding"] == rounding
        held[rounding] = constants(graph_files.load(made.path))
    nearest, gptq = held["nearest"], held["gptq"]
    assert list(nearest) == list(gptq)
    changed = {name for name in nearest if not np.array_equal(nearest[name], gptq[name])}
    kinds = {"/int8", "/corrected"} if "bias_correction" in extras else {"/int8"}
    assert {name[name.rindex("/") :] for name in changed} == kinds
    assert any(
        line.startswith("gptq ") and "rounding to the nearest" in line for line in caplog.messages
    )
    remaining = made.settings["weight_error_remaining"]
    assert isinstance(remaining, float)
    assert 0 < remaining < 1

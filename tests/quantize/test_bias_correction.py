"""The mean error of a quantised layer goes into its bias, and leaves the output."""

import numpy as np
import onnx_ir as ir
import pytest
from tresnet_deploy.calibration import Noise, Pictures

from tresnet_deploy.contracts import Array, Batch, Preprocess, run
from tresnet_deploy.errors import ImageError
from tresnet_deploy.images import of_files
from tresnet_deploy.precision import bias_correction
from tresnet_deploy.precision.pairs import insert
from tresnet_deploy.precision.placement import ALL_ROLES, place
from tresnet_deploy.quantize.graphs import runtime_session

from .conftest import SIDE_PX, Network, evaluated, parsed, ranges_of

SQUARE = Preprocess(height_px=SIDE_PX, width_px=SIDE_PX)
NOISE = Noise(count=6, seed=0, preprocess=SQUARE)


def quantised(model: ir.Model, images: Array) -> ir.Model:
    made = model.clone()
    insert(made, place(made.graph), ranges_of(model, images))
    return made


def noise_images() -> Array:
    return np.concatenate([portion.array for portion in NOISE.portions(3)])


def biases(model: ir.Model) -> dict[str, Array]:
    return {
        str(node.name): np.asarray(node.inputs[2].const_value.numpy())
        for node in model.graph
        if node.op_type == "Conv" and len(node.inputs) > 2
        if node.inputs[2] is not None and node.inputs[2].const_value is not None
    }


def test_one_layer_has_no_mean_error_left() -> None:
    rng = np.random.default_rng(0)
    weight = rng.normal(size=(4, 3, 3, 3)).astype(np.float32)
    model = parsed(
        f"g (float[N,3,{SIDE_PX},{SIDE_PX}] x) => (float[N,4,P,Q] y) {{ y = Conv (x, w, b) }}",
        w=weight,
        b=np.zeros(4, np.float32),
    )
    images = noise_images()
    made = quantised(model, images * np.float32(0.25))  # a range that cuts most values
    wanted = evaluated(model, images)

    def error(graph: ir.Model) -> Array:
        found = run(runtime_session(graph), {"x": images})["y"]
        return np.asarray(np.abs((found - wanted).mean(axis=(0, 2, 3))))

    before = error(made)
    assert bias_correction.correct(model, made, runtime_session, NOISE) == 1
    assert before.max() > 0.1
    np.testing.assert_allclose(error(made), 0, atol=1e-4)


@pytest.mark.parametrize("kind", ["linear", "decoder", "frelu"])
def test_every_int8_layer_is_corrected_once_and_no_other(network: Network, kind: str) -> None:
    model = network(kind)
    made = quantised(model, noise_images())
    before = biases(made)
    layers = {str(node.name) for node in place(model.graph).layers}
    assert bias_correction.correct(model, made, runtime_session, NOISE) == len(layers)
    first = biases(made)
    changed = {name for name in before if not np.array_equal(before[name], first[name])}
    assert changed <= layers
    assert len(changed) > len(layers) / 2
    assert set(first) == set(before)


def test_a_layer_without_bias_gets_one() -> None:
    model = parsed(
        f"g (float[N,3,{SIDE_PX},{SIDE_PX}] x) => (float[N,4,P,Q] y) {{ y = Conv (x, w) }}",
        w=np.random.default_rng(0).normal(size=(4, 3, 1, 1)).astype(np.float32),
    )
    made = quantised(model, noise_images())
    assert bias_correction.correct(model, made, runtime_session, NOISE) == 1
    assert len(biases(made)) == 1


def test_a_fixed_batch_is_filled_up_without_counting_the_filling(network: Network) -> None:
    model = network("linear")
    made, again = (quantised(model, noise_images()) for _ in range(2))
    bias_correction.correct(model, made, runtime_session, NOISE)
    fixed = Batch(min=4, opt=4, max=4)
    bias_correction.correct(model, again, runtime_session, NOISE, batch=fixed)
    for name, bias in biases(made).items():
        np.testing.assert_allclose(biases(again)[name], bias, atol=1e-5)


def test_all_layers_may_be_corrected_the_head_too(network: Network) -> None:
    model = network("linear")
    made = model.clone()
    placement = place(made.graph, which=("stem", "body", "head"))
    assert set(ALL_ROLES) > {"head"}
    insert(made, placement, ranges_of(model, noise_images()))
    count = bias_correction.correct(model, made, runtime_session, NOISE)
    assert count == len(placement.layers)


def test_without_a_readable_image_there_is_one_clear_error(
    network: Network, tmp_path_factory: pytest.TempPathFactory
) -> None:
    empty = tmp_path_factory.mktemp("none") / "a.png"
    empty.write_bytes(b"")
    model = network("linear")
    made = quantised(model, noise_images())
    data = Pictures(images=of_files([empty]), preprocess=SQUARE)
    with pytest.raises(ImageError, match="none of the 1 images is readable"):
        bias_correction.correct(model, made, runtime_session, data)

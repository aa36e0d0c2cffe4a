"""An activation joins the blur that alone reads it."""

import numpy as np
import onnx_ir as ir
import pytest
from tresnet_deploy.plugins import blur_pool, wanted_by

from tresnet_deploy import passes
from tresnet_deploy.passes import leaky_into_blur

from .conftest import Arrays, copied, evaluated, operators, parsed

SHARED = """
blur (float[1, 4, 8, 8] x) => (float[1, 4, 4, 4] y, float[1, 4, 8, 8] a) {
    a = LeakyRelu <alpha: float = 0.1> (x)
    y = tresnet.BlurPool2d <group: int = 4> (a, filter)
}
"""
PLAIN = """
blur (float[1, 4, 8, 8] x) => (float[1, 4, 4, 4] y) {
    a = Relu (x)
    y = tresnet.BlurPool2d <group: int = 4> (a, filter)
}
"""


def test_every_blur_takes_the_activation_before_it(network: ir.Model, images: Arrays) -> None:
    model = copied(network)
    leaky, blurs = (operators(model).count(name) for name in ("LeakyRelu", "BlurPool2d"))
    outcome = leaky_into_blur.apply(model)
    assert outcome.changed == (blurs if leaky else 0)
    found = operators(model)
    assert found.count("LeakyBlurPool2d") == outcome.changed
    assert found.count("LeakyRelu") == leaky - outcome.changed
    assert found.count("BlurPool2d") == len(outcome.left) == blurs - outcome.changed
    assert {name for _, name, _ in model.functions} == {
        "SpaceToDepth",
        "LeakyBlurPool2d" if leaky else "BlurPool2d",
    }
    np.testing.assert_allclose(evaluated(model, images), evaluated(network, images), rtol=1e-9)


def test_joined_blurs_ask_for_plugins_and_inline_like_the_others(network: ir.Model) -> None:
    model = copied(network)
    passes.run(model, ("leaky-into-blur", "plugin-operators"))
    assert len(wanted_by(model)) == 4
    passes.run(model, ("inline-operators",))
    assert "LeakyBlurPool2d" not in operators(model)


@pytest.mark.parametrize(
    ("text", "reason"),
    [(SHARED, "others read LeakyRelu too"), (PLAIN, "no leaky ReLU stands before it")],
)
def test_other_activations_stay_where_they_are(text: str, reason: str) -> None:
    model = parsed(text, filter=blur_pool.binomial_filter(4))
    outcome = leaky_into_blur.apply(model)
    assert outcome.changed == 0
    assert [each.reason for each in outcome.left] == [reason]


def test_a_blur_that_asks_for_a_plugin_already_is_left_to_it(network: ir.Model) -> None:
    model = copied(network)
    ((_, _), (_, outcome)) = passes.run(model, ("plugin-operators", "leaky-into-blur"))
    assert outcome.changed == 0
    assert {each.reason for each in outcome.left} == {
        "it asks for a plugin already: join before plugin-operators"
    }

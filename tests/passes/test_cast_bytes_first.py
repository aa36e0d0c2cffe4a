import numpy as np
import onnx_ir as ir
import pytest

from tresnet_deploy.passes import cast_bytes_first

from .conftest import copied, evaluated, operators, parsed

BODY = "t = Transpose <perm=[0,3,1,2]> (x) y = Cast <to=1> (t)"


def graph(body: str = BODY) -> ir.Model:
    return parsed(f"g (uint8[N,4,6,3] x) => (float[N,C,H,W] y) {{ {body} }}")


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (BODY, ["Cast", "Transpose"]),
        (
            "t = Transpose <perm=[0,3,1,2]> (x) s = SpaceToDepth <blocksize=2> (t) "
            "c = Cast <to=1> (s) y = Relu(c)",
            ["Cast", "Transpose", "SpaceToDepth", "Relu"],
        ),
    ],
)
def test_bytes_become_floats_before_anything_moves_them(body: str, expected: list[str]) -> None:
    model = graph(body)
    before = evaluated(copied(model), image())
    assert cast_bytes_first.apply(model).changed == len(expected) - 1 - ("Relu" in expected)
    assert operators(model) == expected
    np.testing.assert_array_equal(evaluated(model, image()), before)
    assert cast_bytes_first.apply(model).changed == 0


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            "t = Transpose <perm=[0,3,1,2]> (x) c = Cast <to=1> (t) d = Cast <to=1> (t) "
            "y = Add(c, d)",
            "several nodes read",
        ),
        ("t = Transpose <perm=[0,3,1,2]> (x) m = Max(t, t) y = Cast <to=1> (m)", "Max reads"),
    ],
)
def test_bytes_that_others_read_are_left_with_the_reason(body: str, reason: str) -> None:
    model = graph(body)
    before = operators(model)
    outcome = cast_bytes_first.apply(model)
    assert outcome.changed == 0
    assert reason in outcome.left[0].reason
    assert operators(model) == before


def test_a_graph_that_takes_floats_is_no_match() -> None:
    model = parsed(
        "g (float[N,4,6,3] x) => (float[N,C,H,W] y) { y = Transpose <perm=[0,3,1,2]> (x) }"
    )
    outcome = cast_bytes_first.apply(model)
    assert (outcome.changed, outcome.left) == (0, ())

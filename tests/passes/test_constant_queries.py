import numpy as np
import onnx_ir as ir
import pytest

from tresnet_deploy.passes import constant_queries

from .conftest import evaluated, noise, operators, parsed

QUERIES = noise(3, 4)
HEAD = """
    d = Add(q, q) t = LayerNormalization (d, scale, shift) u = Unsqueeze (t, zero)
    n = Shape <end=1> (x) s = Concat <axis=0> (n, one, one) e = Expand (u, s) m = Mul (e, half)
    k = Transpose <perm=[0,2,1]> (x)
"""


def graph(body: str) -> ir.Model:
    return parsed(
        f"g (double[N,5,4] x) => (double[N,A,B] y) {{ {HEAD} {body} }}",
        q=QUERIES,
        scale=noise(4, seed=1),
        shift=noise(4, seed=2),
        zero=np.array([0]),
        one=np.array([1]),
        half=np.array(0.5),
    )


def with_batch(model: ir.Model) -> ir.Model:
    """Say that the expanded queries have the batch of the images, as the exporter does."""
    (expanded,) = (node.outputs[0] for node in model.graph if node.op_type == "Expand")
    expanded.shape = ir.Shape(["N", 3, 4])
    return model


def test_queries_become_one_constant_that_broadcasts() -> None:
    model = with_batch(graph("y = MatMul(m, k)"))
    x = noise(2, 5, 4)
    before = evaluated(model, x)
    constant_queries.apply(model)
    assert operators(model) == ["Transpose", "MatMul"]
    np.testing.assert_allclose(evaluated(model, x), before, atol=1e-14)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("y = Softmax(m)", "does not broadcast"),
        ("z = Add(m, q) y = MatMul(z, k)", "does not bring the batch"),
    ],
)
def test_an_expand_that_somebody_needs_is_left_with_the_reason(body: str, reason: str) -> None:
    model = with_batch(graph(body))
    x = noise(2, 5, 4)
    before = evaluated(model, x)
    outcome = constant_queries.apply(model)
    assert [reason in refusal.reason for refusal in outcome.left] == [True]
    assert "Expand" in operators(model)
    np.testing.assert_allclose(evaluated(model, x), before, atol=1e-14)


def test_an_expand_that_is_an_output_is_left() -> None:
    model = graph("y = Identity(e)")
    model.graph.outputs[0] = next(n for n in model.graph if n.op_type == "Expand").outputs[0]
    (refusal,) = constant_queries.apply(model).left
    assert "output of the graph" in refusal.reason


def test_nodes_that_read_the_images_are_no_match() -> None:
    model = parsed("g (double[N,4] x) => (double[N,4] y) { y = Add(x, b) }", b=noise(4))
    outcome = constant_queries.apply(model)
    assert (outcome.changed, outcome.left) == (0, ())

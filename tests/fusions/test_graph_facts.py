"""Names are those that the parser gives, and an activation belongs to one convolution."""

from __future__ import annotations

import onnx.parser
import onnx_ir as ir

from tresnet_deploy.fusions import facts_of

NET = """
<ir_version: 10, opset_import: ["" : 18, "mine" : 1]>
net (float[N,4,8,8] x, float[4,4,1,1] w) => (float[N,4,8,8] y, float[N,4,8,8] z)
{
  [one] a = Conv(x, w)
  [act] b = LeakyRelu(a)
  [two] c = Conv(b, w)
  d = Relu(c)
  z = Add(c, d)
  [call] y = mine.Twice(d)
}
<domain: "mine", opset_import: ["" : 18]>
Twice (a) => (b) { [sum] b = Add(a, a) }
"""


def test_operators_are_found_under_the_names_of_the_parser() -> None:
    facts = facts_of(ir.from_proto(onnx.parser.parse_model(NET)))
    assert facts.operators["one"] == "Conv"
    assert facts.operators["node_of_d"] == "Relu"
    assert facts.operators["sum | call (Twice)"] == "Add"


def test_an_activation_belongs_to_a_convolution_that_nothing_else_reads() -> None:
    facts = facts_of(ir.from_proto(onnx.parser.parse_model(NET)))
    assert facts.activations == {"one": "act"}

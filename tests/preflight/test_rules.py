"""Each rule finds its fault, names who shows it, and is silent on the graph that does it right."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

import click
import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import pytest

from tresnet_deploy.cli._main import root
from tresnet_deploy.preflight import PORTABLE, Capability, RuleEntry, rule_list
from tresnet_deploy.preflight.catalogue import BROKE, REFUSED, RULES
from tresnet_deploy.preflight.reports import SEVERITIES
from tresnet_deploy.preflight.targets import TURING

from .conftest import findings, graph

MAPS = "(float[N,4,8,8] x) => (float[N,4,8,8] y)"
KERNEL = {"w": np.full((4, 4, 1, 1), 0.5, np.float32)}
INT8_KERNEL = {
    "wq": np.full((4, 4, 1, 1), 64, np.int8),
    "ws": np.full(4, 0.01, np.float32),
    "s": np.float32(0.1),
    "z": np.int8(0),
}
PAIR = "q = QuantizeLinear(x, s, z) [pair] d = DequantizeLinear(q, s, z)"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A graph with a fault, the same without it, and the node or tensor that shows it."""

    bad: str
    good: str
    shown: str | None = None
    bad_opset: int = 18
    good_opset: int = 18
    bad_weights: Mapping[str, object] = field(default_factory=dict)
    good_weights: Mapping[str, object] = field(default_factory=dict)
    bad_targets: tuple[Capability, ...] = PORTABLE
    good_targets: tuple[Capability, ...] = PORTABLE


def quantized(*nodes: str) -> str:
    return f"{MAPS} {{ {' '.join(nodes)} }}"


RELU = f"{MAPS} {{ y = Relu(x) }}"
SUM = f"{MAPS} {{ [sum] y = Add(x, w) }}"
GEMM = "(float[N,4] x) => (float[N,2] y) {{ [fc] y = {op}(x, w) }}"
MATRIX = {"w": np.ones((4, 2), np.float32)}
BFLOAT16 = "(bfloat16[N,4] x) => (bfloat16[N,4] y) { [relu] y = Relu(x) }"
HALF_SCALES = (
    "(float16[N,4] x) => (float16[N,4] y) "
    "{ [q] q = QuantizeLinear(x, s, z) [d] y = DequantizeLinear(q, s, z) }"
)
CONV = "[conv] y = Conv(d, f)"
WEIGHT = "f = DequantizeLinear <axis = 0> (wq, ws)"

CASES = {
    "TRT001": Case(bad=RELU, good=RELU, bad_opset=8, good_opset=9),
    "TRT002": Case(bad=RELU, good=RELU, bad_opset=26, good_opset=25),
    "TRT005": Case(
        bad=RELU,
        good=SUM,
        bad_weights={"w": np.float32(1)},
        good_weights={"w": np.float32(1)},
        shown="w",
    ),
    "TRT006": Case(
        bad=HALF_SCALES,
        good=HALF_SCALES,
        bad_opset=18,
        good_opset=19,
        shown="q",
        bad_weights={"s": np.float16(0.1), "z": np.int8(0)},
        good_weights={"s": np.float16(0.1), "z": np.int8(0)},
    ),
    "TRT010": Case(
        bad="(float[2,2] x) => (float y) { [det] y = Det(x) }",
        good="(float[2,2] x) => (float[2,2] y) { y = Softmax(x) }",
        shown="det",
    ),
    "TRT011": Case(
        bad="(float[1,4,8,8] x, float[2,4] r, int64[2] b) => (float[2,4,1,1] y) "
        "{ [align] y = RoiAlign(x, r, b) }",
        good=RELU,
        shown="align",
    ),
    "TRT020": Case(
        bad="(int64[N,4] x) => (int64[N,4] y) { [sum] y = Add(x, x) }",
        good="(float[N,4] x) => (int64[2] y) { s = Shape(x) [sum] y = Add(s, s) }",
        shown="sum",
    ),
    "TRT021": Case(
        bad="(double[N,4] x) => (double[N,4] y) { [relu] y = Relu(x) }", good=RELU, shown="relu"
    ),
    "TRT022": Case(
        bad="(float[N,4] x) => (float[N,4] y) { [sum] y = Add(x, w) }",
        good="(float[N,4] x) => (float[N,4] y) { c = Cast <to = 1> (w) [sum] y = Add(x, c) }",
        bad_weights={"w": np.float16(1)},
        good_weights={"w": np.float16(1)},
        shown="sum",
    ),
    "TRT023": Case(
        bad="(bfloat16[N,4] x, bfloat16[4] v) => (bfloat16[N,4] y) "
        "{ [norm] y = BatchNormalization(x, v, v, v, v) }",
        good="(float[N,4] x, float[4] v) => (float[N,4] y) "
        "{ [norm] y = BatchNormalization(x, v, v, v, v) }",
        shown="norm",
    ),
    "TRT024": Case(
        bad=GEMM.format(op="Gemm"),
        good=GEMM.format(op="MatMul"),
        bad_weights=MATRIX,
        good_weights=MATRIX,
        bad_targets=(TURING, Capability(8, 6)),
        shown="fc",
    ),
    "TRT025": Case(
        bad=BFLOAT16, good=BFLOAT16, bad_targets=(TURING,), good_targets=PORTABLE, shown="relu"
    ),
    "TRT026": Case(
        bad="(float8e4m3fn[N] x) => (float[N] y) { [cast] y = Cast <to = 1> (x) }",
        good="(float8e4m3fn[N] x) => (float[N] y) { [cast] y = Cast <to = 1> (x) }",
        good_targets=(Capability(8, 9),),
        shown="cast",
    ),
    "TRT027": Case(
        bad="(int32[N,4] x) => (float[N,4] y) { y = Cast <to = 1> (x) }",
        good="(uint8[N,4] x) => (float[N,4] y) { y = Cast <to = 1> (x) }",
        shown="x",
    ),
    "TRT030": Case(bad="(float[2,4] x) => (float[2,4] y) { y = Relu(x) }", good=RELU, shown="x"),
    "TRT031": Case(
        bad="(float[N,4,2] x) => (float[1,8] y) <int64[2] s = {1, -1}> "
        "{ [flat] y = Reshape(x, s) }",
        good="(float[N,4,2] x) => (float[N,8] y) <int64[2] s = {0, -1}> "
        "{ [flat] y = Reshape(x, s) }",
        shown="flat",
    ),
    "TRT040": Case(
        bad=quantized("[q] q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)"),
        good=quantized("[q] q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)"),
        bad_weights={"s": np.float32(0.1), "z": np.int8(3)},
        good_weights={"s": np.float32(0.1), "z": np.int8(0)},
        shown="q",
    ),
    "TRT041": Case(
        bad=quantized("[bias] b = DequantizeLinear(bq, s) y = Conv(x, w, b)"),
        good=quantized("y = Conv(x, w, b)"),
        bad_weights={**KERNEL, "bq": np.zeros(4, np.int32), "s": np.float32(0.1)},
        good_weights={**KERNEL, "b": np.zeros(4, np.float32)},
        shown="bias",
    ),
    "TRT042": Case(
        bad=quantized("[q] q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)"),
        good=quantized(PAIR, "f = DequantizeLinear <axis = 0> (wq, ws)", "y = Conv(d, f)"),
        bad_weights={"s": np.full(4, 0.1, np.float32), "z": np.zeros(4, np.int8)},
        good_weights=INT8_KERNEL,
        shown="q",
    ),
    "TRT043": Case(
        bad=quantized(PAIR, "y = Relu(d)"),
        good=quantized(PAIR, "y = Relu(d)"),
        bad_weights={"s": np.float32(0), "z": np.int8(0)},
        good_weights={"s": np.float32(0.1), "z": np.int8(0)},
        shown="pair",
    ),
    "TRT044": Case(
        bad=quantized(PAIR, "y = Relu(d)"),
        good=quantized(PAIR, "y = Relu(d)"),
        bad_opset=21,
        bad_weights={"s": np.float32(0.1), "z": np.int16(0)},
        good_weights={"s": np.float32(0.1), "z": np.int8(0)},
        shown="pair",
    ),
    "TRT045": Case(
        bad=quantized(
            "c = Conv(x, w) [between] q = QuantizeLinear(c, s, z)",
            "d = DequantizeLinear(q, s, z) y = LeakyRelu(d)",
        ),
        good=quantized(
            "c = Conv(x, w) a = LeakyRelu(c) q = QuantizeLinear(a, s, z)",
            "y = DequantizeLinear(q, s, z)",
        ),
        bad_weights={**KERNEL, "s": np.float32(0.1), "z": np.int8(0)},
        good_weights={**KERNEL, "s": np.float32(0.1), "z": np.int8(0)},
        shown="between",
    ),
    "TRT046": Case(
        bad=quantized(PAIR, WEIGHT, "[conv] y = Conv <group = 4> (d, f)"),
        good=quantized(PAIR, WEIGHT, CONV),
        bad_weights={**INT8_KERNEL, "wq": np.full((4, 1, 1, 1), 64, np.int8)},
        good_weights=INT8_KERNEL,
        shown="conv",
    ),
    "TRT047": Case(
        bad="(float[N,4,8,8] x) => (float[N,4,1,1] y) "
        f"{{ p = GlobalAveragePool(x) {PAIR.replace('(x,', '(p,')} {WEIGHT} {CONV} }}",
        good=quantized(PAIR, WEIGHT, CONV),
        bad_weights=INT8_KERNEL,
        good_weights=INT8_KERNEL,
        shown="conv",
    ),
    "TRT050": Case(
        bad=SUM,
        good=f"{MAPS} {{ y = Clip(x, , w) }}",
        bad_weights={"w": np.float32("nan")},
        good_weights={"w": np.float32("inf")},
        shown="w",
    ),
    "TRT051": Case(
        bad=SUM,
        good=SUM,
        bad_weights={"w": np.float32(7e4)},
        good_weights={"w": np.float32(6e4)},
        shown="w",
    ),
    "TRT052": Case(
        bad=SUM,
        good=SUM,
        bad_weights={"w": np.float32(1e-40)},
        good_weights={"w": np.float32(0)},
        shown="w",
    ),
}
OF_FILES = {"TRT003", "TRT004", "TRT007"}  # below, and in test_files.py


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_finds_its_fault_and_names_who_shows_it(rule: str) -> None:
    case = CASES[rule]
    model = graph(case.bad, opset=case.bad_opset, weights=case.bad_weights)
    (found,) = (each for each in findings(model, case.bad_targets) if each.rule == rule)
    assert case.shown is None or case.shown in found.nodes
    assert found.message
    assert found.remedy


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_is_silent_on_the_graph_that_does_it_right(rule: str) -> None:
    case = CASES[rule]
    model = graph(case.good, opset=case.good_opset, weights=case.good_weights)
    assert rule not in {each.rule for each in findings(model, case.good_targets)}


def test_each_rule_is_tested() -> None:
    assert {rule.id for rule in RULES} == set(CASES) | OF_FILES


def test_ids_rise_and_no_rule_shares_one() -> None:
    ids = [entry.rule for entry in rule_list().rules]
    assert ids == sorted(set(ids))
    assert ids[-2:] == [REFUSED.rule, BROKE.rule]


def test_each_rule_has_a_known_severity_a_title_and_a_remedy() -> None:
    for entry in rule_list().rules:
        assert entry.severity in SEVERITIES
        assert entry.title
        assert entry.remedy


COMMAND = re.compile(r"tresnet-deploy ([a-z-]+)((?: --[a-z-]+(?: [\w-]+)?)*)")


@pytest.mark.parametrize("rule", rule_list().rules, ids=lambda each: each.rule)
def test_commands_in_a_remedy_exist_with_their_options(rule: RuleEntry) -> None:
    for name, options in COMMAND.findall(rule.remedy):
        command = root.get_command(click.Context(root), name)
        assert command is not None, name
        known = {option for each in command.params for option in each.opts}
        assert set(re.findall(r"--[a-z-]+", options)) <= known


FUNCTION = """
<ir_version: 10, opset_import: ["" : 18, "mine" : 1]>
net (float[N,4] x) => (float[N,4] y) { [call] y = mine.Twice(x) }
"""
BODY = """
<domain: "mine", opset_import: ["" : 18]>
Twice (a) => (b) { [sum] b = Add(a, a) }
"""


def test_an_operator_of_a_foreign_domain_is_found_and_one_with_a_body_is_not() -> None:
    faulty = ir.from_proto(onnx.parser.parse_model(FUNCTION))
    (found,) = (each for each in findings(faulty) if each.rule == "TRT004")
    assert found.nodes == ("call",)
    assert "'mine'" in found.message
    assert not findings(ir.from_proto(onnx.parser.parse_model(FUNCTION + BODY)))


def test_a_node_that_asks_for_a_plugin_is_found_and_one_that_does_not_is_not() -> None:
    text = FUNCTION + BODY
    ours = text.replace("mine", "tresnet")
    assert not findings(ir.from_proto(onnx.parser.parse_model(ours)))
    model = ir.from_proto(onnx.parser.parse_model(ours))
    call = model.graph[0]
    call.attributes["plugin_namespace"] = ir.AttrString("plugin_namespace", "tresnet")
    (found,) = findings(model)
    assert (found.rule, found.nodes) == ("TRT007", ("call",))


def test_faults_inside_a_function_are_found_with_the_name_of_the_call() -> None:
    text = (FUNCTION + BODY).replace("Add(a, a)", "Det(a)")
    (found,) = findings(ir.from_proto(onnx.parser.parse_model(text)))
    assert found.rule == "TRT010"
    assert found.nodes == ("sum | call (Twice)",)


def test_a_mask_of_minus_infinity_is_no_fault() -> None:
    text = "(float[N,2] x) => (float[N,2] y) { y = Add(x, w) }"
    mask = np.array([0, -np.inf], np.float32)
    assert findings(graph(text, weights={"w": mask})) == ()
    found = findings(graph(text, weights={"w": -mask}))
    assert [each.rule for each in found] == ["TRT050"]


def test_quantize_without_a_zero_point_makes_unsigned_integers() -> None:
    pair = "[q] q = QuantizeLinear(x, s) y = DequantizeLinear(q, s)"
    model = graph(quantized(pair), weights={"s": np.float32(0.1)})
    (found,) = findings(model)
    assert found.rule == "TRT040"
    assert found.message.startswith("they are unsigned")


def test_a_bfloat16_convolution_with_float_weights_is_two_types() -> None:
    text = "(bfloat16[N,4,8,8] x) => (bfloat16[N,4,8,8] y) { [conv] y = Conv(x, w) }"
    found = {each.rule: each for each in findings(graph(text, opset=22, weights=KERNEL))}
    assert found["TRT022"].message == "BFLOAT16 and FLOAT meet without a Cast"


def test_all_nodes_that_show_a_fault_are_in_one_finding() -> None:
    text = "(double[N,4] x) => (double[N,4] y) { [a] h = Relu(x) [b] y = Relu(h) }"
    (found,) = findings(graph(text))
    assert found.nodes == ("a", "b")


def test_weights_of_a_subgraph_and_its_nodes_are_looked_at() -> None:
    text = """(bool c, float[2,2] x) => (float y) {
      y = If (c) <
        then_branch = yes () => (float a) { [det] a = Det(x) },
        else_branch = no () => (float b) { b = ReduceSum <keepdims = 0> (x) }
      >
    }"""
    (found,) = (each for each in findings(graph(text)) if each.rule == "TRT010")
    assert found.nodes == ("det",)

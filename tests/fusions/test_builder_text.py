"""The builder's text is read whole or not at all, and what it says is judged by the graph."""

from __future__ import annotations

import re

import pytest

from tresnet_deploy import artifacts, fusions
from tresnet_deploy.fusions import FusionReport, GraphFacts

from .conftest import HERE, facts, golden


def report(precision: str) -> FusionReport:
    text = golden(precision)
    return fusions.parse(text, facts(text))


def origin(found: FusionReport, kind: str) -> list[tuple[str, ...]]:
    return [finding.origin for finding in found.findings if finding.kind == kind]


def test_a_kernel_has_name_type_tensors_and_origin() -> None:
    kernel = report("fp16").kernels[2]
    assert (kernel.name, kernel.kind) == ("__myl_CorrMulMax_myl0_2", "runtime_fusion")
    assert kernel.origin == ("stem.activation/LeakyRelu", "stem.conv/Conv")
    assert kernel.operators == ("LeakyRelu", "Conv")
    (read,), (written,) = kernel.inputs, kernel.outputs
    assert (read.dtype, read.shape) == ("Half", "-1,48,16,16")
    assert written.format == "(NHWC) Channel major format"
    assert kernel.constants == 2


def test_the_tactic_is_the_builders_own_word() -> None:
    found = {kernel.kind: kernel.tactic for kernel in report("fp16").kernels}
    assert found["correlation"] == "__myelin_CASK_STUB"
    assert found["kgen"].startswith("__myl_Mean_0x")


def test_fp16_fuses_convolutions_with_their_activations() -> None:
    found = report("fp16")
    assert found.totals is not None
    assert (found.totals.activated, found.totals.fused) == (2, 2)
    assert origin(found, "activation apart") == []
    assert found.totals.unfused_pairs == 0


def test_a_convolution_that_became_a_matrix_product_keeps_its_name() -> None:
    (kernel,) = (each for each in report("fp16").kernels if each.name == "__myl_FcAdd_myl0_142")
    assert kernel.origin == ("layer4.0.shortcut.project.conv/Conv",)


def test_an_activation_that_no_kernel_names_is_not_called_apart() -> None:
    """The kernel ``FcAddMulMax`` of a 1x1 convolution computes a leaky ReLU and does not say so."""
    text = golden("fp16")
    known = facts(text)
    more = GraphFacts(
        operators=known.operators,
        activations={**known.activations, "layer1.0.conv2.conv/Conv": "silent/LeakyRelu"},
    )
    found = fusions.parse(text, more)
    assert found.of("activation apart") == ()
    assert found.totals is not None
    assert (found.totals.activated, found.totals.untold) == (2, 1)


def test_convolutions_that_no_kernel_names_are_counted() -> None:
    text = golden("fp16")
    known = facts(text)
    more = GraphFacts(
        operators={**known.operators, "another/Conv": "Conv"},
        activations=known.activations,
    )
    (before, after) = (fusions.parse(text, each).totals for each in (known, more))
    assert before is not None
    assert after is not None
    assert (before.untold, after.untold) == (0, 1)


def test_int8_convolutions_hand_on_float_and_leave_the_activation_to_the_next_kernel() -> None:
    found = report("int8")
    assert found.totals is not None
    assert found.totals.fused == 0
    assert ("stem.conv/Conv", "stem.activation/LeakyRelu") in origin(found, "activation apart")
    assert ("stem.conv/Conv",) in origin(found, "float output")


def test_fp8_is_judged_like_int8() -> None:
    text = golden("int8").replace("Datatype: Int8", "Datatype: FP8")
    found = fusions.parse(text, facts(text))
    assert found.of("float output") == report("int8").of("float output")


def test_pairs_that_nothing_absorbs_are_found() -> None:
    found = report("int8")
    assert origin(found, "quantisation left") == [
        ("layer2.0.blur/BlurPool2d/QuantizeLinear",),
        ("layer2.0.shortcut.pool/AveragePool/QuantizeLinear",),
    ]
    assert found.totals is not None
    assert found.totals.unfused_pairs == 2


def test_kernels_that_compute_nothing_are_told_apart() -> None:
    found = report("fp16")
    kinds = [finding.kind for finding in found.findings]
    assert kinds == ["move", "reformat", "padding apart", "reformat"]
    assert found.totals is not None
    assert found.totals.extra_kernels == len(kinds)


def test_a_kernel_without_origin_is_placed_by_what_reads_it() -> None:
    places = [fusions.wording.place_of(each) for each in report("fp16").of("reformat")]
    assert places == ["before layer1.0.se/ReduceMean", "before head.pool/ReduceMean"]


def test_a_helper_on_the_host_is_no_kernel() -> None:
    found = report("fp16")
    assert found.totals is not None
    assert "shape_call" in {kernel.kind for kernel in found.kernels}
    assert "shape_call" not in found.totals.kinds
    assert found.totals.kernels == len(found.kernels) - 1


def test_without_the_graph_activations_are_not_judged_and_the_report_says_so() -> None:
    found = fusions.parse(golden("int8"))
    assert found.totals is not None
    assert (found.totals.activated, found.totals.fused, found.totals.untold) == (None, None, None)
    assert found.notes == ("the graph was not at hand: activations are not judged",)
    assert origin(found, "activation apart") == []
    assert found.totals.unfused_pairs == 2  # names of nodes made here end with their operator


def test_names_that_tell_no_operator_give_no_findings() -> None:
    text = re.sub(r"\[ONNX Layer: [^\]]*\]", "[ONNX Layer: node]", golden("int8"))
    found = fusions.parse(text)
    assert found.available
    assert {kernel.operators for kernel in found.kernels if kernel.origin} == {("",)}
    assert found.findings == ()


def test_each_optimisation_profile_is_judged_by_itself() -> None:
    """The kernels of a second profile come after those of the first, with its number in names."""
    text = golden("int8")
    head, _, tail = text.partition("I/O Tensors:")
    second = re.sub(r"_myl0\b", "_myl1", re.sub(r"_myl0_", "_myl1_", head.partition("\n")[2]))
    both = fusions.parse(f"{head.rstrip()}\n{second}I/O Tensors:{tail}", facts(text))
    one = report("int8")
    assert both.totals is not None
    assert one.totals is not None
    assert (one.totals.profiles, both.totals.profiles) == (1, 2)
    for name in ("kernels", "convolutions", "activated", "fused", "unfused_pairs"):
        assert getattr(both.totals, name) == 2 * getattr(one.totals, name)
    assert both.totals.untold == 0
    assert len(both.findings) == 2 * len(one.findings)
    assert "for 2 optimisation profiles" in fusions.wording.kinds(both.totals)


def test_the_report_survives_json(text: str) -> None:
    found = fusions.parse(text, facts(text))
    data = artifacts.to_json(found)
    assert artifacts.from_json(data, FusionReport, name="layers") == found


@pytest.mark.parametrize("nothing", [None, "", "\n"])
def test_no_text_is_not_available_with_the_reason(nothing: str | None) -> None:
    found = fusions.parse(nothing)
    assert not found.available
    assert found.reason == "the builder said nothing of its layers"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (("Layers:", "Kernels:"), "the builder's text lists no layers"),
        (("LayerType: kgen", "Type: kgen"), r"line 3 .* has an unknown form: Name: __myl_Cast"),
        (("Datatype: Half", "Type: Half"), r"line 3 .* describes a tensor in an unknown form"),
        (("StreamId: 0", "Stream: 0"), "line 2 .* has an unknown form"),
    ],
)
def test_a_text_of_another_form_is_not_available_and_the_line_is_quoted(
    change: tuple[str, str], reason: str
) -> None:
    found = fusions.parse(golden("fp16").replace(*change))
    assert not found.available
    assert re.match(reason, found.reason)
    assert (found.kernels, found.findings) == ((), ())


def test_a_text_that_was_cut_off_is_not_available() -> None:
    layers = golden("fp16").partition("I/O Tensors:")[0]
    line_ends = [match.end() for match in re.finditer("\n", layers)]
    for end in (*line_ends, *range(0, len(layers), 701), len(layers)):
        assert not fusions.parse(layers[:end]).available


@pytest.mark.parametrize("junk", ["\0" * 99, "Layers:", "Layers:\n\n", "{", "[]", "Name: x" * 9999])
def test_junk_is_not_available_and_never_raises(junk: str) -> None:
    assert not fusions.parse(junk).available


def test_the_document_explains_each_finding() -> None:
    text = (HERE.parents[1] / "docs" / "kernels.md").read_text("utf-8")
    rows = re.findall(r"^\| ([a-z ]+) \| (an? .*) \|$", text, re.MULTILINE)
    assert dict(rows) == dict(fusions.MEANINGS)

"""The inspector's JSON: samples made by hand after NVIDIA's migration guide, no GPU gave them."""

from __future__ import annotations

import json

import pytest

from tresnet_deploy import fusions
from tresnet_deploy.fusions import GraphFacts

NEW = {
    "Layers": [
        {
            "Name": "Reformatting CopyNode for Input Tensor 0 to stem.conv/Conv",
            "LayerType": "Reformat",
            "Inputs": [
                {"Name": "x", "Dimensions": [1, 3, 8, 8], "Format": "Linear", "Datatype": "Float"}
            ],
            "Outputs": [
                {"Name": "r", "Dimensions": [1, 3, 8, 8], "Format": "NHWC", "Datatype": "Float"}
            ],
            "TacticName": "",
            "StreamId": 0,
            "Metadata": "",
        },
        {
            "Name": "stem.conv/Conv + stem.activation/LeakyRelu",
            "LayerType": "CaskConvolution",
            "Inputs": [
                {"Name": "r", "Dimensions": [1, 3, 8, 8], "Format": "NHWC", "Datatype": "Int8"}
            ],
            "Outputs": [
                {"Name": "y", "Dimensions": [1, 8, 8, 8], "Format": "NHWC", "Datatype": "Int8"}
            ],
            "ParameterType": "Convolution",
            "TacticName": "sm80_xmma_fprop_implicit_gemm_i8i8_i8i32_f32",
            "Metadata": "[ONNX Layer: stem.conv/Conv]\x1e[ONNX Layer: stem.activation/LeakyRelu]",
        },
    ],
    "I/O Tensors": [{"Name": "x", "IOMode": "Input", "DataType": "Float"}],
}
FACTS = GraphFacts(
    operators={"stem.conv/Conv": "Conv", "stem.activation/LeakyRelu": "LeakyRelu"},
    activations={"stem.conv/Conv": "stem.activation/LeakyRelu"},
)


def test_the_schema_of_tensorrt_11_is_read() -> None:
    found = fusions.parse(json.dumps(NEW), FACTS)
    assert found.source == "engine inspector"
    reformat, convolution = found.kernels
    assert convolution.origin == ("stem.conv/Conv", "stem.activation/LeakyRelu")
    assert convolution.tactic.startswith("sm80_xmma")
    assert (reformat.inputs[0].shape, reformat.inputs[0].dtype) == ("1,3,8,8", "Float")


def test_fused_activations_and_reformats_are_judged_alike() -> None:
    found = fusions.parse(json.dumps(NEW), FACTS)
    assert found.totals is not None
    assert (found.totals.activated, found.totals.fused) == (1, 1)
    assert [finding.kind for finding in found.findings] == ["reformat"]


def test_the_schema_of_tensorrt_10_is_read() -> None:
    old = {
        "Layers": [
            {
                "Name": "conv",
                "LayerType": "CaskConvolution",
                "Inputs": [{"Name": "x", "Dimensions": [1], "Format/Datatype": "Half"}],
                "Metadata": "[ONNX Layer: conv]",
            }
        ],
        "Bindings": ["x", "y"],
    }
    (kernel,) = fusions.parse(json.dumps(old)).kernels
    assert kernel.reads == ("Half",)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ({"Layers": ["conv", "relu"]}, "names layers and tells no more"),
        ({"Layers": []}, "lists no layers"),
        ({"Kernels": []}, "has an unknown schema"),
        ({"Layers": [{"Name": 3, "LayerType": "x"}]}, "has an unknown schema"),
        ({"Layers": {"a": 1}}, "has an unknown schema"),
    ],
)
def test_json_of_another_form_is_not_available_with_the_reason(
    data: dict[str, object], reason: str
) -> None:
    found = fusions.parse(json.dumps(data))
    assert not found.available
    assert reason in found.reason


def test_json_without_end_is_not_available() -> None:
    assert not fusions.parse('{"Layers":' + "[" * 100_000).available

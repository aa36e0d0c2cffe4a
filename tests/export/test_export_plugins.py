"""An export that asks for TensorRT's plugins is a graph that runs everywhere."""

import onnx
from tresnet_deploy.plugins import wanted_by

from tresnet.checkpoint import Checkpoint
from tresnet_deploy import graph_files

from .conftest import Export


def test_an_export_that_asks_for_plugins_is_proved_like_any_other(
    checkpoint: Checkpoint, make: Export
) -> None:
    artifact = make(checkpoint, operators="plugin", dynamic_size=True)
    assert artifact.settings["operators"] == "plugin"
    assert artifact.verified
    model = graph_files.load(artifact.path)
    asked = [node.name for node in model.graph if node.domain == "tresnet"]
    assert list(wanted_by(model)) == asked
    assert len(asked) == 4
    assert {("tresnet", "SpaceToDepth", ""), ("tresnet", "BlurPool2d", "")} == set(model.functions)
    onnx.checker.check_model(str(artifact.path), full_check=True)

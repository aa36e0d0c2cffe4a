"""compare --blame as people type it."""

import json
from pathlib import Path

from tresnet_deploy.contracts import Artifact

from .conftest import Command, place


def test_every_block_has_a_ratio_in_text_and_json(
    command: Command, demo_graph: Artifact, tmp_path: Path
) -> None:
    graph = place(demo_graph, tmp_path)
    done = command("compare", graph, "--blame", "--samples", 2)
    assert done.code == 0
    assert "SNR of each block's output against eager PyTorch in dB, 2 images" in done.out
    for block in ("stem", "layer1.0", "layer3.10", "head"):
        assert f"  {block} " in done.out
    found = json.loads((tmp_path / "parity.json").read_text("utf-8"))
    assert found["block_images"] == 2
    for stage in found["stages"]:
        assert len(stage["blocks"]) == 23
        assert stage["blocks"][0]["block"] == "stem"


def test_without_it_nothing_is_said_of_blocks(
    command: Command, demo_graph: Artifact, tmp_path: Path
) -> None:
    graph = place(demo_graph, tmp_path)
    done = command("compare", graph, "--samples", 2)
    assert done.code == 0
    assert "SNR of each block" not in done.out
    found = json.loads((tmp_path / "parity.json").read_text("utf-8"))
    assert found["block_images"] == 0


def test_int8_alone_cannot_be_blamed_and_no_report_is_left(
    command: Command, demo_int8: Artifact, tmp_path: Path
) -> None:
    graph = place(demo_int8, tmp_path)
    done = command("compare", graph, "--blame", "--samples", 2)
    assert done.code == 2
    assert "blame needs the FP32 ONNX file beside the engine" in done.err
    assert not (tmp_path / "parity.json").exists()

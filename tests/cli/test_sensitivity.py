"""sensitivity as people type it: what it says, what it leaves, and what it refuses how."""

import json
from pathlib import Path

import pytest

from tresnet_deploy.contracts import Artifact

from .conftest import Command, place

FEW = ("--calibration-samples", 8, "--held-out-samples", 4, "--only", "stem", "--only", "layer1.0")


def test_blocks_are_ranked_and_a_page_is_left(command: Command, folder: Path) -> None:
    done = command("sensitivity", "-o", folder, *FEW)
    assert done.code == 0
    assert "in INT8 on 4 images: Fashion-MNIST test images in the package" in done.out
    assert "layer1.0" in done.out
    assert f"saved: {folder}/sensitivity.json, and as a page {folder}/sensitivity.html" in done.err
    assert "next: tresnet-deploy build-engine --int8 --min-agreement 99%" in done.err
    assert "What each block costs in INT8" in (folder / "sensitivity.html").read_text("utf-8")
    again = command("sensitivity", "-o", folder, *FEW, "--format", "json", "-q")
    assert again.err == ""
    found = json.loads(again.out)
    assert found["schema_version"] == 1
    assert [effect["name"] for effect in found["effects"]] == ["stem", "layer1.0"]
    assert found == json.loads((folder / "sensitivity.json").read_text("utf-8"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("--only", "layer9.9"),
            "--only names 'layer9.9', which is nothing that is quantised here",
        ),
        (("--by", "channel"), "'channel' is not one of 'block', 'layer'"),
        (("--held-out", "/nowhere"), "/nowhere"),
        (("--exclude", "nothing_like_it"), "matches none of the"),
    ],
)
def test_a_wrong_request_is_one_error(
    command: Command, folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    before = sorted(folder.glob("[!.]*"))
    done = command(
        "sensitivity", "-o", folder, "--calibration-samples", 8, "--held-out-samples", 2, *arguments
    )
    assert done.code == 2
    assert message in done.err.replace("\n", " ")
    assert sorted(folder.glob("[!.]*")) == before, "refused before any work"


def test_a_quantised_graph_is_refused(
    command: Command, tmp_path: Path, demo_int8: Artifact
) -> None:
    done = command("sensitivity", place(demo_int8, tmp_path), "-o", tmp_path)
    assert done.code == 2
    assert "is no FP32 graph but int8; its INT8 form is made from FP32" in done.err

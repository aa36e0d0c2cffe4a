"""A tiny ONNX classifier with its sidecar, and images that it tells apart: nothing to train."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

from tresnet_deploy import artifacts, build
from tresnet_deploy.cli import main
from tresnet_deploy.contracts import Artifact, Labels, Preprocess, Source, TensorSpec

SIDE_PX = 16
NAMES = ("ant", "bee", "cat", "dog", "eel", "fox")
EDGES = np.cumsum([0, *(len(part) for part in np.array_split(np.arange(SIDE_PX), len(NAMES)))])


class Finished:
    """Exit code and output of one command."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


Command = Callable[..., Finished]


@pytest.fixture
def command(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Command:
    """Run ``tresnet-deploy`` in this process."""

    def run(*arguments: object) -> Finished:
        monkeypatch.setattr(sys, "excepthook", sys.excepthook)
        with pytest.raises(SystemExit) as stopped:
            main([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        code = stopped.value.code
        assert isinstance(code, int)
        return Finished(code, out, err)

    return run


def place(artifact: Artifact, folder: Path) -> Path:
    """Copy ``artifact`` and its sidecar into ``folder``; return where it lies."""
    folder.mkdir(exist_ok=True)
    for path in (artifact.path, artifacts.sidecar_of(artifact.path)):
        shutil.copy(path, folder)
    return folder / artifact.path.name


@pytest.fixture
def folder(demo_graph: Artifact, tmp_path: Path) -> Path:
    """A folder of artefacts with the demo's FP32 graph."""
    return place(demo_graph, tmp_path / "deploy").parent


def save_classifier(path: Path, *, labels: Labels, noise: float = 0.0) -> Artifact:
    """Save a graph whose class c is the brightness of stripe c, and its sidecar."""
    weights = np.zeros((SIDE_PX, len(NAMES)), np.float32)
    for index in range(len(NAMES)):
        weights[EDGES[index] : EDGES[index + 1], index] = 10 / (EDGES[index + 1] - EDGES[index])
    weights += np.random.default_rng(0).normal(scale=noise, size=weights.shape).astype(np.float32)
    nodes = [
        helper.make_node("ReduceMean", ["images", "axes"], ["columns"], keepdims=0),
        helper.make_node("MatMul", ["columns", "weights"], ["logits"]),
    ]
    graph = helper.make_graph(
        nodes,
        "stripes",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 3, SIDE_PX, SIDE_PX])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["n", len(NAMES)])],
        [
            numpy_helper.from_array(np.array([1, 2], np.int64), "axes"),
            numpy_helper.from_array(weights, "weights"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    described = Artifact(
        path=path,
        kind="onnx",
        step="export",
        sha256="",
        architecture="tresnet_m",
        precision="fp32",
        inputs=(TensorSpec(name="images", dtype="float32", shape=("n", 3, SIDE_PX, SIDE_PX)),),
        outputs=(TensorSpec(name="logits", dtype="float32", shape=("n", len(NAMES))),),
        preprocess=Preprocess(height_px=SIDE_PX, width_px=SIDE_PX, resize="squish"),
        labels=labels,
        source=Source(kind="random", location="", sha256="0" * 64, variant="m", seed=0),
    )
    with artifacts.publishing(path, overwrite=False) as staging:
        onnx.save(model, staging.path)
        return staging.finish(described)


@pytest.fixture(scope="session")
def classifier(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """An ONNX artefact of six classes."""
    path = tmp_path_factory.mktemp("stripes") / "stripes.onnx"
    return save_classifier(path, labels=Labels(classes=len(NAMES), names=NAMES))


@pytest.fixture(scope="session")
def multi_label_classifier(tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """The same network, where an image may show several classes."""
    path = tmp_path_factory.mktemp("several") / "several.onnx"
    labels = Labels(classes=len(NAMES), names=NAMES, multi_label=True)
    return save_classifier(path, labels=labels)


def draw(path: Path, *bright: int, seed: int = 0) -> None:
    """Save an image whose stripes of the classes ``bright`` are brighter than the others."""
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, 100, (SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
    for index in bright:
        pixels[:, EDGES[index] : EDGES[index + 1]] += np.uint8(100)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.fixture(scope="session")
def class_folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five images of each class in its folder; one of the ants looks like a bee."""
    folder = tmp_path_factory.mktemp("class_folders")
    for index, name in enumerate(NAMES):
        for number in range(5):
            shown = 1 if (index, number) == (0, 4) else index
            draw(folder / name / f"{number}.png", shown, seed=10 * index + number)
    return folder


@pytest.fixture(scope="session")
def labelled_table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images that show two classes each, listed in labels.csv."""
    folder = tmp_path_factory.mktemp("several_labels")
    rows = []
    for number in range(12):
        pair = sorted({number % 6, (number + 1 + number // 6) % 6})
        draw(folder / f"{number:02d}.png", *pair, seed=number)
        rows.append(",".join((f"{number:02d}.png", *(NAMES[index] for index in pair))))
    (folder / "labels.csv").write_text("\n".join(rows), "utf-8")
    return folder


@pytest.fixture
def bf16_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a backend for bf16, as hints suggest it only where one runs."""
    monkeypatch.setattr(build, "default_backend", lambda _precision: ("openvino", "fast"))

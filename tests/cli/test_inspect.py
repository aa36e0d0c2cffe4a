"""``inspect`` says what a file is, in text and JSON, and needs no PyTorch for engines."""

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import onnx
import onnx.parser
import pytest

from tresnet import create
from tresnet.saving import save_miil
from tresnet_deploy import artifacts
from tresnet_deploy.contracts import Artifact, Batch, FileDigest


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "mine.safetensors"
    model = create("m", width_factor=0.25, classes=3, norm="batchnorm")
    save_miil(model, path, class_names=("cat", "dog", "owl"))
    return path


@pytest.fixture
def engine(classifier: Artifact, tmp_path: Path) -> Artifact:
    described = dataclasses.replace(
        classifier,
        kind="engine",
        step="build-engine",
        precision="int8",
        backend="no-such-runtime",
        device="Test CPU",
        batch=Batch(min=1, opt=4, max=8),
        settings={"threads": 2},
        parents=(FileDigest(name="stripes.onnx", sha256=classifier.sha256),),
    )
    with artifacts.publishing(tmp_path / "stripes.plan", overwrite=False) as staging:
        staging.path.write_bytes(b"engine")
        return staging.finish(described)


def fact(text: str, name: str) -> str:
    (line,) = (line for line in text.splitlines() if line.startswith(f"{name}  "))
    return line.removeprefix(name).strip()


def test_a_checkpoint_shows_its_network_and_every_decision_with_its_reason(
    command, checkpoint: Path
) -> None:
    done = command("inspect", checkpoint)
    assert (done.code, done.err) == (0, "")
    assert fact(done.out, "kind") == "checkpoint, miil layout, flat"
    assert fact(done.out, "network").endswith("with a linear head of 3 classes")
    assert fact(done.out, "class names") == "cat, dog, owl"
    assert fact(done.out, "gammas").startswith("absolute: ")
    assert fact(done.out, "gammas stored").startswith("0.0 % negative, ")
    assert fact(done.out, "parameters").endswith("million, all finite")
    assert "[0, 1], RGB" in fact(done.out, "images")


def test_our_onnx_file_shows_its_origin_and_operators(command, classifier: Artifact) -> None:
    done = command("inspect", classifier.path)
    assert done.code == 0
    assert fact(done.out, "kind") == "ONNX file, IR 10, opsets onnx 18"
    assert fact(done.out, "inputs") == "images float32 [n, 3, 16, 16]"
    assert fact(done.out, "weights from") == "random m"
    assert fact(done.out, "classes").startswith("6 ant, bee, cat, dog, eel, ... (6 in all)")
    assert "ReduceMean" in done.out


def test_a_foreign_onnx_file_is_said_to_tell_nothing_of_images(command, tmp_path: Path) -> None:
    text = (
        '<ir_version: 10, opset_import: ["" : 18]> net (float[2] x) => (float[2] y) { y = Relu(x) }'
    )
    onnx.save(onnx.parser.parse_model(text), tmp_path / "foreign.onnx")
    done = command("inspect", tmp_path / "foreign.onnx")
    assert done.code == 0
    assert fact(done.out, "origin").startswith("not made by tresnet-deploy")


def test_an_engine_shows_origin_runtime_and_verdict(command, engine: Artifact) -> None:
    out = command("inspect", engine.path).out
    assert fact(out, "kind") == "int8 engine of no-such-runtime"
    assert fact(out, "device") == "Test CPU"
    assert fact(out, "batch") == "1 to 8, best at 4"
    assert fact(out, "made from") == "stripes.onnx (missing)"
    assert fact(out, "runs here").startswith("no: no backend is called 'no-such-runtime'")
    assert fact(out, "parity") == "not proven: tresnet-deploy compare"
    assert fact(out, "settings") == "threads 2"


@pytest.mark.parametrize("kind", ["checkpoint", "onnx", "engine"])
def test_json_tells_the_kind_and_a_schema_version(
    command, checkpoint: Path, classifier: Artifact, engine: Artifact, kind: str
) -> None:
    paths = {"checkpoint": checkpoint, "onnx": classifier.path, "engine": engine.path}
    found = json.loads(command("inspect", paths[kind], "--format", "json").out)
    assert (found["kind"], found["schema_version"]) == (kind, 1)


def test_engines_and_graphs_need_no_torch_and_checkpoints_say_that_they_do(
    checkpoint: Path, classifier: Artifact, engine: Artifact
) -> None:
    program = "import sys; sys.modules['torch'] = None\nfrom tresnet_deploy.cli import main\nmain()"
    codes, errors = [], ""
    for path in (classifier.path, engine.path, checkpoint):
        done = subprocess.run(
            [sys.executable, "-c", program, "inspect", str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
        codes.append(done.returncode)
        errors += done.stderr
    assert codes == [0, 0, 3]
    assert errors.startswith("error: loading weights needs PyTorch")
    assert errors.endswith("try: pip install 'tresnet-deploy[pytorch]'\n")


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("cut.onnx", b"\x08\x0a\x12", "cut.onnx is no ONNX model"),
        ("cut.pth", b"PK\x03\x04", "cut.pth is broken or truncated"),
        ("lonely.plan", b"engine", "lonely.plan has no sidecar"),
    ],
)
def test_a_bad_file_is_one_error_with_code_2(
    command, tmp_path: Path, name: str, data: bytes, message: str
) -> None:
    (tmp_path / name).write_bytes(data)
    done = command("inspect", tmp_path / name)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith(f"error: {tmp_path}/{message}")
    assert "Traceback" not in done.err


def test_a_missing_file_is_one_error_with_code_2(command, tmp_path: Path) -> None:
    done = command("inspect", tmp_path / "nothing.onnx")
    assert (done.code, done.err) == (2, f"error: there is no file {tmp_path}/nothing.onnx\n")

"""build-engine as people type it: what it takes, what it says, and what it refuses how."""

import json
import sys
from pathlib import Path

import pytest

from tresnet_deploy import artifacts
from tresnet_deploy.contracts import Artifact

from .conftest import Command, place

FEW = ("--calibration-samples", "32")  # as the fixture demo_int8 is made


def test_int8_as_typed_calibrates_builds_and_proves(command: Command, folder: Path) -> None:
    done = command("build-engine", "--int8", "-o", folder, *FEW)
    assert done.code == 0
    assert f"taking the newest FP32 graph, {folder}/tresnet.onnx" in done.err
    assert "for openvino: the fastest INT8 engine for CPUs" in done.err
    assert f"next: tresnet-deploy compare --output {folder}" in done.err
    assert "graph      tresnet.int8.onnx" in done.out
    assert "check      cosine 0.99" in done.out
    assert f"saved: {folder}/tresnet.int8.openvino.xml" in done.out
    engine = artifacts.read(folder / "tresnet.int8.openvino.xml")
    assert engine.precision == "int8"
    assert engine.labels.names[-1] == "Ankle boot"


def test_a_second_backend_takes_the_same_int8_graph(
    command: Command, folder: Path, demo_int8: Artifact
) -> None:
    place(demo_int8, folder)
    done = command(
        "build-engine", "--int8", "--backend", "onnxruntime", "-o", folder, *FEW, "--threads", 1
    )
    assert done.code == 0
    assert "tresnet.int8.onnx, made of this graph by the same settings" in done.err
    assert "options    threads 1, provider cpu" in done.out


def test_json_is_the_artefact_and_nothing_else(command: Command, folder: Path) -> None:
    done = command("build-engine", "-o", folder, "--batch", "1:2:4", "--format", "json", "-q")
    assert done.code == 0
    assert done.err == ""
    found = json.loads(done.out)
    assert found["batch"] == {"min": 1, "opt": 2, "max": 4}
    assert (found["kind"], found["precision"], found["backend"]) == ("engine", "fp32", "openvino")


def test_an_int8_graph_is_built_in_its_own_precision(
    command: Command, tmp_path: Path, demo_int8: Artifact
) -> None:
    done = command("build-engine", place(demo_int8, tmp_path), "-o", tmp_path)
    assert done.code == 0
    assert "precision  int8" in done.out


def test_without_an_onnx_file_the_error_says_how_to_get_one(
    command: Command, tmp_path: Path
) -> None:
    done = command("build-engine", "--int8", "-o", tmp_path)
    assert done.code == 2
    assert done.err == (
        f"error: there is no FP32 ONNX file in {tmp_path}/\n"
        f"  try: tresnet-deploy export --variant l --output {tmp_path}\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--int8", "--bf16"), "an engine has one precision, not bf16 and int8"),
        (("--int8", "--precision", "fp32"), "an engine has one precision, not fp32 and int8"),
        (("--method", "mse"), "--method changes nothing here: no INT8 graph is made"),
        (("--precision", "fp32", "--seed", "0"), "--seed changes nothing here"),
        (("--backend", "tensorflow"), "'tensorflow' is not one of"),
        (("--fp16", "--backend", "pytorch"), "try: --backend onnxruntime makes them"),
        (("--int8", "--backend", "pytorch"), "pytorch does not make int8 engines at all"),
        (("--option", "threads"), "--option 'threads' is not NAME=VALUE"),
        (("-O", "threads=1", "--threads", "2"), "the option threads is given twice"),
        (
            ("-O", "speed=9"),
            "openvino has no option 'speed'; it has: inference_precision, overflow_safe, threads",
        ),
        (("-O", "threads=-1"), "an option of the backend openvino does not fit"),
        (("-O", "threads=99999999999"), "an option of the backend openvino does not fit"),
        (("-O", "inference_precision=f8"), "an option of the backend openvino does not fit"),
        (("--batch", "4:2:1"), "must rise from 1 or more"),
        (
            ("-O", "inference_precision=f16"),
            "inference_precision=f16 does not go with fp32 engines",
        ),
        (
            ("--int8", "--dry-run", "--max-drop", "0.0001%", "--held-out", "nowhere"),
            "the image folder nowhere cannot be read",
        ),
        (("--int8", "--dry-run", "--exclude", "nosuch"), "nosuch"),
        (("--int8", "--method", "magic"), "no calibration method is called 'magic'"),
    ],
)
def test_requests_that_contradict_themselves_are_refused(
    command: Command, folder: Path, arguments: tuple[str, ...], message: str
) -> None:
    before = sorted(folder.iterdir())
    done = command("build-engine", *arguments, "-o", folder)
    assert done.code == 2
    assert message in done.err
    assert sorted(folder.iterdir()) == before


def test_a_missing_runtime_ends_with_3_and_how_to_install_it(
    command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("tresnet_deploy.backends.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "openvino", None)
    done = command("build-engine", "--backend", "openvino", "-o", folder)
    assert done.code == 3
    assert "try: pip install 'tresnet-deploy[openvino]'" in done.err


def test_the_next_best_backend_is_taken_where_the_best_is_missing(
    command: Command, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.startswith("tresnet_deploy.backends.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "openvino", None)
    done = command("build-engine", "-o", folder)
    assert done.code == 0
    assert "openvino is passed over: the backend openvino is not usable here" in done.err
    assert (folder / "tresnet.fp32.onnxruntime.onnx").is_file()


def test_an_engine_is_replaced_only_on_request(command: Command, folder: Path) -> None:
    first = command("build-engine", "--backend", "onnxruntime", "-o", folder)
    again = command("build-engine", "--backend", "onnxruntime", "-o", folder)
    replaced = command("build-engine", "--backend", "onnxruntime", "-o", folder, "--overwrite")
    assert (first.code, again.code, replaced.code) == (0, 2, 0)
    assert "exists already" in again.err


def test_an_engine_is_no_graph(command: Command, folder: Path) -> None:
    command("build-engine", "--backend", "onnxruntime", "-o", folder)
    engine = folder / "tresnet.fp32.onnxruntime.onnx"
    done = command("build-engine", engine, "--backend", "openvino", "-o", folder)
    assert done.code == 2
    assert "engines are built from ONNX files" in done.err


def test_a_graph_of_somebody_else_is_refused(command: Command, folder: Path) -> None:
    changed = folder / "tresnet.onnx"
    changed.write_bytes(changed.read_bytes() + b"\0")
    done = command("build-engine", "-o", folder)
    assert done.code == 2
    assert "is not the file that tresnet.onnx.json describes" in done.err

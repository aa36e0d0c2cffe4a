"""``preflight`` prints findings, ends as --fail-on says, and lists its rules."""

import json
import re
import subprocess
import sys
from pathlib import Path

import onnx
import onnx.parser
import pytest

from tresnet_deploy.contracts import Artifact

ROOT = Path(__file__).resolve().parents[2]
FAULTY = """
<ir_version: 10, opset_import: ["" : 18]>
net (float[2,2] x) => (float y) { [det] y = Det(x) }
"""
WARNED = """
<ir_version: 10, opset_import: ["" : 18]>
net (float[2,2] x) => (float[2,2] y) { y = Relu(x) }
"""


def saved(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "net.onnx"
    onnx.save(onnx.parser.parse_model(text), path)
    return path


def test_a_clean_graph_ends_with_0_and_says_what_comes_next(command, classifier: Artifact) -> None:
    done = command("preflight", classifier.path, "--no-parser")
    assert done.code == 0
    assert f"{classifier.path}: nothing found by " in done.out
    assert "next: tresnet-deploy build-engine" in done.err


def test_an_error_ends_with_1_and_shows_node_and_remedy(command, tmp_path: Path) -> None:
    done = command("preflight", saved(tmp_path, FAULTY), "--no-parser")
    assert done.code == 1
    assert "error    TRT010  operator that TensorRT does not have" in done.out
    assert "TensorRT has no Det: det" in done.out
    assert "remedy: replace it" in done.out
    assert done.err.startswith("error: preflight found 1 error and 1 warning in ")


@pytest.mark.parametrize(
    ("text", "least", "code"),
    [
        (FAULTY, "never", 0),
        (FAULTY, "error", 1),
        (WARNED, "error", 0),
        (WARNED, "warning", 1),
    ],
)
def test_fail_on_sets_the_least_finding_that_fails(
    command, tmp_path: Path, text: str, least: str, code: int
) -> None:
    path = saved(tmp_path, text)
    assert command("preflight", path, "--no-parser", "--fail-on", least).code == code


def test_named_gpus_decide_what_is_a_fault(command, classifier: Artifact) -> None:
    ask = ("preflight", classifier.path, "--no-parser", "--compute-capability")
    assert command(*ask, "8.6").code == 0
    done = command(*ask, "sm75")
    assert done.code == 1
    assert "TRT024" in done.out
    assert "compute capability 7.5" in done.out


@pytest.mark.parametrize(
    ("targets", "backend"),
    [
        ((), "--backend tensorrt-rtx"),
        (("8.9", "8.6", "8.9"), "--compute-capability 8.9 --compute-capability 8.6"),
        (("9.0",), "--backend tensorrt, on such a GPU"),
    ],
)
def test_the_next_command_builds_for_the_named_gpus(
    command, classifier: Artifact, targets: tuple[str, ...], backend: str
) -> None:
    named = [part for each in targets for part in ("--compute-capability", each)]
    done = command("preflight", classifier.path, "--no-parser", *named)
    assert done.err.rstrip().endswith(backend)


def test_after_errors_no_build_is_suggested(command, tmp_path: Path) -> None:
    path = saved(tmp_path, FAULTY)
    assert command("preflight", path, "--no-parser", "--fail-on", "never").err == ""


def test_json_holds_everything(command, tmp_path: Path) -> None:
    done = command("preflight", saved(tmp_path, FAULTY), "--no-parser", "--format", "json")
    report = json.loads(done.out)
    assert report["schema_version"] == 1
    assert [each["rule"] for each in report["findings"]] == ["TRT010", "TRT030"]
    assert report["findings"][0]["nodes"] == ["det"]


def test_rules_are_listed_as_text_and_json(command) -> None:
    rows = command("preflight", "--rules").out.splitlines()[1:]
    found = json.loads(command("preflight", "--rules", "--format", "json").out)["rules"]
    assert [row.split()[0] for row in rows] == [each["rule"] for each in found]


def test_the_documents_table_is_the_list_of_rules(command) -> None:
    found = json.loads(command("preflight", "--rules", "--format", "json").out)["rules"]
    text = (ROOT / "docs" / "preflight.md").read_text("utf-8")
    rows = re.findall(r"^\| (TRT\d+) \| (\w+) \| (.*?) \| (.*?) \|$", text, re.MULTILINE)
    assert rows == [(r["rule"], r["severity"], r["title"], r["remedy"]) for r in found]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "Missing argument '[ONNX]'"),
        (("nothing.onnx",), "there is no file nothing.onnx"),
        (("nothing.onnx", "--compute-capability", "ampere"), "'ampere' is no compute capability"),
        (("nothing.onnx", "--compute-capability", "99.9"), "knows GPUs from 7.5 to 12.1, not 99.9"),
        (("nothing.onnx", "--fail-on", "info"), "'info' is not one of"),
    ],
)
def test_a_malformed_request_is_one_error_with_code_2(
    command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done = command("preflight", *arguments)
    assert (done.code, done.out) == (2, "")
    assert message in done.err
    assert "Traceback" not in done.err


def test_no_torch_is_needed(classifier: Artifact) -> None:
    program = "import sys; sys.modules['torch'] = None\nfrom tresnet_deploy.cli import main\nmain()"
    done = subprocess.run(
        [sys.executable, "-c", program, "preflight", str(classifier.path), "--no-parser"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

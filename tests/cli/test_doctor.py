"""``doctor`` says what the machine can run; its exit code says whether it can run anything."""

import json
from pathlib import Path

import pytest

from tresnet_deploy.contracts import Probe
from tresnet_deploy.inspection import BackendState, MachineReport

WORKING = BackendState(
    name="fast",
    probe=Probe(
        usable=True, reason="", version="2.1-77-abc", devices=("CPU",), precisions=("fp32", "int8")
    ),
)
MISSING = BackendState(
    name="gone",
    probe=Probe(usable=False, reason="no module named gone"),
    remedy="pip install 'tresnet-deploy[gone]'",
)


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch):
    """Put a machine with the given backends in place of this one."""

    def install(*backends: BackendState) -> None:
        report = MachineReport(
            environment={"processor": "Test CPU", "Python": "3.11"},
            folders={"artefacts": "deploy (1.0 GiB free)"},
            backends=backends,
            missing={"onnxscript (export)": "pip install onnxscript"},
        )
        monkeypatch.setattr("tresnet_deploy.inspection.examine", lambda _folder: report)

    return install


def test_each_backend_shows_its_precisions_version_and_state(command, machine) -> None:
    machine(WORKING, MISSING)
    done = command("doctor")
    assert done.code == 0
    rows = {line.split()[0]: line for line in done.out.splitlines() if line.strip()}
    assert rows["fast"].split() == ["fast", "yes", "-", "-", "yes", "-", "2.1", "CPU", "usable"]
    assert rows["gone"].endswith("no module named gone")


def test_what_is_missing_comes_with_its_remedy(command, machine) -> None:
    machine(WORKING, MISSING)
    out = command("doctor").out
    assert "backend gone         pip install 'tresnet-deploy[gone]'" in out
    assert "onnxscript (export)  pip install onnxscript" in out


def test_no_usable_backend_ends_with_3_after_the_report(command, machine) -> None:
    machine(MISSING)
    done = command("doctor")
    assert done.code == 3
    assert "Test CPU" in done.out
    assert done.err == (
        "error: no backend is usable here\n  try: pip install 'tresnet-deploy[all-cpu]'\n"
    )


def test_json_holds_the_same_with_a_schema_version(command, machine) -> None:
    machine(WORKING, MISSING)
    found = json.loads(command("doctor", "--format", "json").out)
    assert found["schema_version"] == 1
    assert found["backends"][0]["probe"]["precisions"] == ["fp32", "int8"]
    assert found["environment"]["processor"] == "Test CPU"


def test_this_very_machine_can_be_examined(command, tmp_path: Path) -> None:
    done = command("doctor", "-q", "--output", tmp_path / "deploy")
    assert done.code == 0
    assert "openvino" in done.out
    assert "GiB free" in done.out
    assert done.err == ""
    assert not (tmp_path / "deploy").exists()

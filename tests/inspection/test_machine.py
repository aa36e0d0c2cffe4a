"""What doctor finds: backends that run, backends that do not and why, and room for files."""

import sys
from pathlib import Path

import pytest

from tresnet_deploy.inspection import examine, machine
from tresnet_deploy.registry import BACKENDS, Folder


@pytest.fixture
def backends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two backends in place of the real ones: one that runs, one whose runtime is missing."""
    package = tmp_path / "engines"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "missing.py").write_text("import no_such_runtime")
    (package / "working.py").write_text(
        "from tresnet_deploy.contracts import Probe\n"
        "def probe():\n"
        "    return Probe(usable=True, reason='', version='1.0', precisions=('fp32',))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.split(".")[0] == "engines"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(machine, "BACKENDS", Folder("engines", "backend", optional=True))


@pytest.mark.usefixtures("backends")
def test_a_working_and_a_missing_backend_are_told_apart(tmp_path: Path) -> None:
    report = examine(tmp_path)
    missing, working = report.backends
    assert working.probe.usable
    assert not missing.probe.usable
    assert "no_such_runtime" in missing.probe.reason
    assert missing.remedy == "pip install 'tresnet-deploy[missing]'"
    assert report.usable


def test_an_unknown_backend_is_not_usable() -> None:
    assert not machine.probe("no-such-backend").probe.usable


@pytest.mark.parametrize("name", BACKENDS.names())
def test_every_backend_answers_a_probe(name: str) -> None:
    state = machine.probe(name)
    assert state.probe.usable or state.probe.reason
    assert not (state.probe.usable and state.remedy)


@pytest.mark.usefixtures("backends")
def test_folders_that_do_not_exist_yet_report_the_room_where_they_would_be(tmp_path: Path) -> None:
    folders = examine(tmp_path / "not" / "yet" / "there").folders
    assert "GiB free" in folders["artefacts"]


@pytest.mark.usefixtures("backends")
def test_packages_that_are_not_installed_come_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "_OPTIONAL", (("no_such_package", "nothing", "pip install it"),))
    assert examine(tmp_path).missing == {"no_such_package (nothing)": "pip install it"}

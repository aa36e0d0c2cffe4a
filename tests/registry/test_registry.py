"""A folder is a registry: names come from files, and a missing runtime is one error with a hint."""

import sys
from pathlib import Path

import pytest

from tresnet_deploy.errors import UnavailableError, UsageError
from tresnet_deploy.registry import BACKENDS, OBSERVERS, OPERATORS, PASSES, Folder


@pytest.fixture
def family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    package = tmp_path / "zoo"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "_shared.py").write_text("")
    (package / "good_one.py").write_text("VALUE = 1")
    (package / "runtime_missing.py").write_text("import no_such_runtime")
    (package / "library_missing.py").write_text("raise OSError('libfoo.so: cannot open')")
    (package / "our_fault.py").write_text("from tresnet_deploy.contracts import NoSuchType")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in [name for name in sys.modules if name.split(".")[0] == "zoo"]:
        monkeypatch.delitem(sys.modules, name)
    return "zoo"


def test_names_are_the_public_files_with_dashes_and_none_is_imported(family: str) -> None:
    names = Folder(family, "animal").names()
    assert names == ("good-one", "library-missing", "our-fault", "runtime-missing")
    assert "zoo.good_one" not in sys.modules


def test_a_member_is_loaded_by_its_command_line_name(family: str) -> None:
    assert vars(Folder(family, "animal").load("good-one"))["VALUE"] == 1


@pytest.mark.parametrize("name", ["bad", "_shared", "good_one", "../os", "zoo.good_one", ""])
def test_an_unknown_name_lists_the_known_ones(family: str, name: str) -> None:
    with pytest.raises(UsageError, match="there are: good-one") as caught:
        Folder(family, "animal").load(name)
    assert f"no animal is called {name!r}" in caught.value.message


@pytest.mark.parametrize(
    ("name", "why"), [("runtime-missing", "no_such_runtime"), ("library-missing", "libfoo")]
)
def test_a_missing_runtime_says_why_and_how_to_install_it(family: str, name: str, why: str) -> None:
    with pytest.raises(UnavailableError, match=why) as caught:
        Folder(family, "backend", optional=True).load(name)
    assert caught.value.hints == (f"pip install 'tresnet-deploy[{name}]'",)
    assert caught.value.exit_code == 3


def test_a_fault_of_our_own_is_not_passed_off_as_a_missing_runtime(family: str) -> None:
    with pytest.raises(ImportError, match="NoSuchType"):
        Folder(family, "backend", optional=True).load("our-fault")


def test_a_missing_import_of_a_required_family_is_a_fault(family: str) -> None:
    with pytest.raises(ImportError, match="no_such_runtime"):
        Folder(family, "animal").load("runtime-missing")


@pytest.mark.parametrize("folder", [BACKENDS, PASSES, OBSERVERS, OPERATORS], ids=lambda f: f.family)
def test_every_real_family_can_be_listed(folder: Folder) -> None:
    assert all(name == name.lower() for name in folder.names())

"""A folder appears whole or not at all, and somebody else's is never replaced."""

from pathlib import Path

import pytest

from tresnet_deploy import folders
from tresnet_deploy.errors import UnavailableError, UsageError

MARKER = "manifest"


def publish(target: Path, text: str, *, overwrite: bool = False) -> None:
    with folders.publishing(target, marker=MARKER, overwrite=overwrite) as staging:
        (staging / MARKER).write_text(text)
        (staging / "inner").mkdir()
        (staging / "inner" / "file").write_text(text)


def break_while_publishing(target: Path) -> None:
    with folders.publishing(target, marker=MARKER, overwrite=True) as staging:
        (staging / MARKER).write_text("half")
        raise RuntimeError("broke")


def listed(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".tresnet-deploy.lock"}


def test_the_folder_appears_with_all_its_files(tmp_path: Path) -> None:
    publish(tmp_path / "it", "new")
    assert (tmp_path / "it" / "inner" / "file").read_text() == "new"
    assert listed(tmp_path) == {"it"}


def test_a_step_that_fails_leaves_nothing_and_keeps_the_older_folder(tmp_path: Path) -> None:
    publish(tmp_path / "it", "old")
    with pytest.raises(RuntimeError, match="broke"):
        break_while_publishing(tmp_path / "it")
    assert (tmp_path / "it" / MARKER).read_text() == "old"
    assert listed(tmp_path) == {"it"}


def test_an_older_folder_is_replaced_only_when_asked_for(tmp_path: Path) -> None:
    publish(tmp_path / "it", "old")
    with pytest.raises(UsageError, match="exists already"):
        publish(tmp_path / "it", "new")
    publish(tmp_path / "it", "new", overwrite=True)
    assert (tmp_path / "it" / MARKER).read_text() == "new"
    assert listed(tmp_path) == {"it"}


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_somebody_else_made_is_never_replaced(tmp_path: Path, kind: str) -> None:
    target = tmp_path / "it"
    if kind == "folder":
        target.mkdir()
        (target / "thesis.txt").write_text("mine")
    elif kind == "file":
        target.write_text("mine")
    else:
        publish(tmp_path / "other", "old")
        target.symlink_to("other")
    for overwrite in (True, False):  # without it too: nobody is told that it would help
        with pytest.raises(UsageError, match="is not replaced") as caught:
            publish(target, "new", overwrite=overwrite)
        assert caught.value.hints == ("choose another place with --to",)
    assert target.exists()
    assert kind != "folder" or (target / "thesis.txt").read_text() == "mine"


def test_a_folder_set_aside_by_a_killed_run_comes_back(tmp_path: Path) -> None:
    publish(tmp_path / "it", "old")
    (tmp_path / "it").rename(tmp_path / ".it.replaced")
    (tmp_path / ".it.partial").mkdir()
    with pytest.raises(UsageError, match="exists already"):
        publish(tmp_path / "it", "new")
    assert (tmp_path / "it" / MARKER).read_text() == "old"
    publish(tmp_path / "it", "new", overwrite=True)
    assert listed(tmp_path) == {"it"}


def test_a_read_only_place_is_an_environment_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_self: Path, *_arguments: object, **_named: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UnavailableError, match="Permission denied"):
        publish(tmp_path / "it", "new")

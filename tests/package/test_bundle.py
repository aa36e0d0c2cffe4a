"""A bundle holds all that a rebuild takes, and is refused when it is not what was packed."""

import dataclasses
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tresnet_deploy import artifacts, packaging, seals
from tresnet_deploy.contracts import Artifact
from tresnet_deploy.errors import ArtifactError, UnavailableError, UsageError
from tresnet_deploy.images import demo_images, sample, scan
from tresnet_deploy.packaging import archive, manifest

from .conftest import BATCH, copied

IMAGES = sample(demo_images("test"), 6, seed=0)


@pytest.fixture(scope="module")
def bundle(openvino_engine: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle with images and weights, as a folder."""
    path = tmp_path_factory.mktemp("bundles") / "demo.bundle"
    packaging.pack(openvino_engine, path, images=IMAGES, weights=True)
    return path


@pytest.fixture
def own_bundle(bundle: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may damage."""
    import shutil

    return Path(shutil.copytree(bundle, tmp_path / "own.bundle"))


def names(bundle: Path) -> set[str]:
    return {p.relative_to(bundle).as_posix() for p in bundle.rglob("*") if p.is_file()}


def rewrite(bundle: Path, change: Callable[[dict[str, Any]], object], *, seal: bool = True) -> None:
    path = bundle / manifest.NAME
    fields = json.loads(path.read_bytes())
    change(fields)
    data = json.dumps(fields).encode()
    path.write_bytes(seals.sealed(data) if seal else data)


def test_the_bundle_holds_graph_table_labels_images_and_weights(
    bundle: Path, openvino_engine: Artifact
) -> None:
    packed = manifest.read(bundle)
    assert packed.engine_sha256 == openvino_engine.sha256
    assert (packed.backend, packed.precision, packed.batch) == (
        "openvino",
        openvino_engine.precision,
        BATCH,
    )
    assert packed.options["inference_precision"] in {"f32", "bf16"}
    assert packed.graph == openvino_engine.parents[0].name
    assert packed.table is not None
    assert packed.weights is not None
    assert {f"{packed.graph}.json", "labels.txt", packed.table, packed.weights} <= names(bundle)
    assert len([name for name in names(bundle) if name.startswith("images/")]) == 6 + 1


def test_labels_mean_there_what_they_mean_here_even_where_classes_are_called_by_numbers(
    bundle: Path,
) -> None:
    swapped = ("0", "1", *(str(number) for number in range(9, 1, -1)))
    there = scan(bundle / "images", class_names=swapped)
    assert [file.labels for file in there.files] == [file.labels for file in IMAGES.files]
    assert {label for file in IMAGES.files for label in file.labels or ()} - {0, 1}


def test_every_file_but_the_manifest_has_its_hash(bundle: Path) -> None:
    packed = manifest.read(bundle)
    assert {digest.name for digest in packed.files} == names(bundle) - {manifest.NAME}


def test_no_path_of_the_maker_travels_along(bundle: Path, openvino_engine: Artifact) -> None:
    place = str(Path(openvino_engine.source.location).parent)
    texts = [path.read_text("utf-8") for path in bundle.rglob("*.json")]
    assert not any(place in text for text in texts)


def test_what_is_missing_for_a_comparison_is_said(
    openvino_engine: Artifact, tmp_path: Path
) -> None:
    packed = packaging.pack(openvino_engine, tmp_path / "small.bundle")
    assert packed.manifest.weights is None
    assert any("--weights packs it" in note for note in packed.notes)
    assert any("not compared" in note for note in packed.notes)


def test_the_same_bundle_makes_the_same_archive(bundle: Path, tmp_path: Path) -> None:
    archive.write(bundle, tmp_path / "one.tar", overwrite=False)
    archive.write(bundle, tmp_path / "two.tar", overwrite=False)
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    with archive.opened(tmp_path / "one.tar") as place:
        assert manifest.read(place) == manifest.read(bundle)
        assert names(place) == names(bundle)
    assert not place.exists()


def test_a_bundle_is_packed_straight_into_an_archive(
    openvino_engine: Artifact, tmp_path: Path
) -> None:
    target = tmp_path / "demo.tar"
    packaging.pack(openvino_engine, target)
    with archive.opened(target) as place:
        assert manifest.read(place).backend == "openvino"
    with pytest.raises(UsageError, match="exists already"):
        packaging.pack(openvino_engine, target)
    packaging.pack(openvino_engine, target, overwrite=True)
    left = {path.name for path in tmp_path.iterdir()} - {".tresnet-deploy.lock"}
    assert left == {"demo.tar"}


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_folder_is_not_replaced_by_an_archive(
    openvino_engine: Artifact, tmp_path: Path, overwrite: bool
) -> None:
    target = tmp_path / "demo.tar"
    target.mkdir()
    with pytest.raises(UsageError, match="is not replaced: it is no file") as caught:
        packaging.pack(openvino_engine, target, overwrite=overwrite)
    assert caught.value.hints == ("choose another place with --to",)


def test_a_graph_that_was_made_anew_is_not_packed(
    openvino_engine: Artifact, tmp_path: Path
) -> None:
    engine = artifacts.read(copied(openvino_engine, tmp_path / "from"))
    graph = engine.path.with_name(engine.parents[0].name)
    with artifacts.publishing(graph, overwrite=True) as staging:
        staging.path.write_bytes(b"another graph")
        staging.finish(dataclasses.replace(engine, kind="onnx"))
    with pytest.raises(ArtifactError, match="was made anew after"):
        packaging.pack(engine, tmp_path / "it.bundle")
    assert not (tmp_path / "it.bundle").exists()


def test_a_checkpoint_that_is_gone_is_named(openvino_engine: Artifact, tmp_path: Path) -> None:
    source = dataclasses.replace(openvino_engine.source, location=str(tmp_path / "gone.pth"))
    engine = dataclasses.replace(openvino_engine, source=source)
    with pytest.raises(ArtifactError, match=r"gone\.pth is not there any more"):
        packaging.pack(engine, tmp_path / "it.bundle", weights=True)
    assert not (tmp_path / "it.bundle").exists()


def test_a_graph_is_no_engine_to_pack(demo_int8: Artifact, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no engine"):
        packaging.pack(demo_int8, tmp_path / "it.bundle")


def test_an_edited_manifest_is_refused(own_bundle: Path) -> None:
    rewrite(own_bundle, lambda fields: fields.update(backend="onnxruntime"), seal=False)
    with pytest.raises(ArtifactError, match="was edited after the bundle was packed"):
        manifest.read(own_bundle)


@pytest.mark.parametrize("damage", ["changed", "gone", "link"])
def test_a_file_that_is_not_what_was_packed_is_named(own_bundle: Path, damage: str) -> None:
    path = own_bundle / manifest.read(own_bundle).graph
    data = path.read_bytes()
    path.unlink()
    if damage == "changed":
        path.write_bytes(data + b"\0")
    elif damage == "link":
        (own_bundle / "real").write_bytes(data)
        path.symlink_to("real")
    with pytest.raises(ArtifactError, match=path.name):
        manifest.read(own_bundle)


@pytest.mark.parametrize("name", ["../up", "/etc/passwd", "a/../../b", "C:\\x", "nul\0byte", ""])
def test_a_manifest_that_names_files_outside_is_refused(own_bundle: Path, name: str) -> None:
    rewrite(own_bundle, lambda fields: fields["files"][0].update(name=name))
    with pytest.raises(ArtifactError, match=r"bundle\.json"):
        manifest.read(own_bundle)


@pytest.mark.parametrize("field", ["graph", "table", "weights", "images"])
def test_a_manifest_that_uses_what_it_does_not_vouch_for_is_refused(
    own_bundle: Path, field: str
) -> None:
    rewrite(own_bundle, lambda fields: fields.update({field: "../elsewhere"}))
    with pytest.raises(ArtifactError, match="elsewhere"):
        manifest.read(own_bundle)


@pytest.mark.parametrize("batch", [(0, 1, 2), (2, 1, 4), (1, 5, 4), (-1, -1, -1)])
def test_a_manifest_with_impossible_batches_is_refused(
    own_bundle: Path, batch: tuple[int, int, int]
) -> None:
    sizes = dict(zip(("min", "opt", "max"), batch, strict=True))
    rewrite(own_bundle, lambda fields: fields.update(batch=sizes))
    with pytest.raises(ArtifactError, match="do not rise from 1"):
        manifest.read(own_bundle)


@pytest.mark.parametrize(
    "data", [b"", b"[]", b"{", b'{"schema_version": 1}', b'{"schema_version": 9}']
)
def test_a_malformed_manifest_is_one_error(own_bundle: Path, data: bytes) -> None:
    (own_bundle / manifest.NAME).write_bytes(data)
    with pytest.raises(ArtifactError, match=r"bundle\.json"):
        manifest.read(own_bundle)


def test_an_endless_manifest_is_not_read_into_memory(own_bundle: Path) -> None:
    with (own_bundle / manifest.NAME).open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ArtifactError, match="too large"):
        manifest.read(own_bundle)


def test_a_folder_without_a_manifest_is_no_bundle(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"holds no bundle\.json"):
        manifest.read(tmp_path)


def hostile(path: Path, *entries: tarfile.TarInfo) -> None:
    with tarfile.open(path, "w") as tar:
        for entry in entries:
            tar.addfile(entry, io.BytesIO(b"x" * entry.size))


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.size = 1 if kind == tarfile.REGTYPE else 0
    return info


@pytest.mark.parametrize(
    "bad",
    [
        entry("../evil"),
        entry("/tmp/evil"),
        entry("a/../../evil"),
        entry("a\\..\\evil"),
        entry("link", tarfile.SYMTYPE, "/etc/passwd"),
        entry("hard", tarfile.LNKTYPE, "bundle.json"),
        entry("pipe", tarfile.FIFOTYPE),
        entry("device", tarfile.CHRTYPE),
        entry("folder", tarfile.DIRTYPE),
    ],
    ids=["up", "absolute", "winding", "windows", "symlink", "hardlink", "pipe", "device", "folder"],
)
def test_an_archive_that_could_write_elsewhere_is_refused_as_a_whole(
    tmp_path: Path, bad: tarfile.TarInfo
) -> None:
    path = tmp_path / "hostile.tar"
    hostile(path, entry(manifest.NAME), bad)
    with pytest.raises(ArtifactError, match="could write elsewhere"), archive.opened(path):
        pass
    assert {each.name for each in tmp_path.iterdir()} == {"hostile.tar"}


@pytest.mark.parametrize("data", [b"", b"no archive", b"\0" * 2048], ids=["empty", "text", "zeros"])
def test_what_is_no_archive_is_one_error(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "it.tar"
    path.write_bytes(data)
    with pytest.raises((ArtifactError, UsageError), match=r"bundle"), archive.opened(path) as place:
        manifest.read(place)


def test_a_truncated_archive_is_one_error(bundle: Path, tmp_path: Path) -> None:
    path = tmp_path / "it.tar"
    archive.write(bundle, path, overwrite=False)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ArtifactError, match="bundle"), archive.opened(path) as place:
        manifest.read(place)


def test_an_archive_that_would_fill_the_disk_is_refused_before_unpacking(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "huge.tar"
    huge = entry("huge")
    huge.size = 1 << 50
    path.write_bytes(huge.tobuf() + bytes(1024))
    with pytest.raises((ArtifactError, UnavailableError), match="huge"), archive.opened(path):
        pass


def test_a_bundle_that_is_not_there_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no bundle"), archive.opened(tmp_path / "no.tar"):
        pass

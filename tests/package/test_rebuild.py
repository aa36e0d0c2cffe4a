"""A bundle becomes an engine of this machine, proved here, or nothing at all."""

import dataclasses
import shutil
from pathlib import Path

import pytest

from tresnet_deploy import artifacts, gpus, packaging, parity, trust
from tresnet_deploy.contracts import Artifact, FileDigest
from tresnet_deploy.errors import ArtifactError, ImageError, UnavailableError, UsageError
from tresnet_deploy.images import demo_images, sample
from tresnet_deploy.packaging import Wish, manifest, rebuilding
from tresnet_deploy.registry import BACKENDS

from .conftest import BATCH

IMAGES = sample(demo_images("test"), 40, seed=0)


@pytest.fixture(scope="module")
def bundle(openvino_engine: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle as one archive, with images and weights."""
    path = tmp_path_factory.mktemp("bundles") / "demo.tar"
    packaging.pack(openvino_engine, path, images=IMAGES, weights=True)
    return path


@pytest.fixture(scope="module")
def bare(onnxruntime_engine: Artifact, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a bundle without images and weights, as a folder; its engine is built quickly."""
    path = tmp_path_factory.mktemp("bundles") / "demo.bundle"
    packaging.pack(onnxruntime_engine, path)
    return path


@pytest.fixture(scope="module")
def rebuilt(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> packaging.Rebuilt:
    """Return the outcome of a rebuild as the bundle says."""
    return packaging.rebuild(bundle, tmp_path_factory.mktemp("there"), quiet=True)


def test_the_engine_is_built_as_it_was_there(
    rebuilt: packaging.Rebuilt, openvino_engine: Artifact
) -> None:
    engine = rebuilt.engine
    assert (engine.backend, engine.precision, engine.batch) == (
        "openvino",
        openvino_engine.precision,
        BATCH,
    )
    recorded = {k: v for k, v in openvino_engine.settings.items() if k.startswith("openvino.")}
    assert {k: v for k, v in engine.settings.items() if k.startswith("openvino.")} == recorded
    assert engine.verified is not None
    assert engine.verified.startswith("cosine ")
    assert trust.examine(engine.path).verdict == "compatible"


def test_it_is_compared_with_eager_pytorch_on_the_packed_images(rebuilt: packaging.Rebuilt) -> None:
    assert rebuilt.not_compared is None
    report = rebuilt.parity
    assert report is not None
    assert report.images == len(IMAGES)
    assert report.image_source == "40 images in the bundle"
    assert report.reference_accuracy is not None
    assert report.reference_accuracy.top1 is not None
    assert report.stages[-1].sha256 == rebuilt.engine.sha256
    assert (rebuilt.engine.path.parent / parity.REPORT).is_file()


def test_graph_and_weights_lie_beside_the_engine(rebuilt: packaging.Rebuilt) -> None:
    folder = rebuilt.engine.path.parent
    graph = artifacts.read(folder / rebuilt.engine.parents[0].name)
    assert graph.sha256 == rebuilt.engine.parents[0].sha256
    weights = Path(graph.source.location)
    assert weights.parent == folder
    assert artifacts.sha256_of(weights) == graph.source.sha256


def test_another_backend_takes_its_own_options(bundle: Path, tmp_path: Path) -> None:
    wish = Wish(backend="onnxruntime", options={"threads": "1"}, compare=False)
    done = packaging.rebuild(bundle, tmp_path, wish)
    assert done.engine.backend == "onnxruntime"
    assert done.engine.settings["onnxruntime.threads"] == 1
    assert done.not_compared == "it was not asked for"


@pytest.mark.skipif(bool(gpus.visible()), reason="a GPU would run the engine")
def test_an_engine_for_gpus_elsewhere_is_built_checked_and_not_compared(
    bundle: Path, tmp_path: Path
) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    done = packaging.rebuild(bundle, tmp_path, Wish(backend="tensorrt-rtx"))
    assert done.engine.backend == "tensorrt-rtx"
    assert done.parity is None
    assert done.not_compared is not None
    assert "tensorrt-rtx builds here and does not run" in done.not_compared
    report = trust.examine(done.engine.path)
    assert report.verdict == "cannot tell"
    assert {each.check for each in report.findings if each.outcome == "unknown"} == {"GPU"}


def test_a_rebuild_without_weights_says_so_and_is_not_repeated_over_its_own_engine(
    bare: Path, tmp_path: Path
) -> None:
    first = packaging.rebuild(bare, tmp_path)
    assert first.parity is None
    assert first.not_compared == "the bundle holds no weights: pack it with --weights"
    with pytest.raises(UsageError, match="already"):
        packaging.rebuild(bare, tmp_path)
    again = packaging.rebuild(bare, tmp_path, overwrite=True)
    assert again.engine.created > first.engine.created


def test_a_file_of_another_origin_is_not_replaced(bare: Path, tmp_path: Path) -> None:
    graph = tmp_path / manifest.read(bare).graph
    graph.write_bytes(b"mine")
    with pytest.raises(UsageError, match=f"has {graph.name} already"):
        packaging.rebuild(bare, tmp_path, Wish(compare=False))
    assert {path.name for path in tmp_path.iterdir()} == {graph.name}


@pytest.mark.parametrize(
    ("wish", "error", "words"),
    [
        (Wish(options={"no_such": "1"}), UsageError, "has no option 'no_such'"),
        (Wish(options={"threads": "-1"}), UsageError, "does not fit"),
        (Wish(images=Path("nowhere")), ImageError, "nowhere"),
    ],
    ids=["option", "value", "images"],
)
def test_a_wish_that_cannot_be_met_is_told_before_the_build(
    bare: Path, tmp_path: Path, wish: Wish, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        packaging.rebuild(bare, tmp_path, wish)
    assert not list(tmp_path.glob("*.xml"))


def test_a_bundle_does_not_choose_which_files_are_written_here(bare: Path) -> None:
    pytest.importorskip("tensorrt_rtx", reason="TensorRT-RTX is not installed")
    packed = dataclasses.replace(
        manifest.read(bare), backend="tensorrt-rtx", options={"runtime_cache": "/etc/passwd"}
    )
    options = rebuilding._options(packed, "tensorrt-rtx", {})
    assert options == BACKENDS.load("tensorrt-rtx").options_for("int8")


@pytest.mark.parametrize("overflow_safe", [True, False])
def test_what_the_processor_needs_is_decided_where_the_engine_is_built(
    bare: Path, overflow_safe: bool
) -> None:
    packed = dataclasses.replace(manifest.read(bare), options={"overflow_safe": overflow_safe})
    options = rebuilding._options(packed, "openvino", {})
    assert options == BACKENDS.load("openvino").options_for("int8")


def test_a_damaged_bundle_builds_nothing(bare: Path, tmp_path: Path) -> None:
    own = Path(shutil.copytree(bare, tmp_path / "own"))
    graph = own / manifest.read(own).graph
    graph.write_bytes(graph.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="is not the file that was packed"):
        packaging.rebuild(own, tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_a_packed_pickle_is_not_trusted_because_the_bundle_says_so(
    bare: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same run shows that a machine without PyTorch still rebuilds."""
    own = Path(shutil.copytree(bare, tmp_path / "own"))
    packed = manifest.read(own)
    graph = artifacts.read(own / packed.graph)
    weights = own / "tresnet.weights.pth"
    weights.write_bytes(b"a pickle that runs code")
    source = dataclasses.replace(
        graph.source, sha256=artifacts.sha256_of(weights), trust_pickle=True
    )
    sidecar = artifacts.sidecar_of(graph.path)
    sidecar.write_bytes(artifacts.to_json(dataclasses.replace(graph, source=source)))
    files = tuple(
        FileDigest(name=name, sha256=artifacts.sha256_of(own / name))
        for name in (*(each.name for each in packed.files), weights.name)
    )
    manifest.write(dataclasses.replace(packed, files=files, weights=weights.name), own)

    def missing(*_arguments: object, **_named: object) -> None:
        raise UnavailableError("PyTorch is not installed")

    monkeypatch.setattr(parity, "prove", missing)
    done = packaging.rebuild(own, tmp_path / "there")
    assert done.not_compared == "PyTorch is not installed"
    assert done.engine.source.trust_pickle is False
    assert done.engine.source.location == str(tmp_path / "there" / weights.name)

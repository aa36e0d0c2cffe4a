"""An engine appears when it is whole and proven, and nothing of it before."""

import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tresnet_deploy import artifacts, build
from tresnet_deploy.contracts import Artifact, Batch
from tresnet_deploy.errors import (
    BuildError,
    DeployError,
    UnavailableError,
    UsageError,
)
from tresnet_deploy.images import demo_images, scan
from tresnet_deploy.registry import BACKENDS

from .conftest import AddBackend


@pytest.fixture
def graph(demo_graph: Artifact) -> Artifact:
    """Return the demo graph; its settings tell the pretended backend where it lies."""
    return dataclasses.replace(demo_graph, settings={"graph": str(demo_graph.path)})


def built(graph: Artifact, target: Path, **changed: object) -> Artifact:
    options = {"backend": "fake", "images": demo_images("calibration"), **changed}
    return build.build(graph, target, **options)  # type: ignore[arg-type]


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Let another process hold the lock of ``folder``."""
    script = (
        "import sys, pathlib; from tresnet_deploy import artifacts\n"
        "with artifacts.locked(pathlib.Path(sys.argv[1])):\n"
        "    print('held', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", script, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        yield
        other.communicate()


def left_in(folder: Path) -> list[str]:
    names = (path.name for path in folder.iterdir())
    return sorted(name for name in names if name != ".tresnet-deploy.lock")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    folder = tmp_path / "deploy"
    folder.mkdir()
    return folder / "tresnet.fp32.fake.bin"


def test_an_engine_is_published_with_proof_time_and_memory(
    add_backend: AddBackend, graph: Artifact, target: Path
) -> None:
    add_backend("fake")
    made = built(graph, target, batch=Batch(min=2, opt=4, max=11))
    assert artifacts.read(target) == made
    assert made.verified == "cosine 1.000000 to tresnet.onnx at batch 2 and 11"
    assert made.settings["fake.fast"] is True
    assert float(str(made.settings["build.seconds"])) >= 0
    assert int(str(made.settings["build.process_peak_mib"])) > 0


def test_images_that_cannot_be_read_are_passed_over_in_the_proof(
    add_backend: AddBackend, graph: Artifact, target: Path, tmp_path: Path
) -> None:
    add_backend("fake")
    folder = tmp_path / "images"
    folder.mkdir()
    for number, file in enumerate(demo_images("calibration").files[:12]):
        content = b"" if number < 10 else file.path.read_bytes()
        (folder / f"{number:02d}.png").write_bytes(content)
    made = built(graph, target, images=scan(folder))
    assert made.verified is not None
    assert made.verified.startswith("cosine 1.000000")


def test_an_engine_for_a_device_elsewhere_is_published_and_says_that_it_was_not_run(
    add_backend: AddBackend, graph: Artifact, target: Path
) -> None:
    add_backend("fake", runs=False, reason="no GPU is here")
    made = built(graph, target)
    assert artifacts.read(target) == made
    assert made.verified == "built, not run: no GPU is here"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("found * float('nan')", "outputs are not finite numbers"),
        ("found[:, :3]", r"the engine answers in \(1, 3\), its graph in \(1, 10\)"),
        ("-found", "does not compute what its graph does: cosine -1.0"),
        ("found if len(found) == 1 else found[::-1]", "at batch 16 the engine does not compute"),
    ],
)
def test_an_engine_that_does_not_compute_its_graph_never_appears(
    add_backend: AddBackend, graph: Artifact, target: Path, answer: str, message: str
) -> None:
    add_backend("fake", answer=answer)
    with pytest.raises(BuildError, match=message) as caught:
        built(graph, target)
    assert caught.value.exit_code == 4
    assert left_in(target.parent) == []


def test_an_engine_need_not_be_nearer_to_a_ruined_graph_than_that_is_to_the_float_one(
    add_backend: AddBackend, graph: Artifact, target: Path
) -> None:
    add_backend("fake", answer="found + 0.3 * np.roll(found, 1, axis=1)")
    ruined, good = (
        dataclasses.replace(graph, settings={**graph.settings, "snr_db": snr_db})
        for snr_db in (3.0, 30.0)
    )
    with pytest.raises(BuildError, match=r"at least 0\.9995 expected"):
        built(good, target)
    assert built(ruined, target).verified.startswith("cosine 0.9")


@pytest.mark.parametrize(
    ("on_build", "kind"),
    [
        ("raise KeyboardInterrupt", KeyboardInterrupt),
        ("raise OSError(28, 'No space left on device')", UnavailableError),
        ("from tresnet_deploy.errors import BuildError; raise BuildError('no')", BuildError),
    ],
)
def test_a_build_that_breaks_half_way_leaves_nothing(
    add_backend: AddBackend,
    graph: Artifact,
    target: Path,
    on_build: str,
    kind: type[BaseException],
) -> None:
    add_backend("fake", on_build=on_build)
    with pytest.raises(kind):
        built(graph, target)
    assert left_in(target.parent) == []


def test_a_failed_rebuild_keeps_the_engine_that_was_there(
    add_backend: AddBackend, graph: Artifact, target: Path
) -> None:
    add_backend("fake")
    first = built(graph, target)
    add_backend("broken", answer="-found")
    with pytest.raises(BuildError):
        built(graph, target, backend="broken", overwrite=True)
    assert artifacts.read(target) == first


def test_an_engine_is_replaced_only_on_request(
    add_backend: AddBackend, graph: Artifact, target: Path
) -> None:
    add_backend("fake")
    built(graph, target)
    with pytest.raises(UsageError, match="exists already"):
        built(graph, target)
    assert built(graph, target, overwrite=True).created


def test_two_builds_into_one_folder_are_told_apart(
    add_backend: AddBackend, graph: Artifact, target: Path
) -> None:
    add_backend("fake")
    with held(target.parent), pytest.raises(UnavailableError, match="another"):
        built(graph, target)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"kind": "engine"}, "engines are built from ONNX files"),
        ({"precision": "int8"}, "from a graph in fp32; tresnet.onnx is in int8"),
    ],
)
def test_files_that_no_engine_is_built_from_are_refused(
    add_backend: AddBackend,
    graph: Artifact,
    target: Path,
    changed: dict[str, str],
    message: str,
) -> None:
    add_backend("fake")
    odd = dataclasses.replace(graph, **changed)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match=message):
        built(odd, target, precision="fp32")


def fixed(graph: Artifact, size: int) -> Artifact:
    (spec,) = graph.inputs
    return dataclasses.replace(
        graph, inputs=(dataclasses.replace(spec, shape=(size, *spec.shape[1:])),)
    )


def test_a_graph_of_one_batch_size_makes_engines_of_that_size(
    add_backend: AddBackend, graph: Artifact, target: Path
) -> None:
    add_backend("fake")
    made = built(fixed(graph, 2), target)
    assert made.batch == Batch(min=2, opt=2, max=2)
    with pytest.raises(UsageError, match="takes batches of 2 only"):
        built(fixed(graph, 2), target, batch=Batch(), overwrite=True)


def test_the_range_that_a_graph_was_exported_for_is_what_engines_take(graph: Artifact) -> None:
    ranged = dataclasses.replace(graph, batch=Batch(min=2, opt=4, max=6))
    assert build.batch_of(ranged, None) == Batch(min=2, opt=4, max=6)
    assert build.batch_of(ranged, Batch(min=1, opt=1, max=1)) == Batch(min=1, opt=1, max=1)


def test_a_damaged_graph_is_refused_before_anything_is_written(
    demo_graph: Artifact, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(demo_graph.path.read_bytes()[:10_000])
    odd = dataclasses.replace(demo_graph, path=damaged)
    with pytest.raises(DeployError, match=r"damaged\.onnx") as caught:
        built(odd, tmp_path / "engine.xml", backend="openvino")
    assert caught.value.exit_code == 2
    assert left_in(tmp_path) == ["damaged.onnx"]


@pytest.mark.parametrize(
    ("name", "precision", "backend", "expected"),
    [
        ("tresnet_l.onnx", "fp32", "openvino", "tresnet_l.fp32.openvino.xml"),
        ("tresnet_l.onnx", "fp32", "pytorch", "tresnet_l.fp32.pt2"),
        ("tresnet_l.int8.onnx", "int8", "onnxruntime", "tresnet_l.int8.onnxruntime.onnx"),
        ("my.model", "fp32", "openvino", "my.model.fp32.openvino.xml"),
    ],
)
def test_engines_are_named_by_graph_precision_and_backend(
    graph: Artifact, name: str, precision: str, backend: str, expected: str
) -> None:
    named = dataclasses.replace(graph, path=Path(name), precision=precision)  # type: ignore[arg-type]
    assert build.file_name(named, backend, precision) == expected  # type: ignore[arg-type]


def test_a_bf16_engine_of_openvino_is_built_from_the_fp32_graph(
    graph: Artifact, tmp_path: Path
) -> None:
    if "bf16" not in BACKENDS.load("openvino").probe().precisions:
        pytest.skip("this CPU does not compute bf16")
    made = built(graph, tmp_path / "a.xml", backend="openvino", precision="bf16")
    assert made.precision == "bf16"
    assert made.settings["openvino.inference_precision"] == "bf16"

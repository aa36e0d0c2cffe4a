"""TensorRT-RTX builds the demo network for real, without a GPU, and refuses what it cannot do."""

import dataclasses
import errno
from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper

from tresnet_deploy import artifacts, build, fusions, gpus, quantize, trust
from tresnet_deploy.contracts import Artifact, Batch, Precision
from tresnet_deploy.errors import ArtifactError, BuildError, DeployError, ElsewhereError, UsageError
from tresnet_deploy.images import demo_images

rtx = pytest.importorskip(
    "tresnet_deploy.backends.tensorrt_rtx",
    reason="tensorrt-rtx is not installed",
    exc_type=ImportError,
)
pytestmark = pytest.mark.skipif(bool(gpus.visible()), reason="what is said without a GPU")

SIZES = Batch(min=1, opt=2, max=4)
ALL = ((8, 0), (8, 6), (8, 9), (12, 0), (12, 1))


@pytest.fixture(scope="session")
def graphs(
    demo_graph: Artifact, demo_int8: Artifact, tmp_path_factory: pytest.TempPathFactory
) -> dict[Precision, Artifact]:
    """Return the demo network in each precision."""
    folder = tmp_path_factory.mktemp("typed")
    fp16 = quantize.convert(demo_graph, folder / "tresnet.fp16.onnx", precision="fp16")
    bf16 = quantize.convert(demo_graph, folder / "tresnet.bf16.onnx", precision="bf16")
    fp8 = quantize.quantize(
        demo_graph,
        folder / "tresnet.fp8.onnx",
        images=demo_images("calibration"),
        options=quantize.QuantizeOptions(samples=8),
        precision="fp8",
    )
    return {"fp32": demo_graph, "fp16": fp16, "bf16": bf16, "int8": demo_int8, "fp8": fp8}


def built(
    source: Artifact, folder: Path, *, batch: Batch = SIZES, options: object = None, **given: object
) -> Artifact:
    """Build ``source`` into ``folder``, with the best options changed by ``given``."""
    chosen = options or dataclasses.replace(rtx.options_for(source.precision), **given)
    target = folder / build.file_name(source, "tensorrt-rtx", source.precision)
    return build.build(
        source,
        target,
        backend="tensorrt-rtx",
        batch=batch,
        options=chosen,
        images=demo_images("calibration"),
    )


def targets_of(engine: Artifact) -> tuple[tuple[int, int], ...]:
    header = trust.read_header(engine.path)
    assert header is not None
    return header.capabilities


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if "lock" not in path.name)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8", "fp8"])
def test_every_precision_builds_for_all_gpus_that_compute_it(
    graphs: dict[Precision, Artifact], precision: Precision, tmp_path: Path
) -> None:
    engine = built(graphs[precision], tmp_path)
    assert artifacts.read(engine.path) == engine
    assert engine.path.name == f"tresnet.{precision}.tensorrt-rtx.engine"
    assert targets_of(engine) == (ALL if precision != "fp8" else ((8, 9), (12, 0), (12, 1)))
    assert engine.device is not None
    assert engine.device.endswith("8.9, 12.0, 12.1" + (" and later" if precision != "fp8" else ""))
    assert engine.verified is not None
    assert engine.verified.startswith("built, not run: ")
    assert "no NVIDIA GPU is visible" in engine.verified
    assert float(str(engine.settings["build.builder_seconds"])) > 0
    assert int(str(engine.settings["build.builder_peak_mib"])) > 0
    assert engine.versions["tensorrt-rtx"] == rtx.probe().version
    report = fusions.read(engine)
    assert report is not None
    assert report.available, report.reason


@pytest.mark.parametrize(
    ("precision", "named"),
    [("int8", "7.5"), ("fp32", "8.6,8.9")],
)
def test_an_engine_can_be_for_named_gpus(
    graphs: dict[Precision, Artifact], precision: Precision, named: str, tmp_path: Path
) -> None:
    engine = built(graphs[precision], tmp_path, compute_capabilities=named, weight_streaming=True)
    assert engine.settings["tensorrt-rtx.compute_capabilities"] == named
    assert engine.settings["tensorrt-rtx.weight_streaming"] is True
    assert engine.parents[0].sha256 == graphs[precision].sha256
    wanted = tuple(tuple(map(int, each.split("."))) for each in named.split(","))
    assert targets_of(engine) == wanted
    assert engine.device == f"compute capabilities {named.replace(',', ', ')}"


def test_several_profiles_and_one_fixed_batch_are_what_the_engine_says(
    graphs: dict[Precision, Artifact], tmp_path: Path
) -> None:
    both = built(
        graphs["fp16"],
        tmp_path,
        batch=Batch(min=1, opt=4, max=8),
        profiles="1:1:1,2:4:8",
        compute_capabilities="8.6",
    )
    (tmp_path / "one").mkdir()
    one = built(
        graphs["fp16"],
        tmp_path / "one",
        batch=Batch(min=2, opt=2, max=2),
        compute_capabilities="8.6",
    )
    assert both.inputs[0].shape[0] == graphs["fp16"].inputs[0].shape[0]
    assert one.inputs[0].shape == (2, 3, 64, 64)
    assert both.path.stat().st_size > one.path.stat().st_size


def test_what_int8_leaves_in_float_is_fp16_unless_asked_otherwise(
    graphs: dict[Precision, Artifact], tmp_path: Path
) -> None:
    half = built(graphs["int8"], tmp_path, compute_capabilities="8.9")
    (tmp_path / "wide").mkdir()
    wide = built(graphs["int8"], tmp_path / "wide", compute_capabilities="8.9", remainder="fp32")
    assert half.settings["tensorrt-rtx.remainder"] == "fp16"
    assert wide.settings["tensorrt-rtx.remainder"] == "fp32"
    assert half.path.read_bytes() != wide.path.read_bytes()


def test_an_engine_for_a_gpu_elsewhere_is_not_loaded(
    graphs: dict[Precision, Artifact], tmp_path: Path
) -> None:
    path = tmp_path / "tresnet.fp16.tensorrt-rtx.engine"
    path.write_bytes(b"never read")
    engine = dataclasses.replace(
        graphs["fp16"], kind="engine", backend="tensorrt-rtx", path=path, sha256=""
    )
    with pytest.raises(
        ElsewhereError, match="cannot run here: builds for GPUs elsewhere"
    ) as caught:
        rtx.load(engine)
    assert caught.value.exit_code == 3
    assert any("copy tresnet.fp16.tensorrt-rtx.engine" in hint for hint in caught.value.hints)


def test_a_graph_is_no_engine(graphs: dict[Precision, Artifact]) -> None:
    with pytest.raises(ArtifactError, match="TensorRT-RTX runs engines only"):
        rtx.load(graphs["fp32"])


def test_the_layers_of_any_graph_are_told(graphs: dict[Precision, Artifact]) -> None:
    text = rtx.layers_of(graphs["fp16"].path, batch=SIZES)
    assert text is not None
    assert text.startswith("Layers:")
    assert "Half" in text


@pytest.mark.parametrize(
    ("precision", "given", "message"),
    [
        ("fp32", {"compute_capabilities": "7.5"}, "7.5 has no FP32 matrix products"),
        ("bf16", {"compute_capabilities": "7.5"}, "7.5 does not compute bf16"),
        ("fp8", {"compute_capabilities": "8.0"}, "FP8 needs compute capability 8.9 or higher"),
        ("fp16", {"workspace_mib": 1}, "no kernel fits into the workspace"),
    ],
)
def test_what_the_builder_refuses_is_explained_and_quoted(
    graphs: dict[Precision, Artifact],
    precision: Precision,
    given: dict[str, object],
    message: str,
    tmp_path: Path,
) -> None:
    with pytest.raises(BuildError, match=message) as caught:
        built(graphs[precision], tmp_path, **given)
    assert caught.value.exit_code == 4
    assert "its own words: " in caught.value.message
    assert caught.value.hints
    assert left_in(tmp_path) == []


def foreign(path: Path, nodes: list[onnx.NodeProto], *weights: onnx.TensorProto) -> Path:
    """Save a graph of somebody else's, (n, 3, 64, 64) to anything."""
    graph = helper.make_graph(
        nodes,
        "foreign",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 64, 64])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", "c", "h", "w"])],
        list(weights),
    )
    opsets = [helper.make_opsetid("", 19)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def test_an_operator_that_the_parser_does_not_know_is_named(tmp_path: Path) -> None:
    weights = [
        helper.make_tensor("w", TensorProto.FLOAT, [3, 3, 1, 1], [0.1] * 9),
        helper.make_tensor("o", TensorProto.FLOAT, [1, 2, 64, 64], [0.0] * 2 * 64 * 64),
    ]
    node = helper.make_node("DeformConv", ["x", "w", "o"], ["y"], name="odd")
    path = foreign(tmp_path / "odd.onnx", [node], *weights)
    with pytest.raises(BuildError, match="an operator that the parser does not know") as caught:
        rtx.layers_of(path, batch=Batch(min=1, opt=1, max=1))
    assert "odd (DeformConv)" in caught.value.message


def test_a_truncated_graph_is_refused_before_it_is_built(
    graphs: dict[Precision, Artifact], tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(graphs["fp32"].path.read_bytes()[:10_000])
    with pytest.raises(ArtifactError, match=r"damaged\.onnx"):
        built(dataclasses.replace(graphs["fp32"], path=damaged), tmp_path)
    assert left_in(tmp_path) == ["damaged.onnx"]


def test_profiles_that_leave_the_batch_out_are_refused(
    graphs: dict[Precision, Artifact], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="take batches of 1 to 8, and the engine is for 1 to 16"):
        built(graphs["fp32"], tmp_path, batch=Batch(), profiles="1:1:1,2:4:8")
    assert left_in(tmp_path) == []


def test_a_remainder_of_a_float_graph_is_refused(
    graphs: dict[Precision, Artifact], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="remainder is for graphs with Q/DQ pairs"):
        built(graphs["fp32"], tmp_path, remainder="bf16")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"compute_capabilities": "9.0"}, "for Hopper build with --backend tensorrt"),
        ({"compute_capabilities": "8.6,8.6"}, "names 8.6 twice"),
        ({"compute_capabilities": "Ampere"}, "is no capability such as 8.6"),
        ({"compute_capabilities": "99.9"}, "99.9 is no target of TensorRT-RTX, which builds for 7"),
        ({"timing_cache": "a.cache"}, "timing_cache changes nothing in TensorRT-RTX"),
        ({"hardware_compatible": "ampere+"}, "hardware_compatible is ignored by TensorRT-RTX"),
        ({"version_compatible": "true"}, "version_compatible fails in TensorRT-RTX"),
        ({"optimization_level": "5"}, "optimization_level shows no effect in TensorRT-RTX"),
        ({"optimization_level": "9"}, "optimization_level"),
        ({"refit": "true"}, "refit needs a GPU while TensorRT-RTX builds"),
        ({"strip": "true"}, "strip makes a plan without weights"),
        ({"profiles": "1:1:1,4:8:8"}, "no profile takes batches of 2 to 3"),
        ({"profiles": "8:4:1"}, "is no MIN:OPT:MAX"),
        ({"profiles": "1:2:4,1:2:4"}, "profiles names 1:2:4 twice"),
        ({"remainder": "int4"}, "remainder"),
        ({"workspace_mib": "-1"}, "workspace_mib"),
        ({"workspace_mib": "9" * 20}, "workspace_mib"),
        ({"timeout_s": "0"}, "timeout_s"),
        ({"threads": "2"}, "the backend tensorrt-rtx has no option 'threads'"),
    ],
)
def test_options_that_it_ignores_or_cannot_do_here_are_refused_by_name(
    given: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        build.options_from(rtx, "fp16", given)
    assert caught.value.exit_code == 2


CHILD = "fake_builder"


@pytest.fixture
def child(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a script in place of the building process; return where to write it."""
    folder = tmp_path / "children"
    folder.mkdir()
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setattr("tresnet_deploy.backends._nvinfer_build._CHILD", CHILD)
    return folder / f"{CHILD}.py"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("import os; os.kill(os.getpid(), 9)", "was killed, most likely for lack of memory"),
        (
            "import os, sys; print('terminate called', file=sys.stderr, flush=True); os.abort()",
            r"aborted \(SIGABRT\) while it built tresnet.onnx; its last words: terminate called",
        ),
        ("raise ImportError('libnvinfer.so')", "ended with 1 and no answer; its last words: Impo"),
        ("pass", "ended with 0 and no answer"),
        ("import time; time.sleep(60)", "had not built tresnet.onnx after 1 s and was stopped"),
    ],
)
def test_a_builder_that_dies_or_hangs_is_one_clear_error(
    graphs: dict[Precision, Artifact], child: Path, script: str, message: str, tmp_path: Path
) -> None:
    child.write_text(script)
    with pytest.raises(BuildError, match=message) as caught:
        built(graphs["fp32"], tmp_path, timeout_s=1 if "sleep" in script else 30)
    assert caught.value.exit_code == 4
    assert left_in(tmp_path) == ["children"]


def test_an_interrupted_build_ends_its_process_and_leaves_nothing(
    graphs: dict[Precision, Artifact],
    child: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    child.write_text("import time; time.sleep(60)")
    started = []

    def interrupted(process: object, timeout_s: int) -> int:
        started.append(process)
        raise KeyboardInterrupt

    monkeypatch.setattr("tresnet_deploy.backends._nvinfer_build._waited", interrupted)
    with pytest.raises(KeyboardInterrupt):
        built(graphs["fp32"], tmp_path)
    assert started[0].poll() == -9
    assert left_in(tmp_path) == ["children"]


def test_a_full_disk_is_told_as_one(
    graphs: dict[Precision, Artifact], child: Path, tmp_path: Path
) -> None:
    answer = {"stage": "write", "error": "No space left on device", "os_errno": errno.ENOSPC}
    child.write_text(
        "import json, sys; from pathlib import Path\n"
        "asked = json.loads(Path(sys.argv[1]).read_bytes())\n"
        f"Path(asked['reply']).write_text(json.dumps({answer!r} | {{'schema_version': 1}}))\n"
    )
    with pytest.raises(DeployError, match="is full") as caught:
        built(graphs["fp32"], tmp_path)
    assert caught.value.exit_code == 3


def test_a_folder_called_like_the_runtime_does_not_hide_it(
    graphs: dict[Precision, Artifact], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorrt_rtx").mkdir()
    (tmp_path / "tensorrt_rtx" / "__init__.py").write_text("raise SystemExit('the wrong one')")
    monkeypatch.chdir(tmp_path)
    assert rtx.layers_of(graphs["fp16"].path, batch=SIZES)

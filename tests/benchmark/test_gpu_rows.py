"""Engines of NVIDIA in a benchmark: the real session over fakes of TensorRT and CUDA."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tresnet_deploy import benchmark as step
from tresnet_deploy import contestants, scoring
from tresnet_deploy.artifacts import from_json, to_json
from tresnet_deploy.backends._nvinfer_session import open_session
from tresnet_deploy.cli._benchmark_text import failure, text
from tresnet_deploy.contestants import rivals
from tresnet_deploy.contracts import Array, Artifact, Batch, Preprocess, Session, TensorSpec
from tresnet_deploy.gpu_watch import Sample, Watch
from tresnet_deploy.images import demo_images
from tresnet_deploy.results import BenchmarkReport, BenchmarkRow, Interval, Ratio
from tresnet_deploy.timing import DeviceSession, Schedule, interleaved

FAKES = Path(__file__).resolve().parents[1] / "backends/fake_nvinfer.py"
FAST = Schedule(rounds=2, seconds=0.005, settle_s=0.0, window_s=0.001, warmup_max_s=0.01)


@pytest.fixture(scope="module")
def fakes(script: Callable[[Path], ModuleType]) -> ModuleType:
    return script(FAKES)


@pytest.fixture
def engine(demo_graph: Artifact) -> Artifact:
    """The sidecar of a TensorRT engine for 1 to 8 small images."""
    return dataclasses.replace(
        demo_graph,
        kind="engine",
        backend="tensorrt",
        precision="fp16",
        batch=Batch(min=1, opt=4, max=8),
        inputs=(TensorSpec(name="images", dtype="float32", shape=("batch", 3, 64, 64)),),
        settings={"tensorrt.cuda_graph": False, "tensorrt.runtime_cache": ""},
        versions={"tensorrt": "11.4.0.106"},
    )


class Opened(list[Artifact]):
    """The artefacts that were asked to be loaded, in order."""


@pytest.fixture
def loaded(fakes: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Let every engine be loaded by the fake TensorRT."""
    opened = Opened()

    @dataclasses.dataclass
    class RunOptions:
        cuda_graph: bool
        runtime_cache: str = ""
        weight_streaming: bool = False
        weight_streaming_mib: int = 0

    def load(artifact: Artifact) -> Session:
        opened.append(artifact)
        world = fakes.World(plan=fakes.Plan(image=(3, 64, 64)))
        graph = bool(artifact.settings["tensorrt.cuda_graph"])
        cuda = fakes.FakeCuda(world)
        return open_session(
            fakes.make_runtime(world), b"plan", RunOptions(graph), artifact.batch, cuda=cuda
        )

    monkeypatch.setattr(scoring, "load", load)
    return opened


Measure = Callable[..., BenchmarkReport]


@pytest.fixture
def measure(engine: Artifact, loaded: Opened, tmp_path: Path) -> Measure:
    def run(**changes: object) -> BenchmarkReport:
        options = contestants.Options(batches=(1, 2), schedule=FAST, quick=True, eager=False)
        options = dataclasses.replace(options, **changes)  # type: ignore[arg-type]
        images = demo_images("test")
        return contestants.measure((engine,), images, folder=tmp_path, options=options)

    return run


def rows_of(report: BenchmarkReport, batch: int = 2) -> dict[str, BenchmarkRow]:
    return {row.name: row for row in report.rows if row.batch == batch}


def test_an_engine_is_timed_with_and_without_a_cuda_graph(measure: Measure, loaded: Opened) -> None:
    rows = rows_of(measure())
    assert list(rows) == ["tensorrt fp16", "tensorrt fp16 (CUDA graph)"]
    assert [row.cuda_graph for row in rows.values()] == [False, True]
    assert [row.transfers for row in rows.values()] == [False, False]
    assert [each.settings["tensorrt.cuda_graph"] for each in loaded] == [False, True] * 2


def test_a_row_has_the_devices_own_times_of_the_same_steps(measure: Measure) -> None:
    for row in rows_of(measure()).values():
        assert row.device_p50_ms == pytest.approx(1.5)
        counts = [len(times) for times in row.samples_ms]
        assert [len(times) for times in row.device_samples_ms] == counts
        assert row.memory_mib == 2.0
        assert row.cosine_min == pytest.approx(1.0)


def test_copies_are_timed_when_asked_for_and_said_in_name_and_notes(measure: Measure) -> None:
    report = measure(transfers=True)
    rows = rows_of(report)
    assert list(rows) == [
        "tensorrt fp16 (with copies)",
        "tensorrt fp16 (CUDA graph, with copies)",
    ]
    assert all(row.transfers for row in rows.values())
    assert any("from and to pinned memory" in note for note in report.notes)


def test_copies_without_a_gpu_engine_are_said_to_be_none(
    demo_graph: Artifact, tmp_path: Path
) -> None:
    options = contestants.Options(batches=(), schedule=FAST, eager=False, transfers=True)
    report = contestants.measure(
        (demo_graph,), demo_images("test"), folder=tmp_path, options=options
    )
    assert {row.transfers for row in report.rows} == {None}
    assert "no engine here runs on a GPU: there are no copies to time" in report.notes


def test_each_row_names_nvidias_own_command(measure: Measure, engine: Artifact) -> None:
    plain, graph = rows_of(measure()).values()
    head = f"trtexec --loadEngine={engine.path} --shapes=images:2x3x64x64 --warmUp=10 --duration=1"
    assert plain.equivalent == f"{head} --percentile=50,90,99 --noCudaGraph"
    assert graph.equivalent == f"{head} --percentile=50,90,99"


def test_the_report_survives_json_and_is_printed_with_the_gpus_columns(measure: Measure) -> None:
    report = measure()
    again = from_json(to_json(report), BenchmarkReport, name="benchmark.json")
    assert again == report
    shown = text(report)
    assert "GPU p50 ms" in shown
    assert "GPU MiB" in shown
    assert "NVIDIA's own measurements of the same:\ntrtexec --loadEngine=" in shown


def test_a_report_of_cpus_has_no_columns_for_gpus(demo_graph: Artifact, tmp_path: Path) -> None:
    options = contestants.Options(batches=(), schedule=FAST, eager=False)
    report = contestants.measure(
        (demo_graph,), demo_images("test"), folder=tmp_path, options=options
    )
    assert "GPU p50" not in text(report)
    assert "NVIDIA" not in text(report)


def test_clocks_and_throttling_are_in_the_report(
    measure: Measure, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    @contextmanager
    def watched(gpu_id: str) -> Iterator[Watch]:
        asked.append(gpu_id)
        hot = Sample(sm_mhz=1980, memory_mhz=10501, temperature_c=83, power_w=300, reasons=0x20)
        yield Watch(samples=(hot,), processes=1)

    monkeypatch.setattr(step, "watched", watched)
    report = measure()
    assert set(asked) == {"00000000:01:00.0"}
    assert "SM at 1980 MHz" in report.environment["GPU during the run"]
    doubt = "the GPU throttled (software thermal slowdown) in 100% of the time"
    assert report.doubts.count(doubt) == 1


def test_the_better_of_two_ways_is_held_to_the_speed_up(measure: Measure, engine: Artifact) -> None:
    report = measure()
    rows = []
    for row in report.rows:
        low = 3.0 if row.cuda_graph else 1.0
        ratio = Ratio(baseline="eager", value=low, interval=Interval(low=low, high=9.0))
        rows.append(dataclasses.replace(row, ratio=ratio))
    report = dataclasses.replace(report, rows=tuple(rows))
    assert failure(report, engine, min_speedup=2.5) is None
    error = failure(report, engine, min_speedup=3.5)
    assert error is not None
    assert "(CUDA graph) is 3.00 times as fast" in error.message


@pytest.mark.parametrize(
    ("backend", "settings", "expected"),
    [
        ("tensorrt", {}, True),
        ("tensorrt-rtx", {}, True),
        ("onnxruntime", {"onnxruntime.provider": "cuda"}, True),
        ("onnxruntime", {"onnxruntime.provider": "cpu"}, False),
        ("openvino", {}, False),
    ],
)
def test_an_engine_tells_whether_it_runs_on_a_gpu(
    engine: Artifact, backend: str, settings: dict[str, str], expected: bool
) -> None:
    artifact = dataclasses.replace(engine, backend=backend, settings=settings)
    assert contestants.runs_on_gpu(artifact) is expected


def test_pytorch_is_left_out_with_the_reason_where_it_finds_no_gpu(
    demo_graph: Artifact, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tresnet_deploy.backends import _pytorch_cuda

    monkeypatch.setattr(_pytorch_cuda, "missing", lambda: "PyTorch finds no GPU")
    found = contestants.baselines(demo_graph, pictures, compiled=True, on_gpu=True)
    assert found.contestants == ()
    assert found.notes == ("PyTorch is left out: PyTorch finds no GPU",)


@pytest.mark.parametrize("compiled", [True, False])
def test_the_ladder_on_a_gpu_has_a_rung_for_each_form(
    demo_graph: Artifact, monkeypatch: pytest.MonkeyPatch, compiled: bool
) -> None:
    from tresnet_deploy.backends import _pytorch_cuda

    monkeypatch.setattr(_pytorch_cuda, "missing", lambda: "")
    found = contestants.baselines(
        demo_graph, pictures, compiled=compiled, on_gpu=True, transfers=True
    )
    names = [each.name for each in _pytorch_cuda.LADDER if compiled or not each.compile]
    assert [each.name for each in found.contestants] == names
    assert {each.parity for each in found.contestants} == {"baseline"}
    assert {each.transfers for each in found.contestants} == {True}
    assert found.contestants[0].precision == "fp32"
    assert found.notes[0] == rivals.FOLDED_ON_GPU
    assert ("torch.compile is left out: --compile adds it" in found.notes) is not compiled


def pictures(_preprocess: Preprocess, batch: int) -> Array:
    return np.zeros((batch, 3, 64, 64), np.float32)


def test_the_device_is_asked_outside_of_what_is_timed() -> None:
    order: list[str] = []

    class Watched:
        inputs: tuple[TensorSpec, ...] = ()
        outputs: tuple[TensorSpec, ...] = ()

        def bind(self, feeds: object) -> None: ...

        def step(self) -> None:
            order.append("step")

        def fetch(self) -> dict[str, Array]:
            return {}

        def close(self) -> None: ...

        def step_with_transfers(self) -> None: ...

        def memory_mib(self) -> float:
            return 0.0

        def gpu_id(self) -> str:
            return ""

        def device_ms(self) -> float:
            order.append("device")
            return 0.5

    now = [0.0]

    def clock() -> float:
        order.append("clock")
        now[0] += 0.001
        return now[0]

    session = Watched()
    assert isinstance(session, DeviceSession)
    (measured,) = interleaved((session,), Schedule(rounds=1, seconds=0.01), clock=clock)
    assert set(measured.device_ms[0]) == {0.5}
    assert len(measured.device_ms[0]) == len(measured.rounds_ms[0])
    at = order.index("device")
    assert order[at - 3 : at] == ["clock", "step", "clock"]

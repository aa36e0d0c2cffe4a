"""What NVIDIA's runtimes can do on machines with and without a GPU, all of them played."""

import dataclasses
import enum
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tresnet_deploy import gpus
from tresnet_deploy.backends import _nvinfer_load, _nvinfer_probe
from tresnet_deploy.backends._nvinfer_options import Options, check, profiles_of
from tresnet_deploy.backends._nvinfer_probe import Kind
from tresnet_deploy.contracts import Artifact, Batch
from tresnet_deploy.errors import ArtifactError, ElsewhereError, UnavailableError
from tresnet_deploy.gpus import Gpu
from tresnet_deploy.registry import BACKENDS

RTX_4090 = Gpu(name="NVIDIA GeForce RTX 4090", capability=(8, 9), memory_mib=24564)
H100 = Gpu(name="NVIDIA H100", capability=(9, 0), memory_mib=81559)
T4 = Gpu(name="Tesla T4", capability=(7, 5), memory_mib=15360)
P100 = Gpu(name="Tesla P100", capability=(6, 0), memory_mib=16384)


class ComputeCapability(enum.Enum):
    NONE = 0
    CURRENT = 1
    SM75 = 75
    SM80 = 80
    SM86 = 86
    SM89 = 89
    SM120 = 120


def played(name: str, version: str, *names: str) -> ModuleType:
    module = ModuleType(name)
    vars(module).update({"__version__": version} | dict.fromkeys(names, object))
    return module


def tensorrt(version: str = "11.4.0", *names: str) -> Kind:
    module = played("tensorrt", version, *(names or ("IPluginV3",)))
    return Kind(runtime=module, name="tensorrt", title="TensorRT")


def rtx() -> Kind:
    module = played("tensorrt_rtx", "1.7.1", "IPluginV3")
    vars(module)["ComputeCapability"] = ComputeCapability
    return Kind(runtime=module, name="tensorrt-rtx", title="TensorRT-RTX")


@pytest.fixture
def sees(monkeypatch: pytest.MonkeyPatch):
    """Put GPUs into this machine."""

    def install(*found: Gpu) -> None:
        monkeypatch.setattr(gpus, "visible", lambda: found)

    return install


def test_tensorrt_without_a_gpu_neither_builds_nor_runs(sees) -> None:
    sees()
    found = _nvinfer_probe.probe(tensorrt())
    assert (found.usable, found.runs, found.precisions) == (False, False, ())
    assert found.reason == "it builds and runs on NVIDIA GPUs only: no NVIDIA GPU is visible"


def test_tensorrt_builds_for_the_gpu_that_is_here(sees) -> None:
    sees(H100)
    found = _nvinfer_probe.probe(tensorrt())
    assert (found.usable, found.runs) == (True, True)
    assert found.devices == ("NVIDIA H100 (compute capability 9.0)",)
    assert found.precisions == ("fp32", "fp16", "bf16", "int8", "fp8")


@pytest.mark.parametrize(
    ("gpu", "lacks"),
    [(T4, {"bf16", "fp8"}), (dataclasses.replace(T4, capability=(8, 6)), {"fp8"})],
)
def test_what_a_gpu_does_not_compute_is_not_offered(sees, gpu: Gpu, lacks: set[str]) -> None:
    sees(gpu)
    assert set(_nvinfer_probe.GRAPHS) - set(_nvinfer_probe.probe(tensorrt()).precisions) == lacks


def test_a_gpu_that_is_too_old_is_named(sees) -> None:
    sees(P100)
    found = _nvinfer_probe.probe(tensorrt())
    assert not found.usable
    assert "Tesla P100 (compute capability 6.0) is none of its GPUs" in found.reason


def test_a_tensorrt_before_10_is_refused_by_what_it_lacks(sees) -> None:
    sees(H100)
    found = _nvinfer_probe.probe(tensorrt("8.6.1", "Builder"))
    assert (found.usable, found.runs) == (False, False)
    assert found.reason == "TensorRT 8.6.1 is too old: 10 or newer is needed"


def test_tensorrt_rtx_builds_everywhere_and_runs_on_its_own_gpus(sees) -> None:
    sees()
    assert (_nvinfer_probe.probe(rtx()).usable, _nvinfer_probe.probe(rtx()).runs) == (True, False)
    sees(RTX_4090)
    assert (_nvinfer_probe.probe(rtx()).usable, _nvinfer_probe.probe(rtx()).runs) == (True, True)
    sees(H100)
    found = _nvinfer_probe.probe(rtx())
    assert (found.usable, found.runs) == (True, False)
    assert "NVIDIA H100 (compute capability 9.0) is none of its GPUs" in found.reason


@pytest.fixture
def engine(demo_graph: Artifact, monkeypatch: pytest.MonkeyPatch):
    """Describe an engine of the demo network; it has no hash, as while it is built."""
    monkeypatch.setattr(_nvinfer_load, "open_session", lambda *given: given)

    def describe(backend: str, path: Path, **settings: str) -> Artifact:
        path.write_bytes(b"plan")
        return dataclasses.replace(
            demo_graph,
            kind="engine",
            path=path,
            sha256="",
            backend=backend,
            batch=Batch(),
            device="compute capabilities 8.6",
            settings={f"{backend}.{name}": value for name, value in settings.items()},
        )

    return describe


def test_an_engine_for_this_gpu_is_handed_to_the_runtime(sees, engine, tmp_path: Path) -> None:
    sees(RTX_4090)
    made = engine("tensorrt-rtx", tmp_path / "a.engine", compute_capabilities="8.6,8.9")
    runtime, plan, options, batch = _nvinfer_load.load(rtx(), made)
    assert (runtime.__name__, plan, batch) == ("tensorrt_rtx", b"plan", Batch())
    assert options == Options(compute_capabilities="8.6,8.9")


def test_an_engine_for_other_gpus_names_them_and_the_rebuild(sees, engine, tmp_path: Path) -> None:
    sees(RTX_4090)
    made = engine("tensorrt-rtx", tmp_path / "a.engine", compute_capabilities="8.6")
    with pytest.raises(ElsewhereError, match=r"built for compute capabilities 8\.6, and") as caught:
        _nvinfer_load.load(rtx(), made)
    assert "--compute-capability 8.9" in caught.value.hints[0]


def test_an_engine_that_names_no_gpus_runs_from_ampere_on(sees, engine, tmp_path: Path) -> None:
    made = engine("tensorrt-rtx", tmp_path / "a.engine")
    sees(RTX_4090)
    assert _nvinfer_load.load(rtx(), made)
    sees(T4)
    with pytest.raises(ElsewhereError, match="this is Tesla T4"):
        _nvinfer_load.load(rtx(), made)


def test_a_file_that_was_changed_is_told_before_the_gpu_is(sees, engine, tmp_path: Path) -> None:
    sees()
    made = dataclasses.replace(engine("tensorrt", tmp_path / "a.engine"), sha256="0" * 64)
    with pytest.raises(ArtifactError, match=r"a\.engine"):
        _nvinfer_load.load(tensorrt(), made)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"compute_capabilities": "8.6"}, "TensorRT builds for the GPU that it builds on"),
        ({"runtime_cache": "a.cache"}, "runtime_cache is for TensorRT-RTX"),
        ({"strip": True}, "strip makes a plan without weights"),
    ],
)
def test_what_tensorrt_lacks_is_refused_by_name(given: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(Options(**given), tensorrt().runtime)  # type: ignore[arg-type]


def test_what_tensorrt_has_is_taken() -> None:
    options = Options(
        timing_cache="a.cache",
        hardware_compatible="ampere+",
        version_compatible=True,
        optimization_level=5,
        refit=True,
    )
    check(options, tensorrt().runtime)


@pytest.mark.parametrize(
    ("text", "ranges"),
    [
        ("", []),
        ("1:1:1,2:4:8", [(1, 1, 1), (2, 4, 8)]),
        ("1:8:16,2:2:4,17:17:17", [(1, 8, 16), (2, 2, 4), (17, 17, 17)]),
    ],
)
def test_profiles_may_overlap_and_leave_no_gap(
    text: str, ranges: list[tuple[int, int, int]]
) -> None:
    found = profiles_of(Options(profiles=text))
    assert [(each.min, each.opt, each.max) for each in found] == ranges


def test_the_range_around_profiles_is_that_of_the_engine() -> None:
    parts = (Batch(min=1, opt=1, max=1), Batch(min=2, opt=4, max=8))
    assert Batch.around(parts) == Batch(min=1, opt=4, max=8)
    assert str(Batch.around(parts)) == "1:4:8"


def test_a_tensorrt_whose_libraries_do_not_load_is_unavailable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorrt").mkdir()
    missing = "libnvonnxparser.so.11: cannot open shared object file"
    (tmp_path / "tensorrt" / "__init__.py").write_text(f"raise ImportError({missing!r})")
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("tensorrt", "tresnet_deploy.backends.tensorrt"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.raises(UnavailableError, match="cannot open shared object file") as caught:
        BACKENDS.load("tensorrt")
    assert caught.value.hints == ("pip install 'tresnet-deploy[tensorrt]'",)

"""Each reason against loading an engine is told in one clear sentence, and loading is refused."""

import dataclasses
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tresnet_deploy import artifacts, gpus, trust
from tresnet_deploy.contracts import Artifact
from tresnet_deploy.errors import ArtifactError, ElsewhereError, UnavailableError, UsageError
from tresnet_deploy.gpus import Gpu
from tresnet_deploy.trust import Machine, TrustReport

from .conftest import (
    ADA,
    CPU,
    HOPPER,
    PLAN_BYTES,
    TURING,
    VERSIONS,
    MakeEngine,
    machine,
    plan,
)

OPENVINO: dict[str, Any] = {"data": b"<net/>", "suffix": ".xml", "device": CPU, "companion": True}


def edit(artifact: Artifact, change: Callable[[dict[str, Any]], object]) -> None:
    sidecar = artifacts.sidecar_of(artifact.path)
    fields = json.loads(sidecar.read_bytes())
    change(fields)
    sidecar.write_text(json.dumps(fields))


def cpu(*instructions: str, version: str = VERSIONS["openvino"]) -> Machine:
    return Machine(instructions=instructions, version=version)


def outcome(report: TrustReport, check: str) -> str:
    return next(each.outcome for each in report.findings if each.check == check)


def test_an_engine_that_fits_the_machine_is_compatible(make_engine: MakeEngine) -> None:
    engine = make_engine()
    report = trust.examine(engine.path, machine(ADA))
    assert report.verdict == "compatible"
    assert report.reasons == ()
    assert {each.outcome for each in report.findings} == {"ok"}
    trust.check_before_loading(engine, machine(ADA))


def test_an_engine_for_cpus_is_compatible_where_its_runtime_is(make_engine: MakeEngine) -> None:
    engine = make_engine("openvino", **OPENVINO)
    here = cpu("AVX2", "AVX-512 bf16")
    assert trust.examine(engine.path, here).verdict == "compatible"


def test_without_a_gpu_it_cannot_be_told_and_loading_is_left_to_the_runtime(
    make_engine: MakeEngine,
) -> None:
    engine = make_engine()
    report = trust.examine(engine.path, machine())
    assert report.verdict == "cannot tell"
    (reason,) = report.reasons
    assert reason == (
        "built for compute capability 8.0, 8.6, 8.9; no NVIDIA GPU and driver are visible here"
    )
    trust.check_before_loading(engine, machine())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda fields: fields.update(sha256="0" * 64), "is not the file that"),
        (lambda fields: fields["preprocess"].update(mean=[0.5, 0.5, 0.5]), "was edited after"),
        (lambda fields: fields.update(backend="tensorrt"), "was edited after"),
        (lambda fields: fields["versions"].update({"tensorrt-rtx": "1.6"}), "was edited after"),
        (lambda fields: fields.update(path=7), "is not a readable Artifact"),
    ],
    ids=["hash", "preprocessing", "backend", "version", "type"],
)
def test_an_edited_sidecar_is_named(
    make_engine: MakeEngine, change: Callable[[dict[str, Any]], object], words: str
) -> None:
    engine = make_engine()
    edit(engine, change)
    report = trust.examine(engine.path, machine(ADA))
    assert report.verdict == "incompatible"
    assert words in report.reasons[0]


def test_an_edited_sidecar_is_refused_before_loading(make_engine: MakeEngine) -> None:
    engine = make_engine()
    edit(engine, lambda fields: fields["preprocess"].update(mean=[0.5, 0.5, 0.5]))
    with pytest.raises(ArtifactError, match="was edited after the build") as caught:
        trust.check_before_loading(artifacts.read(engine.path), machine(ADA))
    assert caught.value.hints[0].startswith("tresnet-deploy build-engine ")


def test_a_sidecar_that_is_only_laid_out_anew_is_still_trusted(make_engine: MakeEngine) -> None:
    engine = make_engine()
    edit(engine, lambda fields: fields)
    assert trust.examine(engine.path, machine(ADA)).verdict == "compatible"


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (plan(b"ftrt"), "is a plan of tensorrt, and its sidecar calls it one of tensorrt-rtx"),
        (plan(size=PLAN_BYTES + 1), f"has {PLAN_BYTES} bytes and its header says {PLAN_BYTES + 1}"),
        (plan(size=PLAN_BYTES - 1), "something was added to it"),
        (plan(version=(1, 6, 0, 1)), "was built by tensorrt-rtx 1.6.0.1, and its sidecar says"),
        (b"PK\x03\x04" + bytes(99), "is no TensorRT plan: it begins with"),
        (b"", "is no TensorRT plan: it is empty"),
    ],
    ids=["foreign", "truncated", "longer", "version", "zip", "empty"],
)
def test_a_plan_whose_header_contradicts_its_sidecar_is_refused(
    make_engine: MakeEngine, data: bytes, words: str
) -> None:
    engine = make_engine(data=data)
    report = trust.examine(engine.path, machine(ADA))
    assert report.verdict == "incompatible"
    assert words in report.reasons[0]
    with pytest.raises(ArtifactError, match=r"plan|header"):
        trust.check_before_loading(engine, machine(ADA))


@pytest.mark.parametrize("backend", ["tensorrt", "tensorrt-rtx"])
def test_a_header_of_a_layout_that_was_never_seen_refuses_nothing(
    make_engine: MakeEngine, backend: str
) -> None:
    """A later runtime may move its fields; its own engines must load all the same."""
    magic = b"ftrt" if backend == "tensorrt" else b"vtrt"
    moved = plan(magic, version=(9, 9, 9, 9), size=7, mask=0)
    engine = make_engine(backend, moved, device=str(ADA), version="12.0.0.1")
    here = machine(ADA, version="12.0.0.1")
    report = trust.examine(engine.path, here)
    assert report.verdict == "cannot tell"
    assert "it reads as one of" in report.reasons[0]
    trust.check_before_loading(engine, here)


def test_a_capability_without_a_name_here_is_left_to_the_runtime(make_engine: MakeEngine) -> None:
    engine = make_engine(data=plan(mask=2 | 64))
    later = dataclasses.replace(ADA, capability=(13, 0))
    assert trust.examine(engine.path, machine(later)).verdict == "cannot tell"


def test_bytes_that_changed_after_the_build_are_refused(make_engine: MakeEngine) -> None:
    engine = make_engine()
    engine.path.write_bytes(plan() + b"more")
    assert trust.examine(engine.path, machine(ADA)).verdict == "incompatible"
    with pytest.raises(ArtifactError, match="is not the file that"):
        trust.check_before_loading(engine, machine(ADA))


def test_a_companion_that_changed_is_refused(make_engine: MakeEngine) -> None:
    engine = make_engine("openvino", **OPENVINO)
    engine.path.with_suffix(".bin").write_bytes(b"other weights")
    with pytest.raises(ArtifactError, match=r"\.bin is not the file that"):
        trust.check_before_loading(engine, machine())


@pytest.mark.parametrize(
    ("here", "reason"),
    [
        (machine(TURING), "built for compute capability 8.0, 8.6, 8.9; here is Tesla T4"),
        (machine(ADA, version="1.6.0"), "a plan runs only in the version that built"),
    ],
    ids=["GPU", "version"],
)
def test_a_machine_that_does_not_fit_is_named_with_the_command_to_rebuild(
    make_engine: MakeEngine, here: Machine, reason: str
) -> None:
    engine = make_engine()
    report = trust.examine(engine.path, here)
    assert report.verdict == "incompatible"
    assert reason in report.reasons[0]
    assert report.rebuild == (
        f"tresnet-deploy build-engine {engine.path.with_name('tresnet.onnx')} "
        "--backend tensorrt-rtx --precision fp16 --batch 1:4:8 --overwrite "
        f"--output {engine.path.parent}"
    )
    with pytest.raises(UnavailableError, match="cannot run here") as caught:
        trust.check_before_loading(engine, here)
    assert isinstance(caught.value, ElsewhereError) is (here.gpus == (TURING,))


def test_an_engine_without_named_targets_may_run_on_a_later_gpu(make_engine: MakeEngine) -> None:
    portable = make_engine(data=plan(mask=2 | 4 | 8 | 16 | 32))
    later = dataclasses.replace(ADA, capability=(13, 0))
    assert trust.examine(portable.path, machine(later)).verdict == "cannot tell"
    assert trust.examine(portable.path, machine(TURING)).verdict == "incompatible"


@pytest.mark.parametrize(
    ("installed", "settings", "verdict"),
    [
        ("11.4.0.12", {}, "compatible"),
        ("11.5.0.1", {}, "incompatible"),
        ("11.5.0.1", {"tensorrt.version_compatible": True}, "compatible"),
        ("12.0.0.1", {"tensorrt.version_compatible": True}, "incompatible"),
    ],
)
def test_a_tensorrt_plan_wants_its_own_version(
    make_engine: MakeEngine, installed: str, settings: dict[str, bool], verdict: str
) -> None:
    data = plan(b"ftrt", version=(11, 4, 0, 12))
    engine = make_engine("tensorrt", data, device=str(ADA), **settings)
    here = machine(ADA, version=installed)
    assert trust.examine(engine.path, here).verdict == verdict


@pytest.mark.parametrize(
    ("gpu", "level", "verdict"),
    [
        (ADA, "none", "compatible"),
        (dataclasses.replace(ADA, name="NVIDIA L4"), "none", "compatible"),
        (TURING, "none", "incompatible"),
        (HOPPER, "none", "incompatible"),
        (HOPPER, "ampere+", "compatible"),
        (TURING, "ampere+", "incompatible"),
        (dataclasses.replace(ADA, name="NVIDIA L4"), "same-compute-capability", "compatible"),
    ],
)
def test_a_tensorrt_plan_wants_the_capability_that_it_was_built_on(
    make_engine: MakeEngine, gpu: Gpu, level: str, verdict: str
) -> None:
    data = plan(b"ftrt", version=(11, 4, 0, 12))
    settings = {"tensorrt.hardware_compatible": level}
    engine = make_engine("tensorrt", data, device=str(ADA), **settings)
    here = machine(gpu, version=VERSIONS["tensorrt"])
    assert trust.examine(engine.path, here).verdict == verdict


def test_a_plan_of_an_unknown_gpu_is_left_to_the_runtime(make_engine: MakeEngine) -> None:
    engine = make_engine("tensorrt", plan(b"ftrt", version=(11, 4, 0, 12)), device="a GPU")
    here = machine(ADA, version=VERSIONS["tensorrt"])
    assert trust.examine(engine.path, here).verdict == "cannot tell"


@pytest.mark.parametrize(("driver", "verdict"), [("13.1", "compatible"), ("12.9", "incompatible")])
def test_a_driver_must_run_the_runtime_s_cuda(
    make_engine: MakeEngine, driver: str, verdict: str
) -> None:
    report = trust.examine(make_engine().path, machine(ADA, driver=driver, cuda=13))
    assert report.verdict == verdict
    assert outcome(report, "driver") == ("ok" if verdict == "compatible" else "bad")


def test_this_machine_is_asked_only_for_what_an_engine_needs() -> None:
    assert Machine.here("openvino").version is not None
    assert Machine.here("no such backend").version is None
    assert Machine.here("tensorrt-rtx").gpus == gpus.visible()


@pytest.mark.parametrize(
    ("installed", "verdict"),
    [("2026.4.1", "compatible"), ("2027.1.0", "compatible"), ("2026.1.0", "cannot tell")],
)
def test_a_portable_file_is_read_by_newer_runtimes(
    make_engine: MakeEngine, installed: str, verdict: str
) -> None:
    engine = make_engine("openvino", **OPENVINO)
    here = cpu("AVX2", "AVX-512 bf16", version=installed)
    assert trust.examine(engine.path, here).verdict == verdict


def test_a_runtime_that_is_not_installed_is_named(make_engine: MakeEngine) -> None:
    engine = make_engine("openvino", **OPENVINO)
    report = trust.examine(engine.path, Machine(version=None))
    assert report.verdict == "cannot tell"
    assert report.reasons == ("openvino is not installed here",)


def test_a_processor_with_less_instructions_is_worth_a_note(make_engine: MakeEngine) -> None:
    engine = make_engine("openvino", **OPENVINO)
    report = trust.examine(engine.path, cpu("AVX2"))
    assert report.verdict == "compatible"
    assert outcome(report, "processor") == "note"


@pytest.mark.parametrize(
    ("precision", "settings", "verdict"),
    [
        ("int8", {}, "incompatible"),
        ("int8", {"openvino.overflow_safe": False}, "incompatible"),
        ("int8", {"openvino.overflow_safe": True}, "compatible"),
        ("fp16", {}, "compatible"),
    ],
)
def test_a_processor_that_overflows_takes_int8_engines_that_were_built_for_one(
    make_engine: MakeEngine, precision: str, settings: dict[str, bool], verdict: str
) -> None:
    engine = make_engine("openvino", **OPENVINO, precision=precision, **settings)
    here = dataclasses.replace(cpu("AVX2"), overflows_int8=True)
    assert trust.examine(engine.path, here).verdict == verdict
    if verdict == "incompatible":
        with pytest.raises(UnavailableError, match="without VNNI"):
            trust.check_before_loading(engine, here)


def test_an_int8_engine_for_a_gpu_does_not_depend_on_the_processor(
    make_engine: MakeEngine,
) -> None:
    engine = make_engine("onnxruntime", b"graph", suffix=".onnx", device="cuda", precision="int8")
    here = Machine(version=VERSIONS["onnxruntime"], overflows_int8=True)
    assert trust.examine(engine.path, here).verdict == "compatible"


def test_a_graph_that_was_made_anew_is_worth_a_note(make_engine: MakeEngine) -> None:
    engine = make_engine()
    engine.path.with_name("tresnet.onnx").write_bytes(b"another graph")
    report = trust.examine(engine.path, machine(ADA))
    assert report.verdict == "compatible"
    assert outcome(report, "made from") == "note"


@pytest.mark.parametrize("name", ["", "..", ".", "/", "../up", "nul\0byte"])
def test_a_parent_s_name_never_leads_out_of_the_folder(make_engine: MakeEngine, name: str) -> None:
    engine = make_engine()
    edit(engine, lambda fields: (fields["parents"][0].update(name=name), fields.pop("seal")))
    report = trust.examine(engine.path, machine(ADA))
    assert outcome(report, "made from") == "note"
    assert report.rebuild.startswith("tresnet-deploy build-engine --backend ")


@pytest.mark.parametrize(
    ("data", "verdict", "words"),
    [
        (plan(), "cannot tell", "has no sidecar"),
        (plan(size=9), "incompatible", "its header says 9"),
        (b"junk", "incompatible", "is no TensorRT plan"),
    ],
    ids=["whole", "cut", "junk"],
)
def test_a_plan_of_somebody_else_is_not_vouched_for(
    tmp_path: Path, data: bytes, verdict: str, words: str
) -> None:
    path = tmp_path / "theirs.engine"
    path.write_bytes(data)
    report = trust.examine(path, machine(ADA))
    assert report.verdict == verdict
    assert words in "; ".join(report.reasons)


def test_a_link_beside_its_sidecar_is_followed_and_another_is_named(
    make_engine: MakeEngine, tmp_path: Path
) -> None:
    engine = make_engine()
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    link = folder / "current.engine"
    link.symlink_to(engine.path)
    report = trust.examine(link, machine(ADA))
    assert report.verdict == "cannot tell"
    assert f"check {engine.path}" in report.reasons[0]
    artifacts.sidecar_of(link).symlink_to(artifacts.sidecar_of(engine.path))
    assert trust.examine(link, machine(ADA)).verdict == "compatible"


@pytest.mark.parametrize("kind", ["missing", "folder", "dangling link", "pipe"])
def test_what_is_no_file_is_a_usage_error(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "it.engine"
    if kind == "folder":
        path.mkdir()
    elif kind == "dangling link":
        path.symlink_to("nowhere")
    elif kind == "pipe":
        os.mkfifo(path)
    with pytest.raises(UsageError, match=r"it\.engine"):
        trust.examine(path, machine())


def test_an_onnx_file_is_no_engine(make_engine: MakeEngine) -> None:
    engine = make_engine()
    edit(engine, lambda fields: (fields.update(kind="onnx"), fields.pop("seal")))
    with pytest.raises(UsageError, match="only engines are checked"):
        trust.examine(engine.path, machine())
    trust.check_before_loading(artifacts.read(engine.path), machine())


def test_an_unreadable_file_is_an_environment_error(
    make_engine: MakeEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine()

    def refuse(_path: Path) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(artifacts, "sha256_of", refuse)
    with pytest.raises(UnavailableError, match="Permission denied"):
        trust.check_before_loading(engine, machine())

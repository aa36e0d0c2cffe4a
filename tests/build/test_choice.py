"""Which backend builds: the first that can, what people ask for, and what is refused how."""

import pytest

from tresnet_deploy import build, environment, gpus
from tresnet_deploy.backends import NEED_GPU, PREFERENCE
from tresnet_deploy.build import choosing
from tresnet_deploy.contracts import Precision, Probe
from tresnet_deploy.errors import UnavailableError, UsageError
from tresnet_deploy.registry import BACKENDS

from .conftest import AddBackend

MISSING = "import no_such_runtime"


@pytest.fixture
def ranking(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = (("gpu", "the fastest of all"), ("quick", "fast"), ("slow", "always there"))
    monkeypatch.setattr(choosing, "PREFERENCE", {"fp32": rows, "int8": rows})


def test_every_ranked_backend_exists_and_makes_that_precision() -> None:
    for precision, rows in PREFERENCE.items():
        for name, reason in rows:
            assert name in BACKENDS.names()
            assert reason
            if name not in NEED_GPU:  # those come with runtimes of their own
                assert precision in BACKENDS.load(name).GRAPHS


def test_the_default_on_this_machine_says_why() -> None:
    name, reason = build.default_backend("int8")
    assert name == "openvino"
    assert "fastest INT8 engine" in reason


@pytest.mark.usefixtures("ranking")
def test_the_first_backend_that_can_is_taken_and_the_others_are_named(
    add_backend: AddBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus, "visible", lambda: ("some GPU",))
    add_backend("gpu", usable=False, reason="no GPU answers")
    add_backend("quick", precisions=("int8",))
    add_backend("slow")
    assert build.default_backend("fp32") == (
        "slow",
        "always there; gpu is passed over: no GPU answers; "
        "quick is passed over: it does not compute fp32 on this machine",
    )


@pytest.mark.usefixtures("ranking")
def test_without_a_gpu_the_reason_says_so(
    add_backend: AddBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus, "visible", tuple)
    add_backend("gpu")
    assert build.default_backend("fp32")[1] == "the fastest of all; no NVIDIA GPU is visible"


@pytest.mark.usefixtures("ranking")
def test_without_any_backend_the_error_says_what_to_install(add_backend: AddBackend) -> None:
    add_backend("gpu", usable=False, reason="no GPU answers")
    add_backend("quick", source=MISSING)
    add_backend("slow", precisions=("fp32",))
    with pytest.raises(UnavailableError, match="no backend makes int8 engines here") as caught:
        build.default_backend("int8")
    assert "pip install 'tresnet-deploy[quick]'" in caught.value.hints
    assert "no_such_runtime" in caught.value.message


def test_an_unknown_backend_lists_the_known_ones(add_backend: AddBackend) -> None:
    add_backend("quick")
    with pytest.raises(UsageError, match="no backend is called 'fast'; there are: quick"):
        build.backend_for("fast", "fp32")


def test_a_missing_runtime_comes_with_its_extra(add_backend: AddBackend) -> None:
    add_backend("quick", source=MISSING)
    with pytest.raises(UnavailableError) as caught:
        build.backend_for("quick", "fp32")
    assert caught.value.hints == ("pip install 'tresnet-deploy[quick]'",)
    assert caught.value.exit_code == 3


def test_a_backend_without_its_device_is_unavailable(add_backend: AddBackend) -> None:
    add_backend("gpu", usable=False, reason="no GPU answers")
    with pytest.raises(UnavailableError, match="gpu is not usable here: no GPU answers"):
        build.backend_for("gpu", "fp32")


@pytest.mark.usefixtures("ranking")
def test_a_backend_that_only_builds_is_taken_when_it_is_named_and_never_by_default(
    add_backend: AddBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpus, "visible", lambda: ("some GPU",))
    add_backend("gpu", runs=False, reason="builds for GPUs elsewhere")
    add_backend("quick")
    add_backend("slow", precisions=("int8",))
    assert build.backend_for("gpu", "fp32").WRITES == ".gpu.bin"
    name, reason = build.default_backend("fp32")
    assert name == "quick"
    assert "gpu is passed over: builds for GPUs elsewhere" in reason
    with pytest.raises(UsageError) as caught:
        build.backend_for("slow", "fp32")
    assert caught.value.hints == ("--backend quick makes them",)


def test_a_precision_that_a_backend_lacks_names_those_that_have_it(
    add_backend: AddBackend,
) -> None:
    add_backend("slow", precisions=("fp32",), reason="runs FP32 only")
    add_backend("quick", precisions=("fp32", "int8"))
    add_backend("gpu", precisions=("int8",), usable=False)
    with pytest.raises(UsageError) as caught:
        build.backend_for("slow", "int8")
    assert caught.value.message == "slow does not make int8 engines at all: runs FP32 only"
    assert caught.value.hints == ("--backend quick makes them",)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("backend", "precision", "option", "shown"),
    [
        ("openvino", "fp32", {"inference_precision": "bf16"}, "inference_precision=f32"),
        ("openvino", "fp32", {"inference_precision": "f16"}, "inference_precision=f32"),
        ("pytorch", "fp32", {"bf16": "true"}, "bf16=false"),
    ],
)
def test_an_option_cannot_make_an_engine_of_another_precision_than_its_name_says(
    backend: str, precision: Precision, option: dict[str, str], shown: str
) -> None:
    module = build.backend_for(backend, precision)
    with pytest.raises(UsageError, match=f"does not go with {precision} engines") as caught:
        build.options_from(module, precision, option)
    assert caught.value.message.endswith(f"which have {shown}")


@pytest.mark.parametrize("computes_bf16", [True, False])
def test_what_int8_leaves_in_float_is_computed_in_what_this_cpu_has(
    monkeypatch: pytest.MonkeyPatch, *, computes_bf16: bool
) -> None:
    module = BACKENDS.load("openvino")
    able = ("fp32", "bf16", "int8") if computes_bf16 else ("fp32", "int8")
    monkeypatch.setattr(module, "probe", lambda: Probe(usable=True, reason="", precisions=able))
    monkeypatch.setattr(environment, "computes_bf16", lambda: computes_bf16)
    assert build.options_from(module, "int8", {"inference_precision": "f32"})
    if computes_bf16:
        assert build.options_from(module, "int8", {"inference_precision": "bf16"})
    else:
        with pytest.raises(UsageError, match="inference_precision=bf16 does not go with int8"):
            build.options_from(module, "int8", {"inference_precision": "bf16"})


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_an_engine_that_would_overflow_here_is_refused_as_nothing_could_check_it(
    monkeypatch: pytest.MonkeyPatch, backend: str
) -> None:
    module, unsafe = BACKENDS.load(backend), {"overflow_safe": "false"}
    monkeypatch.setattr(environment, "overflows_int8", lambda: False)
    assert build.options_from(module, "int8", unsafe).overflow_safe is False
    monkeypatch.setattr(environment, "overflows_int8", lambda: True)
    with pytest.raises(UsageError, match="whose INT8 sums overflow on this processor"):
        build.options_from(module, "int8", unsafe)
    assert build.options_from(module, "fp32", unsafe).overflow_safe is False


def test_what_is_installed_is_not_offered_for_installing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "visible", lambda: ())
    here = Probe(usable=True, reason="")
    monkeypatch.setattr(choosing, "_probe", lambda name: "absent" if name == "pytorch" else here)
    with pytest.raises(UnavailableError, match="no backend makes bf16 engines here") as caught:
        build.default_backend("bf16")
    installs = [hint for hint in caught.value.hints if hint.startswith("pip install")]
    assert installs == ["pip install 'tresnet-deploy[pytorch]'"]


def test_pytorch_says_why_it_makes_no_int8_engines() -> None:
    with pytest.raises(UsageError, match="Q/DQ graph, which PyTorch does not run") as caught:
        build.backend_for("pytorch", "int8")
    assert "--backend openvino makes them" in caught.value.hints


def test_onnx_runtime_makes_no_bf16_engines() -> None:
    with pytest.raises(UsageError, match="onnxruntime does not make bf16 engines at all"):
        build.backend_for("onnxruntime", "bf16")


def test_options_are_the_backends_best_changed_by_what_is_given(add_backend: AddBackend) -> None:
    add_backend("quick")
    module = build.backend_for("quick", "fp32")
    assert build.options_from(module, "fp32", {}) == module.Options()
    assert build.options_from(module, "fp32", {"threads": "3", "fast": "false"}) == module.Options(
        threads=3, fast=False
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"speed": "9"}, "the backend quick has no option 'speed'; it has: fast, threads"),
        ({"threads": "many"}, "an option of the backend quick does not fit"),
    ],
)
def test_options_that_do_not_fit_are_a_usage_error(
    add_backend: AddBackend, given: dict[str, str], message: str
) -> None:
    add_backend("quick")
    with pytest.raises(UsageError, match=message):
        build.options_from(build.backend_for("quick", "fp32"), "fp32", given)

"""PyTorch's ladder for GPUs, driven on the CPU: events and pinned memory are stand-ins."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from tresnet_deploy.backends import _pytorch_cuda  # noqa: E402
from tresnet_deploy.backends._pytorch_cuda import LADDER, PyTorchCudaSession  # noqa: E402
from tresnet_deploy.contracts import TensorSpec, run  # noqa: E402
from tresnet_deploy.errors import RunError, UsageError  # noqa: E402
from tresnet_deploy.timing import DeviceSession  # noqa: E402

INPUTS = (TensorSpec(name="images", dtype="float32", shape=("batch", 3, 8, 8)),)
OUTPUTS = (TensorSpec(name="logits", dtype="float32", shape=("batch", 5)),)
EAGER = [options for options in LADDER if not options.compile]


class Event:
    """A CUDA event whose times are a millisecond and a half apart."""

    def __init__(self, *, enable_timing: bool) -> None:
        assert enable_timing

    def record(self) -> None:
        self.recorded = True

    def synchronize(self) -> None:
        assert self.recorded

    def elapsed_time(self, end: Event) -> float:
        return 1.5


@pytest.fixture(autouse=True)
def gpu(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Make the CPU pass for a GPU; the list holds the free bytes it tells, the newest last."""
    free = [2**30]
    monkeypatch.setattr(_pytorch_cuda, "_DEVICE", "cpu")
    monkeypatch.setattr(torch.cuda, "Event", Event)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (free[-1], 2**31))
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: None)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self.clone())
    return free


@pytest.fixture
def network() -> Any:
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.LeakyReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 5)
    ).eval()


@pytest.fixture
def images() -> Any:
    return np.random.default_rng(0).random((2, 3, 8, 8), np.float32)


def opened(network: Any, options: Any) -> PyTorchCudaSession:
    return PyTorchCudaSession(network, inputs=INPUTS, outputs=OUTPUTS, options=options)


@pytest.mark.parametrize("options", EAGER, ids=lambda each: each.name)
def test_every_rung_gives_the_answers_of_the_network(
    network: Any, images: Any, options: Any
) -> None:
    with torch.inference_mode():
        expected = network(torch.from_numpy(images)).numpy()
    found = run(opened(network, options), {"images": images})["logits"]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-5 if options.compute == "fp32" else 5e-3)


def test_the_ladder_goes_from_the_reference_to_the_fastest() -> None:
    assert [options.name for options in LADDER] == [
        "pytorch eager fp32",
        "pytorch eager tf32",
        "pytorch eager amp fp16",
        "pytorch channels-last amp fp16",
        "pytorch channels-last fp16",
        "pytorch compiled fp16",
    ]
    assert not LADDER[0].tf32


@pytest.mark.parametrize("tf32", [False, True])
def test_tf32_is_set_while_a_rung_runs_and_put_back_after(
    network: Any, images: Any, tf32: bool
) -> None:
    seen = []

    def spy(module: Any, inputs: Any, output: Any) -> None:
        seen.append(
            (
                torch.backends.cuda.matmul.fp32_precision,
                torch.backends.cudnn.conv.fp32_precision,
                torch.backends.cudnn.benchmark,
            )
        )

    before = torch.backends.cuda.matmul.fp32_precision
    session = opened(network, dataclasses.replace(LADDER[0], tf32=tf32))
    session._module[0].register_forward_hook(spy)  # type: ignore[index]
    run(session, {"images": images})
    wanted = "tf32" if tf32 else "ieee"
    assert seen == [(wanted, wanted, True)]
    assert torch.backends.cuda.matmul.fp32_precision == before


def test_the_callers_network_stays_as_it_is(network: Any, images: Any) -> None:
    opened(network, LADDER[4])
    assert network[0].weight.dtype == torch.float32
    assert network[0].weight.is_contiguous()


def test_it_is_a_device_session_with_the_devices_own_times(
    network: Any, images: Any, gpu: list[int]
) -> None:
    session = opened(network, LADDER[0])
    assert isinstance(session, DeviceSession)
    with pytest.raises(RunError):
        session.device_ms()
    run(session, {"images": images})
    assert session.device_ms() == 1.5
    gpu.append(gpu[0] - 3 * 2**20)
    assert session.memory_mib() == 3.0


def test_steps_with_transfers_read_what_is_pinned(network: Any, images: Any) -> None:
    session = opened(network, LADDER[0])
    plain = run(session, {"images": images})["logits"]
    session._bound = tuple(torch.zeros_like(tensor) for tensor in session._bound)
    session.step_with_transfers()
    np.testing.assert_array_equal(session.fetch()["logits"], plain)


def test_feeds_that_do_not_fit_and_closed_sessions_are_errors(network: Any, images: Any) -> None:
    session = opened(network, LADDER[0])
    with pytest.raises(UsageError, match="takes float32"):
        session.bind({"images": images.astype(np.float64)})
    session.bind({"images": images})
    session.close()
    with pytest.raises(RunError):
        session.step()


def test_a_gpu_that_runs_out_of_memory_is_a_run_error(network: Any, images: Any) -> None:
    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    session = opened(network, LADDER[0])
    session.bind({"images": images})
    session._module = full
    with pytest.raises(RunError, match="PyTorch failed on the GPU: CUDA out of memory"):
        session.step()


def test_pytorch_without_cuda_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "version", SimpleNamespace(cuda=None))
    assert "was built without CUDA" in _pytorch_cuda.missing()
    monkeypatch.setattr(torch, "version", SimpleNamespace(cuda="13.0"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert _pytorch_cuda.missing() == "PyTorch finds no GPU"

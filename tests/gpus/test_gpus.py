"""What the driver's library is asked, played by a driver of the test's own."""

import ctypes

import pytest

from tresnet_deploy import gpus


class Driver:
    """Answers as CUDA's driver library does: through pointers, 0 for success."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def cuDeviceGetCount(self, count) -> int:  # noqa: N802
        count._obj.value = len(self.names)
        return 0

    def cuDeviceGet(self, device, index) -> int:  # noqa: N802
        device._obj.value = index
        return 0

    def cuDeviceGetName(self, text, room, device) -> int:  # noqa: N802
        text.value = self.names[device.value].encode()[:room]
        return 0

    def cuDeviceTotalMem_v2(self, memory, device) -> int:  # noqa: N802
        memory._obj.value = 24 * 2**30
        return 0

    def cuDeviceGetAttribute(self, value, attribute, device) -> int:  # noqa: N802
        value._obj.value = {75: 8, 76: 9}[attribute]
        return 0

    def cuDriverGetVersion(self, version) -> int:  # noqa: N802
        version._obj.value = 13010
        return 0


def test_without_a_driver_nothing_is_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> ctypes.CDLL:
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(ctypes, "CDLL", missing)
    assert gpus.visible() == ()
    assert gpus.driver_version() is None


def test_a_driver_that_finds_no_gpu_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class Idle:
        def cuInit(self, flags: int) -> int:  # noqa: N802
            return 100  # CUDA_ERROR_NO_DEVICE

    monkeypatch.setattr(ctypes, "CDLL", lambda name: Idle())
    assert gpus.visible() == ()


def test_each_gpu_has_its_name_capability_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpus, "_driver", lambda: Driver("NVIDIA GeForce RTX 4090", "NVIDIA L4"))
    first, second = gpus.visible()
    assert (first.capability, first.memory_mib) == ((8, 9), 24 * 1024)
    assert str(first) == "NVIDIA GeForce RTX 4090 (compute capability 8.9)"
    assert second.name == "NVIDIA L4"


def test_the_drivers_version_is_that_of_the_newest_cuda_it_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(gpus, "_driver", Driver)
    assert gpus.driver_version() == "13.1"

"""Whether this machine can run an engine: its runtime's version, its GPU, its processor.

What an NVIDIA GPU says has not been compared on one yet; without a GPU the answer is "unknown".
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from tresnet_deploy import environment, gpus
from tresnet_deploy.contracts import Artifact
from tresnet_deploy.trust.headers import PlanHeader, numbers
from tresnet_deploy.trust.reports import Finding, Outcome

PLAN_BACKENDS: Final = ("tensorrt", "tensorrt-rtx")
"""Backends whose engines are TensorRT plans."""

GPU: Final = "GPU"
"""What the finding on the GPU is called."""

# Distributions that bring a backend's runtime, and under which name a sidecar has its version.
_PACKAGES: Final[dict[str, tuple[str, ...]]] = {
    "openvino": ("openvino",),
    "onnxruntime": ("onnxruntime", "onnxruntime-gpu"),
    "pytorch": ("torch",),
    "tensorrt": ("tensorrt", "tensorrt-cu13", "tensorrt-cu12"),
    "tensorrt-rtx": ("tensorrt-rtx", "tensorrt-rtx-cu13", "tensorrt-rtx-cu12"),
}
_AMPERE: Final = (8, 0)
# Built without naming capabilities, an RTX engine has all of these and also runs on later GPUs.
_PORTABLE: Final = frozenset({(8, 0), (8, 6), (8, 9), (12, 0), (12, 1)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What an engine of one backend is compared with; tests make their own.

    ``version`` is that of the backend's runtime, None where it is not installed, and ``cuda`` the
    major version of CUDA that it was built for. ``driver`` is the newest CUDA that the driver runs.
    """

    version: str | None
    instructions: tuple[str, ...] = ()
    overflows_int8: bool = False
    gpus: tuple[gpus.Gpu, ...] = ()
    driver: str | None = None
    cuda: int | None = None

    @classmethod
    def here(cls, backend: str | None) -> Machine:
        """Return this machine as an engine of ``backend`` meets it.

        Only NVIDIA's backends ask the driver: starting CUDA takes a while.
        """
        names = _PACKAGES.get(backend or "", ())
        found = {name: text for name in names if (text := _installed(name)) is not None}
        plain = cls(
            version=next(iter(found.values()), None),
            instructions=environment.instructions(),
            overflows_int8=environment.overflows_int8(),
        )
        if backend not in PLAN_BACKENDS:
            return plain
        built = [int(name[-2:]) for name in found if re.search(r"-cu\d\d$", name)]
        return dataclasses.replace(
            plain,
            gpus=gpus.visible(),
            driver=gpus.driver_version(),
            cuda=built[0] if built else None,
        )


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def runtime_of(
    artifact: Artifact, header: PlanHeader | None, machine: Machine
) -> Iterator[Finding]:
    """Give how the runtime's version here compares with the one that built the engine."""
    backend = artifact.backend or ""
    here = machine.version
    if here is None:
        yield _runtime("unknown", f"{backend or 'its runtime'} is not installed here")
        return
    recorded = artifact.versions.get({"pytorch": "torch"}.get(backend, backend), "")
    built = numbers(recorded) or (header.version if header else ())
    now = numbers(here)
    text = f"built by {backend} {'.'.join(map(str, built)) or '(unknown)'}, here is {here}"
    if built and now[: len(built)] == built[: len(now)]:
        yield _runtime("ok", text)
    elif header is None:
        # IR, ONNX and exported programs are portable formats: newer runtimes read older files.
        newer = bool(built) and now > built
        yield _runtime("note" if newer else "unknown", text + ("" if newer else ", an older one"))
    elif artifact.settings.get("tensorrt.version_compatible") is True:
        same = now[0] == built[0] and now >= built
        yield _runtime("ok" if same else "bad", f"{text}; version-compatible within its major")
    else:
        yield _runtime("bad", f"{text}: a plan runs only in the version that built it")


def gpu_of(artifact: Artifact, header: PlanHeader, machine: Machine) -> Iterator[Finding]:
    """Give how the GPU here compares with those that a plan was built for."""
    targets = ", ".join(f"{major}.{minor}" for major, minor in header.capabilities)
    if not machine.gpus:
        wanted = f"compute capability {targets}" if targets else artifact.device or "its GPU"
        yield _gpu("unknown", f"built for {wanted}; no NVIDIA GPU and driver are visible here")
        return
    gpu = machine.gpus[0]
    yield _portable(header, gpu, targets) if targets else _tuned(artifact, gpu)
    yield from _driver(machine)


def _driver(machine: Machine) -> Iterator[Finding]:
    """Compare majors alone: within one, NVIDIA promises that older drivers run newer CUDA."""
    if machine.driver is None or machine.cuda is None:
        return
    fits = numbers(machine.driver)[0] >= machine.cuda
    yield Finding(
        check="driver",
        outcome="ok" if fits else "bad",
        detail=f"runs CUDA {machine.driver}; the runtime here is built for CUDA {machine.cuda}",
    )


def _tuned(artifact: Artifact, gpu: gpus.Gpu) -> Finding:
    """Judge a plan of TensorRT, which was tuned on one GPU; its header does not say which."""
    built = artifact.device or ""
    text = f"built on {built or 'an unknown GPU'}, here is {gpu}"
    found = re.search(r"compute capability (\d+)\.(\d+)", built)
    capability = (int(found[1]), int(found[2])) if found else None
    level = artifact.settings.get("tensorrt.hardware_compatible", "none")
    if built == str(gpu):
        return _gpu("ok", f"built on {built}, as here")
    if capability is None:
        return _gpu("unknown", text)
    if level == "ampere+":
        fits = gpu.capability >= _AMPERE
        return _gpu("ok" if fits else "bad", f"{text}; it runs on Ampere and later")
    if gpu.capability != capability:
        return _gpu("bad", f"{text}: a plan runs on GPUs of the capability that it was built on")
    tuned = level == "none"
    return _gpu("note" if tuned else "ok", text + ("; it was tuned for the other" if tuned else ""))


def _portable(header: PlanHeader, gpu: gpus.Gpu, targets: str) -> Finding:
    if gpu.capability in header.capabilities:
        return _gpu("ok", f"built for compute capability {targets}; here is {gpu}")
    later = set(header.capabilities) >= _PORTABLE and gpu.capability > min(_PORTABLE)
    if later or header.others:
        return _gpu("unknown", f"built for {targets} and perhaps later ones; here is {gpu}")
    return _gpu("bad", f"built for compute capability {targets or 'none'}; here is {gpu}")


def processor_of(artifact: Artifact, machine: Machine) -> Iterator[Finding]:
    """Give which instructions the builder's processor had and this one lacks.

    The formats run on any processor; what changes is speed, and the numbers of bf16 engines. Where
    INT8 overflows, engines must have been built for that.
    """
    listed = re.search(r"\(([^()]*)\)$", artifact.device or "")
    if listed is None:
        return  # it was built for a GPU
    safe = artifact.settings.get(f"{artifact.backend}.overflow_safe") is True
    if artifact.precision == "int8" and machine.overflows_int8 and not safe:
        yield Finding(
            check="processor",
            outcome="bad",
            detail="INT8 overflows on a processor without VNNI, and it was not built for one",
        )
        return
    wanted = [name for name in listed[1].split(", ") if name]
    missing = [name for name in wanted if name not in machine.instructions]
    if not missing:
        yield Finding(
            check="processor", outcome="ok", detail="has all instructions of the builder's"
        )
        return
    bf16 = artifact.precision == "bf16" and any(name.endswith("bf16") for name in missing)
    advice = ": bf16 is computed otherwise, so compare again" if bf16 else ", so it runs slower"
    yield Finding(
        check="processor",
        outcome="note",
        detail=f"this one lacks {', '.join(missing)} of the builder's{advice}",
    )


def _runtime(outcome: Outcome, detail: str) -> Finding:
    return Finding(check="runtime", outcome=outcome, detail=detail)


def _gpu(outcome: Outcome, detail: str) -> Finding:
    return Finding(check=GPU, outcome=outcome, detail=detail)

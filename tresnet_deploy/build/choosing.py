"""Who builds an engine: this file is about the backends that can, and the options they take."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

import msgspec

from tresnet_deploy import environment, gpus
from tresnet_deploy.backends import NEED_GPU, PREFERENCE
from tresnet_deploy.contracts import CALIBRATED, Precision, Probe
from tresnet_deploy.errors import UnavailableError, UsageError
from tresnet_deploy.registry import BACKENDS


def default_backend(precision: Precision) -> tuple[str, str]:
    """Return the first backend of ``PREFERENCE`` that makes ``precision`` engines here, and why.

    Raises:
        UnavailableError: none does.
    """
    sees_gpu = bool(gpus.visible())
    # One reason for all that need a GPU, instead of one for each.
    ranked = [row for row in PREFERENCE[precision] if sees_gpu or row[0] not in NEED_GPU]
    no_gpu = () if sees_gpu else ("no NVIDIA GPU is visible",)
    passed_over: list[str] = []
    absent: list[str] = []
    for name, reason in ranked:
        found = _probe(name)
        if isinstance(found, str):
            absent.append(name)
            why = found
        elif _runs(found, precision):
            return name, "; ".join((reason, *no_gpu, *passed_over))
        else:
            why = _shortfall(found, precision)
        passed_over.append(f"{name} is passed over: {why}")
    raise UnavailableError(
        f"no backend makes {precision} engines here: {'; '.join((*no_gpu, *passed_over))}",
        hints=(
            *(f"pip install 'tresnet-deploy[{name}]'" for name in absent),
            *(() if sees_gpu else _elsewhere()),
        ),
    )


def _elsewhere() -> Iterator[str]:
    """Give the options for backends that build here what runs elsewhere."""
    for name in sorted(NEED_GPU.intersection(BACKENDS.names())):
        found = _probe(name)
        if isinstance(found, Probe) and found.usable:
            yield f"--backend {name}, which builds for a GPU elsewhere"


def _runs(found: Probe, precision: Precision) -> bool:
    """Return whether engines of ``precision`` are built here and run here, too."""
    return found.usable and found.runs and precision in found.precisions


def _probe(name: str) -> Probe | str:
    """Return what backend ``name`` can do, or why it is not installed."""
    try:
        found: Probe = BACKENDS.load(name).probe()
    except UnavailableError as error:
        return error.message
    return found


def _shortfall(found: Probe, precision: Precision) -> str:
    able = found.usable and found.runs
    return f"it does not compute {precision} on this machine" if able else found.reason


def backend_for(name: str, precision: Precision) -> ModuleType:
    """Return the backend called ``name`` after checking that it makes ``precision`` engines here.

    Raises:
        UsageError: no backend has that name, or it does not make such engines.
        UnavailableError: its runtime or device is missing.
    """
    module = BACKENDS.load(name)
    found: Probe = module.probe()
    if not found.usable:
        raise UnavailableError(f"the backend {name} is not usable here: {found.reason}")
    if precision in module.GRAPHS and precision in found.precisions:
        return module
    able = [other for other in BACKENDS.names() if other != name and _makes(other, precision)]
    where = "on this machine" if precision in module.GRAPHS else "at all"
    raise UsageError(
        f"{name} does not make {precision} engines {where}: {found.reason}",
        hints=tuple(f"--backend {other} makes them" for other in able)
        or (f"--precision {found.precisions[0]}, which {name} makes",),
    )


def _makes(name: str, precision: Precision) -> bool:
    found = _probe(name)
    return isinstance(found, Probe) and _runs(found, precision)


def options_from(module: ModuleType, precision: Precision, given: Mapping[str, str]) -> Any:
    """Return the backend's best options for ``precision``, changed by ``given`` as people type it.

    Raises:
        UsageError: the backend has no such option, or the value does not fit.
    """
    options = module.options_for(precision)
    known = {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}
    name = module.__name__.rpartition(".")[2].replace("_", "-")
    for key in given:
        if key not in known:
            raise UsageError(
                f"the backend {name} has no option {key!r}; it has: {', '.join(sorted(known))}",
                hints=tuple(f"--backend {other} has it" for other in _having(key)),
            )
    try:
        chosen = msgspec.convert({**known, **given}, module.Options, strict=False)
    except msgspec.ValidationError as error:
        raise UsageError(f"an option of the backend {name} does not fit: {error}") from error
    _refuse_another_precision(module, precision, chosen)
    if precision == "int8" and getattr(chosen, "overflow_safe", None) is False:
        _refuse_overflow()
    return chosen


def _refuse_another_precision(module: ModuleType, precision: Precision, chosen: Any) -> None:
    """Refuse an option that would make an engine of another precision than its name says."""
    name = getattr(module, "PRECISION_OPTION", None)
    if name is None:
        return
    computed: tuple[Precision, ...] = module.probe().precisions
    # What INT8 leaves in float may be computed in anything that this CPU computes.
    allowed = computed if precision in CALIBRATED else (precision,)
    values = [getattr(module.options_for(each), name) for each in allowed]
    value = getattr(chosen, name)
    if value not in values:
        shown = " or ".join(dict.fromkeys(f"{name}={each}".lower() for each in values))
        raise UsageError(
            f"{name}={str(value).lower()} does not go with {precision} engines here, which have "
            f"{shown}",
            hints=("--precision chooses, and the engine is named after it",),
        )


def _refuse_overflow() -> None:
    if environment.overflows_int8():
        raise UsageError(
            "overflow_safe=false makes an engine whose INT8 sums overflow on this processor, which "
            "has no VNNI; it could be neither checked nor run here",
            hints=("leave it out", "build on the machine that is to run it"),
        )


def _having(option: str) -> Iterator[str]:
    """Give the backends, among those installed, that have an option of that name."""
    for name in BACKENDS.names():
        try:
            fields = dataclasses.fields(BACKENDS.load(name).Options)
        except UnavailableError:
            continue
        if option in {field.name for field in fields}:
            yield name

"""PyTorch as contestants: the ladder of its forms, from plain eager to its fastest, per device."""

from __future__ import annotations

import dataclasses
import functools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tresnet_deploy import environment, weights
from tresnet_deploy.benchmark import Contestant
from tresnet_deploy.contestants.pictures import Pictures
from tresnet_deploy.contestants.transfers import WithTransfers
from tresnet_deploy.contracts import Artifact, Precision, Session, TensorSpec
from tresnet_deploy.errors import UnavailableError, UsageError
from tresnet_deploy.registry import BACKENDS

if TYPE_CHECKING:
    from torch import nn

    from tresnet_deploy.backends._pytorch_cuda import CudaOptions

_COMPILERS: Final = ("g++", "clang++", "c++")  # one of them is what torch.compile runs on CPUs
FOLDED: Final = (
    "all PyTorch rows but the first run the folded deploy form in channels-last order, "
    "PyTorch's fastest"
)
FOLDED_ON_GPU: Final = "all PyTorch rows but the first run the folded deploy form"


@dataclass(frozen=True, slots=True, kw_only=True)
class Baselines:
    """Eager PyTorch as contestants; ``notes`` say which forms are left out, and why."""

    contestants: tuple[Contestant, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Form:
    """A way to run the network in PyTorch on a CPU."""

    name: str
    precision: Precision
    tuned: bool = False
    compiled: bool = False


def baselines(
    artifact: Artifact,
    pictures: Pictures,
    *,
    compiled: bool,
    on_gpu: bool = False,
    transfers: bool = False,
    quiet: bool = False,
) -> Baselines:
    """Return PyTorch's forms of the network that ``artifact`` was made from, the plainest first.

    Without PyTorch or the weights there are none, with a note: engines can be timed by themselves.
    ``on_gpu`` gives the forms for a GPU, ``transfers`` puts copies into their steps.
    """
    try:
        BACKENDS.load("pytorch")
        checkpoint = weights.load(artifact.source, quiet=quiet)
    except (UnavailableError, UsageError) as error:
        return Baselines(notes=(f"PyTorch is left out: {error.message}",))
    from tresnet.deploy_form import deploy_form
    from tresnet_deploy.eager import Deployed

    # Eager PyTorch takes what the engine takes: decoding and scaling are on the same side of both.
    plain, folded = (
        Deployed(network, artifact.preprocess, artifact.labels.activation).eval()
        for network in (checkpoint.model, deploy_form(checkpoint.model))
    )
    if on_gpu:
        return _on_gpu(plain, folded, artifact, pictures, compiled=compiled, transfers=transfers)
    notes: list[str] = []
    forms = tuple(_folded_forms(compiled=compiled, notes=notes))
    first = _Form(name="pytorch eager fp32", precision="fp32")
    return Baselines(
        contestants=(
            _eager(first, plain, artifact, pictures),
            *(_eager(form, folded, artifact, pictures) for form in forms),
        ),
        notes=(FOLDED, *notes),
    )


def _folded_forms(*, compiled: bool, notes: list[str]) -> Iterator[_Form]:
    precisions: tuple[Precision, ...] = ("fp32", "bf16")
    if not environment.computes_bf16():
        precisions = ("fp32",)
        notes.append("PyTorch in bf16 is left out: this processor has no bf16 instructions")
    for precision in precisions:
        yield _Form(name=f"pytorch channels-last {precision}", precision=precision, tuned=True)
    if not compiled:
        notes.append("torch.compile is left out: --compile adds it")
    elif not any(map(shutil.which, _COMPILERS)):
        notes.append(f"torch.compile is left out: it needs one of {', '.join(_COMPILERS)}")
    else:
        for precision in precisions:
            yield _Form(
                name=f"pytorch compiled {precision}", precision=precision, tuned=True, compiled=True
            )


def _eager(form: _Form, module: nn.Module, artifact: Artifact, pictures: Pictures) -> Contestant:
    return Contestant(
        name=form.name,
        backend="pytorch",
        precision=form.precision,
        parity="baseline",
        open=functools.partial(_open_eager, form, module, artifact, pictures),
    )


def _open_eager(
    form: _Form, module: nn.Module, artifact: Artifact, pictures: Pictures, batch: int
) -> Session:
    import torch

    from tresnet_deploy.backends import pytorch

    session: Session = pytorch.session(
        module,
        _at_any_batch(artifact.inputs),
        _at_any_batch(artifact.outputs),
        compile=form.compiled,
        channels_last=form.tuned,
        autocast=torch.bfloat16 if form.precision == "bf16" else None,
    )
    session.bind({artifact.inputs[0].name: pictures(artifact.preprocess, batch)})
    return session


def _at_any_batch(specs: tuple[TensorSpec, ...]) -> tuple[TensorSpec, ...]:
    """Return what PyTorch takes and gives, where the engine may be for one batch size."""
    return tuple(dataclasses.replace(each, shape=("batch", *each.shape[1:])) for each in specs)


def _on_gpu(
    plain: nn.Module,
    folded: nn.Module,
    artifact: Artifact,
    pictures: Pictures,
    *,
    compiled: bool,
    transfers: bool,
) -> Baselines:
    from tresnet_deploy.backends import _pytorch_cuda

    missing = _pytorch_cuda.missing()
    if missing:
        return Baselines(notes=(f"PyTorch is left out: {missing}",))
    first, *others = _pytorch_cuda.LADDER
    kept = [options for options in others if compiled or not options.compile]
    notes = [] if compiled else ["torch.compile is left out: --compile adds it"]
    pairs = [(first, plain), *((options, folded) for options in kept)]
    return Baselines(
        contestants=tuple(
            Contestant(
                name=options.name,
                backend="pytorch",
                precision="fp32" if options.compute == "fp32" else "fp16",
                parity="baseline",
                open=functools.partial(
                    _open_on_gpu, options, module, artifact, pictures, transfers=transfers
                ),
                transfers=transfers,
            )
            for options, module in pairs
        ),
        notes=(FOLDED_ON_GPU, *notes),
    )


def _open_on_gpu(
    options: CudaOptions,
    module: nn.Module,
    artifact: Artifact,
    pictures: Pictures,
    batch: int,
    *,
    transfers: bool,
) -> Session:
    from tresnet_deploy.backends._pytorch_cuda import PyTorchCudaSession

    session = PyTorchCudaSession(
        module,
        inputs=_at_any_batch(artifact.inputs),
        outputs=_at_any_batch(artifact.outputs),
        options=options,
    )
    session.bind({artifact.inputs[0].name: pictures(artifact.preprocess, batch)})
    return WithTransfers(session) if transfers else session

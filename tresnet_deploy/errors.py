"""Every error a user can meet, as one tree, each class with its exit code.

    DeployError                          4
    +-- UsageError                       2   the request contradicts itself or names nothing
    |   +-- ImageError                   2   an image or a folder of images cannot be used
    |   +-- ArtifactError                2   a file is not what its name, sidecar or hash says
    +-- UnavailableError                 3   a runtime, device, network or disk is missing here
    |   +-- ElsewhereError               3   an engine is for a device that is not here
    +-- GateError                        1   it ran, and a gate failed
    +-- StepError                        4   a step ran and broke
        +-- ExportError                  4
        +-- QuantizeError                4
        +-- BuildError                   4
        +-- RunError                     4

A message names the thing, the value and the remedy. ``hints`` are ways out that can be pasted.
"""

from __future__ import annotations


class DeployError(Exception):
    """Base of all errors of this tool; ``exit_code`` is what the process ends with."""

    exit_code = 4

    def __init__(self, message: str, *, hints: tuple[str, ...] = ()) -> None:
        """Store the one-paragraph ``message`` and the pasteable ways out."""
        super().__init__(message)
        self.message = message
        self.hints = hints


class UsageError(DeployError):
    """The request contradicts itself, or names something that does not exist."""

    exit_code = 2


class ImageError(UsageError):
    """An image, or a folder of images, cannot be used."""


class ArtifactError(UsageError):
    """A file is not what its name, its sidecar or its hash says."""


class UnavailableError(DeployError):
    """A runtime, device, network or disk that the request needs is missing here."""

    exit_code = 3


class ElsewhereError(UnavailableError):
    """An engine is for a device that is not here: it can be built, but not run."""


class GateError(DeployError):
    """The step ran to its end and the result failed a gate."""

    exit_code = 1


class StepError(DeployError):
    """A step ran and broke."""


class ExportError(StepError):
    """The model did not become a verified ONNX graph."""


class QuantizeError(StepError):
    """The graph could not be calibrated, quantised or converted."""


class BuildError(StepError):
    """A backend refused the graph."""


class RunError(StepError):
    """A loaded engine failed while running."""

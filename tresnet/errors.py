"""Every error of the network package: this file is about what can go wrong, as one tree.

::

    TResNetError
    ├── UnknownVariantError      no such row in the table of variants        (also a ValueError)
    ├── ArchitectureError        a network that cannot exist was asked for   (also a ValueError)
    ├── InputSizeError           images of a size the network cannot take    (also a ValueError)
    ├── MissingPackageError      an optional package was asked for by name   (also an ImportError)
    └── CheckpointError
        ├── CheckpointFileError      missing, empty, truncated, or no checkpoint at all
        ├── UntrustedPickleError     the pickle would run code when loaded
        ├── NotATResNetError         weights of another network
        ├── CheckpointMismatchError  a TResNet, but keys or shapes do not fit
        └── NonFiniteWeightsError    NaN or infinity among the weights

Each message names the thing, the value and the remedy.
"""


class TResNetError(Exception):
    """Base of every error that this package raises on purpose."""


class UnknownVariantError(TResNetError, ValueError):
    """The name is no row of the table of variants."""


class ArchitectureError(TResNetError, ValueError):
    """The numbers asked for do not describe a network that can exist."""


class InputSizeError(TResNetError, ValueError):
    """The network cannot take images of this shape."""


class MissingPackageError(TResNetError, ImportError):
    """An optional package was asked for by name and cannot be imported."""


class CheckpointError(TResNetError):
    """A checkpoint cannot be loaded or saved; the base of the errors below."""


class CheckpointFileError(CheckpointError):
    """The file is missing, empty, truncated, or no checkpoint at all."""


class UntrustedPickleError(CheckpointError):
    """The file is a pickle that needs to call code which plain weights do not need."""


class NotATResNetError(CheckpointError):
    """The file holds weights, but of no TResNet."""


class CheckpointMismatchError(CheckpointError):
    """The file holds a TResNet whose keys or shapes do not fit together."""


class NonFiniteWeightsError(CheckpointError):
    """Some weights are NaN or infinite."""

"""Any TResNet checkpoint becomes a verified, measured inference engine."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("tresnet-deploy")
except PackageNotFoundError:  # a bare checkout, never installed
    __version__ = "0+unknown"

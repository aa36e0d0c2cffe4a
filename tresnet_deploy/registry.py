"""A folder is a registry: file name = name on the command line = name of the extra."""

from __future__ import annotations

import importlib
import pkgutil
from dataclasses import dataclass
from types import ModuleType

from tresnet_deploy.errors import UnavailableError, UsageError


@dataclass(frozen=True, slots=True)
class Folder:
    """A package whose public modules are the members of one family; packages inside it are not.

    ``optional`` says that a member's imports may be missing and come with the extra of its name.
    """

    package: str
    family: str
    optional: bool = False

    def names(self) -> tuple[str, ...]:
        """Return the command-line names of all members, sorted, importing none of them."""
        package = importlib.import_module(self.package)
        found = (info.name for info in pkgutil.iter_modules(package.__path__) if not info.ispkg)
        return tuple(sorted(name.replace("_", "-") for name in found if not name.startswith("_")))

    def load(self, name: str) -> ModuleType:
        """Return the module of member ``name``.

        Raises:
            UsageError: no member has that name.
            UnavailableError: an optional member's runtime is not installed.
        """
        names = self.names()
        if name not in names:
            raise UsageError(f"no {self.family} is called {name!r}; there are: {', '.join(names)}")
        try:
            return importlib.import_module(f"{self.package}.{name.replace('-', '_')}")
        except (ImportError, OSError) as error:  # OSError: a shared library that does not load
            if not self.optional or _is_ours(error):
                raise
            raise UnavailableError(
                f"the {self.family} {name} is not usable here: {error}",
                hints=(f"pip install 'tresnet-deploy[{name}]'",),
            ) from error


def _is_ours(error: ImportError | OSError) -> bool:
    """Tell a fault of this package, which no ``pip install`` would cure."""
    package = (__package__ or "").split(".")[0]
    return isinstance(error, ImportError) and (error.name or "").split(".")[0] == package


BACKENDS = Folder("tresnet_deploy.backends", "backend", optional=True)
PASSES = Folder("tresnet_deploy.passes", "graph pass")
OBSERVERS = Folder("tresnet_deploy.calibration.observers", "calibration method")
OPERATORS = Folder("tresnet_deploy.plugins", "operator")

"""An engine leaves this machine: as a bundle to build anew elsewhere, or as a Triton repository.

engine --pack--> bundle --rebuild--> engine of the other machine, compared again
engine --write--> REPOSITORY/MODEL/config.pbtxt, 1/model.*, proved to answer the same
"""

from tresnet_deploy.packaging.bundle import Packed, pack
from tresnet_deploy.packaging.config import Serving
from tresnet_deploy.packaging.manifest import BundleManifest
from tresnet_deploy.packaging.rebuilding import Rebuilt, Wish, rebuild
from tresnet_deploy.packaging.triton import Repository, name_of, write

__all__ = [
    "BundleManifest",
    "Packed",
    "Rebuilt",
    "Repository",
    "Serving",
    "Wish",
    "name_of",
    "pack",
    "rebuild",
    "write",
]

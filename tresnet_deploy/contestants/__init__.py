"""Who runs in a benchmark: engines with their verdicts, and eager PyTorch in its best forms.

artifacts + images --measure--> benchmark.json
"""

from tresnet_deploy.contestants.engines import engines, runs_on_gpu, size_mib
from tresnet_deploy.contestants.measuring import REPORT, Options, measure
from tresnet_deploy.contestants.pictures import Pictures, pictures_of
from tresnet_deploy.contestants.rivals import FOLDED, Baselines, baselines

__all__ = [
    "FOLDED",
    "REPORT",
    "Baselines",
    "Options",
    "Pictures",
    "baselines",
    "engines",
    "measure",
    "pictures_of",
    "runs_on_gpu",
    "size_mib",
]

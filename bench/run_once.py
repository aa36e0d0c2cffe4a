"""One engine, or eager PyTorch for a graph, in a process that bench/footprint.py measures.

    python bench/run_once.py FILE BATCH

It is a file of its own so that a process imports nothing but what it needs.
"""

import sys
from pathlib import Path
from typing import Final

from tresnet_deploy import artifacts, contestants, images, timing
from tresnet_deploy.contracts import Artifact, Session

STEPS: Final = 3


def main() -> None:
    """Bind one batch of photographs and run."""
    file, batch = sys.argv[1:]
    session = opened(artifacts.read(Path(file)), int(batch))
    for _ in range(STEPS):
        session.step()


def opened(artifact: Artifact, batch: int) -> Session:
    """Return the engine, or the first PyTorch row of a graph, bound to photographs."""
    pictures = contestants.pictures_of(images.sample_photos())
    if artifact.kind == "engine":
        schedule = timing.Schedule()
        found = contestants.engines((artifact,), pictures, known=None, schedule=schedule)
    else:
        found = contestants.baselines(artifact, pictures, compiled=False).contestants
    return found[0].open(batch)


if __name__ == "__main__":
    main()

"""From an ONNX file to an engine that is proven: who builds it, and the build itself.

precision --choosing--> backend and its options     Artifact(onnx) --building--> Artifact(engine)
"""

from tresnet_deploy.build.building import NOT_RUN, batch_of, build, file_name
from tresnet_deploy.build.choosing import backend_for, default_backend, options_from

__all__ = [
    "NOT_RUN",
    "backend_for",
    "batch_of",
    "build",
    "default_backend",
    "file_name",
    "options_from",
]

"""The operators of TResNet, one a file: NumPy reference, portable ONNX function.

In a graph they are nodes of the domain ``tresnet``. Each carries its meaning as a model-local
function of standard operators, so every runtime can run the file; a runtime with a kernel of its
own uses that instead: a TensorRT in which ``tensorrt_registration`` has registered ours, for nodes
that ``plugin_operators`` (a graph pass) has marked. ``kernels`` holds them, ``torch_ops`` offers
them to training.
"""

from __future__ import annotations

from types import ModuleType
from typing import Final

import onnx_ir as ir

from tresnet_deploy.errors import UsageError

DOMAIN: Final = "tresnet"
VERSION: Final = 1
"""Version of the domain's operators; it rises when one of them changes its meaning."""
NAMESPACE_ATTRIBUTE: Final = "plugin_namespace"
"""By this attribute of a node TensorRT's parser finds a plugin, whose namespace is our domain."""


def wanted_by(model: ir.Model) -> tuple[str, ...]:
    """Return the names of the nodes that ask for a TensorRT plugin, in the graph's order."""
    return tuple(
        node.name or node.op_type
        for node in model.graph
        if node.domain == DOMAIN and NAMESPACE_ATTRIBUTE in node.attributes
    )


def refuse_on(runtime: ModuleType) -> None:
    """Refuse ``runtime`` (``tensorrt`` or ``tensorrt_rtx``) if it takes no plugins.

    Raises:
        UsageError: it takes none. TensorRT-RTX 1.7 has no ``add_plugin_v3``; there the parser ends
            the whole process when it meets a node with a registered plugin.
    """
    if not hasattr(runtime.INetworkDefinition, "add_plugin_v3"):
        raise UsageError(
            f"{runtime.__name__} takes no plugins, and this graph asks for them "
            "(export --operators plugin)",
            hints=(
                "tresnet-deploy export --operators function",
                "tresnet-deploy build-engine --backend tensorrt",
            ),
        )

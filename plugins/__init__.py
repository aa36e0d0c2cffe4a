"""The operators of TResNet, one a file: NumPy reference, portable ONNX function, kernels.

In a graph they are nodes of the domain ``tresnet``. Each carries its meaning as a model-local
function of standard operators, so every runtime can run the file; a runtime with a kernel of its
own uses that instead.
"""

from typing import Final

DOMAIN: Final = "tresnet"
VERSION: Final = 1
"""Version of the domain's operators; it rises when one of them changes its meaning."""

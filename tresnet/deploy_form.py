"""The network as it is deployed: this file is about folding norms into their convolutions.

For a convolution with weights W and a norm in evaluation, with scale = gamma / sqrt(var + eps)::

    norm(conv(x, W)) == conv(x, W * scale) + (bias - mean * scale)

Gamma is |weight| + 1e-5 for InPlace-ABN. Scale and offset are computed in float64 and rounded once,
because 1e-5 beside 1 is lost in half precision.
"""

import copy

import torch
from torch import Tensor, nn

from .blocks import ConvNorm
from .heads import ConstantQueries, DecoderQueries, MLDecoderHead
from .layers import ActivatedNorm, FReLU
from .model import TResNet


def deploy_form(model: TResNet, *, dtype: torch.dtype = torch.float32) -> TResNet:
    """A copy for inference: convolutions with bias and activations, no norm; `model` is untouched.

    Every convolution keeps its module path ("layer2.0.conv1.conv"), so names map back. A norm
    leaves an Identity behind, and its slope a LeakyReLU as the unit's `activation`. The queries of
    an ML-Decoder, which no image influences, become constants. Equal to `model.eval()` within the
    rounding of `dtype`: the tests hold it to 1e-5 of the logits in float32, 1e-10 in float64.
    """
    deployed = copy.deepcopy(model).eval()
    for module in list(deployed.modules()):
        if isinstance(module, ConvNorm):
            _fold_unit(module, dtype)
        elif isinstance(module, FReLU) and isinstance(module.norm, ActivatedNorm):
            module.conv = fold_norm(module.conv, module.norm, dtype=dtype)
            module.norm = nn.Identity()
        elif isinstance(module, MLDecoderHead) and isinstance(module.queries, DecoderQueries):
            module.queries = _constant_queries(module.queries)
    return deployed.to(dtype).eval().requires_grad_(requires_grad=False)


def fold_norm(conv: nn.Conv2d, norm: ActivatedNorm, *, dtype: torch.dtype) -> nn.Conv2d:
    """One convolution with bias that equals `norm(conv(x))` in evaluation, without activation.

    Weights (out, in/groups, k, k) are scaled along their first dimension; stride is 1 and
    padding half the kernel throughout.
    """
    mean, variance = norm.running_mean, norm.running_var
    assert isinstance(mean, Tensor)
    assert isinstance(variance, Tensor)
    folded = nn.Conv2d(
        conv.in_channels,
        conv.out_channels,
        (conv.kernel_size[0], conv.kernel_size[1]),
        padding=(conv.kernel_size[0] // 2, conv.kernel_size[1] // 2),
        groups=conv.groups,
        device="meta",
        dtype=dtype,
    ).to_empty(device=conv.weight.device)
    assert folded.bias is not None
    with torch.no_grad():
        scale = norm.gamma(torch.float64) / torch.sqrt(variance.double() + norm.eps)  # (out,)
        folded.weight.copy_(conv.weight.double() * scale.reshape(-1, 1, 1, 1))
        folded.bias.copy_(norm.bias.double() - mean.double() * scale)
    return folded


def _fold_unit(unit: ConvNorm, dtype: torch.dtype) -> None:
    norm = unit.norm
    if not isinstance(norm, ActivatedNorm):  # folded before
        return
    unit.conv, unit.norm = fold_norm(unit.conv, norm, dtype=dtype), nn.Identity()
    if norm.slope is not None:
        unit.activation = nn.LeakyReLU(norm.slope, inplace=True)


def _constant_queries(queries: DecoderQueries) -> ConstantQueries:
    with torch.no_grad():
        target, query = queries.double()()
    return ConstantQueries(target, query)

"""The classifiers: this file is about turning the last feature map into logits.

Sources: the paper (linear), the ASL repository (bottleneck), ML-Decoder (arXiv 2111.12933).
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .architecture import ATTENTION_HEADS, Head
from .layers import FastGlobalAvgPool2d

_DROPOUT: Final = 0.1  # ML-Decoder repository
_FC_STD: Final = 0.01  # TResNet repository


class LinearHead(nn.Module):
    """Global mean and one fully connected layer: (N, C, h, w) -> (N, classes)."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.pool = FastGlobalAvgPool2d()
        self.fc = nn.Linear(features, classes)

    def reset_parameters(self) -> None:
        """Initialise as the TResNet repository does."""
        nn.init.normal_(self.fc.weight, std=_FC_STD)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        """The logits."""
        logits: Tensor = self.fc(self.pool(x))
        return logits


class BottleneckHead(nn.Module):
    """Global mean and two linear layers with nothing between: (N, C, h, w) -> (N, classes).

    One merged layer would compute the same with several times the multiplications.
    """

    def __init__(self, features: int, bottleneck: int, classes: int) -> None:
        super().__init__()
        self.pool = FastGlobalAvgPool2d()
        self.embedding = nn.Linear(features, bottleneck)
        self.fc = nn.Linear(bottleneck, classes)

    def reset_parameters(self) -> None:
        """Initialise as the TResNet repository initialises every linear layer."""
        for layer in (self.embedding, self.fc):
            nn.init.normal_(layer.weight, std=_FC_STD)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """The logits."""
        logits: Tensor = self.fc(self.embedding(self.pool(x)))
        return logits


class DecoderQueries(nn.Module):
    """The group queries before they meet the image: normalised, and projected for attention.

    The ML-Decoder layer adds its target to itself (there is no self-attention between). Neither
    result depends on the image, so a deployed network holds both as constants.
    """

    def __init__(self, groups: int, embedding: int) -> None:
        super().__init__()
        # Random and fixed in the paper; make it require gradients to learn it.
        self.embedding = nn.Parameter(torch.empty(groups, embedding), requires_grad=False)
        self.norm = nn.LayerNorm(embedding)
        self.project = nn.Linear(embedding, embedding)

    def forward(self) -> tuple[Tensor, Tensor]:
        """Target (G, E) and projected queries (G, E)."""
        target = self.norm(self.embedding + F.dropout(self.embedding, _DROPOUT, self.training))
        return target, self.project(target)


class ConstantQueries(nn.Module):
    """What `DecoderQueries` returns in evaluation, computed once."""

    target: Tensor
    query: Tensor

    def __init__(self, target: Tensor, query: Tensor) -> None:
        super().__init__()
        self.register_buffer("target", target)
        self.register_buffer("query", query)

    def forward(self) -> tuple[Tensor, Tensor]:
        """Target (G, E) and projected queries (G, E)."""
        return self.target, self.query


class MLDecoderHead(nn.Module):
    """One cross-attention layer from group queries to pixels: (N, C, h, w) -> (N, classes).

    Post-norm, no self-attention, no positional encoding. Each of G groups answers for `factor`
    classes: class g*factor + j is output j of group g.
    """

    def __init__(
        self, features: int, *, classes: int, groups: int, embedding: int, factor: int, hidden: int
    ) -> None:
        super().__init__()
        self.classes = classes
        self.embed = nn.Linear(features, embedding)
        self.queries: nn.Module = DecoderQueries(groups, embedding)
        self.key = nn.Linear(embedding, embedding)
        self.value = nn.Linear(embedding, embedding)
        self.attended = nn.Linear(embedding, embedding)
        self.attention_norm = nn.LayerNorm(embedding)
        self.expand = nn.Linear(embedding, hidden)
        self.contract = nn.Linear(hidden, embedding)
        self.output_norm = nn.LayerNorm(embedding)
        self.group_weight = nn.Parameter(torch.empty(groups, embedding, factor))
        self.group_bias = nn.Parameter(torch.empty(classes))

    def reset_parameters(self) -> None:
        """Initialise as the ML-Decoder repository does."""
        if isinstance(self.queries, DecoderQueries):
            nn.init.normal_(self.queries.embedding)
            nn.init.xavier_uniform_(self.queries.project.weight)
            nn.init.zeros_(self.queries.project.bias)
        for layer in (self.key, self.value):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.attended.bias)
        nn.init.xavier_normal_(self.group_weight)
        nn.init.zeros_(self.group_bias)

    def forward(self, x: Tensor) -> Tensor:
        """The logits."""
        pixels = F.relu(self.embed(x.flatten(2).transpose(1, 2)))  # (N, S, E), S = h*w
        target, query = self.queries()  # (G, E) each
        attended = self.attended(self._attend(query, pixels))  # (N, G, E)
        target = self.attention_norm(target + self._dropout(attended))
        hidden = self._dropout(F.relu(self.expand(target)))  # (N, G, hidden)
        target = self.output_norm(target + self._dropout(self.contract(hidden)))
        return self._group_logits(target)

    def _attend(self, query: Tensor, pixels: Tensor) -> Tensor:
        """What each group gathers from the pixels: (G, E) and (N, S, E) -> (N, G, E)."""
        n, s, e = pixels.shape
        split = (ATTENTION_HEADS, e // ATTENTION_HEADS)
        q = query.reshape(-1, *split).transpose(0, 1)  # (heads, G, E/heads)
        k = self.key(pixels).reshape(n, s, *split).transpose(1, 2)  # (N, heads, S, E/heads)
        v = self.value(pixels).reshape(n, s, *split).transpose(1, 2)
        dropout = _DROPOUT if self.training else 0.0
        q = q.unsqueeze(0).expand(n, -1, -1, -1)
        gathered = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
        return gathered.transpose(1, 2).reshape(n, -1, e)

    def _group_logits(self, target: Tensor) -> Tensor:
        """Each group's own linear layer: (N, G, E) -> (N, classes)."""
        logits = torch.matmul(target.transpose(0, 1), self.group_weight)  # (G, N, factor)
        logits = logits.transpose(0, 1).flatten(1)  # (N, G * factor)
        return logits[:, : self.classes] + self.group_bias

    def _dropout(self, x: Tensor) -> Tensor:
        return F.dropout(x, _DROPOUT, self.training)


def build_head(head: Head, features: int) -> LinearHead | BottleneckHead | MLDecoderHead:
    """The classifier that `head` describes, reading a map of `features` channels."""
    if head.kind == "linear":
        return LinearHead(features, head.classes)
    if head.kind == "bottleneck":
        assert head.bottleneck is not None
        return BottleneckHead(features, head.bottleneck, head.classes)
    assert head.groups is not None
    assert head.embedding is not None
    assert head.factor is not None
    assert head.hidden is not None
    return MLDecoderHead(
        features,
        classes=head.classes,
        groups=head.groups,
        embedding=head.embedding,
        factor=head.factor,
        hidden=head.hidden,
    )

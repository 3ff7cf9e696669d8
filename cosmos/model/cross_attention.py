"""Cross-attention pools: an embedding of one modality attends to tokens of the other."""

from torch import Tensor, nn


class CrossAttentionPool(nn.Module):
    """Multi-headed attention attn(ln_q(query), ln_k(tokens), ln_k(tokens)) (COSMOS, section 3.2)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.ln_q = nn.LayerNorm(dim)
        self.ln_k = nn.LayerNorm(dim)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """Pool tokens (B, L, D) by queries (V, B, D) of V views -> (V, B, D).

        Views of a sample attend to the same tokens, so keys and values are projected once for all of them.
        """
        keys = self.ln_k(tokens)
        pooled: Tensor = self.attn(self.ln_q(queries).transpose(0, 1), keys, keys, need_weights=False)[0]
        return pooled.transpose(0, 1)

    def weights(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """Return the weights of the tokens as `forward` pools them, means over heads: -> (V, B, L)."""
        keys = self.ln_k(tokens)
        weights: Tensor = self.attn(self.ln_q(queries).transpose(0, 1), keys, keys)[1]
        return weights.transpose(0, 1)

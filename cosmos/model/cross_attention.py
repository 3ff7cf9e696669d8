"""Cross-attention pools: one modality's embedding asks the other one's tokens."""

from torch import Tensor, nn


class CrossAttentionPool(nn.Module):
    """attn(ln_q(query), ln_k(tokens), ln_k(tokens)), multi-headed (COSMOS, section 3.2)."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.attn = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.ln_q = nn.LayerNorm(dim)
        self.ln_k = nn.LayerNorm(dim)

    def forward(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """Queries (V, B, D) of V views over tokens (B, L, D) -> (V, B, D).

        The views of a sample ask the same tokens, so keys and values are projected once for all of them.
        """
        keys = self.ln_k(tokens)
        pooled: Tensor = self.attn(self.ln_q(queries).transpose(0, 1), keys, keys, need_weights=False)[0]
        return pooled.transpose(0, 1)

"""GPT-2 in PyTorch, with the names of its published weights: the peer of models/gpt2.h."""
import functools

import torch
from torch import nn
from torch.nn import functional


@functools.lru_cache
def hidden(T, dtype, device):
    return torch.full((T, T), float("-inf"), dtype=dtype, device=device).triu(1)


def later(T, x):
    """What is added to scores: nothing is seen of what comes later."""
    return hidden(T, x.dtype, x.device)


class Block(nn.Module):
    def __init__(self, features, heads, eps):
        super().__init__()
        self.heads = heads
        self.ln_1, self.ln_2 = nn.LayerNorm(features, eps), nn.LayerNorm(features, eps)
        self.attn = nn.ModuleDict({"c_attn": nn.Linear(features, 3 * features), "c_proj": nn.Linear(features, features)})
        self.mlp = nn.ModuleDict({"c_fc": nn.Linear(features, 4 * features), "c_proj": nn.Linear(4 * features, features)})

    def attend(self, x):
        B, T, E = x.shape
        q, k, v = (part.reshape(B, T, self.heads, E // self.heads).transpose(1, 2)
                   for part in self.attn["c_attn"](x).split(E, 2))
        if hasattr(functional, "scaled_dot_product_attention"):
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        else:
            q, k, v = (part.reshape(B * self.heads, T, E // self.heads) for part in (q, k, v))
            scores = torch.baddbmm(later(T, x), q, k.transpose(1, 2), alpha=(E // self.heads) ** -0.5)
            y = torch.bmm(scores.softmax(2), v).reshape(B, self.heads, T, -1)
        return self.attn["c_proj"](y.transpose(1, 2).reshape(B, T, E))

    def forward(self, x):
        x = x + self.attend(self.ln_1(x))
        return x + self.mlp["c_proj"](functional.gelu(self.mlp["c_fc"](self.ln_2(x)), approximate="tanh"))


class Gpt2(nn.Module):
    def __init__(self, vocabulary, context, features, layers, heads, eps=1e-5):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, features), nn.Embedding(context, features)
        self.h = nn.ModuleList([Block(features, heads, eps) for _ in range(layers)])
        self.ln_f = nn.LayerNorm(features, eps)

    def forward(self, tokens):
        x = self.wte(tokens) + self.wpe(torch.arange(tokens.shape[1], device=tokens.device))
        for block in self.h:
            x = block(x)
        return functional.linear(self.ln_f(x), self.wte.weight)

    def loss(self, tokens, targets):
        logits = self(tokens)
        return functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))

"""GPT-2, Llama, T5, BERT and ViT written from their papers in plain PyTorch, without its transformer layers: what
published_models.py runs. GPT-2, Llama and T5 have the keys of their published files (and GPT-2 its matrices as
[in, out]); BERT and ViT have libgpunn's.
"""
import math
from types import SimpleNamespace

import torch
from torch import nn
from torch.nn import functional as F


def heads_of(x, heads):
    return x.unflatten(-1, (heads, -1)).transpose(1, 2)


def joined(y):
    return y.transpose(1, 2).flatten(2)


def attend(q, k, v, scale, bias=None, seen=None):
    """seen: bool, true where a key may be looked at."""
    scores = q @ k.transpose(-1, -2) * scale
    if bias is not None:
        scores = scores + bias
    if seen is not None:
        scores = scores.masked_fill(~seen, -math.inf)
    return torch.softmax(scores, -1) @ v


def causal(T, window=0):
    i, j = torch.arange(T)[:, None], torch.arange(T)[None]
    return (j <= i) & (i - j < window) if window else j <= i


class RmsNorm(nn.Module):
    def __init__(self, E, eps):
        super().__init__()
        self.weight, self.eps = nn.Parameter(torch.ones(E)), eps

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.eps)


def group(**children):
    """A module with these children and no forward of its own."""
    module = nn.Module()
    for name, child in children.items():
        module.add_module(name, child)
    return module


def plain(*sizes):
    return nn.Linear(*sizes, bias=False)


# GPT-2


class Turned(nn.Module):
    """A linear layer whose matrix is [in, out]."""

    def __init__(self, rows, columns):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(rows, columns)), nn.Parameter(torch.zeros(columns))

    def forward(self, x):
        return x @ self.weight + self.bias


def gelu_new(x):
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x.pow(3))))


class Gpt2(nn.Module):
    def __init__(self, V, context, E, layers, heads, eps):
        super().__init__()
        self.heads = heads
        self.wte, self.wpe = nn.Embedding(V, E), nn.Embedding(context, E)
        self.h = nn.ModuleList(
            group(ln_1=nn.LayerNorm(E, eps), attn=group(c_attn=Turned(E, 3 * E), c_proj=Turned(E, E)),
                  ln_2=nn.LayerNorm(E, eps), mlp=group(c_fc=Turned(E, 4 * E), c_proj=Turned(4 * E, E)))
            for _ in range(layers))
        self.ln_f = nn.LayerNorm(E, eps)

    def forward(self, tokens):
        T = tokens.shape[1]
        x = self.wte(tokens) + self.wpe(torch.arange(T))
        for block in self.h:
            q, k, v = (heads_of(t, self.heads) for t in block.attn.c_attn(block.ln_1(x)).chunk(3, -1))
            x = x + block.attn.c_proj(joined(attend(q, k, v, q.shape[-1]**-0.5, seen=causal(T))))
            x = x + block.mlp.c_proj(gelu_new(block.mlp.c_fc(block.ln_2(x))))
        return self.ln_f(x) @ self.wte.weight.T


# Llama


def rotate_half(x):
    a, b = x.chunk(2, -1)
    return torch.cat([-b, a], -1)


class Llama(nn.Module):
    def __init__(self, V, E, inner, layers, heads, kv_heads, eps, base, window=0):
        super().__init__()
        D = E // heads
        self.heads, self.kv_heads, self.base, self.window = heads, kv_heads, base, window
        self.model = group(
            embed_tokens=nn.Embedding(V, E),
            layers=nn.ModuleList(
                group(self_attn=group(q_proj=plain(E, E), k_proj=plain(E, kv_heads * D),
                                      v_proj=plain(E, kv_heads * D), o_proj=plain(E, E)),
                      mlp=group(gate_proj=plain(E, inner), up_proj=plain(E, inner), down_proj=plain(inner, E)),
                      input_layernorm=RmsNorm(E, eps), post_attention_layernorm=RmsNorm(E, eps))
                for _ in range(layers)),
            norm=RmsNorm(E, eps))
        self.lm_head = plain(E, V)

    def rotary(self, x):
        D, T = x.shape[-1], x.shape[-2]
        angle = torch.arange(T)[:, None] * self.base**(-torch.arange(0, D, 2) / D)
        angle = torch.cat([angle, angle], -1)
        return x * angle.cos() + rotate_half(x) * angle.sin()

    def forward(self, tokens):
        x = self.model.embed_tokens(tokens)
        seen = causal(tokens.shape[1], self.window)
        for layer in self.model.layers:
            z, a = layer.input_layernorm(x), layer.self_attn
            q = self.rotary(heads_of(a.q_proj(z), self.heads))
            k, v = self.rotary(heads_of(a.k_proj(z), self.kv_heads)), heads_of(a.v_proj(z), self.kv_heads)
            k, v = (t.repeat_interleave(self.heads // self.kv_heads, 1) for t in (k, v))
            x = x + a.o_proj(joined(attend(q, k, v, q.shape[-1]**-0.5, seen=seen)))
            z = layer.post_attention_layernorm(x)
            x = x + layer.mlp.down_proj(F.silu(layer.mlp.gate_proj(z)) * layer.mlp.up_proj(z))
        return self.lm_head(self.model.norm(x))


# T5


def bucket_of(distance, buckets, most, both_ways):
    """distance: i64, key minus query; as the authors', in f32."""
    first = 0
    if both_ways:
        buckets //= 2
        first = (distance > 0).long() * buckets
        distance = distance.abs()
    else:
        distance = -torch.minimum(distance, torch.zeros_like(distance))
    exact = buckets // 2
    far = torch.log(distance.clamp(min=1).float() / exact) / math.log(most / exact) * (buckets - exact)
    far = torch.minimum(exact + far.long(), torch.full_like(distance, buckets - 1))
    return first + torch.where(distance < exact, distance, far)


class T5(nn.Module):
    def __init__(self, V, E, D, heads, inner, layers, buckets, most, eps):
        super().__init__()
        self.o = SimpleNamespace(heads=heads, buckets=buckets, most=most)

        def attention():
            return group(q=plain(E, heads * D), k=plain(E, heads * D), v=plain(E, heads * D), o=plain(heads * D, E))

        def block(decoder):
            parts = [group(SelfAttention=attention(), layer_norm=RmsNorm(E, eps))]
            if decoder:
                parts.append(group(EncDecAttention=attention(), layer_norm=RmsNorm(E, eps)))
            dense = group(wi=plain(E, inner), wo=plain(inner, E))
            return group(layer=nn.ModuleList([*parts, group(DenseReluDense=dense, layer_norm=RmsNorm(E, eps))]))

        def stack(decoder):
            blocks = nn.ModuleList(block(decoder) for _ in range(layers))
            blocks[0].layer[0].SelfAttention.relative_attention_bias = nn.Embedding(buckets, heads)
            return group(block=blocks, final_layer_norm=RmsNorm(E, eps))

        self.shared = nn.Embedding(V, E)
        self.encoder, self.decoder = stack(False), stack(True)

    def attention(self, a, x, memory, bias, seen):
        q, k, v = (heads_of(layer(t), self.o.heads) for layer, t in ((a.q, x), (a.k, memory), (a.v, memory)))
        return a.o(joined(attend(q, k, v, 1, bias, seen)))

    def run(self, stack, tokens, own, memory=None, cross=None):
        T = tokens.shape[1]
        distance = torch.arange(T)[None] - torch.arange(T)[:, None]
        table = stack.block[0].layer[0].SelfAttention.relative_attention_bias
        bias = table(bucket_of(distance, self.o.buckets, self.o.most, memory is None)).permute(2, 0, 1)[None]
        x = self.shared(tokens)
        for block in stack.block:
            first, last = block.layer[0], block.layer[-1]
            z = first.layer_norm(x)
            x = x + self.attention(first.SelfAttention, z, z, bias, own)
            if memory is not None:
                z = block.layer[1].layer_norm(x)
                x = x + self.attention(block.layer[1].EncDecAttention, z, memory, None, cross)
            dense = last.DenseReluDense
            x = x + dense.wo(torch.relu(dense.wi(last.layer_norm(x))))
        return stack.final_layer_norm(x)

    def forward(self, source, lengths, target):
        seen = (torch.arange(source.shape[1])[None] < lengths[:, None])[:, None, None]
        memory = self.run(self.encoder, source, seen)
        y = self.run(self.decoder, target, causal(target.shape[1]), memory, seen)
        return y * y.shape[-1]**-0.5 @ self.shared.weight.T


# BERT and ViT


class EncoderLayer(nn.Module):
    def __init__(self, E, inner, heads, eps, norm_first):
        super().__init__()
        self.heads, self.norm_first = heads, norm_first
        self.self_attn = group(out_proj=nn.Linear(E, E))
        self.self_attn.in_proj_weight = nn.Parameter(torch.zeros(3 * E, E))
        self.self_attn.in_proj_bias = nn.Parameter(torch.zeros(3 * E))
        self.linear1, self.linear2 = nn.Linear(E, inner), nn.Linear(inner, E)
        self.norm1, self.norm2 = nn.LayerNorm(E, eps), nn.LayerNorm(E, eps)

    def attention(self, x, seen):
        a = self.self_attn
        q, k, v = (heads_of(x @ w.T + b, self.heads)
                   for w, b in zip(a.in_proj_weight.chunk(3), a.in_proj_bias.chunk(3)))
        return a.out_proj(joined(attend(q, k, v, q.shape[-1]**-0.5, seen=seen)))

    def dense(self, x):
        return self.linear2(gelu(self.linear1(x)))

    def forward(self, x, seen=None):
        if self.norm_first:
            x = x + self.attention(self.norm1(x), seen)
            return x + self.dense(self.norm2(x))
        x = self.norm1(x + self.attention(x, seen))
        return self.norm2(x + self.dense(x))


def gelu(x):
    return x * 0.5 * (1 + torch.erf(x / math.sqrt(2)))


class Bert(nn.Module):
    def __init__(self, V, context, E, layers, heads, inner, eps):
        super().__init__()
        self.word, self.position, self.segment = nn.Embedding(V, E), nn.Embedding(context, E), nn.Embedding(2, E)
        self.norm, self.dense, self.dense_norm = nn.LayerNorm(E, eps), nn.Linear(E, E), nn.LayerNorm(E, eps)
        self.encoder = group(
            layers=nn.ModuleList(EncoderLayer(E, inner, heads, eps, False) for _ in range(layers)))
        self.token_bias = nn.Parameter(torch.zeros(V))
        self.pooler, self.next = nn.Linear(E, E), nn.Linear(E, 2)

    def forward(self, tokens, segments, lengths):
        T = tokens.shape[1]
        x = self.norm(self.word(tokens) + self.position(torch.arange(T)) + self.segment(segments))
        seen = (torch.arange(T)[None] < lengths[:, None])[:, None, None]
        for layer in self.encoder.layers:
            x = layer(x, seen)
        token_logits = self.dense_norm(gelu(self.dense(x))) @ self.word.weight.T + self.token_bias
        return x, token_logits, self.next(torch.tanh(self.pooler(x[:, 0])))


class Vit(nn.Module):
    def __init__(self, image, patch, channels, classes, E, layers, heads, inner, eps):
        super().__init__()
        self.patch = patch
        self.patches = nn.Conv2d(channels, E, patch, patch)
        self.class_token = nn.Parameter(torch.zeros(1, 1, E))
        self.positions = nn.Parameter(torch.zeros(1, 1 + (image // patch)**2, E))
        self.encoder = group(
            layers=nn.ModuleList(EncoderLayer(E, inner, heads, eps, True) for _ in range(layers)),
            norm=nn.LayerNorm(E, eps))
        self.head = nn.Linear(E, classes)

    def forward(self, pictures):
        # Patches are cut out here: [N, C, rows, p, columns, p] to [N, rows columns, C p p].
        p = self.patch
        cut = pictures.unflatten(-1, (-1, p)).unflatten(2, (-1, p)).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
        rows = cut @ self.patches.weight.flatten(1).T + self.patches.bias
        x = torch.cat([self.class_token.expand(len(rows), -1, -1), rows], 1) + self.positions
        for layer in self.encoder.layers:
            x = layer(x)
        return self.head(self.encoder.norm(x)[:, 0])

#!/usr/bin/env python3
"""Ten training losses of small transformers in PyTorch, for tests/models/transformer_trajectory_test.cpp: token
models with sinusoidal or learnt positions and tied embeddings, and a translator; and the loss in evaluation mode
after them.

    python3 tests/golden/transformer_trajectory.py > tests/golden/transformer_trajectory.csv

Made with PyTorch 1.13 (Debian 12), one thread; values from conv_nets.py.
"""
import torch
from conv_nets import fill
from torch import nn

STEPS, V, B, T, D = 10, 11, 4, 7, 8


def sinusoids(length):
    pos = torch.arange(length, dtype=torch.float64)[:, None]
    i = torch.arange(D)
    angle = pos * 10000.0 ** (-(i // 2 * 2).double() / D)
    return torch.where(i % 2 == 0, angle.sin(), angle.cos()).float()


def tokens(step, shift):
    b, i = torch.arange(B)[:, None], torch.arange(T + 1)[None] + step * T
    return ((b + 1) * (i + shift) % V + i * i % 3) % V


class Lm(nn.Module):
    """Decoder-only, the table of embeddings as the output layer."""

    def __init__(self, learnt, **options):
        super().__init__()
        self.wte = nn.Embedding(V, D)
        self.learnt = learnt
        if learnt:
            self.positions = nn.Embedding(T, D)
        else:
            self.positions = nn.Module()
            self.positions.register_buffer("pe", torch.zeros(T, D))
        layer = nn.TransformerEncoderLayer(D, 2, 12, 0, batch_first=True, **options)
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(D) if layer.norm_first else None)
        self.lm_head = nn.Linear(D, V, bias=False)
        self.lm_head.weight = self.wte.weight
        self.mask = torch.ones(T, T, dtype=torch.bool).triu(1)

    def loss(self, step):
        text = tokens(step, 0)
        at = self.positions.weight if self.learnt else self.positions.pe
        logits = self.lm_head(self.encoder(self.wte(text[:, :-1]) + at, self.mask))
        return nn.functional.cross_entropy(logits.reshape(-1, V), text[:, 1:].reshape(-1))


class Translator(nn.Module):
    def __init__(self):
        super().__init__()
        self.source, self.target = nn.Embedding(V, D), nn.Embedding(V, D)
        self.transformer = nn.Transformer(D, 2, 1, 1, 12, 0, batch_first=True)
        self.head = nn.Linear(D, V)
        self.mask = torch.ones(T, T, dtype=torch.bool).triu(1)

    def loss(self, step):
        source, target = tokens(step, 3), tokens(step, 0)
        padding = torch.arange(T + 1)[None] > T - torch.arange(B)[:, None]
        y = self.transformer(self.source(source), self.target(target[:, :-1]), tgt_mask=self.mask,
                             src_key_padding_mask=padding, memory_key_padding_mask=padding)
        return nn.functional.cross_entropy(self.head(y).reshape(-1, V), target[:, 1:].reshape(-1))


def losses(model, optimizer):
    fill(model)
    if isinstance(model, Lm) and not model.learnt:
        model.positions.pe.copy_(sinusoids(T))
    steps = optimizer(model.parameters())
    out = []
    for step in range(STEPS):
        steps.zero_grad()
        loss = model.loss(step)
        loss.backward()
        steps.step()
        out.append(loss.item())
    model.eval()
    return [*out, model.loss(0).item()]


def main():
    torch.set_num_threads(1)
    print("name,step,loss")
    for name, model, optimizer in [
        ("lm", Lm(False), lambda p: torch.optim.Adam(p, lr=0.01)),
        ("lm-gelu-first", Lm(True, activation="gelu", norm_first=True),
         lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1)),
        ("translator", Translator(), lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9)),
    ]:
        for step, loss in enumerate(losses(model, optimizer)):
            print(f"{name},{step},{loss:.9g}")


if __name__ == "__main__":
    main()

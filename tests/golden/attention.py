#!/usr/bin/env python3
"""Attention of PyTorch with its gradients, for tests/kernels/attention_golden_test.cpp.

    python3 tests/golden/attention.py > tests/golden/attention.csv

Inputs 1.5 sin(0.7 i + 1.3 t) for tensor t (q, k, v, mask), rounded to float and computed in double; the gradient of
y is cos(0.4 i). plain, bool and causal are torch._C._nn._scaled_dot_product_attention, the others its definition
with softmax, as that function takes no additive mask and no scale yet. Made with PyTorch 1.13 (Debian 12).
"""
import math

import torch

B, H, Tq, Tk, D, Dv = 2, 4, 5, 7, 4, 3


def values(shape, t):
    n = math.prod(shape)
    v = torch.tensor([1.5 * math.sin(0.7 * i + 1.3 * t) for i in range(n)], dtype=torch.float64)
    return v.float().double().reshape(shape).requires_grad_()


def by_torch(q, k, v, mask=None, causal=False):
    return torch._C._nn._scaled_dot_product_attention(q, k, v, mask, 0.0, True, causal)


def by_hand(q, k, v, mask, scale):
    s = q @ k.transpose(-1, -2) * scale
    w = torch.softmax(s if mask is None else s + mask, -1)
    return w @ v, w


def seen():
    i = torch.arange(B * Tq * Tk).reshape(B, 1, Tq, Tk)
    return i * i % 3 != 1


torch.set_num_threads(1)
print("name,part,list")
for name in ("plain", "bool", "causal", "additive", "grouped", "scale"):
    heads = 2 if name == "grouped" else H
    q, k, v = values((B, H, Tq, D), 0), values((B, heads, Tk, D), 1), values((B, heads, Tk, Dv), 2)
    leaves = {"q": q, "k": k, "v": v}
    if name == "plain":
        y, w = by_torch(q, k, v)
    elif name == "bool":
        y, w = by_torch(q, k, v, seen())
    elif name == "causal":
        y, w = by_torch(q, k, v, causal=True)
    elif name == "additive":
        leaves["mask"] = values((H, Tq, Tk), 3)
        y, w = by_hand(q, k, v, leaves["mask"], 1 / math.sqrt(D))
    elif name == "grouped":
        y, w = by_torch(q, k.repeat_interleave(2, 1), v.repeat_interleave(2, 1))
    else:
        y, w = by_hand(q, k, v, None, 0.8)
    dy = torch.cos(0.4 * torch.arange(y.numel(), dtype=torch.float64)).reshape(y.shape)
    gradients = torch.autograd.grad(y, list(leaves.values()), dy)
    parts = {"y": y, "weights": w, **{"d" + n: g for n, g in zip(leaves, gradients)}}
    for part, t in parts.items():
        print(f"{name},{part}," + " ".join(f"{x:.9g}" for x in t.detach().reshape(-1).tolist()))

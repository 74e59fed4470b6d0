#!/usr/bin/env python3
"""nn.MultiheadAttention in PyTorch, for tests/layers/attention_test.cpp: outputs, weights where asked for, and the
gradients of sum(y * hashed(101)) + sum(weights * hashed(102)) by the inputs, a floating mask and every parameter.

    python3 tests/golden/attention_layers.py > tests/golden/attention_layers.csv

Made with PyTorch 1.13 (Debian 12), one thread; values from conv_nets.py. "kv-heads" is this module with the heads of
keys and values repeated: PyTorch has no such option.
"""
import torch
from conv_nets import fill, hashed
from torch import nn


def emit(name, part, tensor):
    values = " ".join(f"{v:.9g}" for v in tensor.detach().reshape(-1).tolist())
    print(f"{name},{part},{values}")


def mask_of(kind, shape):
    if kind == "causal":
        return torch.ones(shape, dtype=torch.bool).triu(1)
    if kind == "float":
        return hashed(shape, 120).requires_grad_()
    hidden = hashed(shape, 120) > 0.3
    hidden[..., 0] = False  # no row may be all hidden: this version gives NaN there
    return hidden


def padding_of(kind, shape):
    if kind == "float":
        return hashed(shape, 121)
    n, s = shape if len(shape) == 2 else (1, *shape)
    return (torch.arange(s) >= s - 1 - torch.arange(n)[:, None]).reshape(shape)


def finish(name, y, weights, inputs, parameters):
    loss = (y * hashed(tuple(y.shape), 101)).sum()
    if weights is not None:
        loss = loss + (weights * hashed(tuple(weights.shape), 102)).sum()
    loss.backward()
    emit(name, "y", y)
    if weights is not None:
        emit(name, "weights", weights)
    for part, tensor in inputs:
        emit(name, "grad " + part, tensor.grad)
    for key, parameter in parameters:
        emit(name, "grad " + key, parameter.grad)


def case(name, module, *shapes, mask=None, padding=None, weights=None):
    fill(module)
    given = [hashed(shape, 110 + i).requires_grad_() for i, shape in enumerate(shapes)]
    q = given[0]
    k = given[1] if len(given) > 1 else q
    v = given[2] if len(given) > 2 else k
    batch, time = (0, 1) if module.batch_first else (1, 0)
    single = q.dim() == 2
    n, length, s = (1, *q.shape[:1], *k.shape[:1]) if single else (q.shape[batch], q.shape[time], k.shape[time])
    inputs = list(zip("qkv", given))
    arguments = {}
    if mask:
        shape = (n * module.num_heads, length, s) if mask == "each" else (length, s)
        arguments["attn_mask"] = mask_of(mask, shape)
        if mask == "float":
            inputs.append(("mask", arguments["attn_mask"]))
    if padding:
        arguments["key_padding_mask"] = padding_of(padding, (s,) if single else (n, s))
    y, w = module(q, k, v, need_weights=bool(weights), average_attn_weights=weights == "mean", **arguments)
    finish(name, y, w, inputs, module.named_parameters())


def kv_heads(name):
    """Four heads of queries on two of keys and values."""
    e, d = 8, 2
    weight, bias = hashed((16, 8), 1) * (3 / 8) ** 0.5, 0.1 * hashed((16,), 0)
    out_weight, out_bias = hashed((8, 8), 3) * (3 / 8) ** 0.5, 0.1 * hashed((8,), 2)
    parameters = {"in_proj_weight": weight, "in_proj_bias": bias, "out_proj.weight": out_weight,
                  "out_proj.bias": out_bias}
    for p in parameters.values():
        p.requires_grad_()
    x = hashed((2, 3, e), 110).requires_grad_()

    def heads(first, count):
        part = x @ weight[first:first + count * d].t() + bias[first:first + count * d]
        return part.reshape(2, 3, count, d).transpose(1, 2).repeat_interleave(4 // count, 1)

    scores = heads(0, 4) @ heads(8, 2).transpose(2, 3) / d**0.5
    p = scores.masked_fill(mask_of("causal", (3, 3)), float("-inf")).softmax(-1)
    y = (p @ heads(12, 2)).transpose(1, 2).reshape(2, 3, e) @ out_weight.t() + out_bias
    finish(name, y, None, [("q", x)], parameters.items())


def main():
    torch.set_num_threads(1)
    print("case,part,values")
    MHA = nn.MultiheadAttention
    X, Q, K = (4, 2, 4), (3, 2, 4), (5, 2, 4)
    case("self", MHA(4, 2), X)
    case("self-batch-first", MHA(4, 2, batch_first=True), (2, 4, 4))
    case("self-plain", MHA(4, 4, bias=False), X)
    case("self-single", MHA(4, 1), (4, 4), padding="bool", weights="mean")
    case("self-single-heads", MHA(4, 2), (4, 4), weights="heads")
    case("self-causal", MHA(4, 2), X, mask="causal")
    case("self-bool", MHA(4, 2, batch_first=True), (2, 4, 4), mask="bool")
    case("self-each", MHA(4, 2), X, mask="each", padding="bool")
    case("self-float", MHA(4, 2), X, mask="float")
    case("self-float-padded", MHA(4, 2), X, mask="float", padding="bool")
    case("self-padded", MHA(4, 2), X, padding="bool")
    case("self-padded-float", MHA(4, 2), X, padding="float", weights="heads")
    case("self-padded-weights", MHA(4, 2), X, mask="causal", padding="bool", weights="mean")
    case("cross", MHA(4, 2), Q, K)
    case("cross-three", MHA(4, 2, batch_first=True), (2, 3, 4), (2, 5, 4), (2, 5, 4), mask="bool")
    case("cross-sizes", MHA(4, 2, kdim=3, vdim=5), Q, (5, 2, 3), (5, 2, 5), padding="bool", weights="heads")
    case("cross-sizes-plain", MHA(4, 2, kdim=3, bias=False), Q, (5, 2, 3), (5, 2, 4))
    case("bias-kv", MHA(4, 2, add_bias_kv=True), Q, K, mask="bool", padding="bool")
    case("bias-kv-causal", MHA(4, 2, add_bias_kv=True), X, mask="causal")
    case("zero", MHA(4, 2, add_zero_attn=True), X, padding="bool", weights="mean")
    case("bias-kv-zero", MHA(4, 2, add_bias_kv=True, add_zero_attn=True, kdim=3, vdim=3), Q, (5, 2, 3), mask="float",
         weights="heads")
    kv_heads("kv-heads")


if __name__ == "__main__":
    main()

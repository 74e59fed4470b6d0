#!/usr/bin/env python3
"""Transformer layers in PyTorch, for tests/layers/transformer_test.cpp: outputs and the gradients of
sum(y * hashed(101)) by the inputs and every parameter. Dropout is off.

    python3 tests/golden/transformer_layers.py > tests/golden/transformer_layers.csv

Made with PyTorch 1.13 (Debian 12), one thread; values from conv_nets.py. "-plain" is without biases, which this
version cannot leave out: they are zeros that stay out of the list. "-swiglu" gets its activation as a function.
"""
import math

import torch
from attention_layers import mask_of, padding_of
from conv_nets import fill, hashed
from torch import nn


def emit(name, part, tensor):
    values = " ".join(f"{v:.9g}" for v in tensor.detach().reshape(-1).tolist())
    print(f"{name},{part},{values}")


def fill_plain(module):
    with torch.no_grad():
        keys = sorted(key for key in module.state_dict() if not key.endswith("bias"))
        for key, tensor in module.state_dict().items():
            if key.endswith("bias"):
                tensor.zero_()
                continue
            values = hashed(tuple(tensor.shape), keys.index(key))
            fan_in = tensor.numel() / tensor.shape[0]
            tensor.copy_(1 + 0.2 * values if tensor.dim() < 2 else values * math.sqrt(3 / fan_in))


def case(name, module, shapes, plain=False, **arguments):
    fill_plain(module) if plain else fill(module)
    given = [hashed(shape, 110 + i).requires_grad_() for i, shape in enumerate(shapes)]
    y = module(*given, **arguments)
    (y * hashed(tuple(y.shape), 101)).sum().backward()
    emit(name, "y", y)
    for i, x in enumerate(given):
        emit(name, f"grad {i}", x.grad)
    for key, parameter in module.named_parameters():
        if not plain or not key.endswith("bias"):
            emit(name, "grad " + key, parameter.grad)


def swiglu(h):
    a, b = h.chunk(2, -1)
    return nn.functional.silu(a) * b


def with_swiglu():
    layer = nn.TransformerEncoderLayer(4, 2, 6, 0, swiglu)
    layer.linear1 = nn.Linear(4, 12)
    return layer


def main():
    torch.set_num_threads(1)
    print("case,part,values")
    encoder, decoder = nn.TransformerEncoderLayer, nn.TransformerDecoderLayer
    src, tgt = (4, 2, 4), (3, 2, 4)
    causal = mask_of("causal", (4, 4))
    causal3 = mask_of("causal", (3, 3))
    padding, padding3 = padding_of("bool", (2, 4)), padding_of("bool", (2, 3))
    case("encoder-layer", encoder(4, 2, 6, 0), [src])
    case("encoder-layer-gelu-first", encoder(4, 2, 6, 0, "gelu", norm_first=True), [src], src_mask=causal)
    case("encoder-layer-batch-first", encoder(4, 2, 6, 0, layer_norm_eps=0.1, batch_first=True), [(2, 4, 4)],
         src_key_padding_mask=padding)
    case("encoder-layer-tanh", encoder(4, 2, 6, 0, lambda h: nn.functional.gelu(h, approximate="tanh")), [(4, 4)])
    case("encoder-layer-plain", encoder(4, 2, 6, 0, norm_first=True), [src], plain=True)
    case("encoder-layer-swiglu", with_swiglu(), [src])
    case("decoder-layer", decoder(4, 2, 6, 0), [tgt, src])
    case("decoder-layer-gelu-first", decoder(4, 2, 6, 0, "gelu", norm_first=True), [tgt, src], tgt_mask=causal3,
         memory_key_padding_mask=padding)
    case("decoder-layer-masks", decoder(4, 2, 6, 0, batch_first=True), [(2, 3, 4), (2, 4, 4)], tgt_mask=causal3,
         memory_mask=mask_of("bool", (3, 4)), tgt_key_padding_mask=padding3)
    case("decoder-layer-plain", decoder(4, 2, 6, 0), [tgt, src], plain=True)
    case("encoder", nn.TransformerEncoder(encoder(4, 2, 6, 0), 2, nn.LayerNorm(4)), [src],
         src_key_padding_mask=padding)
    case("decoder", nn.TransformerDecoder(decoder(4, 2, 6, 0, norm_first=True), 2), [tgt, src], tgt_mask=causal3)
    case("transformer", nn.Transformer(4, 2, 1, 2, 6, 0), [src, tgt], src_key_padding_mask=padding,
         tgt_mask=nn.Transformer.generate_square_subsequent_mask(3), memory_key_padding_mask=padding)


if __name__ == "__main__":
    main()

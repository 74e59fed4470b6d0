#!/usr/bin/env python3
"""Recurrent layers and cells of PyTorch, forward and backward, for tests/kernels/rnn_golden_test.cpp.

    python3 tests/golden/rnn.py > tests/golden/rnn.csv

Input t of a case (x, w_ih, w_hh, b_ih, b_hh, h0, c0; those that a case lacks are left out) is sin(0.7 i + 1.3 t),
rounded to float; everything is computed in double. Results are weighted for backward with cos(0.4 i + k), k = 0 for
y, 1 for h, 2 for c. "reverse" is the second direction of a bidirectional layer; of a packed sequence y is its data.
Made with PyTorch 1.13.1 (Debian 12).
"""
import math

import torch
from torch.nn.utils.rnn import pack_padded_sequence

T, B, K, H = 4, 3, 2, 2
LENGTHS = [4, 2, 1]
GATES = {"tanh": 1, "relu": 1, "lstm": 4, "gru": 3}
NAMES = ["weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"]


def pattern(shape, tensor):
    values = [math.sin(0.7 * i + 1.3 * tensor) for i in range(math.prod(shape))]
    return torch.tensor(values, dtype=torch.float64).float().double().reshape(shape).requires_grad_()


def inputs_of(mode, x, bias=True):
    G, states = GATES[mode], 2 if mode == "lstm" else 1
    shapes = [x, (G * H, K), (G * H, H), (G * H,), (G * H,)] + states * [(B, H)]
    return {t: pattern(shape, t) for t, shape in enumerate(shapes) if bias or t not in (3, 4)}


def layer(mode, bias, reverse):
    options = dict(input_size=K, hidden_size=H, bias=bias, bidirectional=reverse)
    if mode in ("tanh", "relu"):
        return torch.nn.RNN(nonlinearity=mode, **options).double()
    return (torch.nn.LSTM if mode == "lstm" else torch.nn.GRU)(**options).double()


def set_weights(net, values, names):
    """Puts the weights' values in the layer, and its parameters in their places, where gradients arrive."""
    for t, name in enumerate(names, 1):
        if t in values:
            parameter = getattr(net, name)
            parameter.data.copy_(values[t].detach())
            values[t] = parameter


def sequence(mode, bias=True, reverse=False, packed=False):
    """The inputs and y, h and (lstm) c of the layer's only, or with `reverse` second, direction."""
    values = inputs_of(mode, (T, B, K), bias)
    net = layer(mode, bias, reverse)
    set_weights(net, values, [name + ("_reverse" if reverse else "") for name in NAMES])
    initial = [values[t].unsqueeze(0) for t in (5, 6) if t in values]
    if reverse:
        initial = [torch.cat([torch.zeros_like(v), v]) for v in initial]
    x = pack_padded_sequence(values[0], LENGTHS) if packed else values[0]
    given = (x, tuple(initial) if mode == "lstm" else initial[0])
    y, last = net(*given)
    y = (y.data if packed else y)[..., -H:]
    return values, [y] + [v[-1] for v in (last if mode == "lstm" else [last])]


def cell(mode):
    values = inputs_of(mode, (B, K))
    built = {"tanh": torch.nn.RNNCell, "relu": torch.nn.RNNCell, "lstm": torch.nn.LSTMCell, "gru": torch.nn.GRUCell}
    options = {"nonlinearity": mode} if mode in ("tanh", "relu") else {}
    net = built[mode](K, H, **options).double()
    set_weights(net, values, [name.removesuffix("_l0") for name in NAMES])
    state = (values[5], values[6]) if mode == "lstm" else values[5]
    result = net(values[0], state)
    return values, list(result) if mode == "lstm" else [result]


def cases(mode):
    yield "", sequence(mode)
    yield " plain", sequence(mode, bias=False)
    yield " reverse", sequence(mode, reverse=True)
    yield " packed", sequence(mode, packed=True)
    yield " packed reverse", sequence(mode, reverse=True, packed=True)
    yield " cell", cell(mode)


def rows(name, what, values):
    for i, v in enumerate(values.detach().flatten().tolist()):
        print(f"{name},{what},{i},{v:.9g}")


def main():
    print("case,what,element,value")
    for mode in GATES:
        for name, (values, results) in cases(mode):
            labels = ["h", "c"] if name == " cell" else ["y", "h", "c"]
            loss = 0
            for label, result in zip(labels, results):
                k = "yhc".index(label)
                weight = torch.cos(0.4 * torch.arange(result.numel(), dtype=torch.float64) + k)
                loss = loss + (result * weight.reshape(result.shape)).sum()
                rows(mode + name, label, result)
            loss.backward()
            for t, v in values.items():
                rows(mode + name, f"grad{t}", v.grad)


if __name__ == "__main__":
    main()

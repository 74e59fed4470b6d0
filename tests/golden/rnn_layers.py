#!/usr/bin/env python3
"""Recurrent layers and cells in PyTorch, for tests/layers/recurrent_test.cpp: outputs, last states, and the gradients
of sum(y * hashed(101)) + sum(h * hashed(102)) + sum(c * hashed(103)) by the input, the initial states and every
parameter.

    python3 tests/golden/rnn_layers.py > tests/golden/rnn_layers.csv

Made with PyTorch 1.13 (Debian 12), one thread; values from conv_nets.py.
"""
import torch
from conv_nets import fill, hashed
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def emit(name, part, tensor):
    values = " ".join(f"{v:.9g}" for v in tensor.detach().reshape(-1).tolist())
    print(f"{name},{part},{values}")


def finish(name, module, y, states, inputs):
    """states: h and, of an LSTM, c."""
    loss = (y * hashed(tuple(y.shape), 101)).sum() if y is not None else 0
    for number, (part, state) in enumerate(states):
        loss = loss + (state * hashed(tuple(state.shape), 102 + number)).sum()
    loss.backward()
    if y is not None:
        emit(name, "y", y)
    for part, state in states:
        emit(name, part, state)
    for part, tensor in inputs:
        emit(name, "grad " + part, tensor.grad)
    for key, parameter in module.named_parameters():
        emit(name, "grad " + key, parameter.grad)


def initial(module, shape):
    names = ["h0", "c0"] if isinstance(module, (nn.LSTM, nn.LSTMCell)) else ["h0"]
    return [(n, hashed(shape, 110 + i).requires_grad_()) for i, n in enumerate(names)]


def case(name, module, shape, states=True, lengths=None):
    fill(module)
    x = hashed(shape, 100).requires_grad_()
    directions = 2 if getattr(module, "bidirectional", False) else 1
    if isinstance(module, nn.RNNCellBase):
        outer = (*shape[:-1], module.hidden_size)
    else:
        batch = () if len(shape) == 2 else (shape[0 if module.batch_first else 1],)
        outer = (directions * module.num_layers, *batch, module.hidden_size)
    given = initial(module, outer) if states else []
    argument = x
    if lengths:
        argument = pack_padded_sequence(x, torch.tensor(lengths), module.batch_first, enforce_sorted=False)
    if not given:
        result = module(argument)
    elif len(given) == 1:
        result = module(argument, given[0][1])
    else:
        result = module(argument, (given[0][1], given[1][1]))
    inputs = [("x", x), *given]
    if isinstance(module, nn.RNNCellBase):
        last = result if isinstance(result, tuple) else (result,)
        return finish(name, module, None, list(zip("hc", last)), inputs)
    y, last = result
    if lengths:
        y, _ = pad_packed_sequence(y, module.batch_first)
    finish(name, module, y, list(zip("hc", last if isinstance(last, tuple) else (last,))), inputs)


torch.set_num_threads(1)
print("case,part,values")
S = (5, 2, 3)
case("rnn-tanh", nn.RNN(3, 4), S)
case("rnn-relu-2-plain", nn.RNN(3, 4, 2, nonlinearity="relu", bias=False), S)
case("rnn-tanh-2-both", nn.RNN(3, 2, 2, bidirectional=True), S)
case("lstm", nn.LSTM(3, 4), S)
case("lstm-zeros", nn.LSTM(3, 4), S, states=False)
case("lstm-2-both-batch-first", nn.LSTM(3, 2, 2, batch_first=True, bidirectional=True), (2, 5, 3))
case("lstm-3", nn.LSTM(3, 2, 3), S)
case("lstm-sequence", nn.LSTM(3, 4, 2), (5, 3))
case("lstm-packed", nn.LSTM(3, 4), (5, 3, 3), lengths=[3, 2, 5])
case("lstm-packed-2-both", nn.LSTM(3, 2, 2, batch_first=True, bidirectional=True), (3, 5, 3), lengths=[3, 2, 5])
case("gru", nn.GRU(3, 4), S)
case("gru-plain", nn.GRU(3, 4, bias=False), S)
case("gru-3-both", nn.GRU(3, 2, 3, bidirectional=True), S)
case("gru-packed-both", nn.GRU(3, 2, bidirectional=True), (5, 3, 3), lengths=[3, 2, 5])
case("rnn-cell-tanh", nn.RNNCell(3, 4), (2, 3))
case("rnn-cell-relu", nn.RNNCell(3, 4, nonlinearity="relu"), (2, 3))
case("lstm-cell", nn.LSTMCell(3, 4), (2, 3))
case("lstm-cell-zeros", nn.LSTMCell(3, 4, bias=False), (2, 3), states=False)
case("gru-cell", nn.GRUCell(3, 4), (2, 3))
case("gru-cell-single", nn.GRUCell(3, 4), (3,))

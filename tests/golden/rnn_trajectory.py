#!/usr/bin/env python3
"""Ten training losses of character models in PyTorch, for tests/models/rnn_trajectory_test.cpp: windows of B texts one
after the other, the state carried without its history (truncated back-propagation), gradients
clipped, and the loss in evaluation mode from a state of zeros after them.

    python3 tests/golden/rnn_trajectory.py > tests/golden/rnn_trajectory.csv

Made with PyTorch 1.13 (Debian 12), one thread; values from conv_nets.py.
"""
import torch
from conv_nets import fill
from torch import nn

STEPS, V, B, T = 10, 11, 4, 7


class CharRnn(nn.Module):
    def __init__(self, kind, embedding, hidden, layers, **options):
        super().__init__()
        if embedding:
            self.embedding = nn.Embedding(V, embedding)
        self.rnn = kind(embedding or V, hidden, layers, batch_first=True, **options)
        self.head = nn.Linear(hidden, V)

    def forward(self, tokens, state=None):
        x = self.embedding(tokens) if hasattr(self, "embedding") else nn.functional.one_hot(tokens, V).float()
        y, state = self.rnn(x, state)
        return self.head(y), state


def detach(state):
    return tuple(s.detach() for s in state) if isinstance(state, tuple) else state.detach()


def losses(model, optimizer, clip):
    fill(model)
    i = torch.arange(STEPS * T + 1)
    text = (torch.arange(B)[:, None] + 1) * i % V + i * i % 3
    text = text % V
    loss_of = nn.CrossEntropyLoss()
    steps = optimizer(model.parameters())
    out, state = [], None

    def window(step, carried):
        logits, after = model(text[:, step * T:step * T + T], carried)
        return loss_of(logits.reshape(-1, V), text[:, step * T + 1:step * T + T + 1].reshape(-1)), after

    for step in range(STEPS):
        steps.zero_grad()
        loss, state = window(step, state)
        state = detach(state)
        loss.backward()
        clip(model.parameters())
        steps.step()
        out.append(loss.item())
    model.eval()
    return [*out, window(0, None)[0].item()]


def adam(parameters):
    return torch.optim.Adam(parameters, lr=0.01)


def sgd(parameters):
    return torch.optim.SGD(parameters, lr=0.5, momentum=0.9)


def adagrad(parameters):
    return torch.optim.Adagrad(parameters, lr=0.1, eps=1e-8)


def by_norm(parameters):
    nn.utils.clip_grad_norm_(parameters, 0.25)


def by_value(parameters):
    nn.utils.clip_grad_value_(parameters, 0.05)


torch.set_num_threads(1)
print("name,step,loss")
for name, model, optimizer, clip in [
    ("lstm", CharRnn(nn.LSTM, 6, 8, 1), adam, by_norm),
    ("lstm-2", CharRnn(nn.LSTM, 5, 6, 2), sgd, by_norm),
    ("gru", CharRnn(nn.GRU, 6, 8, 1), adam, by_norm),
    ("rnn-one-hot", CharRnn(nn.RNN, 0, 8, 1), adagrad, by_value),
    ("rnn-relu", CharRnn(nn.RNN, 6, 8, 1, nonlinearity="relu"), sgd, by_norm),
]:
    for step, loss in enumerate(losses(model, optimizer, clip)):
        print(f"{name},{step},{loss:.9g}")

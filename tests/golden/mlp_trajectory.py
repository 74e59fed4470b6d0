#!/usr/bin/env python3
"""Ten training losses of the MLP family in PyTorch, for tests/models/trajectory_test.cpp (reliability R5).

    python3 tests/golden/mlp_trajectory.py > tests/golden/mlp_trajectory.csv

Weights and data come from one formula, so that no random generator has to agree: element i of tensor t is
scale * sin(0.7 i + 1.3 t), computed in double and rounded to float. Made with PyTorch 1.13.1 (Debian 12), one thread.
"""
import math

import torch

BATCH, STEPS = 16, 10


def pattern(shape, tensor, scale):
    count = math.prod(shape)
    values = [scale * math.sin(0.7 * i + 1.3 * tensor) for i in range(count)]
    return torch.tensor(values, dtype=torch.float64).float().reshape(shape)


def losses(sizes, activation, kind, lr, momentum):
    layers = []
    for n, (fan_in, fan_out) in enumerate(zip(sizes, sizes[1:])):
        layer = torch.nn.Linear(fan_in, fan_out)
        layer.weight.data = pattern((fan_out, fan_in), 2 * n, 1 / math.sqrt(fan_in))
        layer.bias.data = pattern((fan_out,), 2 * n + 1, 0.1)
        layers += [layer, activation()]
    model = torch.nn.Sequential(*layers[:-1])
    x = pattern((BATCH, sizes[0]), 50, 0.2)
    if kind == "cross_entropy":
        y, loss_of = torch.arange(BATCH) * 7 % sizes[-1], torch.nn.CrossEntropyLoss()
    elif kind == "bce":
        y, loss_of = (pattern((BATCH, sizes[-1]), 51, 1.0) > 0).float(), torch.nn.BCEWithLogitsLoss()
    else:
        y, loss_of = pattern((BATCH, sizes[-1]), 51, 1.0), torch.nn.MSELoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=momentum)
    out = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        optimizer.step()
        out.append(loss.item())
    return out


torch.set_num_threads(1)
print("name,step,loss")
for name, arguments in {
    "fashion-mlp": ([784, 256, 128, 64, 10], torch.nn.ReLU, "cross_entropy", 0.01, 0.0),
    "mnist-mlp": ([784, 128, 10], torch.nn.ReLU, "cross_entropy", 0.1, 0.0),
    "logistic": ([784, 10], torch.nn.ReLU, "cross_entropy", 0.01, 0.0),
    "momentum-tanh": ([20, 16, 8, 5], torch.nn.Tanh, "mse", 0.05, 0.9),
    "sigmoid-bce": ([12, 9, 3], torch.nn.Sigmoid, "bce", 0.5, 0.9),
}.items():
    for step, loss in enumerate(losses(*arguments)):
        print(f"{name},{step},{loss:.9g}")

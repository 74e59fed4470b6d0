#!/usr/bin/env python3
"""Trajectories of torch.optim over 100 steps in double, for tests/training/optimizer_test.cpp.

    python3 tests/golden/optimizers.py > tests/golden/optimizers.csv

Two parameters of 3 and 2 elements; over both, element i starts at 3 + 1.1 i, and its gradient at step t is
0.5 (p - 2 - i) + 0.2 cos(0.7 t + i). The second parameter has no gradient at steps 3 and 10 to 12. L1 decay is
added to the gradient by hand; decoupled decay, where PyTorch has none, shrinks the parameter by hand before the
step. NAdam runs with foreach=True: the other form of 1.13 counts mu_t twice in the product up to t + 1, against
its own documentation and later versions. Both keep that product in single precision. Lion has no PyTorch implementation: its formula stands below. Rows: steps 0 to 4 and every tenth from 9 on.
Made with PyTorch 1.13 (Debian 12).
"""
import math

import torch

STEPS = 100
SIZES = (3, 2)


class Lion(torch.optim.Optimizer):
    """Chen et al., "Symbolic discovery of optimization algorithms", 2023, algorithm 2."""

    def __init__(self, params, lr=1e-4, betas=(0.9, 0.99), weight_decay=0.0):
        super().__init__(params, dict(lr=lr, betas=betas, weight_decay=weight_decay))

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            b1, b2 = group["betas"]
            for p in group["params"]:
                if p.grad is None:
                    continue
                m = self.state[p].setdefault("exp_avg", torch.zeros_like(p))
                direction = torch.sign(b1 * m + (1 - b1) * p.grad)
                p.copy_(p - group["lr"] * (direction + group["weight_decay"] * p))
                m.copy_(b2 * m + (1 - b2) * p.grad)


O = torch.optim
# name: (class, arguments, what is done by hand)
CASES = {
    "sgd": (O.SGD, dict(lr=0.1), {}),
    "sgd decay": (O.SGD, dict(lr=0.1, weight_decay=0.05), {}),
    "sgd momentum": (O.SGD, dict(lr=0.05, momentum=0.9), {}),
    "sgd dampening": (O.SGD, dict(lr=0.05, momentum=0.8, dampening=0.3), {}),
    "sgd nesterov": (O.SGD, dict(lr=0.05, momentum=0.9, weight_decay=0.01, nesterov=True), {}),
    "sgd maximize": (O.SGD, dict(lr=0.01, momentum=0.5, maximize=True), {}),
    "sgd l1": (O.SGD, dict(lr=0.1, momentum=0.5), dict(l1=0.1)),
    "sgd decoupled": (O.SGD, dict(lr=0.1, momentum=0.5), dict(decoupled=0.05)),
    "adagrad": (O.Adagrad, dict(lr=0.1), {}),
    "adagrad all": (O.Adagrad, dict(lr=0.2, lr_decay=0.01, weight_decay=0.02, initial_accumulator_value=0.1), {}),
    "adagrad maximize": (O.Adagrad, dict(lr=0.05, maximize=True), {}),
    "adadelta": (O.Adadelta, dict(), {}),
    "adadelta all": (O.Adadelta, dict(lr=0.5, rho=0.8, eps=1e-4, weight_decay=0.02), {}),
    "rmsprop": (O.RMSprop, dict(), {}),
    "rmsprop momentum": (O.RMSprop, dict(lr=0.005, alpha=0.9, momentum=0.8, weight_decay=0.02), {}),
    "rmsprop centered": (O.RMSprop, dict(lr=0.01, eps=1e-2, momentum=0.5, centered=True), {}),
    "adam": (O.Adam, dict(lr=0.05), {}),
    "adam decay": (O.Adam, dict(lr=0.05, betas=(0.8, 0.95), weight_decay=0.02), {}),
    "adam amsgrad": (O.Adam, dict(lr=0.05, betas=(0.9, 0.9), amsgrad=True), {}),
    "adam maximize": (O.Adam, dict(lr=0.01, maximize=True), {}),
    "adam l1": (O.Adam, dict(lr=0.05), dict(l1=0.1)),
    "adamw": (O.AdamW, dict(lr=0.05), {}),
    "adamw amsgrad": (O.AdamW, dict(lr=0.05, betas=(0.9, 0.9), weight_decay=0.1, amsgrad=True), {}),
    "nadam": (O.NAdam, dict(foreach=True), {}),
    "nadam decay": (O.NAdam, dict(lr=0.05, betas=(0.8, 0.99), weight_decay=0.02, momentum_decay=0.01, foreach=True), {}),
    "lion": (Lion, dict(lr=0.02), {}),
    "lion decay": (Lion, dict(lr=0.01, betas=(0.8, 0.95), weight_decay=0.1), {}),
}


def gradient(p, first, t):
    place = torch.arange(first, first + p.numel(), dtype=torch.float64)
    return 0.5 * (p.detach() - 2 - place) + 0.2 * torch.cos(0.7 * t + place)


print("name,step,element,value")
for name, (kind, arguments, by_hand) in CASES.items():
    params, first = [], 0
    for size in SIZES:
        start = [3 + 1.1 * (first + i) for i in range(size)]
        params.append(torch.tensor(start, dtype=torch.float64, requires_grad=True))
        first += size
    optimizer = kind(params, **arguments)
    for t in range(STEPS):
        first = 0
        for number, p in enumerate(params):
            p.grad = None if number == 1 and (t == 3 or 10 <= t <= 12) else gradient(p, first, t)
            first += p.numel()
            if p.grad is None:
                continue
            if "l1" in by_hand:
                p.grad += by_hand["l1"] * torch.sign(p.detach())
            if "decoupled" in by_hand:
                p.data *= 1 - arguments["lr"] * by_hand["decoupled"]
        optimizer.step()
        if t < 5 or t % 10 == 9:
            for i, value in enumerate(v for p in params for v in p.tolist()):
                print(f"{name},{t},{i},{value:.15g}")

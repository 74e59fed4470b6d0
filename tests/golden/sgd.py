#!/usr/bin/env python3
"""Trajectories of torch.optim.SGD, for tests/training/optimizer_test.cpp.

    python3 tests/golden/sgd.py > tests/golden/sgd.csv

Start sin(i + 1); gradient at step t is p cos(0.5 t) + 0.1 (i - 2), none at step 3. Made with PyTorch 1.13.1 (Debian 12).
"""
import math

import torch

SIZE, STEPS = 5, 8
CASES = {
    "plain": dict(lr=0.1),
    "decay": dict(lr=0.1, weight_decay=0.05),
    "momentum": dict(lr=0.05, momentum=0.9),
    "dampening": dict(lr=0.05, momentum=0.8, dampening=0.3),
    "nesterov": dict(lr=0.05, momentum=0.9, weight_decay=0.01, nesterov=True),
    "maximize": dict(lr=0.02, momentum=0.5, maximize=True),
}

print("name,step,element,value")
for name, arguments in CASES.items():
    p = torch.tensor([math.sin(i + 1.0) for i in range(SIZE)], dtype=torch.float32, requires_grad=True)
    optimizer = torch.optim.SGD([p], **arguments)
    offset = torch.tensor([0.1 * (i - 2) for i in range(SIZE)], dtype=torch.float32)
    for t in range(STEPS):
        p.grad = None if t == 3 else p.detach() * torch.tensor(math.cos(0.5 * t), dtype=torch.float32) + offset
        optimizer.step()
        for i, value in enumerate(p.tolist()):
            print(f"{name},{t},{i},{value:.9g}")

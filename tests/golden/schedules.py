#!/usr/bin/env python3
"""Learning rates of torch.optim.lr_scheduler over 100 steps, for tests/training/schedule_test.cpp.

    python3 tests/golden/schedules.py > tests/golden/schedules.csv

Two groups, of rates 0.1 and 0.04, SGD with momentum 0.9. The metric of the plateau schedules at step t is
1 / (1 + min(t, 20)) + 0.05 cos(t) (negated for 'max'). Made with PyTorch 1.13 (Debian 12).
"""
import math

import torch
from torch.optim import lr_scheduler as S

STEPS = 100
CASES = {
    "lambda": lambda o: S.LambdaLR(o, [lambda t: 0.95**t, lambda t: 1 / (1 + t)]),
    "step": lambda o: S.StepLR(o, step_size=30),
    "step gamma": lambda o: S.StepLR(o, step_size=7, gamma=0.8),
    "multistep": lambda o: S.MultiStepLR(o, milestones=[10, 40, 40, 77], gamma=0.3),
    "exponential": lambda o: S.ExponentialLR(o, gamma=0.97),
    "constant": lambda o: S.ConstantLR(o),
    "linear": lambda o: S.LinearLR(o),
    "linear down": lambda o: S.LinearLR(o, start_factor=1, end_factor=0.1, total_iters=60),
    "polynomial": lambda o: S.PolynomialLR(o, total_iters=80, power=2),
    "cosine": lambda o: S.CosineAnnealingLR(o, T_max=100),
    "cosine again": lambda o: S.CosineAnnealingLR(o, T_max=30, eta_min=0.001),
    "restarts": lambda o: S.CosineAnnealingWarmRestarts(o, T_0=15),
    "restarts double": lambda o: S.CosineAnnealingWarmRestarts(o, T_0=10, T_mult=2, eta_min=0.002),
    "onecycle": lambda o: S.OneCycleLR(o, max_lr=0.5, total_steps=101),
    "onecycle linear": lambda o: S.OneCycleLR(o, max_lr=[0.5, 0.2], total_steps=120, pct_start=0.25, anneal_strategy="linear",
                                              base_momentum=0.8, max_momentum=0.9, div_factor=10, final_div_factor=100),
    "onecycle three": lambda o: S.OneCycleLR(o, max_lr=0.3, total_steps=101, pct_start=0.4, three_phase=True),
    "onecycle alone": lambda o: S.OneCycleLR(o, max_lr=0.3, total_steps=101, cycle_momentum=False),
    "warm-up cosine": lambda o: S.SequentialLR(
        o, [S.LinearLR(o, start_factor=0.01, total_iters=5), S.CosineAnnealingLR(o, T_max=95)], milestones=[5]),
    "warm-up steps": lambda o: S.SequentialLR(
        o, [S.ConstantLR(o, factor=0.1, total_iters=20), S.ExponentialLR(o, gamma=0.9), S.StepLR(o, step_size=20)],
        milestones=[10, 40]),
    "plateau": lambda o: S.ReduceLROnPlateau(o),
    "plateau max": lambda o: S.ReduceLROnPlateau(o, mode="max", factor=0.5, patience=3, threshold=0.01, cooldown=4,
                                                 min_lr=0.001),
    "plateau abs": lambda o: S.ReduceLROnPlateau(o, factor=0.7, patience=2, threshold=0.005, threshold_mode="abs", eps=1e-3),
}

print("name,step,lr0,lr1,momentum")
for name, make in CASES.items():
    params = [torch.zeros(1, requires_grad=True) for _ in range(2)]
    optimizer = torch.optim.SGD([dict(params=[params[0]], lr=0.1), dict(params=[params[1]], lr=0.04)], lr=0.1, momentum=0.9)
    schedule = make(optimizer)
    for t in range(STEPS + 1):
        first, second = optimizer.param_groups
        print(f"{name},{t},{first['lr']:.17g},{second['lr']:.17g},{first['momentum']:.17g}")
        if t == STEPS:
            break
        optimizer.step()
        if name.startswith("plateau"):
            metric = 1 / (1 + min(t, 20)) + 0.05 * math.cos(t)
            schedule.step(-metric if name == "plateau max" else metric)
        else:
            schedule.step()

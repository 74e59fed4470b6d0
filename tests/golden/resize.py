#!/usr/bin/env python3
"""Resizing by PyTorch, forward and backward, for tests/kernels/resize_golden_test.cpp.

    python3 tests/golden/resize.py > tests/golden/resize.csv

A row is one result: rule (nearest, bilinear, corners), its numbers (H W, size, or H W, scale factors with "scale " before
the rule), which result, and its elements. x is [1, 2, H, W] with element i = sin(0.7 i). For backward the result's
elements are weighted with cos(0.4 i). Made with PyTorch 1.13 (Debian 12), one thread.
"""
import math

import torch
import torch.nn.functional as F


def row(op, numbers, what, values):
    print(f"{op},{' '.join(map(str, numbers))},{what},{' '.join(f'{v:.9g}' for v in values)}")


def run(op, rule, h, w, numbers, **how):
    x = torch.tensor([math.sin(0.7 * i) for i in range(2 * h * w)]).reshape(1, 2, h, w).requires_grad_()
    corners = True if rule == "corners" else None
    y = F.interpolate(x, mode="nearest" if rule == "nearest" else "bilinear", align_corners=corners, **how)
    row(op, [h, w, *numbers], "shape", y.shape[2:])
    row(op, [h, w, *numbers], "y", y.flatten().tolist())
    y.backward(torch.tensor([math.cos(0.4 * i) for i in range(y.numel())]).reshape(y.shape))
    row(op, [h, w, *numbers], "dx", x.grad.flatten().tolist())


def main():
    torch.set_num_threads(1)
    print("op,numbers,what,values")
    # Where a scale factor other than 1 leaves the size as it is, the gradient of PyTorch's nearest is not that of its
    # forward pass; there is no such row.
    for rule in ["nearest", "bilinear", "corners"]:
        for h, w, size in [(1, 1, (3, 2)), (4, 5, (8, 10)), (4, 5, (4, 5)), (7, 6, (3, 4)), (5, 3, (7, 11)),
                           (9, 8, (1, 1)), (3, 7, (10, 7)), (2, 13, (3, 5))]:
            run(rule, rule, h, w, size, size=size)
        for h, w, scale in [(4, 5, (2.0, 2.0)), (11, 6, (1.1, 1.7)), (7, 9, (0.6, 0.34)), (3, 4, (2.5, 1.3)),
                            (9, 5, (0.5, 3.0))]:
            run("scale " + rule, rule, h, w, scale, scale_factor=scale)


main()

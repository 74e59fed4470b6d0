#!/usr/bin/env python3
"""Pooling of PyTorch, forward and backward, for tests/kernels/pool_golden_test.cpp.

    python3 tests/golden/pool.py > tests/golden/pool.csv

A row is one result: op, its numbers (H W, kernel, stride, padding, dilation, ceil_mode, count_include_pad,
divisor_override; H W, result for adaptive ones; H W, kernel, stride, ceil_mode, norm_type for lp), which result, and its
elements. x is [2, 2, H, W] with element i = round(4 sin(0.77 i)) / 4 (|.| + 1 for lp): many ties. For backward the
result's elements are weighted with cos(0.4 i). What PyTorch refuses is a row "error". Made with PyTorch 1.13 (Debian
12), one thread.
"""
import math
import random

import torch
import torch.nn.functional as F


def picture(h, w, positive):
    values = [round(4 * math.sin(0.77 * i)) / 4 for i in range(4 * h * w)]
    x = torch.tensor(values).reshape(2, 2, h, w)
    return (x.abs() + 1 if positive else x).requires_grad_()


def row(op, numbers, what, values):
    print(f"{op},{' '.join(map(str, numbers))},{what},{' '.join(f'{v:.9g}' for v in values)}")


def run(op, numbers, h, w, function):
    x = picture(h, w, op == "lp")
    try:
        y = function(x)
    except RuntimeError:
        row(op, numbers, "error", [])
        return
    indices = None
    if isinstance(y, tuple):
        y, indices = y
    row(op, numbers, "shape", y.shape[2:])
    row(op, numbers, "y", y.flatten().tolist())
    if indices is not None:
        row(op, numbers, "indices", indices.flatten().tolist())
    y.backward(torch.tensor([math.cos(0.4 * i) for i in range(y.numel())]).reshape(y.shape))
    row(op, numbers, "dx", x.grad.flatten().tolist())


def main():
    torch.set_num_threads(1)
    draw = random.Random(5)
    pick = draw.choice
    print("op,numbers,what,values")
    sizes = [(1, 1), (1, 9), (5, 7), (6, 4), (8, 3)]
    for n in range(90):
        h, w = pick(sizes)
        kernel = (pick([1, 2, 2, 3, 4]), pick([1, 2, 2, 3, 5]))
        stride = (pick([1, 2, 2, 3]), pick([1, 2, 2, 3]))
        # Some more than half the kernel, which is refused.
        padding = tuple(pick([0, k // 2, k // 2, (k + 1) // 2]) for k in kernel)
        ceil, include = pick([False, True]), pick([False, True])
        if n % 2:
            # PyTorch writes outside the picture where a dilated window sees padding only.
            dilation = tuple(min(size, pick([1, 1, 2])) for size in (h, w))
            numbers = [h, w, *kernel, *stride, *padding, *dilation, int(ceil), 1, 0]
            run("max", numbers, h, w,
                lambda x: F.max_pool2d(x, kernel, stride, padding, dilation, ceil, return_indices=True))
        else:
            divisor = pick([0, 0, 0, 3])
            numbers = [h, w, *kernel, *stride, *padding, 1, 1, int(ceil), int(include), divisor]
            run("avg", numbers, h, w,
                lambda x: F.avg_pool2d(x, kernel, stride, padding, ceil, include, divisor or None))
    for h, w in sizes:
        for out in [(1, 1), (3, 2), (4, 6)]:
            run("adaptive_avg", [h, w, *out], h, w, lambda x: F.adaptive_avg_pool2d(x, out))
            run("adaptive_max", [h, w, *out], h, w,
                lambda x: F.adaptive_max_pool2d(x, out, return_indices=True))
    for norm, ceil in [(1, False), (2, False), (2, True), (3, True)]:
        for kernel, stride in [((2, 2), (2, 2)), ((3, 2), (2, 1))]:
            run("lp", [5, 7, *kernel, *stride, int(ceil), norm], 5, 7,
                lambda x: F.lp_pool2d(x, norm, kernel, stride, ceil))


main()

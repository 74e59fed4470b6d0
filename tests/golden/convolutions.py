#!/usr/bin/env python3
"""Convolutions of PyTorch with odd settings, forward and backward, for tests/kernels/conv2d_golden_test.cpp.

    python3 tests/golden/convolutions.py > tests/golden/convolutions.csv

Input t of a case (0: picture, 1: filters, 2: bias) is sin(0.7 i + 1.3 t), rounded to float; everything is computed in
double. The result's elements are weighted with cos(0.4 i) for backward. Made with PyTorch 1.13.1 (Debian 12), one
thread.
"""
import math
import warnings

import torch
import torch.nn.functional as F


def pattern(shape, tensor):
    values = [math.sin(0.7 * i + 1.3 * tensor) for i in range(math.prod(shape))]
    return torch.tensor(values, dtype=torch.float64).float().double().reshape(shape)


# name: (function, shapes of picture, filters and bias, settings)
CASES = {
    "conv2d": (F.conv2d, [(2, 3, 6, 5), (4, 3, 3, 3), (4,)], {"padding": 1}),
    "conv2d window": (
        F.conv2d,
        [(1, 2, 9, 8), (3, 2, 3, 2), (3,)],
        {"stride": (2, 3), "padding": (2, 1), "dilation": (2, 3)},
    ),
    "conv2d groups": (F.conv2d, [(2, 4, 5, 4), (6, 2, 2, 3), (6,)], {"stride": 2, "padding": (1, 2), "groups": 2}),
    "conv2d depthwise": (F.conv2d, [(1, 3, 5, 7), (6, 1, 3, 3)], {"padding": 2, "dilation": (1, 2), "groups": 3}),
    "conv2d same even": (F.conv2d, [(1, 2, 5, 6), (2, 2, 4, 2), (2,)], {"padding": "same"}),
    "conv2d same dilation": (
        F.conv2d,
        [(1, 1, 6, 7), (2, 1, 2, 4)],
        {"padding": "same", "dilation": (3, 1)},
    ),
    "conv2d unbatched": (F.conv2d, [(2, 5, 4), (3, 2, 2, 2), (3,)], {"stride": (1, 2)}),
    "conv_transpose2d": (
        F.conv_transpose2d,
        [(2, 3, 3, 4), (3, 2, 3, 3), (2,)],
        {"stride": 2, "padding": 1, "output_padding": 1},
    ),
    "conv_transpose2d groups": (
        F.conv_transpose2d,
        [(1, 4, 3, 2), (4, 3, 2, 3), (6,)],
        {"stride": (3, 2), "padding": (0, 1), "output_padding": (2, 0), "groups": 2},
    ),
    "conv_transpose2d dilation": (
        F.conv_transpose2d,
        [(1, 2, 4, 3), (2, 3, 3, 2)],
        {"stride": (1, 2), "padding": (1, 2), "output_padding": (1, 2), "dilation": (2, 3)},
    ),
    "conv_transpose2d unbatched": (F.conv_transpose2d, [(2, 3, 3), (2, 1, 2, 2), (1,)], {"stride": (2, 1)}),
    "conv1d": (F.conv1d, [(2, 3, 9), (4, 3, 3), (4,)], {"stride": 2, "padding": 2, "dilation": 2}),
    "conv1d same": (F.conv1d, [(1, 4, 7), (6, 2, 4), (6,)], {"padding": "same", "groups": 2}),
    "conv1d unbatched": (F.conv1d, [(2, 6), (3, 2, 3)], {}),
}

torch.set_num_threads(1)
warnings.simplefilter("ignore")  # "same" with an even filter copies
print("case,what,element,value")
for name, (function, shapes, settings) in CASES.items():
    leaves = [pattern(shape, t).requires_grad_() for t, shape in enumerate(shapes)]
    y = function(*leaves, **settings)
    weights = torch.tensor([math.cos(0.4 * i) for i in range(y.numel())], dtype=torch.float64)
    (y.reshape(-1) * weights).sum().backward()
    for what, values in [("y", y.detach())] + [(f"d{t}", x.grad) for t, x in enumerate(leaves)]:
        for i, value in enumerate(values.reshape(-1).tolist()):
            print(f"{name},{what},{i},{value:.9g}")

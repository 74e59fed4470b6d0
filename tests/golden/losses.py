#!/usr/bin/env python3
"""Losses of PyTorch with their options, forward and backward, for tests/kernels/loss_golden_test.cpp.

    python3 tests/golden/losses.py > tests/golden/losses.csv

Input t of a case is offset + scale * sin(0.7 i + 1.3 t), rounded to float; the losses are computed in double. The
result's elements are weighted with cos(0.4 i) for backward. Made with PyTorch 1.13.1 (Debian 12), one thread.
"""
import math

import torch
import torch.nn.functional as F


def pattern(shape, tensor, scale=1.0, offset=0.0):
    values = [offset + scale * math.sin(0.7 * i + 1.3 * tensor) for i in range(math.prod(shape))]
    return torch.tensor(values, dtype=torch.float64).float().double().reshape(shape)


def probabilities(tensor):
    return pattern((4, 3), tensor, 0.4, 0.5)


NUMBERS = lambda t: pattern((4, 3), t)
SIGNS = torch.tensor([1.0, -1, -1, 1], dtype=torch.float64)
SIGNS12 = SIGNS.repeat(3).reshape(4, 3)
CLASSES = torch.tensor([2, 0, -100, 1])
WEIGHT3 = pattern((3,), 9, 0.5, 1.0)
CUBE = lambda t: pattern((2, 3, 4), t, 2.0)
CUBE_CLASSES = torch.tensor([[0, 1, 2, -100], [2, 1, 0, 0]])
SOFT = lambda t: probabilities(t) / 1.5

# name: (inputs that are differentiated, loss of them by reduction)
CASES = {
    "mse": ([NUMBERS(0), NUMBERS(1)], lambda x, y, r: F.mse_loss(x, y, reduction=r)),
    "l1": ([NUMBERS(0), NUMBERS(1)], lambda x, y, r: F.l1_loss(x, y, reduction=r)),
    "smooth_l1": ([NUMBERS(0), NUMBERS(1)], lambda x, y, r: F.smooth_l1_loss(x, y, reduction=r)),
    "smooth_l1 beta": ([NUMBERS(0), NUMBERS(1)], lambda x, y, r: F.smooth_l1_loss(x, y, reduction=r, beta=0.3)),
    "huber": ([NUMBERS(0), NUMBERS(1)], lambda x, y, r: F.huber_loss(x, y, reduction=r)),
    "huber delta": ([NUMBERS(0), NUMBERS(1)], lambda x, y, r: F.huber_loss(x, y, reduction=r, delta=0.4)),
    "bce": ([probabilities(0), probabilities(1)], lambda x, y, r: F.binary_cross_entropy(x, y, reduction=r)),
    "bce weight": (
        [probabilities(0), probabilities(1)],
        lambda x, y, r: F.binary_cross_entropy(x, y, weight=WEIGHT3, reduction=r),
    ),
    "bce logits": (
        [NUMBERS(0), probabilities(1)],
        lambda x, y, r: F.binary_cross_entropy_with_logits(x, y, reduction=r),
    ),
    "bce logits weights": (
        [3 * NUMBERS(0), probabilities(1)],
        lambda x, y, r: F.binary_cross_entropy_with_logits(
            x, y, weight=WEIGHT3, pos_weight=pattern((3,), 8, 1.0, 2.0), reduction=r
        ),
    ),
    "kl_div": ([-probabilities(0), probabilities(1)], lambda x, y, r: F.kl_div(x, y, reduction=r)),
    "kl_div batch": ([-probabilities(0), probabilities(1)], lambda x, y, r: F.kl_div(x, y, reduction="batchmean")),
    "kl_div log": (
        [-probabilities(0), -probabilities(1)],
        lambda x, y, r: F.kl_div(x, y, reduction=r, log_target=True),
    ),
    "hinge": ([NUMBERS(0)], lambda x, r: F.hinge_embedding_loss(x, SIGNS12, margin=0.8, reduction=r)),
    "ranking": (
        [NUMBERS(0), NUMBERS(1)],
        lambda x, y, r: F.margin_ranking_loss(x, y, SIGNS12, margin=0.2, reduction=r),
    ),
    "cosine": ([NUMBERS(0), NUMBERS(1)], lambda x, y, r: F.cosine_similarity(x, y, dim=0)),
    "cosine embedding": (
        [NUMBERS(0), NUMBERS(1)],
        lambda x, y, r: F.cosine_embedding_loss(x, y, SIGNS, margin=-0.4, reduction=r),
    ),
    "distance": ([NUMBERS(0), NUMBERS(1)], lambda x, y, r: F.pairwise_distance(x, y)),
    "distance p": ([NUMBERS(0), NUMBERS(1)], lambda x, y, r: F.pairwise_distance(x, y, p=3.0)),
    "triplet": (
        [NUMBERS(0), NUMBERS(1), NUMBERS(2)],
        lambda a, p, n, r: F.triplet_margin_loss(a, p, n, reduction=r),
    ),
    "triplet options": (
        [NUMBERS(0), NUMBERS(1), NUMBERS(2)],
        lambda a, p, n, r: F.triplet_margin_loss(a, p, n, margin=2.0, p=1.0, swap=True, reduction=r),
    ),
    "nll": ([-probabilities(0)], lambda x, r: F.nll_loss(x, CLASSES, reduction=r)),
    "nll weight": (
        [-2 - CUBE(0)],
        lambda x, r: F.nll_loss(x, CUBE_CLASSES, weight=WEIGHT3, reduction=r),
    ),
    "cross_entropy": ([3 * NUMBERS(0)], lambda x, r: F.cross_entropy(x, CLASSES, reduction=r)),
    "cross_entropy weight": (
        [3 * NUMBERS(0)],
        lambda x, r: F.cross_entropy(x, CLASSES, weight=WEIGHT3, reduction=r),
    ),
    "cross_entropy smoothing": (
        [3 * NUMBERS(0)],
        lambda x, r: F.cross_entropy(x, CLASSES, label_smoothing=0.1, reduction=r),
    ),
    "cross_entropy both": (
        [CUBE(0)],
        lambda x, r: F.cross_entropy(x, CUBE_CLASSES, weight=WEIGHT3, label_smoothing=0.2, reduction=r),
    ),
    "cross_entropy soft": ([3 * NUMBERS(0), SOFT(1)], lambda x, y, r: F.cross_entropy(x, y, reduction=r)),
    "cross_entropy soft both": (
        [3 * NUMBERS(0), SOFT(1)],
        lambda x, y, r: F.cross_entropy(x, y, weight=WEIGHT3, label_smoothing=0.2, reduction=r),
    ),
    "softmax": ([CUBE(0)], lambda x, r: F.softmax(x, dim=1)),
    "log_softmax": ([CUBE(0)], lambda x, r: F.log_softmax(x, dim=2)),
}

torch.set_num_threads(1)
print("case,reduction,what,element,value")
for name, (inputs, loss_of) in CASES.items():
    for reduction in ("none", "mean", "sum"):
        leaves = [x.float().double().requires_grad_() for x in inputs]
        loss = loss_of(*leaves, reduction)
        weights = torch.tensor([math.cos(0.4 * i) for i in range(loss.numel())], dtype=torch.float64)
        (loss.reshape(-1) * weights).sum().backward()
        for what, values in [("loss", loss.detach())] + [(f"d{i}", x.grad) for i, x in enumerate(leaves)]:
            for i, value in enumerate(values.reshape(-1).tolist()):
                print(f"{name},{reduction},{what},{i},{value:.9g}")

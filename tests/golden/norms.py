#!/usr/bin/env python3
"""Normalisations of PyTorch, forward and backward, for tests/kernels/norm_golden_test.cpp.

    python3 tests/golden/norms.py > tests/golden/norms.csv

Input t of a case is offset + scale * sin(0.7 i + 1.3 t), rounded to float; everything is computed in double. The
result's elements are weighted with cos(0.4 i) for backward. "running" lists mean and variance after each of three
steps, step s on input s. RMS norm, which this PyTorch lacks, is its formula. Made with PyTorch 1.13.1 (Debian 12).
"""
import math

import torch
import torch.nn.functional as F


def pattern(shape, tensor, scale=1.0, offset=0.0):
    values = [offset + scale * math.sin(0.7 * i + 1.3 * tensor) for i in range(math.prod(shape))]
    return torch.tensor(values, dtype=torch.float64).float().double().reshape(shape)


def x_of(shape, tensor=0):
    return pattern(shape, tensor, 2.0, 0.5)


def weights(n):
    return pattern((n,), 5, 0.5, 1.0), pattern((n,), 6)


def running(n):
    return pattern((n,), 7, 0.5), pattern((n,), 8, 0.3, 1.0)


def batch(shape, training, **options):
    C = shape[1]
    mean, var = running(C)
    return [x_of(shape), *weights(C)], lambda x, w, b: F.batch_norm(
        x, mean.clone(), var.clone(), w, b, training, **options)


def layer(shape, normalized, eps=1e-5):
    return ([x_of(shape), *(v.reshape(normalized) for v in weights(math.prod(normalized)))],
            lambda x, w, b: F.layer_norm(x, normalized, w, b, eps))


def rms(shape, eps):
    return ([x_of(shape), weights(shape[-1])[0]],
            lambda x, w: x / torch.sqrt((x * x).mean(-1, keepdim=True) + eps) * w)


def group(shape, groups, eps=1e-5):
    return [x_of(shape), *weights(shape[1])], lambda x, w, b: F.group_norm(x, groups, w, b, eps)


def instance(shape, **options):
    mean, var = running(shape[1])
    return [x_of(shape), *weights(shape[1])], lambda x, w, b: F.instance_norm(
        x, mean.clone(), var.clone(), w, b, **options)


def fused(shape, training):
    C = shape[1]
    mean, var = running(C)
    return [x_of(shape), *weights(C), pattern(shape, 9)], lambda x, w, b, r: F.relu(
        F.batch_norm(x, mean.clone(), var.clone(), w, b, training) + r)


CASES = {
    "batch 2-D": batch((6, 3), True),
    "batch 3-D": batch((4, 3, 5), True),
    "batch 4-D": batch((2, 3, 4, 5), True),
    "batch eps": batch((2, 3, 4, 5), True, eps=0.1),
    "batch eval 2-D": batch((6, 3), False),
    "batch eval 4-D": batch((2, 3, 4, 5), False),
    "batch plain": ([x_of((2, 3, 4, 5))], lambda x: F.batch_norm(x, None, None, training=True)),
    "batch relu residual": fused((2, 3, 4, 5), True),
    "batch eval relu residual": fused((2, 3, 4, 5), False),
    "layer 1": layer((4, 3, 5), (5,)),
    "layer 2": layer((4, 3, 5), (3, 5)),
    "layer eps": layer((4, 3, 5), (5,), 0.1),
    "layer plain": ([x_of((4, 9))], lambda x: F.layer_norm(x, (9,))),
    "rms": rms((4, 3, 5), 1e-5),
    "rms eps": rms((4, 9), 0.1),
    "group 3": group((2, 6, 3, 2), 3),
    "group 1": group((2, 6, 3, 2), 1),
    "group 6": group((2, 6, 3, 2), 6),
    "group 2-D": group((4, 6), 2),
    "instance": ([x_of((2, 3, 4, 2)), *weights(3)],
                 lambda x, w, b: F.instance_norm(x, weight=w, bias=b)),
    "instance running": instance((2, 3, 4, 2), use_input_stats=True),
    "instance eval": instance((2, 3, 4, 2), use_input_stats=False),
    "local 3": ([x_of((2, 7, 3))], lambda x: F.local_response_norm(x, 3, alpha=0.5, beta=0.75, k=1.0)),
    "local 4": ([x_of((2, 7, 3))], lambda x: F.local_response_norm(x, 4, alpha=0.5, beta=0.5, k=2.0)),
    "local 9": ([x_of((2, 3, 2, 2))], lambda x: F.local_response_norm(x, 9, alpha=0.5)),
}


def running_steps(shape, step):
    mean, var = running(shape[1])
    out = []
    for s in range(3):
        step(x_of(shape, s), mean, var)
        out += [mean.clone(), var.clone()]
    return torch.cat(out)


RUNNING = {
    "batch 2-D": running_steps((6, 3), lambda x, m, v: F.batch_norm(x, m, v, training=True)),
    "batch 4-D": running_steps((2, 3, 4, 5), lambda x, m, v: F.batch_norm(x, m, v, training=True, momentum=0.3)),
    "instance running": running_steps((2, 3, 4, 2), lambda x, m, v: F.instance_norm(x, m, v, momentum=0.2)),
}


def rows(name, what, values):
    for i, v in enumerate(values.detach().flatten().tolist()):
        print(f"{name},{what},{i},{v:.9g}")


def main():
    print("case,what,element,value")
    for name, (inputs, function) in CASES.items():
        inputs = [v.clone().requires_grad_() for v in inputs]
        y = function(*inputs)
        y.backward(torch.cos(0.4 * torch.arange(y.numel(), dtype=torch.float64)).reshape(y.shape))
        rows(name, "y", y)
        for t, v in enumerate(inputs):
            rows(name, f"grad{t}", v.grad)
    for name, values in RUNNING.items():
        rows(name, "running", values)


if __name__ == "__main__":
    main()

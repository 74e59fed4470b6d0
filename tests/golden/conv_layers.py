#!/usr/bin/env python3
"""Convolution, pooling and norm layers in PyTorch, for tests/layers/conv_layers_test.cpp: per layer the output in
training mode, the gradients of sum(output * hashed(101)) by the input and by every parameter, the buffers afterwards,
and the output in evaluation mode after that.

    python3 tests/golden/conv_layers.py > tests/golden/conv_layers.csv

Made with PyTorch 1.13 (Debian 12); values from conv_nets.py. RMSNorm, which came later, is written out.
"""
import torch
from conv_nets import fill, hashed
from torch import nn


class RMSNorm(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))

    def forward(self, x):
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1e-5) * self.weight


def emit(name, part, tensor):
    values = " ".join(f"{v:.9g}" for v in tensor.detach().reshape(-1).tolist())
    print(f"{name},{part},{values}")


def case(name, module, shape):
    fill(module)
    x = hashed(shape, 100).requires_grad_()
    y = module(x)
    (y * hashed(tuple(y.shape), 101)).sum().backward()
    emit(name, "train", y)
    emit(name, "grad", x.grad)
    for key, parameter in module.named_parameters():
        emit(name, "grad " + key, parameter.grad)
    for key, buffer in module.named_buffers():
        emit(name, "after " + key, buffer)
    module.eval()
    emit(name, "eval", module(x))


torch.set_num_threads(1)
print("case,part,values")
P = (2, 3, 5, 6)
case("conv2d", nn.Conv2d(3, 4, 3), P)
case("conv2d-options", nn.Conv2d(4, 6, (3, 2), stride=(2, 1), padding=(2, 1), dilation=(2, 1), groups=2, bias=False),
     (2, 4, 5, 6))
case("conv2d-same", nn.Conv2d(3, 2, (4, 3), padding="same", dilation=(1, 2)), P)
case("conv2d-reflect", nn.Conv2d(3, 2, 3, stride=2, padding=(2, 1), padding_mode="reflect"), P)
case("conv2d-replicate", nn.Conv2d(3, 2, 3, padding=1, padding_mode="replicate"), P)
case("conv2d-circular", nn.Conv2d(3, 2, (2, 4), padding="same", padding_mode="circular"), P)
case("conv2d-sample", nn.Conv2d(3, 2, 3), (3, 4, 5))
case("conv1d", nn.Conv1d(4, 6, 3, stride=2, padding=1, dilation=2, groups=2), (2, 4, 9))
case("conv1d-same-circular", nn.Conv1d(2, 3, 4, padding="same", padding_mode="circular"), (2, 2, 7))
case("conv-transpose2d", nn.ConvTranspose2d(4, 6, 3, stride=2, padding=1, output_padding=1, groups=2, dilation=(1, 2)),
     (2, 4, 3, 4))
case("batch-norm1d", nn.BatchNorm1d(4, momentum=0.3), (5, 4))
case("batch-norm1d-series", nn.BatchNorm1d(3, eps=1e-2), (2, 3, 5))
case("batch-norm2d", nn.BatchNorm2d(3), P)
case("batch-norm2d-cumulative", nn.BatchNorm2d(3, momentum=None), P)
case("batch-norm2d-plain", nn.BatchNorm2d(3, affine=False, track_running_stats=False), P)
case("instance-norm1d", nn.InstanceNorm1d(3), (2, 3, 5))
case("instance-norm2d", nn.InstanceNorm2d(3, affine=True, track_running_stats=True), P)
case("layer-norm", nn.LayerNorm([5, 6]), P)
case("rms-norm", RMSNorm(6), P)
case("group-norm", nn.GroupNorm(2, 4), (2, 4, 3, 3))
case("local-response-norm", nn.LocalResponseNorm(3, alpha=0.2, beta=0.6, k=1.5), (2, 4, 3, 3))
case("max-pool1d", nn.MaxPool1d(3, stride=2, padding=1), (2, 2, 7))
case("max-pool2d", nn.MaxPool2d((2, 3), stride=2, padding=1, ceil_mode=True), P)
case("avg-pool1d", nn.AvgPool1d(3, stride=2, padding=1, count_include_pad=False), (2, 2, 7))
case("avg-pool2d", nn.AvgPool2d(3, stride=2, padding=1), P)
case("lp-pool2d", nn.LPPool2d(2, (2, 3)), (2, 2, 4, 6))
case("adaptive-avg-pool1d", nn.AdaptiveAvgPool1d(3), (2, 2, 7))
case("adaptive-avg-pool2d", nn.AdaptiveAvgPool2d((2, 4)), P)
case("adaptive-max-pool2d", nn.AdaptiveMaxPool2d((3, 2)), P)
case("upsample-nearest", nn.Upsample(scale_factor=2), (1, 2, 3, 4))
case("upsample-bilinear", nn.Upsample(size=(7, 5), mode="bilinear"), (1, 2, 3, 4))
case("upsample-corners", nn.Upsample(scale_factor=2.5, mode="bilinear", align_corners=True), (1, 2, 3, 4))
case("weight-norm-conv2d", nn.utils.weight_norm(nn.Conv2d(3, 4, 3)), P)
case("weight-norm-linear", nn.utils.weight_norm(nn.Linear(4, 3), dim=None), (2, 4))
case("spectral-norm-conv2d", nn.utils.spectral_norm(nn.Conv2d(3, 4, 3)), P)
case("spectral-norm-linear", nn.utils.spectral_norm(nn.Linear(4, 3), n_power_iterations=3), (2, 4))
case("spectral-norm-transpose", nn.utils.spectral_norm(nn.ConvTranspose2d(3, 2, 3, stride=2)), (1, 3, 3, 3))

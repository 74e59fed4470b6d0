#!/usr/bin/env python3
"""Ten training losses of convolutional nets in PyTorch, and the loss in evaluation mode after them, for
tests/models/conv_trajectory_test.cpp (reliability R5).

    python3 tests/golden/conv_trajectory.py > tests/golden/conv_trajectory.csv

Made with PyTorch 1.13 (Debian 12), one thread; values from conv_nets.py. The net that Adam trains has no bias before
its batch norms: the gradient of such a bias is rounding, and Adam would scale it to full steps.
"""
import torch
from conv_nets import Autoencoder, BasicBlock, Bottleneck, LeNet, ResNet, UNet, Vgg, fill, hashed, small_cnn

STEPS = 10
SGD = {"lr": 0.05, "momentum": 0.9, "weight_decay": 5e-4}


def losses(model, shape, classes, optimizer):
    fill(model)
    x = hashed(shape, 1000)
    if classes is None:
        y, loss_of = (x > 0).float(), torch.nn.MSELoss()
    else:
        labels = [shape[0]] if not isinstance(model, UNet) else [shape[0], *shape[2:]]
        y = (torch.arange(torch.Size(labels).numel()) * 7 % classes).reshape(labels)
        loss_of = torch.nn.CrossEntropyLoss()
    steps = optimizer(model.parameters())
    out = []
    for _ in range(STEPS):
        steps.zero_grad()
        loss = loss_of(model(x), y)
        loss.backward()
        steps.step()
        out.append(loss.item())
    model.eval()
    return [*out, loss_of(model(x), y).item()]


def sgd(parameters):
    return torch.optim.SGD(parameters, **SGD)


def adam(parameters):
    return torch.optim.Adam(parameters, lr=0.003)


torch.set_num_threads(1)
print("name,step,loss")
for name, arguments in {
    "cnn-sgd": (small_cnn(True), (8, 1, 8, 8), 5, sgd),
    "cnn-adam": (small_cnn(False), (8, 1, 8, 8), 5, adam),
    "resnet-basic": (ResNet(BasicBlock, [1, 1], 5, 4, 3, True), (4, 3, 8, 8), 5, sgd),
    "resnet-bottleneck": (ResNet(Bottleneck, [1, 1], 5, 4, 3, False), (4, 3, 16, 16), 5, sgd),
    "unet": (UNet(1, 3, 4, 1), (2, 1, 8, 8), 3, sgd),
    "autoencoder": (Autoencoder(), (4, 1, 8, 8), None, adam),
    "lenet": (LeNet(), (2, 1, 28, 28), 10, adam),
    "vgg": (Vgg([[4], [8, 8]], [], 2, 5, True), (4, 3, 8, 8), 5, sgd),
}.items():
    for step, loss in enumerate(losses(*arguments)):
        print(f"{name},{step},{loss:.9g}")

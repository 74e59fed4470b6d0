"""Values and nets that the scripts of convolutional golden files share.

Values come from one formula, so that no random generator has to agree: element i of tensor t is a hash of (i, t) in
[-1, 1), computed exactly and rounded to float (tests/support/hashed_values.h is its twin). torchvision's nets are
written down again here, because Debian's PyTorch comes without it.
"""
import math

import torch
from torch import nn

MASK = 0xFFFFFFFF


def hashed(shape, tensor):
    def value(i):
        h = (i * 2654435761 + tensor * 40503 + 374761393) & MASK
        h ^= h >> 15
        h = (h * 2246822519) & MASK
        h ^= h >> 13
        h = (h * 3266489917) & MASK
        h ^= h >> 16
        return h / 2**31 - 1

    values = [value(i) for i in range(math.prod(shape))]
    return torch.tensor(values, dtype=torch.float64).float().reshape(shape)


def fill(module):
    """Every tensor of the state dict but the counters, in the order of sorted keys."""
    with torch.no_grad():
        for number, (key, tensor) in enumerate(sorted(module.state_dict().items())):
            values = hashed(tuple(tensor.shape), number)
            if key.endswith("num_batches_tracked"):
                continue
            if tensor.dim() >= 2:
                tensor.copy_(values * math.sqrt(3 / (tensor.numel() / tensor.shape[0])))
            elif key.endswith(("weight", "running_var")):
                tensor.copy_(1 + 0.2 * values)
            else:
                tensor.copy_(0.1 * values)
    return module


class BasicBlock(nn.Module):
    expansion = 1

    def __init__(self, inplanes, planes, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.downsample = downsample(inplanes, planes, stride)

    def forward(self, x):
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y))
        return (y + (self.downsample(x) if self.downsample else x)).relu()


class Bottleneck(nn.Module):
    expansion = 4

    def __init__(self, inplanes, planes, stride=1):
        super().__init__()
        self.conv1 = nn.Conv2d(inplanes, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, planes * 4, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(planes * 4)
        self.downsample = downsample(inplanes, planes * 4, stride)

    def forward(self, x):
        y = self.bn1(self.conv1(x)).relu()
        y = self.bn2(self.conv2(y)).relu()
        y = self.bn3(self.conv3(y))
        return (y + (self.downsample(x) if self.downsample else x)).relu()


def downsample(inplanes, planes, stride):
    if stride == 1 and inplanes == planes:
        return None
    return nn.Sequential(nn.Conv2d(inplanes, planes, 1, stride, bias=False), nn.BatchNorm2d(planes))


class ResNet(nn.Module):
    def __init__(self, block, blocks, classes=1000, width=64, channels=3, small=False):
        super().__init__()
        if small:
            self.conv1 = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        else:
            self.conv1 = nn.Conv2d(channels, width, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = None if small else nn.MaxPool2d(3, 2, 1)
        self.stages = len(blocks)
        inplanes = width
        for stage, count in enumerate(blocks):
            layers = []
            for n in range(count):
                planes = width << stage
                layers.append(block(inplanes, planes, 2 if stage > 0 and n == 0 else 1))
                inplanes = planes * block.expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
        self.fc = nn.Linear(inplanes, classes)

    def forward(self, x):
        y = self.bn1(self.conv1(x)).relu()
        if self.maxpool:
            y = self.maxpool(y)
        for stage in range(self.stages):
            y = getattr(self, f"layer{stage + 1}")(y)
        return self.fc(y.mean((2, 3)))


class Vgg(nn.Module):
    def __init__(self, stages, hidden, pooled, classes, batch_norm):
        super().__init__()
        features, inplanes = [], 3
        for stage in stages:
            for width in stage:
                features.append(nn.Conv2d(inplanes, width, 3, padding=1))
                features += [nn.BatchNorm2d(width)] if batch_norm else []
                features.append(nn.ReLU())
                inplanes = width
            features.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d(pooled)
        inplanes *= pooled * pooled
        classifier = []
        for width in hidden:
            classifier += [nn.Linear(inplanes, width), nn.ReLU(), nn.Dropout()]
            inplanes = width
        self.classifier = nn.Sequential(*classifier, nn.Linear(inplanes, classes))

    def forward(self, x):
        return self.classifier(self.avgpool(self.features(x)).flatten(1))


def two_convolutions(inplanes, planes):
    return nn.Sequential(nn.Conv2d(inplanes, planes, 3, padding=1, bias=False), nn.BatchNorm2d(planes), nn.ReLU(),
                         nn.Conv2d(planes, planes, 3, padding=1, bias=False), nn.BatchNorm2d(planes), nn.ReLU())


class UNet(nn.Module):
    def __init__(self, channels, classes, width, depth):
        super().__init__()
        widths = [width << level for level in range(depth + 1)]
        self.down = nn.ModuleList(two_convolutions(i, o) for i, o in zip([channels, *widths], widths))
        self.up = nn.ModuleList(nn.ConvTranspose2d(2 * w, w, 2, 2) for w in widths[-2::-1])
        self.merge = nn.ModuleList(two_convolutions(2 * w, w) for w in widths[-2::-1])
        self.head = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        seen, y = [], x
        for level, layer in enumerate(self.down):
            y = layer(y if level == 0 else nn.functional.max_pool2d(y, 2))
            seen.append(y)
        for up, merge, side in zip(self.up, self.merge, seen[-2::-1]):
            y = merge(torch.cat([side, up(y)], 1))
        return self.head(y)


class Dcgan(nn.Module):
    """Both halves for pictures of 16x16 and two channels."""

    def __init__(self, generator, width=4, latent=6):
        super().__init__()
        if generator:
            self.main = nn.Sequential(
                nn.ConvTranspose2d(latent, 2 * width, 4, 1, 0, bias=False), nn.BatchNorm2d(2 * width), nn.ReLU(),
                nn.ConvTranspose2d(2 * width, width, 4, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU(),
                nn.ConvTranspose2d(width, 2, 4, 2, 1, bias=False), nn.Tanh())
        else:
            self.main = nn.Sequential(
                nn.Conv2d(2, width, 4, 2, 1, bias=False), nn.LeakyReLU(0.2),
                nn.Conv2d(width, 2 * width, 4, 2, 1, bias=False), nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2),
                nn.Conv2d(2 * width, 1, 4, 1, 0, bias=False))

    def forward(self, x):
        return self.main(x)


class LeNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):
        y = nn.functional.max_pool2d(self.conv1(x).relu(), 2)
        y = nn.functional.max_pool2d(self.conv2(y).relu(), 2).flatten(1)
        return self.fc3(self.fc2(self.fc1(y).relu()).relu())


class Autoencoder(nn.Module):
    """Pictures of 8x8 and one channel."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 3, 3, 2, 1), nn.ReLU(), nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU(),
                                     nn.Flatten(), nn.Linear(16, 5))
        self.decoder = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Unflatten(1, (4, 2, 2)),
                                     nn.ConvTranspose2d(4, 3, 3, 2, 1, 1), nn.ReLU(),
                                     nn.ConvTranspose2d(3, 1, 3, 2, 1, 1), nn.Sigmoid())

    def forward(self, x):
        return self.decoder(self.encoder(x))


def small_cnn(bias):
    """conv-BN-ReLU-pool twice and two linear layers, for pictures of 8x8."""
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1, bias=bias), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(4, 8, 3, padding=1, bias=bias), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Flatten(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 5))

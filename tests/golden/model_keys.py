#!/usr/bin/env python3
"""Keys and shapes of convolutional nets in PyTorch, for tests/models/conv_models_test.cpp.

    python3 tests/golden/model_keys.py > tests/golden/model_keys.csv
"""
from conv_nets import Autoencoder, BasicBlock, Bottleneck, Dcgan, LeNet, ResNet, UNet, Vgg

print("model,key,shape")
for name, model in {
    "resnet18": ResNet(BasicBlock, [2, 2, 2, 2]),
    "resnet50": ResNet(Bottleneck, [3, 4, 6, 3]),
    "cifar-resnet20": ResNet(BasicBlock, [3, 3, 3], 10, 16, 3, True),
    "vgg": Vgg([[4], [8], [8, 8]], [6, 5], 2, 3, False),
    "vgg-bn": Vgg([[4], [8], [8, 8]], [6, 5], 2, 3, True),
    "unet": UNet(1, 3, 4, 2),
    "dcgan-generator": Dcgan(True),
    "dcgan-discriminator": Dcgan(False),
    "lenet": LeNet(),
    "autoencoder": Autoencoder(),
}.items():
    for key, tensor in model.state_dict().items():
        print(f"{name},{key},{'x'.join(map(str, tensor.shape)) or '-'}")

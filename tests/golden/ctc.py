#!/usr/bin/env python3
"""CTC losses of PyTorch and their gradients by the logits, for tests/kernels/ctc_test.cpp.

    python3 tests/golden/ctc.py > tests/golden/ctc.csv

Logits 2 sin(0.7 i), rounded to float and computed in double. Made with PyTorch 1.13.1 (Debian 12), one thread.
"""
import math

import torch

torch.set_num_threads(1)
targets = torch.tensor([[1, 2, 2], [4, 4, 1], [3, 0, 0]])
print("reduction,what,element,value")
for reduction in ("none", "mean", "sum"):
    values = torch.tensor([2 * math.sin(0.7 * i) for i in range(8 * 3 * 5)], dtype=torch.float64)
    x = values.float().double().reshape(8, 3, 5).requires_grad_()
    loss = torch.nn.functional.ctc_loss(
        x.log_softmax(2), targets, torch.tensor([8, 6, 5]), torch.tensor([3, 3, 1]), reduction=reduction
    )
    loss.sum().backward()
    for what, result in (("loss", loss.detach()), ("dx", x.grad)):
        for i, value in enumerate(result.reshape(-1).tolist()):
            print(f"{reduction},{what},{i},{value:.9g}")

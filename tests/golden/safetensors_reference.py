#!/usr/bin/env python3
"""Writes safetensors_reference.safetensors with the format's own Python package (needs numpy and safetensors).

    tests/golden/safetensors_reference.py [OUTPUT]
"""

import pathlib
import sys

import numpy as np
from safetensors.numpy import save_file

tensors = {
    "fc1.weight": np.arange(6, dtype=np.float32).reshape(2, 3) / 4,
    "fc1.bias": np.array([-1.5, 2.25], dtype=np.float64),
    "half": np.array([[1.0], [-2.0], [65504.0]], dtype=np.float16),
    "steps": np.array(1234567890123, dtype=np.int64),
    "classes": np.array([-7, 2**31 - 1], dtype=np.int32),
    "mask": np.array([True, False, True]),
    "image": np.arange(4, dtype=np.uint8).reshape(1, 2, 2),
    "unknown_to_us": np.array([1, 2, 3], dtype=np.uint16),
    "empty": np.zeros((0, 5), dtype=np.float32),
}
output = sys.argv[1] if len(sys.argv) > 1 else pathlib.Path(__file__).with_suffix(".safetensors")
save_file(tensors, str(output), metadata={"format": "np", "note": "é"})

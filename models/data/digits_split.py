#!/usr/bin/env python3
"""Writes digits_split.csv: the rows of scikit-learn's train_test_split(test_size=0.2, random_state=42) on 1,797 rows.

scikit-learn (ShuffleSplit) draws numpy.random.RandomState(42).permutation(1797); the first ceil(0.2 * 1797) = 360
entries are the test rows, the next 1,437 the training rows. Needs numpy.

    models/data/digits_split.py [OUTPUT]
"""

import pathlib
import sys

import numpy as np

ROWS, TEST = 1797, 360
order = np.random.RandomState(42).permutation(ROWS)
output = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else pathlib.Path(__file__).with_suffix(".csv")
lines = ["row,part"] + [f"{row},{'test' if i < TEST else 'train'}" for i, row in enumerate(order)]
output.write_text("\n".join(lines) + "\n")

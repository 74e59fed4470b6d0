#!/usr/bin/env python3
"""Cost of one eager op on 16 elements, and of one in a chain of 20 over 1024 (row M12): gpunn beside PyTorch's C++ library.

    /usr/bin/python3 benchmarks/peers/eager_rows.py build/release/bin/eager_bench [--rounds 5] [--json]

Builds eager_torch.cpp against the PyTorch of this Python (no Python runs while it is timed), then runs both programs in
turns on one thread; medians over the rounds are compared.
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

from openblas import choose_core

HERE = pathlib.Path(__file__).resolve().parent


def build(folder):
    import torch
    package = pathlib.Path(torch.__file__).parent
    library, include = package / "lib", package / "include"
    program = folder / "eager_torch"
    abi = int(torch._C._GLIBCXX_USE_CXX11_ABI)
    command = ["c++", "-O2", "-std=c++17", "-w", f"-D_GLIBCXX_USE_CXX11_ABI={abi}", str(HERE / "eager_torch.cpp"), "-o",
               str(program), f"-I{include}", f"-I{include}/torch/csrc/api/include",
               f"-L{library}", f"-Wl,-rpath,{library}", "-ltorch", "-ltorch_cpu", "-lc10"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"eager_rows.py: no program builds against PyTorch {torch.__version__} here; Debian has its headers in "
                 f"libtorch-dev:\n{done.stderr[-2000:]}")
    return program, torch.__version__


def torch_rows(program):
    lines = subprocess.run([program], capture_output=True, text=True, check=True).stdout.split("\n")
    return {(name, grad == "1"): float(ns) for name, grad, ns in (line.split() for line in lines if line)}


def our_rows(program):
    rows = json.loads(subprocess.run([program, "--json"], capture_output=True, text=True, check=True).stdout)["rows"]
    return {(row["op"], row["autograd"]): row["ns"] for row in rows}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("eager_bench")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    choose_core()
    os.environ.update(GPUNN_NUM_THREADS="1", OMP_NUM_THREADS="1")
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as folder:
        program, version = build(pathlib.Path(folder))
        for _ in range(arguments.rounds):
            ours.append(our_rows(arguments.eager_bench))
            theirs.append(torch_rows(program))
    rows = []
    for key in ours[0]:
        mine, peer = (statistics.median(r[key] for r in runs) for runs in (ours, theirs))
        rows.append({"op": key[0], "autograd": key[1], "ns": mine, "torch_ns": peer, "ratio": peer / mine})
    if arguments.json:
        print(json.dumps({"torch": version, "rows": rows}))
        return
    print(f"PyTorch {version}, C++, one thread; nanoseconds an op")
    for row in rows:
        kind = "with autograd" if row["autograd"] else "without autograd"
        print(f"{row['op']:<12} {kind:<17} {row['ns']:8.1f}   PyTorch {row['torch_ns']:8.1f}   {row['ratio']:5.2f} x")
    print(f"geometric mean {statistics.geometric_mean(r['ratio'] for r in rows):.2f} x")


if __name__ == "__main__":
    main()

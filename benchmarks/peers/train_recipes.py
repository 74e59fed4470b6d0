#!/usr/bin/env python3
"""Training steps per second of recipes: gpunn beside PyTorch, interleaved in one run.

    /usr/bin/python3 benchmarks/peers/train_recipes.py build/release/bin/gpunn [RECIPE...] [--threads 1] [--rounds 3] [--json]

PyTorch's loop is its fast form: data as one float tensor in memory, batches by index, no DataLoader. Each round runs
every recipe (the MLPs unless some are named) once in each library; the medians and their ratio are printed, with PyTorch's version and BLAS.
"""
import argparse
import gzip
import json
import os
import statistics
import subprocess
import sys
import time

from openblas import choose_core

RECIPES = {  # sizes of an MLP, or dropout of the small convolutional net; learning rate
    "fashion-mlp": ([784, 256, 128, 64, 10], 0.01),
    "mnist-mlp": ([784, 128, 10], 0.1),
    "fashion-cnn": (0.5, 1e-3),
    "mnist-cnn": (0.25, 1e-3),
}
TEXT_RECIPES = {"shakespeare-lstm": "LSTM", "shakespeare-gru": "GRU", "shakespeare-rnn": "RNN"}
VARIANTS = {"shakespeare-rnn": ["shakespeare-lstm", "--cell", "tanh"]}  # rows that are a recipe with settings
FASHION = "/usr/share/datasets/fashion-mnist"
BATCH = 64
WARM_UP = 20  # steps that do not count, as in gpunn


def find(name, folders):
    for folder in folders:
        for suffix in ("", ".gz"):
            path = os.path.join(folder, name + suffix)
            if os.path.exists(path):
                return path
    sys.exit(f"{name}: not found in {', '.join(folders)}; set GPUNN_DATA_DIR")


def read_idx(path, header):
    opener = gzip.open if path.endswith(".gz") else open
    with opener(path, "rb") as f:
        return f.read()[header:]


def load(recipe):
    import torch

    data = os.environ.get("GPUNN_DATA_DIR", ".")
    folders = [FASHION] if recipe.startswith("fashion") else [os.path.join(data, "mnist"), data]
    images = read_idx(find("train-images-idx3-ubyte", folders), 16)
    labels = read_idx(find("train-labels-idx1-ubyte", folders), 8)
    x = torch.frombuffer(bytearray(images), dtype=torch.uint8).reshape(-1, 784).float() / 255
    return x, torch.frombuffer(bytearray(labels), dtype=torch.uint8).long()


def mlp(sizes):
    from torch import nn

    layers = []
    for fan_in, fan_out in zip(sizes, sizes[1:]):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def small_cnn(dropout):
    from torch import nn

    return nn.Sequential(nn.Conv2d(1, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
                         nn.Conv2d(32, 64, 3, padding=1), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
                         nn.Linear(64 * 7 * 7, 128), nn.ReLU(), nn.Dropout(dropout), nn.Linear(128, 10))


def picture_step(recipe):
    """A function that trains one step on batch number `step`."""
    import torch

    x, y = load(recipe)
    shape, lr = RECIPES[recipe]
    if isinstance(shape, list):
        model = mlp(shape)
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    else:
        x = x.reshape(-1, 1, 28, 28)
        model = small_cnn(shape)
        optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    loss_of = torch.nn.CrossEntropyLoss()
    order = torch.randperm(len(x))

    def step(number):
        first = number * BATCH % (len(x) - BATCH)
        index = order[first : first + BATCH]
        optimizer.zero_grad()
        loss_of(model(x[index]), y[index]).backward()
        optimizer.step()

    return step


def text_step(recipe, streams=32, length=64, features=64, hidden=256):
    """The same for characters: the state is carried from window to window without its history."""
    import torch
    from torch import nn

    data = os.environ.get("GPUNN_DATA_DIR", ".")
    with open(find("tinyshakespeare.txt", [os.path.join(data, "text"), data]), encoding="utf-8") as f:
        text = f.read()
    text = text[: len(text) * 9 // 10]
    ids = {c: i for i, c in enumerate(sorted(set(text)))}
    per_stream = (len(text) - 1) // streams
    rows = torch.tensor([ids[c] for c in text])[: per_stream * streams + 1]
    inputs, targets = rows[:-1].reshape(streams, -1), rows[1:].reshape(streams, -1)
    net = nn.ModuleList([nn.Embedding(len(ids), features),
                         getattr(nn, TEXT_RECIPES[recipe])(features, hidden, batch_first=True),
                         nn.Linear(hidden, len(ids))])
    embedding, recurrent, linear = net
    optimizer = torch.optim.Adam(net.parameters(), lr=4e-3)
    windows, state = per_stream // length, [None]

    def step(number):
        at = number % windows * length
        y, new = recurrent(embedding(inputs[:, at : at + length]), state[0])
        state[0] = tuple(t.detach() for t in new) if isinstance(new, tuple) else new.detach()
        optimizer.zero_grad()
        logits = linear(y).reshape(-1, len(ids))
        nn.functional.cross_entropy(logits, targets[:, at : at + length].reshape(-1)).backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1)
        optimizer.step()

    return step


def pytorch_rate(recipe, threads, steps):
    """Steps per second; runs in a process of its own, so that thread pools do not mix."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    step = text_step(recipe) if recipe in TEXT_RECIPES else picture_step(recipe)
    start = None
    for number in range(steps + WARM_UP):
        if number == WARM_UP:
            start = time.perf_counter()
        step(number)
    return steps / (time.perf_counter() - start)


def blas_name():
    """The BLAS library that PyTorch has loaded, by the process's memory map."""
    import torch

    torch.ones(4, 4) @ torch.ones(4, 4)
    with open("/proc/self/maps") as maps:
        paths = {line.split()[-1] for line in maps if "blas" in line}
    return ", ".join(sorted(os.path.realpath(p) for p in paths if p.startswith("/"))) or "none found"


def gpunn_rate(binary, recipe, threads, steps):
    command = [binary, "train", *VARIANTS.get(recipe, [recipe]), "--json", "--quiet", "--device", "cpu", "--seed", "0",
               "--threads", str(threads), "--steps", str(steps + WARM_UP)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["steps_per_second"]


def child(arguments):
    command = [sys.executable, os.path.abspath(__file__), "--child", *map(str, arguments)]
    environment = dict(os.environ, OMP_NUM_THREADS=str(arguments[1]), OPENBLAS_NUM_THREADS=str(arguments[1]))
    choose_core(environment)
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def main():
    if sys.argv[1:2] == ["--child"]:
        import torch

        recipe, threads, steps = sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
        print(json.dumps({"rate": pytorch_rate(recipe, threads, steps), "torch": torch.__version__,
                          "blas": blas_name()}))
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("gpunn", help="the gpunn program of a release build")
    parser.add_argument("recipes", nargs="*", metavar="RECIPE", help=", ".join([*RECIPES, *TEXT_RECIPES]))
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows, peer = [], {}
    for recipe in options.recipes or ["fashion-mlp", "mnist-mlp"]:
        if recipe not in RECIPES and recipe not in TEXT_RECIPES:
            sys.exit(f"{recipe}: expected one of {', '.join([*RECIPES, *TEXT_RECIPES])}")
        ours, theirs = [], []
        for _ in range(options.rounds):
            ours.append(gpunn_rate(options.gpunn, recipe, options.threads, options.steps))
            peer = child((recipe, options.threads, options.steps))
            theirs.append(peer["rate"])
        rows.append({"recipe": recipe, "threads": options.threads, "gpunn": statistics.median(ours),
                     "pytorch": statistics.median(theirs),
                     "ratio": statistics.median(ours) / statistics.median(theirs),
                     "gpunn_all": ours, "pytorch_all": theirs})
    if options.json:
        print(json.dumps({"torch": peer["torch"], "blas": peer["blas"], "rows": rows}))
        return
    print(f"PyTorch {peer['torch']} over {peer['blas']}")
    for row in rows:
        print(f"{row['recipe']:16} {row['threads']} thread(s): gpunn {row['gpunn']:8.1f} steps/s, "
              f"PyTorch {row['pytorch']:8.1f} steps/s, ratio {row['ratio']:.2f}")


if __name__ == "__main__":
    main()

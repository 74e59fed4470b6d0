#!/usr/bin/env python3
"""The op benchmarks beside PyTorch: each row of `gpunn bench` that has a PyTorch counterpart, in turns.

    /usr/bin/python3 benchmarks/peers/op_rows.py GPUNN [OP...] [--device cpu|cuda] [--threads 1] [--rounds 3]
                                                 [--mode eager|compile|graph] [--json]

GPUNN is the gpunn program of a release build. Each round times an op in gpunn and then its rows in PyTorch, so that
both meet the same moment of the machine; medians over the rounds are compared. A backward row is PyTorch's backward
function alone where it can be called (softmax, activations, losses), as in gpunn. Prints a table, or the rows as
`gpunn bench --json` does ("implementation": "pytorch-MODE"), with "ratio" = PyTorch's time / ours, ours being the
implementation that a call would run. Rows without a counterpart are counted, not hidden.
"""
import argparse
import functools
import json
import math
import os
import re
import statistics
import subprocess
import sys
import time

CACHE = 1 << 20  # bytes; larger rows rotate through ROTATED bytes of inputs, as in gpunn
ROTATED = 160 << 20
TURNS = 9


def values(torch, shape, device, grad=False):
    return (torch.rand(shape, device=device) * 0.75 + 0.25).requires_grad_(grad)


def extents(case):
    """The numbers of "64x10", "4096x1024 + row", "1048576", "64x784x256 dw"."""
    return [int(n) for n in re.findall(r"\d+", case.split(" ")[0] if "x" in case.split(" ")[0] else case)]


def of_shape(make):
    """A builder of rows whose case is a shape: make(torch, shape, device) returns (inputs, function)."""
    return lambda torch, case, device: make(torch, extents(case), device)


def unary(name):
    return of_shape(lambda torch, shape, device: ((values(torch, shape, device),), getattr(torch, name)))


def activation(name, **options):
    def make(torch, shape, device):
        function = getattr(torch.nn.functional, name)
        return (values(torch, shape, device),), lambda x: function(x, **options)
    return of_shape(make)


def binary(name):
    def make(torch, case, device):
        shape = extents(case)
        b = values(torch, shape[-1:] if "row" in case else shape, device)
        return (values(torch, shape, device), b), getattr(torch, name)
    return make


def reduction(name):
    def make(torch, case, device):
        function, shape = getattr(torch, name), extents(case)
        axis = 1 if "by rows" in case else 0 if "by columns" in case else None
        if axis is None:
            return (values(torch, shape, device),), function
        if name == "max":
            function = torch.amax
        return (values(torch, shape, device),), lambda x: function(x, dim=axis)
    return make


def softmax_backward(name):
    def make(torch, shape, device):
        y = torch.softmax(values(torch, shape, device), -1)
        function = getattr(torch.ops.aten, name)
        return (values(torch, shape, device), y), lambda dy, y: function(dy, y, -1, torch.float32)
    return of_shape(make)


def gradient(name, **options):
    """An element-wise backward function of ATen, of dy and what it keeps."""
    def make(torch, shape, device):
        function = getattr(torch.ops.aten, name)
        return (values(torch, shape, device), values(torch, shape, device)), lambda dy, x: function(dy, x, **options)
    return of_shape(make)


def relu_gradient(torch, shape, device):
    function = torch.ops.aten.threshold_backward
    return (values(torch, shape, device), values(torch, shape, device)), lambda dy, y: function(dy, y, 0)


def optimizer(name, **options):
    def make(torch, case, device):
        sizes = [10_000_000] if "10M" in case else [784 * 256, 256, 256 * 128, 128, 128 * 64, 64, 640, 10]
        parameters = [values(torch, (n,), device, grad=True) for n in sizes]
        for p in parameters:
            p.grad = values(torch, p.shape, device)
        settings = {**options, **({"momentum": 0.9} if "momentum" in case else {})}
        step = getattr(torch.optim, name)(parameters, lr=1e-3, **settings).step
        # The parameters are named as inputs for their size alone.
        return tuple(p.detach() for p in parameters), lambda *_: step()
    return make


def cross_entropy(torch, shape, device):
    target = torch.randint(0, 2, shape[:1], device=device)
    return (values(torch, shape, device), target), torch.nn.functional.cross_entropy


def matmul(torch, case, device):
    numbers = extents(case)
    if "cubed" in case:
        n = numbers[0]
        return (values(torch, (n, n), device), values(torch, (n, n), device)), torch.mm
    batch, fan_in, fan_out = numbers
    x, w = (batch, fan_in), (fan_out, fan_in)
    if case.endswith(" y"):
        inputs = values(torch, x, device), values(torch, w, device), values(torch, (fan_out,), device)
        return inputs, lambda x, w, b: torch.relu(torch.nn.functional.linear(x, w, b))
    dy = values(torch, (batch, fan_out), device)
    if case.endswith(" dw"):
        return (dy, values(torch, x, device)), lambda dy, x: torch.mm(dy.t(), x)
    return (dy, values(torch, w, device)), torch.mm


def chain(torch, case, device):
    """Composed, as PyTorch runs it: a pass over memory for each step."""
    shape, functional = extents(case), torch.nn.functional
    x, row, residual = values(torch, shape, device), values(torch, shape[1:], device), values(torch, shape, device)
    if "relu" in case:
        return (x, row, values(torch, shape[1:], device)), lambda x, scale, bias: torch.relu(x * scale + bias)
    return (x, row, residual), lambda x, bias, residual: functional.gelu(x + bias) + residual


def chain_backward(torch, case, device):
    """Autograd's backward alone, for x and all tensors; ours leaves the sums over rows to other ops."""
    inputs, function = chain(torch, case, device)
    leaves = [t.requires_grad_() for t in inputs]
    with torch.enable_grad():
        y = function(*leaves)
    dy = values(torch, y.shape, device)
    return (*leaves, dy), lambda *_: torch.autograd.grad(y, leaves, dy, retain_graph=True)


ROWS = {("chain", "forward"): chain,
        ("chain", "backward"): chain_backward,
        ("softmax", "forward"): activation("softmax", dim=-1),
        ("softmax", "backward"): softmax_backward("_softmax_backward_data"),
        ("log_softmax", "forward"): activation("log_softmax", dim=-1),
        ("cross_entropy", "forward"): of_shape(cross_entropy),
        ("matmul", "forward"): matmul}
ROWS |= {("relu", "backward"): of_shape(relu_gradient),
         ("sigmoid", "backward"): gradient("sigmoid_backward"),
         ("tanh", "backward"): gradient("tanh_backward"),
         ("gelu", "backward"): gradient("gelu_backward"),
         ("gelu_tanh", "forward"): activation("gelu", approximate="tanh"),
         ("gelu_tanh", "backward"): gradient("gelu_backward", approximate="tanh"),
         ("silu", "backward"): gradient("silu_backward")}
ROWS |= {(name + "_step", "forward"): optimizer(torch_name) for name, torch_name in
         {"sgd": "SGD", "adagrad": "Adagrad", "adadelta": "Adadelta", "rmsprop": "RMSprop", "adam": "Adam",
          "nadam": "NAdam"}.items()}
ROWS |= {(name, "forward"): unary(name) for name in
         ("relu", "exp", "log", "sigmoid", "tanh", "sqrt", "rsqrt", "abs", "square", "erf", "neg", "sin", "cos")}
ROWS |= {(name, "forward"): activation(name) for name in
         ("gelu", "silu", "mish", "softplus", "elu", "selu", "celu", "leaky_relu", "hardswish", "hardsigmoid",
          "softsign", "logsigmoid", "relu6")}
ROWS |= {(name, "forward"): binary(name) for name in ("add", "sub", "mul", "div", "maximum", "minimum")}
ROWS |= {(name, "forward"): reduction(name) for name in ("sum", "mean", "max", "argmax", "amax", "amin", "argmin")}


def prepared(torch, function, inputs, mode):
    """The call in the asked form. A captured graph has its inputs inside."""
    if mode == "compile":
        compiled = torch.compile(function)
        compiled(*inputs)
        return lambda: compiled(*inputs)
    if mode == "graph":
        function(*inputs)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            function(*inputs)
        return graph.replay
    return lambda: function(*inputs)


def seconds_of(torch, build, device, mode, seconds_per_row):
    """Median seconds of a call, and the quartiles, over TURNS batches."""
    inputs, function = build()
    size = sum(t.numel() * t.element_size() for t in inputs)
    copies = 1 if size < CACHE else min(64, ROTATED // size + 1)
    calls = [prepared(torch, function, inputs, mode)]
    calls += [prepared(torch, *reversed(build()), mode) for _ in range(copies - 1)]

    def batch(count):
        start = time.perf_counter()
        for i in range(count):
            calls[i % len(calls)]()
        if device == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - start) / count

    with torch.no_grad():
        batch(2)
        count = int(min(max(seconds_per_row / TURNS / max(batch(1), 1e-8), 1), 1e6))
        return statistics.quantiles([batch(count) for _ in range(TURNS)], n=4)


def bench(binary, *arguments):
    done = subprocess.run([binary, "bench", *arguments, "--json"], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def measure(torch, options):
    """[(our row, PyTorch's [low, median, high])], medians over the rounds, and the rows without a counterpart."""
    known_ops = {op for op, _ in ROWS}
    ops = [op for op in bench(options.gpunn, "--list") if not options.ops or op in options.ops]
    common = ["--device", options.device + (":0" if options.device == "cuda" else ""), "--best",
              "--threads", str(options.threads), "--seconds", str(options.seconds)]
    ours, theirs, left_out = {}, {}, {op for op in ops if op not in known_ops}
    for _ in range(options.rounds):
        for op in (op for op in ops if op in known_ops):
            for row in bench(options.gpunn, op, *common)["rows"]:
                if (op, row["direction"]) not in ROWS or row["dtype"] != "f32":
                    left_out.add(f"{op} {row['direction']} {row['dtype']}")
                    continue
                key = (op, row["direction"], row["case"])
                build = functools.partial(ROWS[key[:2]], torch, row["case"], options.device)
                ours.setdefault(key, []).append(row)
                theirs.setdefault(key, []).append(
                    seconds_of(torch, build, options.device, options.mode, options.seconds))

    def median(rounds, of):
        return sorted(rounds, key=of)[len(rounds) // 2]

    rows = [(median(ours[key], lambda r: r["seconds"]), median(theirs[key], lambda t: t[1])) for key in ours]
    return rows, sorted(left_out)


def blas_name():
    with open("/proc/self/maps") as maps:
        paths = {line.split()[-1] for line in maps if "blas" in line or "mkl" in line}
    return ", ".join(sorted({os.path.basename(os.path.realpath(p)) for p in paths if p.startswith("/")}))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("gpunn", help="the gpunn program of a release build")
    parser.add_argument("ops", nargs="*", help="these ops only")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--mode", choices=("eager", "compile", "graph"), default="eager")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.1, help="for each row and library")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(options.threads)
    import torch
    torch.set_num_threads(options.threads)

    rows, left_out = measure(torch, options)
    if not rows:
        sys.exit("op_rows.py: no row of these ops has a PyTorch counterpart")
    ratios = [peer[1] / our["seconds"] for our, peer in rows]
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    if options.json:
        out = [{**our, "implementation": f"pytorch-{options.mode}", "seconds": peer[1], "seconds_low": peer[0],
                "seconds_high": peer[2], "ratio": ratio} for (our, peer), ratio in zip(rows, ratios)]
        print(json.dumps({"device": options.device, "threads": options.threads, "torch": torch.__version__,
                          "blas": blas_name(), "geometric_mean": mean, "left_out": left_out, "rows": out}))
        return
    print(f"PyTorch {torch.__version__} ({options.mode}, {blas_name()}), {options.threads} thread(s)")
    for (our, peer), ratio in zip(rows, ratios):
        print(f"{our['op']:14} {our['direction']:9} {our['case']:24} {our['implementation']:9} "
              f"{our['seconds'] * 1e6:11.2f} us  PyTorch {peer[1] * 1e6:11.2f} us  {ratio:6.2f} x")
    print(f"geometric mean {mean:.2f} x over {len(rows)} rows; without a counterpart: {', '.join(left_out)}")


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""The op benchmarks beside PyTorch: each row of `gpunn bench` that has a PyTorch counterpart, in turns.

    /usr/bin/python3 benchmarks/peers/op_rows.py GPUNN [OP...] [--goals] [--row NAME] [--device cpu|cuda] [--threads 1]
                                                 [--rounds 3] [--seconds 0.1] [--modes eager,compile,graph]
                                                 [--budget S] [--json FILE]

GPUNN is the gpunn program of a release build. Each round times an op in gpunn and then its rows in PyTorch, so that
both meet the same moment of the machine; medians over the rounds are compared. Ours is the implementation that a call
would run, never the reference beside it. A backward row is PyTorch's backward alone, as in gpunn. --goals selects the
rows that the library's CPU goals are about. Prints a table; --json FILE (- for the terminal, instead of the table)
writes the rows as `gpunn bench --json` does, "implementation" being torch_eager, torch_compile or torch_graph and
"ratio" PyTorch's time / ours. Rows without a counterpart, and modes that a row or device cannot have, are named with
the reason. With --budget no row is begun after S seconds; what was not reached is named too.

PyTorch is at its best: fused optimizers, convolutions chosen by timing, TF32 allowed where our row uses it and only
there, warm. torch_graph is the
eager call in a CUDA graph; torch_compile is tuned (max-autotune, dynamic=False) and in a CUDA graph of ours, which,
unlike the one that the mode itself would make, copies no inputs.
"""
import argparse
import collections
import contextlib
import gc
import importlib
import json
import math
import os
import re
import statistics
import subprocess
import sys
import time

from openblas import choose_core

CACHE = 1 << 20  # bytes; larger rows rotate through more inputs than a cache holds, as in gpunn
ROTATED = {"cpu": 160 << 20, "cuda": 256 << 20}
TURNS = 9
MODES = ("eager", "compile", "graph")
GOALS = {"softmax": ["P9"], "batch_norm": ["64x64x56x56"], "row_norm": ["P9"], "cross_entropy": ["P9"], "gelu": ["P9"],
         "add": ["4096x1024"], "mul": ["4096x1024"], "chain": ["4096x1024", "2048x1024"], "adam_step": ["P11"],
         "matmul": ["P1", "P2", "P3"], "conv2d": ["P6", "P7"], "conv2d_dx": ["P6", "P7"], "conv2d_dw": ["P6", "P7"],
         "rnn_layer": ["P8"], "attention": ["P10"]}
ID = re.compile(r"(?:[ABCGLRPS]\d+|MEM-\d+) ")

# What a row runs: `function` of `inputs`. `modes` are those it can have; with `compiled` the builder has compiled what
# can be (a forward pass whose backward is timed), and the call itself stays as it is.
Call = collections.namedtuple("Call", "inputs function modes compiled", defaults=(MODES, False))


class Row:
    """A row of gpunn as the builders below see it."""

    def __init__(self, torch, row, device, mode):
        self.torch, self.device, self.mode = torch, device, mode
        self.stream = None if mode == "eager" else torch.cuda.Stream()
        self.case = row["case"]
        self.id = (ID.match(self.case) or [""])[0].strip()
        words = ID.sub("", self.case).split(" ")
        self.shape = [int(n) for n in re.findall(r"\d+", words[0] if "x" in words[0] else " ".join(words))]
        self.dtype = {"f32": torch.float32, "bf16": torch.bfloat16, "f16": torch.float16}[row["dtype"]]
        self.compiled = {}

    def values(self, *shape, grad=False, dtype=None):
        v = self.torch.rand(shape, device=self.device) * 0.75 + 0.25
        return v.to(dtype or self.dtype).requires_grad_(grad)

    def compile(self, function):
        """The function, compiled in that mode, once for all copies of the inputs."""
        if self.mode != "compile":
            return function
        if function.__code__ not in self.compiled:
            self.compiled[function.__code__] = self.torch.compile(
                function, mode="max-autotune-no-cudagraphs", dynamic=False)
        return self.compiled[function.__code__]


def unary(name):
    def make(row):
        function = getattr(row.torch, name)
        return Call((row.values(*row.shape),), lambda x: function(x))
    return make


def activation(name, **options):
    def make(row):
        function = getattr(row.torch.nn.functional, name)
        return Call((row.values(*row.shape),), lambda x: function(x, **options))
    return make


def binary(name):
    def make(row):
        function, b = getattr(row.torch, name), row.values(*(row.shape[-1:] if "row" in row.case else row.shape))
        return Call((row.values(*row.shape), b), lambda x, y: function(x, y))
    return make


def reduction(name):
    def make(row):
        axis = 1 if "by rows" in row.case else 0 if "by columns" in row.case else None
        if axis is None:
            return unary(name)(row)
        function = getattr(row.torch, "amax" if name == "max" else name)
        return Call((row.values(*row.shape),), lambda x: function(x, dim=axis))
    return make


def softmax_backward(row):
    y, dtype, aten = row.torch.softmax(row.values(*row.shape), -1), row.dtype, row.torch.ops.aten
    return Call((row.values(*row.shape), y), lambda dy, y: aten._softmax_backward_data(dy, y, -1, dtype))


def gradient(name, *arguments, **options):
    """An element-wise backward function of ATen, of dy and what it keeps."""
    def make(row):
        function = getattr(row.torch.ops.aten, name)
        return Call((row.values(*row.shape), row.values(*row.shape)),
                    lambda dy, x: function(dy, x, *arguments, **options))
    return make


def backward_of(forward, constants=()):
    """Autograd's backward of a builder's call, for every input that is not one of `constants`."""
    def make(row):
        inputs, function = forward(row)[:2]
        leaves = [t.requires_grad_() for i, t in enumerate(inputs) if i not in constants]
        with row.torch.enable_grad():
            y = row.compile(function)(*inputs)
        dy = row.values(*y.shape, dtype=y.dtype)
        if y.dim() == 4:
            dy = in_row_order(row, dy)
        return Call((*inputs, dy), lambda *_: row.torch.autograd.grad(y, leaves, dy, retain_graph=True), MODES, True)
    return make


def optimizer(name, **options):
    def make(row):
        torch, halves = row.torch, "masters" in row.case
        network = [784 * 256, 256, 256 * 128, 128, 128 * 64, 64, 640, 10]
        transformer = [50304 * 768, 1024 * 768] + 12 * [n * 768 * 768 for n in (3, 1, 4, 4)]
        sizes = transformer if halves else [10_000_000] if "10M" in row.case else network
        parameters = [row.values(n, grad=True, dtype=torch.float32) for n in sizes]
        gradients = [row.values(n) for n in sizes]
        for p, g in zip(parameters, gradients):
            p.grad = g.float()
        settings = {**options, **({"momentum": 0.9} if "momentum" in row.case else {})}
        build = getattr(torch.optim, "AdamW" if "adamw" in row.case else name)
        fused, capturable = {"fused": True}, {"capturable": True}
        step = first_that_steps(torch, build, parameters, settings,
                                [{**fused, **capturable}, fused, capturable, {"foreach": True}, {}]
                                if row.device == "cuda" else [fused, {}]).step

        def with_masters(*copies):
            torch._foreach_copy_([p.grad for p in parameters], gradients)
            step()
            torch._foreach_copy_(list(copies), [p.detach() for p in parameters])

        if halves:
            return Call(tuple(row.values(n) for n in sizes), with_masters, ("eager", "graph"))
        # The parameters are named as inputs for their size alone.
        return Call(tuple(p.detach() for p in parameters), lambda *_: step(), ("eager", "graph"))
    return make


def first_that_steps(torch, build, parameters, settings, choices):
    """The optimizer with the first of the choices that this PyTorch and this optimizer have."""
    for choice in choices:
        try:
            made = build(parameters, lr=1e-3, **settings, **choice)
            with torch.no_grad():
                made.step()
            return made
        except (TypeError, RuntimeError, ValueError):
            if choice is choices[-1]:
                raise


def cross_entropy(row):
    rows, classes = row.shape
    target = row.torch.randint(0, classes, (rows,), device=row.device)
    function = row.torch.nn.functional.cross_entropy
    return Call((row.values(*row.shape), target), lambda x, t: function(x, t))


def linear_cross_entropy(training):
    """A classifier and its loss with stored logits; in training with the gradients of both operands. Ours runs on one
    set of inputs, too."""
    def make(row):
        torch, (N, E, V) = row.torch, row.shape
        functional, target = torch.nn.functional, torch.randint(0, V, (N,), device=row.device)
        x, w = ((row.values(n, E) - 0.625).requires_grad_(training) for n in (N, V))
        loss = row.compile(lambda x, w, t: functional.cross_entropy(functional.linear(x, w), t))

        def train():
            with torch.enable_grad():
                y = loss(x, w, target)
            return torch.autograd.grad(y, [x, w])
        return Call((), train if training else lambda: loss(x, w, target), MODES, True)
    return make


def matmul(row):
    """Layers are named batch x in x out, rows of a table of products M x N x K."""
    torch, functional, case = row.torch, row.torch.nn.functional, row.case
    if row.id:
        M, N, K = row.shape
        if case.endswith(" NN"):
            return Call((row.values(M, K), row.values(K, N)), lambda a, b: torch.mm(a, b))
        if case.endswith(" dw"):
            return Call((row.values(K, M), row.values(K, N)), lambda dy, x: torch.mm(dy.t(), x))
    else:
        M, K, N = row.shape
        if case.endswith(" dw"):
            return Call((row.values(M, N), row.values(M, K)), lambda dy, x: torch.mm(dy.t(), x))
        if case.endswith(" dx"):
            return Call((row.values(M, N), row.values(N, K)), lambda dy, w: torch.mm(dy, w))
    x, w, b = row.values(M, K), row.values(N, K), row.values(N)
    if "TN" in case:
        return Call((x, w), lambda x, w: functional.linear(x, w))
    if "gelu saved" in case:
        def gelu_saved(x, w, b):
            z = functional.linear(x, w, b)
            return functional.gelu(z), z
        return Call((x, w, b), gelu_saved)
    if "residual" in case:
        return Call((x, w, b, row.values(M, N)), lambda x, w, b, r: functional.linear(x, w, b) + r)
    if "bias" in case:
        return Call((x, w, b), lambda x, w, b: functional.linear(x, w, b))
    return Call((x, w, b), lambda x, w, b: torch.relu(functional.linear(x, w, b)))


def convolution(gradient):
    """The op, or with `gradient` (0: of the pictures, 1: of the filters) that part of PyTorch's backward."""
    def make(row):
        torch, N, C, (H, W) = row.torch, *row.shape[:2], row.shape[2:]
        setting = {word: int(n) for word, n in re.findall(r"(to|by|stride|groups) (\d+)", row.case)}
        K, R, stride, groups = setting["to"], setting["by"], setting.get("stride", 1), setting.get("groups", 1)
        order = torch.channels_last if row.case.endswith(" last") else torch.contiguous_format

        def ordered(*shape):
            return row.values(*shape).contiguous(memory_format=order)

        x, w = ordered(N, C, H, W), ordered(K, C // groups, R, R)
        window = ([stride] * 2, [R // 2] * 2, [1] * 2)
        if gradient is None:
            return Call((x, w), lambda x, w: torch.conv2d(x, w, None, *window, groups))
        P, Q = ((size + 2 * (R // 2) - R) // stride + 1 for size in (H, W))
        backward, mask = torch.ops.aten.convolution_backward, [gradient == 0, gradient == 1, False]
        return Call((ordered(N, K, P, Q), x, w),
                    lambda dy, x, w: backward(dy, x, w, None, *window, False, [0, 0], groups, mask))
    return make


def convolution_end(row):
    """The gradient through relu and the sum for the bias."""
    torch, (N, K, pixels) = row.torch, row.shape
    order = torch.channels_last if row.case.endswith(" last") else torch.contiguous_format
    dy, y = (row.values(N, K, pixels, 1).contiguous(memory_format=order) for _ in range(2))
    if "relu" not in row.case:
        return Call((dy,), lambda dy: dy.sum((0, 2, 3)))

    def end(dy, y):
        dz = torch.ops.aten.threshold_backward(dy, y, 0)
        return dz, dz.sum((0, 2, 3))
    return Call((dy, y), end)


def recurrent(training):
    """Whole layers: forward without a graph, or forward and all gradients, those of the inputs included."""
    def make(row):
        torch, (B, T, H) = row.torch, row.shape
        mode = row.case.split()[2 if row.id else 1]
        layers = int((re.findall(r"layers (\d+)", row.case) or [1])[0])
        build = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}.get(mode, torch.nn.RNN)
        options = {} if mode in ("lstm", "gru") else {"nonlinearity": mode}
        net = build(H, H, layers, bidirectional="both ways" in row.case, **options).to(row.device, row.dtype)
        x = row.values(T, B, H, grad=training)
        dy = row.values(T, B, H * (1 + net.bidirectional))

        def train():
            with torch.enable_grad():
                y = net(x)[0]
            return torch.autograd.grad(y, [x, *net.parameters()], dy)
        # No inputs to rotate: ours runs on one set, too.
        return Call((), train if training else lambda: net(x), ("eager", "graph"))
    return make


def attention(row):
    """PyTorch's fused function where it has one, else the definition with the scale on the smaller tensor."""
    torch, functional = row.torch, row.torch.nn.functional
    B, Hq, Hkv, Tq, Tk, D = row.shape
    causal = "causal" in row.case and Tq > 1
    q, k, v = row.values(B, Hq, Tq, D), row.values(B, Hkv, Tk, D), row.values(B, Hkv, Tk, D)
    if hasattr(functional, "scaled_dot_product_attention"):
        options = {"enable_gqa": True} if Hq != Hkv else {}
        return Call((q, k, v),
                    lambda q, k, v: functional.scaled_dot_product_attention(q, k, v, is_causal=causal, **options))
    hidden = torch.full((Tq, Tk), -math.inf, dtype=row.dtype, device=row.device).triu(1) if causal else None

    def composed(q, k, v):
        scores = (q * D ** -0.5) @ k.repeat_interleave(Hq // Hkv, 1).transpose(-1, -2)
        return torch.softmax(scores + hidden if causal else scores, -1) @ v.repeat_interleave(Hq // Hkv, 1)

    def same_heads(q, k, v):
        scores = (q * D ** -0.5) @ k.transpose(-1, -2)
        return torch.softmax(scores + hidden if causal else scores, -1) @ v
    return Call((q, k, v), same_heads if Hq == Hkv else composed)


def attention_training(row):
    """Forward and all three gradients."""
    inputs, function = attention(row)[:2]
    leaves = [t.requires_grad_() for t in inputs]
    dy = row.values(*inputs[0].shape)

    def train(*_):
        with row.torch.enable_grad():
            y = function(*leaves)
        return row.torch.autograd.grad(y, leaves, dy)
    # One set of inputs, as ours has.
    return Call((), train, ("eager", "graph"))


def chain(row):
    """Composed, as eager PyTorch runs it: a pass over memory for each step."""
    torch, vector = row.torch, row.values(*row.shape[1:])
    if "relu" in row.case:
        return Call((row.values(*row.shape), vector, row.values(*row.shape[1:])),
                    lambda x, scale, bias: torch.relu(x * scale + bias))
    return Call((row.values(*row.shape), vector, row.values(*row.shape)),
                lambda x, bias, residual: torch.nn.functional.gelu(x + bias) + residual)


def picture(row):
    """Of the row's shape and order; its size is "NxCxHxW"."""
    order = row.torch.channels_last if "nhwc" in row.case else row.torch.contiguous_format
    return row.values(*row.shape).contiguous(memory_format=order)


def pool(name):
    def make(row):
        functional = row.torch.nn.functional
        if "global" in row.case:
            return Call((picture(row),), lambda x: functional.adaptive_avg_pool2d(x, 1))
        kernel, stride, pad = (int(n) for n in re.findall(r" [ksp](\d+)", row.case))
        function = getattr(functional, name)
        return Call((picture(row),), lambda x: function(x, kernel, stride, pad))
    return make


def interpolate(row):
    size = [int(n) for n in re.search(r"to (\d+)x(\d+)", row.case).groups()]
    mode = "bilinear" if "bilinear" in row.case else "nearest"
    return Call((picture(row),), lambda x: row.torch.nn.functional.interpolate(x, size=size, mode=mode))


def chain_backward(row):
    """Gradients of the full shape, also of row vectors: ours leaves their sums to another op."""
    inputs, function = chain(row)[:2]
    return backward_of(lambda _: Call([t.expand(*row.shape).detach() for t in inputs], function))(row)


def batch_norm(row):
    """Training, with f32 weights and running statistics."""
    torch, functional, channels = row.torch, row.torch.nn.functional, row.shape[1]
    single = row.torch.float32
    mean, var = row.values(channels, dtype=single), row.values(channels, dtype=single)

    def picture():
        return in_row_order(row, row.values(*row.shape))

    def norm(x, w, b):
        return functional.batch_norm(x, mean, var, w, b, training=True)
    weights = row.values(channels, dtype=single), row.values(channels, dtype=single)
    if "residual" in row.case:
        return Call((picture(), *weights, picture()), lambda x, w, b, r: torch.relu(norm(x, w, b) + r))
    if "relu" in row.case:
        return Call((picture(), *weights), lambda x, w, b: torch.relu(norm(x, w, b)))
    return Call((picture(), *weights), norm)


def in_row_order(row, picture):
    return picture.contiguous(memory_format=row.torch.channels_last) if "channels last" in row.case else picture


def row_norm(row):
    torch, functional = row.torch, row.torch.nn.functional
    if "groups" in row.case:
        channels, groups = row.shape[1], int(row.case.split("groups ")[1])
        return Call((row.values(*row.shape), row.values(channels), row.values(channels)),
                    lambda x, w, b: functional.group_norm(x, groups, w, b))
    cols = row.shape[-1:]
    if "rms" not in row.case:
        return Call((row.values(*row.shape), row.values(*cols), row.values(*cols)),
                    lambda x, w, b: functional.layer_norm(x, cols, w, b))
    if hasattr(functional, "rms_norm"):
        return Call((row.values(*row.shape), row.values(*cols)), lambda x, w: functional.rms_norm(x, cols, w, 1e-5))
    return Call((row.values(*row.shape), row.values(*cols)),
                lambda x, w: x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-5) * w)


def add_norm(row):
    """The norm of residual + dropout(x), from PyTorch's ops; both results, which the backward row has gradients of."""
    functional = row.torch.nn.functional
    share = 0.1 if "dropout" in row.case else 0
    inputs, norm = row_norm(row)[:2]

    def both(x, residual, *weights):
        total = residual + (functional.dropout(x, share) if share else x)
        return norm(total, *weights), total
    return Call((inputs[0], row.values(*inputs[0].shape), *inputs[1:]), both)


def add_norm_backward(row):
    inputs, function = add_norm(row)[:2]
    leaves = [t.requires_grad_() for t in inputs]
    with row.torch.enable_grad():
        y, total = row.compile(function)(*inputs)
    gradients = row.values(*y.shape), row.values(*y.shape)
    return Call((*inputs, *gradients),
                lambda *_: row.torch.autograd.grad((y, total), leaves, gradients, retain_graph=True), MODES, True)


ROWS = {("chain", "forward"): chain,
        ("chain", "backward"): chain_backward,
        ("softmax", "forward"): activation("softmax", dim=-1),
        ("softmax", "backward"): softmax_backward,
        ("log_softmax", "forward"): activation("log_softmax", dim=-1),
        ("cross_entropy", "forward"): cross_entropy,
        ("cross_entropy", "backward"): backward_of(cross_entropy, constants=(1,)),
        ("linear_cross_entropy", "forward"): linear_cross_entropy(False),
        ("linear_cross_entropy", "training"): linear_cross_entropy(True),
        ("matmul", "forward"): matmul,
        ("conv2d", "forward"): convolution(None),
        ("conv2d_dx", "forward"): convolution(0),
        ("conv2d_dw", "forward"): convolution(1),
        ("channel_grad", "backward"): convolution_end}
ROWS |= {("attention", "forward"): attention,
         ("attention", "backward"): backward_of(attention),
         ("attention", "training"): attention_training}
ROWS |= {("rnn_layer", "forward"): recurrent(False),
         ("rnn_layer", "training"): recurrent(True)}
ROWS |= {("max_pool2d", "forward"): pool("max_pool2d"),
         ("max_pool2d", "backward"): backward_of(pool("max_pool2d")),
         ("avg_pool2d", "forward"): pool("avg_pool2d"),
         ("avg_pool2d", "backward"): backward_of(pool("avg_pool2d")),
         ("interpolate", "forward"): interpolate,
         ("interpolate", "backward"): backward_of(interpolate),
         ("batch_norm", "forward"): batch_norm,
         ("batch_norm", "backward"): backward_of(batch_norm),
         ("row_norm", "forward"): row_norm,
         ("row_norm", "backward"): backward_of(row_norm),
         ("add_norm", "forward"): add_norm,
         ("add_norm", "backward"): add_norm_backward}
ROWS |= {("relu", "backward"): gradient("threshold_backward", 0),
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


def reason_against(torch, device, mode):
    """Why nothing can be timed in that mode, or None."""
    if mode != "eager" and device == "cpu":
        return "for a GPU only"
    if mode == "compile" and not hasattr(torch, "compile"):
        return "this PyTorch has no torch.compile"
    return None


def prepared(row, call):
    """The call in the row's mode. A captured graph has its inputs inside."""
    function = call.function if call.compiled else row.compile(call.function)
    if row.mode == "eager":
        return lambda: function(*call.inputs)
    for _ in range(3):  # compiles, tunes, and fills the optimizers' states
        function(*call.inputs)
    row.torch.cuda.synchronize()
    graph = row.torch.cuda.CUDAGraph()
    with row.torch.cuda.graph(graph, stream=row.stream):
        function(*call.inputs)
    return graph.replay


def bytes_of(tensor):
    """In memory: what is repeated counts once."""
    return math.prod(n for n, s in zip(tensor.shape, tensor.stride()) if s) * tensor.element_size()


def prepared_copies(row, build):
    """As many calls as it takes to leave the cache, or the reason why there are none. What is captured, and the
    forward pass of what is captured, must be issued on the capturing stream."""
    with row.torch.cuda.stream(row.stream) if row.stream else contextlib.nullcontext():
        first = build(row)
        if row.mode not in first.modes:
            return "the fused optimizer is one kernel already"
        size = sum(bytes_of(t) for t in first.inputs)
        copies = 1 if size < CACHE else min(64, ROTATED[row.device] // size + 1)
        return [prepared(row, call) for call in [first] + [build(row) for _ in range(copies - 1)]]


def seconds_of(row, build, seconds_per_row):
    """Quartiles of the seconds of a call over TURNS batches; or the reason why there are none."""
    torch = row.torch
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = "tf32" in row.case
    torch.backends.cudnn.benchmark = True
    if row.mode == "compile":
        importlib.import_module("torch._dynamo").reset()
        # Backward passes are run again and again: their buffers may not be given away.
        config = importlib.import_module("torch._functorch.config")
        if hasattr(config, "donated_buffer"):
            config.donated_buffer = False
    with torch.no_grad():
        calls = prepared_copies(row, build)
        if isinstance(calls, str):
            return calls

        def batch(count):
            start = time.perf_counter()
            for i in range(count):
                calls[i % len(calls)]()
            if row.device == "cuda":
                torch.cuda.synchronize()
            return (time.perf_counter() - start) / count

        batch(2)
        count = int(min(max(seconds_per_row / TURNS / max(batch(1), 1e-8), 1), 1e6))
        return statistics.quantiles([batch(count) for _ in range(TURNS)], n=4)


def attempt(row, build, seconds_per_row):
    """seconds_of; on a GPU a row that fails, for want of memory say, does not end the run."""
    try:
        return seconds_of(row, build, seconds_per_row)
    except Exception as e:  # noqa: BLE001 - compilers and drivers raise what they like
        if row.device == "cpu":
            raise
        return f"{type(e).__name__}: {str(e).splitlines()[0] if str(e) else ''}"
    finally:
        gc.collect()
        if row.device == "cuda":
            row.torch.cuda.empty_cache()


def bench(binary, *arguments):
    done = subprocess.run([binary, "bench", *arguments, "--json"], check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


def selections(options):
    """[(op, row or None)] to ask gpunn for, and the ops without a counterpart."""
    if options.goals:
        return [(op, row) for op, rows in GOALS.items() for row in rows
                if not options.ops or op in options.ops], []
    ops = [op for op in bench(options.gpunn, "--list") if not options.ops or op in options.ops]
    known = {op for op, _ in ROWS}
    rows = {op: bench(options.gpunn, op, "--list") for op in ops if op in known}
    if options.row:
        first = options.row + " "
        chosen = [op for op in rows if any((r["case"] + " ").startswith(first) for r in rows[op])]
        return [(op, options.row) for op in chosen], []
    # Those with rows of the published tables come first, in case of a budget.
    order = sorted(rows, key=lambda op: not any(ID.match(r["case"]) for r in rows[op]))
    return [(op, None) for op in order], sorted(op for op in ops if op not in known)


def measure(torch, options):
    """(rows, left out): a row is (ours, mode, PyTorch's (low, median, high)), medians over the rounds."""
    start = time.monotonic()
    asked, without = selections(options)
    common = ["--device", options.device + (":0" if options.device == "cuda" else ""), "--best",
              "--threads", str(options.threads), "--seconds", str(options.seconds)]
    ours, theirs = collections.defaultdict(list), collections.defaultdict(list)
    left_out = {op: "no counterpart" for op in without}
    left_out |= {f"torch_{mode}": reason for mode in options.modes
                 if (reason := reason_against(torch, options.device, mode))}
    modes = [mode for mode in options.modes if f"torch_{mode}" not in left_out]

    def late():
        return options.budget and time.monotonic() - start > options.budget

    for _ in range(options.rounds):
        for op, name in asked:
            if late():
                left_out.setdefault(f"{op} {name or ''}".strip(), "not reached in the time given")
                continue
            run = bench(options.gpunn, op, *(["--row", name] if name else []), *common)
            for row in run["skipped"]:
                left_out[f"{op} {row['direction']} {row['case']}"] = row["reason"]
            for row in run["rows"]:
                label = f"{op} {row['direction']} {row['case']} {row['dtype']}"
                build = ROWS.get((op, row["direction"]))
                if not build or row["dtype"] not in ("f32", "bf16", "f16") or row["case"].startswith("P12"):
                    left_out[label] = "eager_bench times this" if "P12" in row["case"] else "no counterpart"
                    continue
                for mode in modes:
                    times = ("not reached in the time given" if late() else
                             attempt(Row(torch, row, options.device, mode), build, options.seconds))
                    if isinstance(times, str):
                        left_out[f"{label} torch_{mode}"] = times
                        continue
                    key = (op, row["direction"], row["case"], row["dtype"], mode)
                    ours[key].append(row)
                    theirs[key].append(times)

    def median(rounds, of):
        return sorted(rounds, key=of)[len(rounds) // 2]

    rows = [(median(ours[key], lambda r: r["seconds"]), key[-1], median(theirs[key], lambda t: t[1])) for key in ours]
    return rows, left_out


def blas_name():
    with open("/proc/self/maps") as maps:
        paths = {line.split()[-1] for line in maps if "blas" in line or "mkl" in line}
    return ", ".join(sorted({os.path.basename(os.path.realpath(p)) for p in paths if p.startswith("/")}))


def geometric_means(rows):
    means = {}
    for mode in MODES:
        logs = [math.log(peer[1] / our["seconds"]) for our, m, peer in rows if m == mode]
        if logs:
            means["torch_" + mode] = math.exp(sum(logs) / len(logs))
    return means


def show(rows, left_out, means):
    for our, mode, peer in rows:
        print(f"{our['op']:14} {our['direction']:9} {our['case']:32} {our['dtype']:4} {our['implementation']:8} "
              f"{our['seconds'] * 1e6:11.2f} us  torch_{mode:7} {peer[1] * 1e6:11.2f} us  "
              f"{peer[1] / our['seconds']:6.2f} x")
    reasons = collections.defaultdict(list)
    for name, reason in left_out.items():
        reasons[reason].append(name)
    for reason, names in reasons.items():
        print(f"left out ({reason}): {', '.join(names)}")
    for name, mean in means.items():
        count = sum("torch_" + mode == name for _, mode, _ in rows)
        print(f"geometric mean against {name}: {mean:.2f} x over {count} rows")


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("gpunn", help="the gpunn program of a release build")
    parser.add_argument("ops", nargs="*", help="these ops only")
    parser.add_argument("--goals", action="store_true", help="the rows of the library's CPU goals")
    parser.add_argument("--row", help="only rows of this name, or that begin so (G6)")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--modes", default=",".join(MODES), help="some of eager,compile,graph; a CPU has eager")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=0.1, help="for each row and library")
    parser.add_argument("--budget", type=float, default=0, help="seconds after which no row is begun [none]")
    parser.add_argument("--json", metavar="FILE", help="write the rows to FILE, or with - to the terminal alone")
    options = parser.parse_args()
    options.modes = options.modes.split(",")
    if not set(options.modes) <= set(MODES):
        parser.error("--modes: expected some of " + ",".join(MODES))
    return options


def main():
    options = parse()
    for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ[variable] = str(options.threads)
    choose_core()
    import torch
    torch.set_num_threads(options.threads)

    rows, left_out = measure(torch, options)
    if not rows:
        sys.exit("op_rows.py: no row of these has a PyTorch counterpart" +
                 "".join(f"\n  {name}: {reason}" for name, reason in left_out.items()))
    means = geometric_means(rows)
    if options.json != "-":
        print(f"PyTorch {torch.__version__} ({blas_name()}), {options.device}, {options.threads} thread(s), "
              f"load {os.getloadavg()[0]:.2f}")
        show(rows, left_out, means)
    if options.json:
        out = [{**our, "implementation": f"torch_{mode}", "seconds": peer[1], "seconds_low": peer[0],
                "seconds_high": peer[2], "ours": our["implementation"], "ratio": peer[1] / our["seconds"]}
               for our, mode, peer in rows]
        text = json.dumps({"device": options.device, "threads": options.threads, "torch": torch.__version__,
                           "blas": blas_name(), "geometric_means": means, "left_out": left_out, "rows": out})
        if options.json == "-":
            print(text)
        else:
            with open(options.json, "w") as f:
                f.write(text + "\n")


if __name__ == "__main__":
    main()

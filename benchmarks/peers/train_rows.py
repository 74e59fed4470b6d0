#!/usr/bin/env python3
"""Training steps of whole models: train_bench beside PyTorch, in turns, from the same weights and tokens.

    /usr/bin/python3 benchmarks/peers/train_rows.py build/release/bin/train_bench [ROW...] [--device cpu|cuda]
                     [--threads 1] [--rounds 3] [--seconds 1] [--modes eager,compile] [--tf32] [--json]

Without names the rows of the device. Each round runs a row in train_bench and then in PyTorch; medians are compared.
PyTorch begins with the weights and batches that train_bench wrote, and the losses of the first steps must agree to
1e-3 (1e-2 with --tf32): both do the same work, or the script ends with code 1. On a machine with other work the ratio
of CPU times is the better one. PyTorch is at its best: its own
attention where it has one, fused or foreach optimizers, and for "compile" max-autotune.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

from openblas import choose_core


def adamw(torch, model, row):
    """The first form of the optimizer that this PyTorch has."""
    settings = {"lr": row["lr"], "betas": (0.9, row["beta2"]), "weight_decay": row["weight_decay"]}
    for choice in ({"fused": True}, {"foreach": True}, {}):
        try:
            return torch.optim.AdamW(model.parameters(), **settings, **choice)
        except (TypeError, RuntimeError, ValueError):
            if not choice:
                raise


def pytorch(row, start, options):
    """What train_bench measures, by PyTorch; in a process of its own."""
    import torch

    import safetensors_file
    from gpt2 import Gpt2

    torch.set_num_threads(options.threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = options.tf32
    device = torch.device(options.device)
    tensors = safetensors_file.load(start)
    batches = []
    while f"batch.{len(batches)}.inputs" in tensors:
        name = f"batch.{len(batches)}"
        batches.append([tensors.pop(f"{name}.{part}").to(device) for part in ("inputs", "targets")])
    model = Gpt2(row["vocabulary"], row["context"], row["features"], row["layers"], row["heads"], row["eps"])
    model.load_state_dict(tensors)
    model.to(device)
    optimizer = adamw(torch, model, row)
    loss_of = model.loss
    if options.modes == "compile":
        loss_of = torch.compile(model.loss, mode="max-autotune", dynamic=False)
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None

    def step(number):
        optimizer.zero_grad(set_to_none=True)
        loss = loss_of(*batches[number % len(batches)])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), row["clip"])
        optimizer.step()
        return loss.detach()

    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    losses = [step(number).item() for number in range(row["first_steps"])]
    wait()
    number = row["first_steps"]
    begin, busy = time.perf_counter(), time.process_time()
    while True:
        step(number)
        wait()
        number += 1
        seconds = time.perf_counter() - begin
        if seconds >= options.seconds:
            break
    peak = torch.cuda.max_memory_allocated() if device.type == "cuda" else None
    steps = number - row["first_steps"]
    return {"seconds": seconds / steps, "cpu_seconds": (time.process_time() - busy) / steps, "losses": losses, "peak_live_bytes": peak,
            "torch": torch.__version__}


def ours(options, name, start):
    command = [options.train_bench, name, "--device", options.device, "--threads", str(options.threads), "--rounds", "1",
               "--seconds", str(options.seconds), "--start", start, "--json", *(["--tf32"] if options.tf32 else [])]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["rows"][0]


def theirs(options, row, start, mode):
    task = {"row": {**row, "first_steps": len(row["losses"])}, "start": start,
            "options": {"device": options.device, "threads": options.threads, "seconds": options.seconds,
                        "tf32": options.tf32, "modes": mode}}
    environment = dict(os.environ, OMP_NUM_THREADS=str(options.threads), OPENBLAS_NUM_THREADS=str(options.threads))
    choose_core(environment)
    command = [sys.executable, os.path.abspath(__file__), "--child", json.dumps(task)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout)


def check_losses(name, mine, peers, tolerance):
    """The largest relative difference; ends the program where the work is not the same."""
    worst = max(abs(a - b) / abs(b) for a, b in zip(mine, peers))
    if not worst <= tolerance:
        sys.exit(f"train_rows.py: {name}: not the same work, losses {mine} and PyTorch's {peers}")
    return worst


def measure(options, name):
    mine, peers = [], {mode: [] for mode in options.modes}
    with tempfile.TemporaryDirectory() as folder:
        start = os.path.join(folder, "start.safetensors")
        for _ in range(options.rounds):
            mine.append(ours(options, name, start))
            for mode in options.modes:
                peers[mode].append(theirs(options, mine[-1], start, mode))
    row = {**mine[0], "threads": options.threads}
    for key in ("seconds", "cpu_seconds", "tokens_per_second", "fraction_of_matrix_rate"):
        row[key] = statistics.median(m[key] for m in mine)
    row["peers"] = {}
    for mode, runs in peers.items():
        seconds, busy = (statistics.median(r[key] for r in runs) for key in ("seconds", "cpu_seconds"))
        row["peers"][f"torch_{mode}"] = {
            "seconds": seconds, "ratio": seconds / row["seconds"],
            "cpu_seconds": busy, "cpu_ratio": busy / row["cpu_seconds"], "peak_live_bytes": runs[0]["peak_live_bytes"],
            "loss_difference": check_losses(name, row["losses"], runs[0]["losses"], 1e-2 if options.tf32 else 1e-3),
            "torch": runs[0]["torch"]}
    return row


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("train_bench", help="the train_bench program of a release build")
    parser.add_argument("rows", nargs="*", metavar="ROW", help="train_bench --list shows them")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1, help="for each row, library and round")
    parser.add_argument("--modes", default="eager", help="some of eager,compile")
    parser.add_argument("--tf32", action="store_true", help="products of f32 may be rounded")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    options.modes = options.modes.split(",")
    if not set(options.modes) <= {"eager", "compile"}:
        parser.error("--modes: expected some of eager,compile")
    return options


def main():
    if sys.argv[1:2] == ["--child"]:
        task = json.loads(sys.argv[2])
        print(json.dumps(pytorch(task["row"], task["start"], argparse.Namespace(**task["options"]))))
        return
    options = parse()
    listed = json.loads(subprocess.run([options.train_bench, "--list", "--json"], check=True, capture_output=True,
                                       text=True).stdout)["rows"]
    names = options.rows or [row["row"] for row in listed if row["on_gpu" if options.device == "cuda" else "on_cpu"]]
    rows = [measure(options, name) for name in names]
    if options.json:
        print(json.dumps({"device": options.device, "rows": rows}))
        return
    for row in rows:
        print(f"{row['row']:13} {row['what']:29} {row['tokens_per_second']:10.0f} tokens/s, "
              f"{row['fraction_of_matrix_rate'] * 100:.1f} % of the matrix rate, {row['seconds'] * 1e3:.3f} ms a step, "
              f"{row['peak_live_bytes'] / 1e6:.1f} MB")
        for name, peer in row["peers"].items():
            memory = f", {peer['peak_live_bytes'] / 1e6:.1f} MB" if peer["peak_live_bytes"] else ""
            print(f"  {name} {peer['torch']}: {peer['seconds'] * 1e3:.3f} ms a step, ratio {peer['ratio']:.2f} "
                  f"({peer['cpu_ratio']:.2f} of the processes' CPU time), losses equal to {peer['loss_difference']:.1e}{memory}")


if __name__ == "__main__":
    main()

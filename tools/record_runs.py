#!/usr/bin/env python3
"""Trains recipes over several seeds and writes what came out, with the commit and the machine.

    tools/record_runs.py build/release/bin/gpunn [RECIPE...] [--seeds 5] [--device cpu] [--out benchmarks/results/cpu]

One file a recipe, OUT/recipes/RECIPE.json: each run's figures and their means. Of the first seed there are also
three runs with all cores and one each with 1, 2 and 8 threads; "reproducible" says whether their weights have one
digest. A variant is written RECIPE:OPTION=VALUE, as in digits-mlp:init=normal.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

RECIPES = ["fashion-mlp", "fashion-logistic", "mnist-mlp", "mnist-online", "digits-mlp",
           "digits-mlp:init=normal", "xor"]
KEPT = ["seed", "threads", "epochs", "steps", "seconds", "steps_per_second", "train_loss", "test_loss",
        "peak_memory_bytes", "weights_sha256", "reached"]


def train(binary, recipe, device, seed, threads=None):
    name, *options = recipe.split(":")
    with tempfile.TemporaryDirectory() as folder:
        command = [binary, "train", name, "--json", "--quiet", "--device", device, "--seed", str(seed),
                   "--run-dir", os.path.join(folder, "run")]
        command += [f"--{option}" for option in options]
        command += ["--threads", str(threads)] if threads else []
        return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def digests(binary, recipe, device, first):
    """How the first seed's weights come out in further runs: {"3 runs": …, "1, 2 and 8 threads": …}."""
    again = [train(binary, recipe, device, 0)["weights_sha256"] for _ in range(2)]
    threads = [train(binary, recipe, device, 0, n)["weights_sha256"] for n in (1, 2, 8)]
    same = [all(digest == first for digest in group) for group in (again, threads)]
    return {"three_runs": same[0], "threads_1_2_8": same[1]}


def record(binary, recipe, device, seeds):
    results = [train(binary, recipe, device, seed) for seed in range(seeds)]
    runs = [{key: r[key] for key in KEPT if r.get(key) is not None} | r["metrics"] for r in results]
    numbers = [key for key, value in runs[0].items() if isinstance(value, float)]
    return {
        "recipe": recipe,
        "figure": results[0]["figure"],
        "mean": {key: statistics.fmean(run[key] for run in runs) for key in numbers},
        "reproducible": digests(binary, recipe, device, results[0]["weights_sha256"]),
        "runs": runs,
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("gpunn", help="the gpunn program of a release build")
    parser.add_argument("recipes", nargs="*", default=RECIPES)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", default="benchmarks/results/cpu")
    options = parser.parse_args()
    info = json.loads(subprocess.run([options.gpunn, "info", "--json"], check=True, capture_output=True,
                                     text=True).stdout)
    os.makedirs(os.path.join(options.out, "recipes"), exist_ok=True)
    steady = True
    for recipe in options.recipes or RECIPES:
        entry = {"version": info["version"], "build": info["build"], "device": options.device,
                 "machine": [device["name"] for device in info["devices"]]}
        entry |= record(options.gpunn, recipe, options.device, options.seeds)
        path = os.path.join(options.out, "recipes", recipe.replace(":", "-").replace("=", "-") + ".json")
        with open(path, "w") as f:
            json.dump(entry, f, indent=1)
            f.write("\n")
        steady = steady and all(entry["reproducible"].values())
        print(path, json.dumps(entry["mean"]), json.dumps(entry["reproducible"]), flush=True)
    sys.exit(0 if steady else 1)


if __name__ == "__main__":
    main()

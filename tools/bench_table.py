#!/usr/bin/env python3
"""A run of the op benchmarks as a Markdown table, with the peers' times beside it where there are any.

    tools/bench_table.py BENCH.json [PEERS.json] [--title TEXT]

BENCH.json is what `gpunn bench --json` printed, PEERS.json what benchmarks/peers/op_rows.py --json wrote (a missing
or empty one counts as none). A line for each row and implementation: time, what that is in GB/s and GFLOP/s, the part
of the machine's ceiling, and for the implementation that a call would run each peer's time and its ratio to ours, ours
as timed beside the peer. What was not timed is listed below with the reason.
"""
import argparse
import collections
import json
import os


def load(path):
    if not path or not os.path.exists(path) or os.path.getsize(path) == 0:
        return {}
    with open(path) as f:
        return json.load(f)


def identity(row):
    return row["op"], row["direction"], row["case"], row["dtype"]


def microseconds(row):
    return f"{row['seconds'] * 1e6:.2f}"


def table(bench, peers):
    names = sorted({row["implementation"] for row in peers.get("rows", [])})
    beside = {(identity(row), row["ours"], row["implementation"]): row for row in peers.get("rows", [])}
    head = ["op", "row", "dtype", "by", "µs", "GB/s", "GFLOP/s", "% of ceiling"]
    head += [f"{name} µs (ratio)" for name in names]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * 4 + "---:|" * (len(head) - 4)]
    for row in bench["rows"]:
        seconds = row["seconds"]
        cells = [f"{row['op']} {row['direction']}", row["case"], row["dtype"], row["implementation"],
                 microseconds(row), f"{row['bytes'] / seconds * 1e-9:.1f}", f"{row['flops'] / seconds * 1e-9:.1f}",
                 f"{row['fraction_of_ceiling'] * 100:.0f}"]
        for name in names:
            peer = beside.get((identity(row), row["implementation"], name))
            cells.append(f"{microseconds(peer)} ({peer['ratio']:.2f})" if peer else "")
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def remarks(bench, peers):
    lines = [f"Copies {bench['copy_bytes_per_second'] * 1e-9:.0f} GB/s. Commit {bench['commit']}, {bench['device']}."]
    for name, mean in peers.get("geometric_means", {}).items():
        count = sum(row["implementation"] == name for row in peers["rows"])
        lines.append(f"Geometric mean of {name}'s time / ours over {count} rows: {mean:.2f} (PyTorch {peers['torch']}).")
    reasons = collections.defaultdict(list)
    for row in bench["skipped"]:
        reasons[row["reason"]].append(" ".join(identity(row)))
    for name, reason in peers.get("left_out", {}).items():
        reasons[reason].append(name)
    lines += [f"Not timed, {reason}: {', '.join(names)}." for reason, names in reasons.items()]
    return lines


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("bench")
    parser.add_argument("peers", nargs="?")
    parser.add_argument("--title", default="Op benchmarks")
    options = parser.parse_args()
    bench, peers = load(options.bench), load(options.peers)
    if "rows" not in bench:
        parser.error(f"{options.bench} holds no benchmark rows")
    print("\n\n".join([f"# {options.title}", *remarks(bench, peers), "\n".join(table(bench, peers))]))


if __name__ == "__main__":
    main()

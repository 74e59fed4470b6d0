#!/usr/bin/env python3
"""Compares two runs of the op benchmarks, row by row: faster, slower, same, or unclear.

    tools/bench_compare.py BEFORE.json AFTER.json [--same 0.03] [--all] [--json]

The files are what `gpunn bench --json`, ops_bench or benchmarks/peers/op_rows.py printed. A row's times are known as
a median between two quartiles. "same": the medians differ by at most --same. "faster", "slower": they differ by more,
and the quartiles do not overlap. "unclear": they differ by more, but the quartiles overlap, so that the difference
may be noise. Rows of only one file are listed. Exit status: 0, or 1 when a row became slower.
"""
import argparse
import json
import math
import sys

KEY = ("op", "direction", "case", "implementation", "dtype")
VERDICTS = ("slower", "faster", "unclear", "same")


def load(path):
    with open(path) as f:
        run = json.load(f)
    rows = {}
    for row in run["rows"]:
        key = tuple(row[name] for name in KEY)
        if key in rows:
            sys.exit(f"{path}: two rows {' '.join(key)}")
        seconds = row["seconds"]
        low, high = row.get("seconds_low", seconds), row.get("seconds_high", seconds)
        if not 0 < low <= seconds <= high:
            sys.exit(f"{path}: times of {' '.join(key)} are no median between quartiles")
        rows[key] = (low, seconds, high)
    return rows


def verdict(before, after, same):
    if abs(math.log(after[1] / before[1])) <= math.log1p(same):
        return "same"
    if after[2] < before[0]:
        return "faster"
    if after[0] > before[2]:
        return "slower"
    return "unclear"


def compare(before, after, same):
    rows = [{"row": " ".join(key), "verdict": verdict(before[key], after[key], same),
             "before": before[key][1], "after": after[key][1], "speed": before[key][1] / after[key][1]}
            for key in before if key in after]
    rows.sort(key=lambda row: (VERDICTS.index(row["verdict"]), row["speed"]))
    return {
        "rows": rows,
        "geometric_mean": math.exp(sum(math.log(r["speed"]) for r in rows) / len(rows)) if rows else None,
        "only_before": sorted(" ".join(key) for key in before if key not in after),
        "only_after": sorted(" ".join(key) for key in after if key not in before),
    }


def show(result, everything):
    rows = result["rows"]
    for row in rows:
        if everything or row["verdict"] != "same":
            print(f"{row['verdict']:8} {row['speed']:6.2f} x  {row['before'] * 1e6:12.2f} us -> "
                  f"{row['after'] * 1e6:12.2f} us  {row['row']}")
    for name in ("only_before", "only_after"):
        for row in result[name]:
            print(f"{name.replace('_', ' ')}: {row}")
    counts = ", ".join(f"{sum(r['verdict'] == v for r in rows)} {v}" for v in VERDICTS)
    mean = result["geometric_mean"]
    print(f"{len(rows)} rows: {counts}" + (f"; geometric mean {mean:.2f} x" if mean else ""))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--same", type=float, default=0.03, help="difference that counts as none [0.03]")
    parser.add_argument("--all", action="store_true", help="list rows that stayed the same too")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = compare(load(options.before), load(options.after), options.same)
    if options.json:
        print(json.dumps(result, indent=1))
    else:
        show(result, options.all)
    sys.exit(1 if any(row["verdict"] == "slower" for row in result["rows"]) else 0)


if __name__ == "__main__":
    main()

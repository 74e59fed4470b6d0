#!/usr/bin/env python3
"""Writes the skeleton of a new op: its files in kernels/NAME, its cases, test and benchmark rows, and the lines
that list it. The skeleton is complete (it squares its input), builds, and passes its test; then make it yours.

    tools/new_op.py NAME [--root DIR]
"""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys

TEMPLATES = pathlib.Path(__file__).resolve().parent / "new_op"
FILES = {
    "op.h.in": "kernels/{op}/{op}.h",
    "op_impl.h.in": "kernels/{op}/{op}_impl.h",
    "op.cpp.in": "kernels/{op}/{op}.cpp",
    "op_ref.cpp.in": "kernels/{op}/{op}_ref.cpp",
    "op.cu.in": "kernels/{op}/{op}.cu",
    "op_cases.cpp.in": "tests/kernels/{op}_cases.cpp",
    "op_test.cpp.in": "tests/kernels/{op}_test.cpp",
    "op_rows.cpp.in": "benchmarks/rows/{op}_rows.cpp",
}
# file: lines to add, each in its place in the alphabet among the lines of its form.
LISTS = {
    "kernels/CMakeLists.txt": ("gpunn_op({op})",),
    "tests/support/all_cases.cpp": ("void add_{op}_cases(Suite& suite);", "  add_{op}_cases(suite);"),
    "benchmarks/op_bench.h": ("void add_{op}_rows(Bench& bench);",),
    "benchmarks/all_rows.cpp": ("  add_{op}_rows(bench);",),
}
RESERVED = {"common", "ptx", "op", "new", "delete", "switch", "operator", "template", "class", "struct"}


class Failure(Exception):
    pass


def insert_line(text, form, op):
    """`form` with the op's name, before the first line of that form with a greater name, else after the last."""
    before, after = form.split("{op}")
    listed = re.compile(rf"^{re.escape(before)}(\w+){re.escape(after)}$", re.MULTILINE)
    lines = list(listed.finditer(text))
    new = form.format(op=op) + "\n"
    if not lines:
        if form.startswith("gpunn_op"):
            return text + new
        raise Failure(f"no line of the form '{form}' to stand beside")
    for line in lines:
        if line.group(1) > op:
            return text[:line.start()] + new + text[line.start():]
    end = lines[-1].end() + 1
    return text[:end] + new + text[end:]


def new_op(root, op):
    if not re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", op) or op in RESERVED:
        raise Failure(f"'{op}' is no name for an op: expected snake_case, such as layer_norm")
    pascal = "".join(part.capitalize() for part in op.split("_"))
    targets = {root / target.format(op=op): TEMPLATES / template for template, target in FILES.items()}
    for target in targets:
        if target.exists():
            raise Failure(f"{target.relative_to(root)} exists already")
    # Everything is worked out before anything is written: a failure leaves the tree as it was.
    edits = {}
    for name, forms in LISTS.items():
        text = (root / name).read_text(encoding="utf-8")
        for form in forms:
            try:
                text = insert_line(text, form, op)
            except Failure as failure:
                raise Failure(f"{name}: {failure}") from None
        edits[root / name] = text
    for target, template in targets.items():
        target.parent.mkdir(parents=True, exist_ok=True)
        text = template.read_text(encoding="utf-8")
        target.write_text(text.replace("@op@", op).replace("@Op@", pascal), encoding="utf-8")
    for path, text in edits.items():
        path.write_text(text, encoding="utf-8")
    # Order of includes and breaks of lines depend on the name.
    formatter = shutil.which("clang-format-19")
    if formatter:
        subprocess.run([formatter, "-i", *map(str, targets)], check=True)
    return [path.relative_to(root).as_posix() for path in (*targets, *edits)]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name")
    parser.add_argument("--root", type=pathlib.Path, default=TEMPLATES.parent.parent)
    args = parser.parse_args()
    try:
        for path in new_op(args.root, args.name):
            print(path)
    except (Failure, OSError) as failure:
        print(f"new_op.py: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Checks the source tree against its rules: direction of includes, what kernels may contain, files of an op.

Errors make it exit 1. Sizes and comment density are printed as notes; a file that has a reason to be larger
stands in SIZE_EXCEPTIONS with that reason.

    tools/check_tree.py [--root DIR] [--quiet]
"""

import argparse
import pathlib
import re
import sys

# What each folder may include (DESIGN: core <- kernels <- layers <- training <- models <- tools; io stands on core).
ARROWS = {
    "core": {"core"},
    "io": {"core", "io"},
    "kernels": {"core", "kernels"},
    "layers": {"core", "kernels", "layers"},
    "training": {"core", "kernels", "layers", "training", "io"},
    "models": {"core", "layers", "training", "models", "io"},
    "tools": {"core", "kernels", "layers", "training", "models", "io", "tools"},
}
LIBRARY = ("core", "kernels", "layers", "training", "io", "models")
SOURCE_FOLDERS = (*LIBRARY, "tools", "tests", "benchmarks", "examples")
SOURCE_SUFFIXES = {".h", ".cpp", ".cu", ".cuh"}
OP_FILES = ("{op}.h", "{op}_impl.h", "{op}.cpp", "{op}_ref.cpp")
NOT_OPS = {"common", "ptx"}

# Headers that pull in Tensor: device code sees problem structs only.
TENSOR_HEADERS = {"gpunn/core/tensor.h", "gpunn/core/autograd.h"}
PRIVATE_LIBRARIES = re.compile(r"^(fmt/|nlohmann/|CLI/|hwy/|dnnl|oneapi/|zlib|png\.h|cuda|cublas|cudnn|nccl|nvtx|curand)")

# (pattern, what is wrong, suffixes, allowed under)
VENDOR_ALGORITHMS = "_cub.cu"  # files that only call the vendor's device-wide algorithms
FORBIDDEN = (
    (re.compile(r"<<<"), "launch with <<<>>>: use launch()", {".cu", ".cuh"}, ()),
    (re.compile(r"\b(?:asm|__asm__)\s*(?:volatile|__volatile__|goto)?\s*\("), "inline assembly outside kernels/ptx",
     SOURCE_SUFFIXES, ("kernels/ptx/", "core/emulation/", "tests/emulation/", "core/detail/spin.h")),
    (re.compile(r"\b__constant__\b"), "__constant__ memory: pass a struct by value", {".cu", ".cuh"}, ()),
    (re.compile(r"\bcooperative_groups\b"), "cooperative groups in a kernel source", {".cu", ".cuh"}, ()),
    (re.compile(r"\b(?:cub|thrust)(?:::|/)"), "CUB or Thrust in a kernel source", {".cu", ".cuh"}, ()),
)
ENDS_PROCESS = re.compile(r"(?<![\w.>:])(?:std::|::)?(?:exit|abort|_Exit|quick_exit|terminate)\s*\(")

SIZES = {".cpp": 500, ".cu": 500, ".h": 300, ".cuh": 300}
HOST_FUNCTION, DEVICE_KERNEL = 80, 120
DENSITY = (0.04, 0.25)
DENSITY_FROM_LINES = 60
# path: reason. An entry that is no longer needed is an error, so that the table stays short.
SIZE_EXCEPTIONS = {}

NOT_A_FUNCTION = re.compile(r'(namespace|class|struct|enum|union|extern ""|using|typedef)\b|HWY_\w*\(')
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include\s*["<]([^">]+)[">]', re.MULTILINE)
TOKENS = re.compile(r'//[^\n]*|/\*.*?\*/|R"(\w*)\((?:.*?)\)\1"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'', re.DOTALL)


def without_comments(match):
    text = match.group(0)
    return "\n" * text.count("\n") if text.startswith(("//", "/*")) else text


def without_text(match):
    """Comments and literals vanish but keep their lines."""
    return without_comments(match) if match.group(0).startswith("/") else '""' + "\n" * match.group(0).count("\n")


class Source:
    def __init__(self, root, path):
        self.path = path.relative_to(root).as_posix()
        self.folder = self.path.split("/")[0]
        self.suffix = path.suffix
        self.text = path.read_text(encoding="utf-8")
        self.code = TOKENS.sub(without_text, self.text)
        self.lines = self.text.splitlines()
        commentless = TOKENS.sub(without_comments, self.text)
        self.includes = [(commentless.count("\n", 0, m.start()) + 1, m.group(1)) for m in INCLUDE.finditer(commentless)]

    @property
    def is_public_header(self):
        return (self.suffix == ".h" and self.folder in LIBRARY and not self.path.endswith(("_impl.h", "-inl.h"))
                and "/detail/" not in self.path and "/emulation/" not in self.path)

    @property
    def is_emulation(self):
        return self.path.startswith("core/emulation/")

    def line_of(self, match):
        return self.code.count("\n", 0, match.start()) + 1


class Tree:
    def __init__(self, root):
        self.root = root
        self.errors = []
        self.notes = []
        files = sorted(path for folder in SOURCE_FOLDERS for path in (root / folder).rglob("*")
                       if path.suffix in SOURCE_SUFFIXES and path.is_file())
        self.sources = [Source(root, path) for path in files]
        self.by_include = {"gpunn/" + source.path: source for source in self.sources}

    def error(self, where, what):
        self.errors.append(f"{where}: {what}")

    def check(self):
        for source in self.sources:
            self.check_includes(source)
            self.check_contents(source)
            self.note_sizes(source)
            self.note_density(source)
        self.check_device_closure()
        self.check_ops()
        for path in SIZE_EXCEPTIONS:
            if not (self.root / path).exists():
                self.error(path, "stands in SIZE_EXCEPTIONS and does not exist")

    def check_includes(self, source):
        for line, name in source.includes:
            where = f"{source.path}:{line}"
            if source.suffix in (".h", ".cpp") and name.endswith(".cuh") and not source.is_emulation \
                    and source.folder != "tests":
                self.error(where, f"host code includes device header {name}")
            if source.is_public_header and PRIVATE_LIBRARIES.match(name):
                self.error(where, f"public header includes {name}")
            if name.startswith("../") or "/../" in name:
                self.error(where, f"{name}: includes are written from the root, \"gpunn/...\"")
            if source.folder not in ARROWS:
                continue
            if name.startswith("gpunn/") and name.count("/") >= 2:
                target = name.split("/")[1]
                if target not in ARROWS[source.folder]:
                    self.error(where, f"{source.folder}/ may not include {name}")
                if source.is_emulation and not name.startswith("gpunn/core/emulation/") \
                        and name not in ("gpunn/core/api.h", "gpunn/core/hd.h"):
                    self.error(where, f"the emulation stands on nothing, not on {name}")
            if source.folder == "models" and re.match(r"cuda|cublas|cudnn", name):
                self.error(where, f"models/ may not include {name}")
            if source.folder in LIBRARY and name.startswith("tests/"):
                self.error(where, f"library code includes {name}")

    def check_contents(self, source):
        for pattern, what, suffixes, allowed in FORBIDDEN:
            if what.startswith("CUB") and source.path.endswith(VENDOR_ALGORITHMS):
                continue
            if source.suffix in suffixes and not source.path.startswith(allowed or ("\0",)):
                for match in pattern.finditer(source.code):
                    self.error(f"{source.path}:{source.line_of(match)}", what)
        if source.folder in LIBRARY and not source.is_emulation:
            for match in ENDS_PROCESS.finditer(source.code):
                self.error(f"{source.path}:{source.line_of(match)}", "library code ends the process: throw instead")

    def check_device_closure(self):
        """No device source reaches Tensor, through any chain of includes."""
        for source in self.sources:
            if source.suffix not in (".cu", ".cuh") or source.folder not in LIBRARY:
                continue
            seen, queue = set(), [(source, (source.path,))]
            while queue:
                current, chain = queue.pop()
                for _, name in current.includes:
                    if name in TENSOR_HEADERS:
                        self.error(source.path, f"device code reaches {name}: {' -> '.join(chain)}")
                    elif name in self.by_include and name not in seen:
                        seen.add(name)
                        queue.append((self.by_include[name], (*chain, name)))

    def check_ops(self):
        listing = self.root / "kernels/CMakeLists.txt"
        listed = set(re.findall(r"^\s*gpunn_op\((\w+)\)", listing.read_text(), re.MULTILINE)) if listing.exists() else set()
        folders = {path.name for path in (self.root / "kernels").glob("*")
                   if path.is_dir() and path.name not in NOT_OPS and any(path.iterdir())}
        for op in sorted(folders - listed):
            self.error(f"kernels/{op}", "no line gpunn_op in kernels/CMakeLists.txt")
        for op in sorted(listed | folders):
            wanted = [f"kernels/{op}/" + name.format(op=op) for name in OP_FILES]
            for path in [*wanted, f"tests/kernels/{op}_test.cpp"]:
                if not (self.root / path).exists():
                    self.error(f"kernels/{op}", f"{path} is missing")

    def note_sizes(self, source):
        count, limit = len(source.lines), SIZES[source.suffix]
        if source.path in SIZE_EXCEPTIONS:
            if count <= limit:
                self.error(source.path, "is within its size: take it out of SIZE_EXCEPTIONS")
            self.notes.append(f"{source.path}: {count} lines (over {limit}: {SIZE_EXCEPTIONS[source.path]})")
        elif count > limit:
            self.notes.append(f"{source.path}: {count} lines, over {limit}: split it, or give a reason")
        for name, start, length, is_kernel in functions(source):
            bound = DEVICE_KERNEL if is_kernel else HOST_FUNCTION
            if length > bound:
                self.notes.append(f"{source.path}:{start}: {name} has {length} lines, over {bound}")

    def note_density(self, source):
        count = sum(1 for line in source.lines if line.strip())
        if count < DENSITY_FROM_LINES or source.suffix == ".h" or source.folder == "tests":
            return
        commented = count_comment_lines(source.text)
        if not DENSITY[0] <= commented / count <= DENSITY[1]:
            self.notes.append(f"{source.path}: {100 * commented / count:.1f} % of lines carry comments, "
                              f"aim {100 * DENSITY[0]:.0f}-{100 * DENSITY[1]:.0f} %")


def count_comment_lines(text):
    lines = set()
    for match in TOKENS.finditer(text):
        if match.group(0).startswith(("//", "/*")):
            first = text.count("\n", 0, match.start())
            lines.update(range(first, first + match.group(0).count("\n") + 1))
    return len(lines)


def functions(source):
    """(first line of text, line number, lines, is a kernel) of each function at namespace level.

    Formatted code does not indent in namespaces, so a function starts in column 0, and ends with the brace that
    closes what its head opened.
    """
    head, depth = None, 0
    for number, line in enumerate(source.code.splitlines()):
        if head is None:
            if not line or line[0].isspace() or line[0] in "#}" or NOT_A_FUNCTION.match(line):
                continue
            head, text, opened = number, line, False
        elif not opened:
            text += " " + line
        depth += line.count("{") - line.count("}")
        opened = opened or "{" in line
        if depth <= 0 and (opened or line.rstrip().endswith((";", ")"))):
            if opened and "(" in text.split("{")[0]:
                yield " ".join(text.split())[:60], head + 1, number - head + 1, "__global__" in text or "GPUNN_KERNEL" in text
            head, depth = None, 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=pathlib.Path, default=pathlib.Path(__file__).resolve().parent.parent)
    parser.add_argument("--quiet", action="store_true", help="errors only")
    args = parser.parse_args()
    tree = Tree(args.root)
    tree.check()
    if not args.quiet:
        for note in tree.notes:
            print(f"note: {note}")
    for error in tree.errors:
        print(f"error: {error}")
    print(f"check_tree: {len(tree.sources)} files, {len(tree.errors)} errors, {len(tree.notes)} notes")
    return 1 if tree.errors else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""tools/new_op.py writes an op that configures, builds and passes its test; bad names change nothing.

Works on a copy of the tree without the folders above kernels. The copy is built as the `asan` preset does, at the
same place within the tree, so that a compiler cache filled by tools/test.sh serves all but the new op's files.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import new_op  # noqa: E402

COPIED = ("CMakeLists.txt", "CMakePresets.json", "LICENSE", "cmake", "core", "kernels", "benchmarks", "tests/support",
          "tests/kernels", "tests/CMakeLists.txt", "tests/package")
OP = "square_demo"


def copy_tree(target):
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *COPIED],
                            cwd=ROOT, check=True, capture_output=True)
    for name in listed.stdout.decode().rstrip("\0").split("\0"):
        source = ROOT / name
        if not source.is_file():
            continue
        text = source.read_bytes()
        if name.startswith("tests/kernels/") and name.endswith("_test.cpp"):
            text = b"// Left out of this copy: only the new op's test is wanted.\n"
        path = target / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text)
    for folder in ("layers", "training", "io", "models", "tools", "examples", "tests"):
        if not (target / folder / "CMakeLists.txt").exists():
            (target / folder).mkdir(exist_ok=True)
            (target / folder / "CMakeLists.txt").write_text("# Left out of this copy.\n")


def run(root, *command):
    env = dict(os.environ, CCACHE_BASEDIR=str(root), CCACHE_NOHASHDIR="1")
    return subprocess.run(command, cwd=root, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@unittest.skipUnless((ROOT / ".git").exists(), "needs a checkout to copy")
class NewOp(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        copy_tree(self.root)

    def must(self, *command):
        done = run(self.root, *command)
        self.assertEqual(done.returncode, 0, done.stdout[-6000:])
        return done.stdout

    def test_skeleton_builds_and_passes_its_test(self):
        new_op.new_op(self.root, OP)
        self.must("cmake", "--preset", "asan", "-DGPUNN_BUILD_TOOLS=OFF")
        self.must("cmake", "--build", "build/asan", "--target", "test_kernels")
        out = self.must("ctest", "--test-dir", "build/asan", "--no-tests=error", "-V", "-R", "^kernels\\.SquareDemo")
        self.assertIn("100% tests passed, 0 tests failed out of 3", out)
        self.assertNotIn("SKIPPED", out)

        test = self.root / f"tests/kernels/{OP}_test.cpp"
        test.unlink()
        without = run(self.root, "cmake", "--preset", "asan")
        self.assertNotEqual(without.returncode, 0)
        self.assertIn(f"tests/kernels/{OP}_test.cpp is missing", without.stdout.replace("\n", " "))

    def test_bad_names_change_nothing(self):
        before = {path: path.read_bytes() for path in self.root.rglob("*") if path.is_file()}
        for name in ("Square", "3d", "a__b", "with-dash", "../up", "common", "softmax", ""):
            with self.subTest(name=name), self.assertRaises(new_op.Failure):
                new_op.new_op(self.root, name)
        after = {path: path.read_bytes() for path in self.root.rglob("*") if path.is_file()}
        self.assertEqual(before, after)

    def test_lines_are_inserted_in_the_order_of_the_alphabet(self):
        text = "gpunn_op(conv2d)\ngpunn_op(pool)\n"
        for op, expected in (("attention", "attention conv2d pool"), ("norm", "conv2d norm pool"),
                             ("softmax", "conv2d pool softmax")):
            lines = new_op.insert_line(text, "gpunn_op({op})", op).split()
            self.assertEqual(lines, [f"gpunn_op({name})" for name in expected.split()])


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""tools/gpu_check.sh with a stand-in for gpunn: what it runs, what it writes, and what it says of failures."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

GPUNN = """#!/bin/sh
echo "$@" >> "$CALLS"
case "$1" in
  info) echo '{"build":{"commit":"abc"},"devices":[{"device":"cpu","name":"CPU","problem":""},
        {"device":"cuda:0","name":"Some GPU (80 GB)","problem":"PROBLEM"}]}' ;;
  parity) echo '{"failed":0}'; exit PARITY ;;
  *) echo '{"device":"cuda:0","commit":"abc","copy_bytes_per_second":3e12,"rows":[],"skipped":[]}' ;;
esac
"""


# Runs what it was to look at.
SANITIZER = """#!/bin/sh
echo "sanitizer $1 $2" >> "$CALLS"
while [ "${1#--}" != "$1" ]; do shift 2; done
exec "$@"
"""

# A Python whose torch has CUDA, and which can run op_rows.py.
PEER = """#!/bin/sh
[ "$1" = -c ] && exit 0
echo "peer $@" >> "$CALLS"
echo '{"torch":"9.9","rows":[{"op":"softmax","direction":"forward","case":"8x4","dtype":"f32","seconds":1e-6,
       "implementation":"torch_eager","ours":"cuda","ratio":2}],"geometric_means":{"torch_eager":2.0},
       "left_out":{"torch_compile":"too old"}}'
"""


class GpuCheckTest(unittest.TestCase):
    def run_check(self, *options, problem="", parity=0, peer=False, sanitizer=False):
        with tempfile.TemporaryDirectory() as folder:
            root = pathlib.Path(folder)
            tool = root / "build/bin/gpunn"
            tool.parent.mkdir(parents=True)
            tool.write_text(GPUNN.replace("PROBLEM", problem).replace("PARITY", str(parity)))
            tool.chmod(0o755)
            calls, out, python = root / "calls", root / "out", root / "python"
            python.write_text(PEER)
            python.chmod(0o755)
            if sanitizer:
                (root / "compute-sanitizer").write_text(SANITIZER)
                (root / "compute-sanitizer").chmod(0o755)
            done = subprocess.run(
                [ROOT / "tools/gpu_check.sh", "--build", root / "build", "--out", out, "--peer",
                 python if peer else "false", *options],
                capture_output=True, text=True, env={**os.environ, "CALLS": str(calls), "PATH": f"{root}:/usr/bin:/bin"})
            files = {p.name: p.read_text() for p in out.glob("*")} if out.exists() else {}
            return done, calls.read_text() if calls.exists() else "", files

    def test_a_quick_run_writes_results_and_a_summary(self):
        done, calls, files = self.run_check("--quick")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([line.split()[0] for line in calls.splitlines()], ["info", "parity", "bench", "train"])
        self.assertIn("parity --device cuda:0 --json", calls)
        self.assertEqual(json.loads(files["parity.json"]), {"failed": 0})
        self.assertEqual(json.loads(files["bench.json"])["rows"], [])
        self.assertIn("Commit abc", files["bench.md"])
        self.assertNotIn("pytorch.json", files)
        self.assertIn("| PyTorch beside ours | no PyTorch with CUDA here |", files["README.md"])
        summary = files["README.md"]
        self.assertTrue(summary.startswith("# some-gpu-80-gb\n"), summary)
        self.assertIn("| parity | passed |", summary)
        self.assertIn("compute-sanitizer | not on this machine", summary)
        self.assertIn(summary, done.stdout)

    def test_the_peers_run_where_there_is_a_pytorch(self):
        for options, modes in ((["--quick"], "softmax --modes eager,graph --device cuda"), ([], "gpunn --device cuda")):
            done, calls, files = self.run_check(*options, peer=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            peer = next(line for line in calls.splitlines() if line.startswith("peer benchmarks/peers/op_rows.py"))
            self.assertIn(modes, peer)
            self.assertRegex(peer, r"--budget [1-9]\d+ --json -$")
            self.assertEqual(json.loads(files["pytorch.json"])["torch"], "9.9")
            self.assertIn("torch_eager's time / ours over 1 rows: 2.00", files["bench.md"])
            self.assertIn("| table of benchmarks | passed |", files["README.md"])

    def test_every_tool_of_the_sanitizer_sees_every_op(self):
        for options, tools in ((["--quick"], ["memcheck"]),
                               ([], ["memcheck", "racecheck", "initcheck", "synccheck"])):
            done, calls, files = self.run_check(*options, sanitizer=True)
            self.assertEqual(done.returncode, 0, done.stderr)
            lines = calls.splitlines()
            seen = [i for i, line in enumerate(lines) if line.startswith("sanitizer")]
            self.assertEqual([lines[i].split()[2] for i in seen], tools)
            for i in seen:
                self.assertRegex(lines[i + 1], r"^parity --device cuda:0 --most-elements 20000 --budget [1-9]\d*$")
            self.assertIn("| compute-sanitizer | passed |", files["README.md"])
        done, _, files = self.run_check("--quick", sanitizer=True, parity=6)
        self.assertIn("| compute-sanitizer | FAILED (1) |", files["README.md"])

    def test_a_failing_step_is_told_and_the_rest_still_runs(self):
        done, calls, files = self.run_check("--quick", parity=6)
        self.assertEqual(done.returncode, 1)
        self.assertIn("| parity | FAILED (6) |", files["README.md"])
        self.assertIn("| recipe fashion-mlp | passed |", files["README.md"])
        self.assertIn("bench", calls)

    def test_without_a_gpu_nothing_is_written(self):
        done, calls, files = self.run_check(problem="no driver")
        self.assertEqual(done.returncode, 4)
        self.assertIn("no usable cuda:0", done.stderr)
        self.assertEqual((calls.split(), files), (["info", "--json"], {}))

    def test_bad_options(self):
        for options in (["--bulid", "x"], ["--build"], ["--build", "/nonexistent"]):
            done, _, _ = self.run_check(*options)
            self.assertIn(done.returncode, (1, 2), options)
            self.assertIn("gpu_check.sh:", done.stderr)


if __name__ == "__main__":
    unittest.main()

#!/usr/bin/env python3
"""tools/bench_table.py: what a run of the benchmarks looks like as Markdown, with and without peers."""

import json
import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def row(implementation, seconds, **more):
    return {"op": "softmax", "direction": "forward", "case": "R1 8x4", "dtype": "bf16",
            "implementation": implementation, "seconds": seconds, **more}


BENCH = {"device": "cuda:0", "commit": "abc", "copy_bytes_per_second": 3e12,
         "skipped": [{"op": "sum", "direction": "forward", "case": "big", "dtype": "f32", "reason": "GPU only"}],
         "rows": [row("cuda", 2e-6, bytes=4e6, flops=1e6, fraction_of_ceiling=0.5),
                  row("simt", 4e-6, bytes=4e6, flops=1e6, fraction_of_ceiling=0.25)]}
PEERS = {"torch": "9.9", "geometric_means": {"torch_eager": 3.0}, "left_out": {"torch_graph": "none here"},
         "rows": [row("torch_eager", 6e-6, ours="cuda", ratio=3.0)]}


class BenchTableTest(unittest.TestCase):
    def run_tool(self, bench, peers):
        with tempfile.TemporaryDirectory() as folder:
            paths = [pathlib.Path(folder) / name for name in ("bench.json", "peers.json")]
            for path, text in zip(paths, (bench, peers)):
                if text is not None:
                    path.write_text(text)
            return subprocess.run([ROOT / "tools/bench_table.py", *paths, "--title", "GPU"], capture_output=True,
                                  text=True)

    def test_peers_stand_beside_the_implementation_they_were_timed_with(self):
        done = self.run_tool(json.dumps(BENCH), json.dumps(PEERS))
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(done.stdout.startswith("# GPU\n"))
        self.assertIn("| softmax forward | R1 8x4 | bf16 | cuda | 2.00 | 2000.0 | 500.0 | 50 | 6.00 (3.00) |",
                      done.stdout)
        self.assertIn("| softmax forward | R1 8x4 | bf16 | simt | 4.00 | 1000.0 | 250.0 | 25 |  |", done.stdout)
        self.assertIn("torch_eager's time / ours over 1 rows: 3.00", done.stdout)
        self.assertIn("Not timed, GPU only: sum forward big f32.", done.stdout)
        self.assertIn("Not timed, none here: torch_graph.", done.stdout)

    def test_without_peers(self):
        for peers in (None, ""):
            done = self.run_tool(json.dumps(BENCH), peers)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertNotIn("torch", done.stdout)
            self.assertIn("| cuda | 2.00 | 2000.0 | 500.0 | 50 |\n", done.stdout)

    def test_a_file_without_rows_is_refused(self):
        for bench in ("", "{}"):
            done = self.run_tool(bench, None)
            self.assertEqual(done.returncode, 2)
            self.assertIn("holds no benchmark rows", done.stderr)


if __name__ == "__main__":
    unittest.main()

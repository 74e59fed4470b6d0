#!/usr/bin/env python3
"""tools/bench_compare.py tells faster, slower, same and unclear apart, and refuses what is no result."""

import contextlib
import importlib.util
import io
import json
import pathlib
import sys
import tempfile
import unittest
import unittest.mock

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.dont_write_bytecode = True
spec = importlib.util.spec_from_file_location("bench_compare", ROOT / "tools/bench_compare.py")
bench_compare = importlib.util.module_from_spec(spec)
spec.loader.exec_module(bench_compare)


def row(case, low, seconds, high):
    return {"op": "softmax", "direction": "forward", "case": case, "implementation": "cpu", "dtype": "f32",
            "seconds": seconds, "seconds_low": low, "seconds_high": high}


class BenchCompareTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def file(self, name, rows):
        path = pathlib.Path(self.folder.name) / name
        path.write_text(json.dumps({"rows": rows}))
        return str(path)

    def run_main(self, before, after, *options):
        out = io.StringIO()
        arguments = ["bench_compare.py", self.file("a.json", before), self.file("b.json", after), *options]
        with contextlib.redirect_stdout(out), unittest.mock.patch.object(sys, "argv", arguments):
            with self.assertRaises(SystemExit) as stop:
                bench_compare.main()
        return stop.exception.code, out.getvalue()

    def test_verdicts(self):
        before = (0.9, 1.0, 1.1)
        for after, expected in {(0.92, 1.02, 1.2): "same", (0.5, 0.6, 0.7): "faster", (1.3, 1.4, 1.5): "slower",
                                (0.7, 0.8, 0.95): "unclear", (1.05, 1.2, 1.4): "unclear"}.items():
            self.assertEqual(bench_compare.verdict(before, after, 0.03), expected, after)

    def test_a_slower_row_is_named_and_fails(self):
        code, out = self.run_main([row("64x10", 0.9, 1, 1.1), row("gone", 1, 1, 1)],
                                  [row("64x10", 1.9, 2, 2.1), row("new", 1, 1, 1)])
        self.assertEqual(code, 1)
        self.assertIn("slower     0.50 x", out)
        self.assertIn("only before: softmax forward gone", out)
        self.assertIn("only after: softmax forward new", out)
        self.assertIn("1 rows: 1 slower, 0 faster, 0 unclear, 0 same; geometric mean 0.50 x", out)

    def test_no_change_passes(self):
        rows = [row("64x10", 0.9, 1, 1.1)]
        code, out = self.run_main(rows, rows, "--json")
        self.assertEqual(code, 0)
        result = json.loads(out)
        self.assertEqual([r["verdict"] for r in result["rows"]], ["same"])
        self.assertEqual(result["geometric_mean"], 1)

    def test_what_is_no_result_is_refused(self):
        good = [row("64x10", 0.9, 1, 1.1)]
        for bad in ([row("64x10", 1.2, 1, 1.3)], [row("64x10", 0, 0, 0)], good + good,
                    [row("64x10", 0.9, float("nan"), 1.1)]):
            code, _ = self.run_main(good, bad)
            self.assertIn("b.json", str(code))


if __name__ == "__main__":
    unittest.main()

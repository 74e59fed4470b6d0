#!/usr/bin/env python3
"""tools/check_tree.py finds each kind of violation in a small tree, and none in the correct one."""

import importlib.util
import pathlib
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location("check_tree", ROOT / "tools/check_tree.py")
check_tree = importlib.util.module_from_spec(spec)
spec.loader.exec_module(check_tree)

CORRECT = {
    "core/tensor.h": "#pragma once\n#include <vector>\n",
    "core/hd.h": "#pragma once\n",
    "core/emulation/fiber.cpp": 'void f() { asm volatile("nop"); abort(); }\n',
    "kernels/CMakeLists.txt": "gpunn_op(scale)\n",
    "kernels/scale/scale.h": '#pragma once\n#include "gpunn/core/tensor.h"\n',
    "kernels/scale/scale_impl.h": "#pragma once\n",
    "kernels/scale/scale.cpp": '#include "gpunn/kernels/scale/scale.h"\nconst char* kText = "abort() // <<<";\n',
    "kernels/scale/scale_ref.cpp": "// __constant__ in a comment is no violation\n",
    "kernels/scale/scale.cu": '#include "gpunn/kernels/scale/scale_impl.h"\n// a <<<launch>>> in a comment\n',
    "kernels/ptx/mma.cuh": 'inline void mma() { asm volatile("mma"); }\n',
    "tests/kernels/scale_test.cpp": "\n",
    "layers/linear.cpp": '#include "gpunn/kernels/scale/scale.h"\n',
    "training/trainer.cpp": '#include "gpunn/layers/linear.h"\n#include "gpunn/io/csv.h"\n',
    "io/csv.cpp": '#include "gpunn/core/tensor.h"\n#include <nlohmann/json.hpp>\n',
    "models/mlp.cpp": '#include "gpunn/training/trainer.h"\n',
    "tools/main.cpp": '#include "gpunn/models/mlp.h"\nint main() { exit(1); }\n',
}


def errors_of(files):
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        for name, text in files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        tree = check_tree.Tree(root)
        tree.check()
        return tree


class CheckTree(unittest.TestCase):
    def assert_error(self, changes, expected):
        files = {**CORRECT, **changes}
        errors = errors_of({name: text for name, text in files.items() if text is not None}).errors
        self.assertTrue(any(expected in error for error in errors), f"no '{expected}' among {errors}")

    def test_correct_tree_has_no_errors(self):
        self.assertEqual(errors_of(CORRECT).errors, [])

    def test_arrows(self):
        for path, include in (
            ("core/a.cpp", "gpunn/kernels/scale/scale.h"),
            ("io/a.cpp", "gpunn/kernels/scale/scale.h"),
            ("io/a.cpp", "gpunn/training/trainer.h"),
            ("kernels/scale/scale.cpp", "gpunn/layers/linear.h"),
            ("layers/a.cpp", "gpunn/training/trainer.h"),
            ("layers/a.cpp", "gpunn/io/csv.h"),
            ("training/a.cpp", "gpunn/models/mlp.h"),
            ("models/a.cpp", "gpunn/kernels/scale/scale.h"),
        ):
            with self.subTest(path=path, include=include):
                self.assert_error({path: f'#include "{include}"\n'}, f"may not include {include}")
        self.assert_error({"models/a.cpp": "#include <cuda_runtime.h>\n"}, "may not include cuda_runtime.h")
        self.assert_error({"core/emulation/a.cpp": '#include "gpunn/core/tensor.h"\n'}, "stands on nothing")
        self.assert_error({"core/a.cpp": '#include "../io/csv.h"\n'}, "written from the root")
        self.assert_error({"core/a.cpp": '#include "tests/support/fakes.h"\n'}, "library code includes tests/")

    def test_headers(self):
        self.assert_error({"core/a.h": '#include "gpunn/core/b.cuh"\n'}, "includes device header")
        for library in ("fmt/format.h", "nlohmann/json.hpp", "cuda_runtime.h", "hwy/highway.h"):
            with self.subTest(library=library):
                self.assert_error({"core/a.h": f"#include <{library}>\n"}, f"public header includes {library}")

    def test_device_code_reaches_no_tensor_through_any_chain(self):
        self.assert_error({"kernels/scale/scale.cu": '#include "gpunn/kernels/scale/helper.cuh"\n',
                           "kernels/scale/helper.cuh": '#include "gpunn/core/op.h"\n',
                           "core/op.h": '#include "gpunn/core/tensor.h"\n'},
                          "device code reaches gpunn/core/tensor.h: kernels/scale/scale.cu -> "
                          "gpunn/kernels/scale/helper.cuh -> gpunn/core/op.h")

    def test_contents_of_kernels(self):
        for text, expected in (
            ("k<<<1, 2>>>();", "use launch()"),
            ("__constant__ float c[4];", "__constant__ memory"),
            ("auto g = cooperative_groups::this_grid();", "cooperative groups"),
            ("#include <cub/cub.cuh>", "CUB or Thrust"),
            ('asm volatile("nop");', "inline assembly"),
        ):
            with self.subTest(text=text):
                self.assert_error({"kernels/scale/scale.cu": text + "\n"}, expected)
        self.assert_error({"layers/a.cpp": 'void f() { asm("nop"); }\n'}, "inline assembly")
        vendor = {**CORRECT, "kernels/scale/scale_cub.cu": "#include <cub/cub.cuh>\n"}
        self.assertEqual(errors_of(vendor).errors, [])
        self.assert_error({"kernels/scale/scale_cub.cu": "k<<<1, 2>>>();\n"}, "use launch()")

    def test_library_code_does_not_end_the_process(self):
        for call in ("exit(1)", "std::abort()", "::_Exit(2)", "std::terminate()"):
            with self.subTest(call=call):
                self.assert_error({"core/a.cpp": f"void f() {{ {call}; }}\n"}, "ends the process")
        fine = {**CORRECT, "core/a.cpp": "void f(G& g) { g.exit(1); g.abort(); on_exit(2); }\n"}
        self.assertEqual(errors_of(fine).errors, [])

    def test_files_of_an_op(self):
        for path in ("kernels/scale/scale.h", "kernels/scale/scale_impl.h", "kernels/scale/scale.cpp",
                     "kernels/scale/scale_ref.cpp", "tests/kernels/scale_test.cpp"):
            with self.subTest(path=path):
                self.assert_error({path: None}, f"{path} is missing")
        self.assert_error({"kernels/CMakeLists.txt": ""}, "no line gpunn_op")

    def test_sizes_are_noted(self):
        long_file = errors_of({**CORRECT, "core/a.cpp": "int x;\n" * 501})
        self.assertTrue(any("501 lines, over 500" in note for note in long_file.notes), long_file.notes)
        body = "int f(int a,\n      int b) {\n" + "  a += b;\n" * 90 + "  return a;\n}\n"
        long_function = errors_of({**CORRECT, "core/a.cpp": f"namespace gpunn {{\n\n{body}\n}}  // namespace gpunn\n"})
        self.assertTrue(any("core/a.cpp:3: int f(int a, int b) { has 94 lines" in note for note in long_function.notes),
                        long_function.notes)
        kernel = errors_of({**CORRECT, "kernels/scale/scale.cu": "__global__ " + body})
        self.assertFalse(any("lines, over" in note or "has" in note for note in kernel.notes), kernel.notes)

    def test_comment_density_is_noted(self):
        def notes(comments):
            text = "int a; // why\n" * comments + "int b;\n" * (100 - comments)
            return [n for n in errors_of({**CORRECT, "core/a.cpp": text}).notes if "carry comments" in n]
        self.assertEqual(len(notes(1)), 1)
        self.assertEqual(len(notes(10)), 0)
        self.assertEqual(len(notes(40)), 1)


if __name__ == "__main__":
    unittest.main()

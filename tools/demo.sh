#!/usr/bin/env bash
# From a fresh checkout to a trained network: installs what is missing, builds, trains recipe fashion-mlp on the
# best device there is, and prints the test accuracy and the path of the report.
#   tools/demo.sh [option of "gpunn train"...]
# GPUNN_BUILD_DIR: where to build (build/release); GPUNN_BOOTSTRAP=0: install nothing.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [ "${GPUNN_BOOTSTRAP:-1}" = 1 ]; then tools/bootstrap.sh; fi

# CUDA kernels are compiled where both a compiler and a device for them are; elsewhere they would only cost time.
cuda=OFF
if [ -e /dev/nvidiactl ] || [ -e /dev/dxg ]; then cuda=AUTO; fi
build=${GPUNN_BUILD_DIR:-build/release}
cmake --preset release -B "$build" -DGPUNN_CUDA=$cuda >&2
cmake --build "$build" --target gpunn_tool >&2

result=$(mktemp)
trap 'rm -f "$result"' EXIT
"$build/bin/gpunn" train fashion-mlp --json "$@" >"$result"

python3 - "$result" <<'PYTHON'
import json
import sys

result = json.load(open(sys.argv[1], encoding="utf-8"))
accuracy = next(value for name, value in result["metrics"].items() if "accuracy" in name)
print(f"test accuracy: {100 * accuracy:.2f} %  (test loss {result['test_loss']:.4f}, {result['device']}, "
      f"{result['seconds']:.1f} s, {result['steps_per_second']:.0f} steps/s)")
print(f"figure:        {result['figure']}: {'reached' if result['reached'] else 'not reached'}")
print(f"report:        {result['report']}")
PYTHON

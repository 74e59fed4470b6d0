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

# Progress goes to stderr; the last lines on stdout are test accuracy, figure and the report's path.
"$build/bin/gpunn" train fashion-mlp "$@"

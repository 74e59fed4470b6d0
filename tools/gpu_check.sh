#!/usr/bin/env bash
# All there is to check and measure on a machine with a GPU, by one command; needs no network and no compiler.
#   tools/gpu_check.sh [--build DIR] [--out DIR] [--device cuda:0] [--quick] [--peer PYTHON]
# --build   a build tree with CUDA, made here or elsewhere (build/cuda, else build/release)
# --out     where results go (benchmarks/results/NAME-OF-THE-GPU)
# --quick   memcheck alone, without tests, shorter benchmarks (3 minutes at most; else 9)
# --peer    a Python with PyTorch and CUDA, for the benchmarks beside ours (python3 when it has them)
# In this order: what the machine is, parity of every op, the tests, compute-sanitizer (each of its tools over the small
# cases of every op; ops that the time does not allow are named in sanitizer.txt), benchmarks, PyTorch beside them
# (eager and in a CUDA graph; compiled too unless --quick), a recipe. A step that fails does not stop the others; rows that
# the time does not allow are named. Results are JSON (parity, bench, pytorch) and Markdown (README, bench). Exit status: 0 when all passed, else 1; 4 when there is no GPU.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2

build="" out="" device=cuda:0 quick=0 peer=python3
while [ $# -gt 0 ]; do
  case "$1" in
    --build) build=${2:?gpu_check.sh: --build needs a folder}; shift 2 ;;
    --out) out=${2:?gpu_check.sh: --out needs a folder}; shift 2 ;;
    --device) device=${2:?gpu_check.sh: --device needs a name}; shift 2 ;;
    --peer) peer=${2:?gpu_check.sh: --peer needs a program}; shift 2 ;;
    --quick) quick=1; shift ;;
    -h | --help) sed -n '2,12s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "gpu_check.sh: unknown option $1 (see --help)" >&2; exit 2 ;;
  esac
done
if [ -z "$build" ]; then
  for build in build/cuda build/release; do [ -x "$build/bin/gpunn" ] && break; done
fi
gpunn=$build/bin/gpunn
if [ ! -x "$gpunn" ]; then
  echo "gpu_check.sh: no $gpunn; build one with: cmake --preset cuda && cmake --build build/cuda" >&2
  exit 2
fi

info=$("$gpunn" info --json) || exit 1
name=$(python3 - "$device" "$info" <<'PYTHON'
import json, re, sys
for entry in json.loads(sys.argv[2])["devices"]:
    if entry["device"] == sys.argv[1] and not entry["problem"]:
        print(re.sub(r"[^a-z0-9]+", "-", entry["name"].lower()).strip("-"))
PYTHON
)
if [ -z "$name" ]; then
  echo "gpu_check.sh: $gpunn finds no usable $device; \`$gpunn info\` says why" >&2
  exit 4
fi
out=${out:-benchmarks/results/$name}
mkdir -p "$out" || exit 1
printf '%s\n' "$info" >"$out/info.json"

if [ "$quick" = 1 ]; then
  sanitizers=(memcheck) row_seconds=0.01 total=180
  parity_limit=40 sanitizer_limit=30 bench_limit=40 peer_limit=40 recipe_limit=20
  peer_options=(softmax --modes eager,graph)
else
  sanitizers=(memcheck racecheck initcheck synccheck) row_seconds=0.05 total=540
  parity_limit=120 tests_limit=90 sanitizer_limit=80 bench_limit=110 peer_limit=100 recipe_limit=30
  peer_options=()
fi
# Rows stop being begun early enough for the last one to end in time.
bench_budget=$((bench_limit - 12)) peer_budget=$((peer_limit - 25))
summary=()
failed=0

step() {  # NAME LIMIT FILE COMMAND...: output to FILE, one line of summary
  local name=$1 seconds=$2 file=$3 start=$SECONDS status
  shift 3
  echo "--- $name"
  if [ "$seconds" -gt $((total - SECONDS)) ]; then seconds=$((total - SECONDS)); fi
  if [ "$seconds" -lt 5 ]; then
    failed=$((failed + 1))
    summary+=("| $name | not run: the $total s are over | | |")
    return
  fi
  timeout --kill-after=5 "$seconds" "$@" >"$out/$file" 2>"$out/$file.err" </dev/null
  status=$?
  [ -s "$out/$file.err" ] || rm -f "$out/$file.err"
  local verdict=passed
  if [ "$status" = 124 ] || [ "$status" = 137 ]; then
    verdict="ran past $seconds s"
  elif [ "$status" != 0 ]; then
    verdict="FAILED ($status)"
  fi
  if [ "$status" != 0 ]; then
    failed=$((failed + 1))
    tail -n 5 "$out/$file.err" 2>/dev/null
  fi
  summary+=("| $name | $verdict | $((SECONDS - start)) s | $file |")
}

run_tests() {
  local program status=0
  for program in "$build"/tests/test_* "$build"/tests/*/test_*; do
    [ -x "$program" ] && [ -f "$program" ] || continue
    echo "=== ${program##*/}"
    GPUNN_SOURCE_DIR=$PWD "$program" --gtest_brief=1 || status=1
  done
  return $status
}

# The time is shared out evenly; what one tool leaves is there for the next.
sanitize() {  # SECONDS TOOL...
  local left=$1 tool start status=0
  shift
  while [ $# -gt 0 ]; do
    tool=$1 start=$SECONDS
    echo "=== $tool"
    compute-sanitizer --tool "$tool" --error-exitcode 9 "$gpunn" parity --device "$device" --most-elements 20000 \
      --budget $((left / $#)) || status=1
    left=$((left - (SECONDS - start)))
    if [ "$left" -lt 1 ]; then left=1; fi
    shift
  done
  return $status
}

export -f run_tests sanitize
export build gpunn device
if command -v nvidia-smi >/dev/null 2>&1; then
  step "machine" 10 machine.txt nvidia-smi -q -d CLOCK,POWER,MEMORY,ECC
fi
step "parity" "$parity_limit" parity.json "$gpunn" parity --device "$device" --json
if [ "$quick" = 0 ]; then step "tests" "$tests_limit" tests.txt bash -c run_tests; fi
if command -v compute-sanitizer >/dev/null 2>&1; then
  step "compute-sanitizer" "$sanitizer_limit" sanitizer.txt bash -c 'sanitize "$@"' sanitize $((sanitizer_limit * 3 / 4)) \
    "${sanitizers[@]}"
else
  summary+=("| compute-sanitizer | not on this machine | | |")
fi
step "benchmarks" "$bench_limit" bench.json "$gpunn" bench --device "$device" --seconds "$row_seconds" \
  --budget "$bench_budget" --json
rm -f "$out/pytorch.json"
if "$peer" -c 'import sys, torch; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
  step "PyTorch beside ours" "$peer_limit" pytorch.json "$peer" benchmarks/peers/op_rows.py "$gpunn" \
    ${peer_options[@]+"${peer_options[@]}"} --device cuda --rounds 1 --seconds "$row_seconds" --budget "$peer_budget" --json -
else
  summary+=("| PyTorch beside ours | no PyTorch with CUDA here | | |")
fi
step "table of benchmarks" 5 bench.md tools/bench_table.py "$out/bench.json" "$out/pytorch.json" --title "$name"
step "recipe fashion-mlp" "$recipe_limit" fashion-mlp.json "$gpunn" train fashion-mlp --device "$device" --quiet --json --run-dir "$out/run"
rm -rf "$out/run"

{
  echo "# $name"
  echo
  echo "Commit $(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["build"]["commit"])' "$out/info.json"), $(date -u +%Y-%m-%d), device $device."
  echo
  echo "| step | result | time | file |"
  echo "|---|---|---|---|"
  printf '%s\n' "${summary[@]}"
} >"$out/README.md"
cat "$out/README.md"
[ "$failed" = 0 ]

#!/usr/bin/env bash
# Builds and runs every test. Stages, in order:
#   tree      rules of the source tree, format, clang-tidy on what changed
#   asan      all tests, emulated CUDA, ASan and UBSan
#   tsan      tests labelled "race", emulated CUDA, TSan
#   release   optimised CPU build: all tests, package and consumer, then the demo
#   cuda      with nvcc: every kernel compiled, library and tests linked; with a GPU, its tests
# Options:
#   --only STAGE     that stage alone (may be repeated)
#   --jobs N         parallel jobs (number of cores)
#   --no-bootstrap   install nothing
# GPUNN_TIDY_SECONDS: time clang-tidy may take in all (90). GPUNN_TIDY_STRICT=1: its findings count as failures.
# GPUNN_BASE: commit that "changed" counts from.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 2

all_stages=(tree asan tsan release cuda)
stages=()
jobs=$(nproc 2>/dev/null || echo 2)
bootstrap=1
while [ $# -gt 0 ]; do
  case "$1" in
    --only)
      [[ " ${all_stages[*]} " == *" ${2:-} "* ]] || { echo "test.sh: stages are ${all_stages[*]}" >&2; exit 2; }
      stages+=("$2"); shift 2 ;;
    --jobs) jobs=${2:?test.sh: --jobs needs a number}; shift 2 ;;
    --no-bootstrap) bootstrap=0; shift ;;
    -h | --help) sed -n '2,14s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "test.sh: unknown option $1 (see --help)" >&2; exit 2 ;;
  esac
done
[ ${#stages[@]} -gt 0 ] || stages=("${all_stages[@]}")

if [ "$bootstrap" = 1 ]; then tools/bootstrap.sh --dev || exit 1; fi

# Real data beside the checkout serves the tests that want it; they say so when they skip without.
if [ -z "${GPUNN_TEST_DATA_DIR:-}" ] && [ -d ../shared/data ]; then
  GPUNN_TEST_DATA_DIR=$(cd ../shared/data && pwd)
  export GPUNN_TEST_DATA_DIR
fi
# Build trees of several modes compile the same text: paths relative to the checkout let ccache share it.
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1

passed=0
failed=0
failures=()
summary=()

record() {  # NAME STATUS: one check that is not a ctest run
  if [ "$2" = 0 ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    failures+=("$1")
    echo "FAILED: $1"
  fi
}

check() {  # NAME COMMAND...
  local name=$1 status
  shift
  echo "--- $name"
  "$@"
  status=$?
  record "$name" $status
  return $status
}

run_ctest() {  # STAGE BUILD_DIR OPTION...
  local stage=$1 build=$2 log line bad total cases
  shift 2
  log=$build/ctest.log
  echo "--- $stage: ctest $*"
  ctest --test-dir "$build" --output-on-failure --no-tests=error -j "$jobs" "$@" >"$log" 2>&1
  line=$(grep -E 'tests passed, [0-9]+ tests failed out of [0-9]+' "$log" | tail -n 1)
  if [ -z "$line" ]; then
    cat "$log"
    record "$stage: ctest" 1
    return
  fi
  bad=$(sed -E 's/.*passed, ([0-9]+) tests failed.*/\1/' <<<"$line")
  total=$(sed -E 's/.*out of ([0-9]+).*/\1/' <<<"$line")
  cases=$(sed -nE 's/^\[ *PASSED *\] ([0-9]+) tests?.*/\1/p' "$build/Testing/Temporary/LastTest.log" |
    awk '{ n += $1 } END { print n + 0 }')
  passed=$((passed + total - bad))
  failed=$((failed + bad))
  if [ "$bad" != 0 ]; then
    cat "$log"
    failures+=("$stage: $bad of $total ctest entries")
  else
    tail -n 3 "$log"
  fi
  echo "$stage: $((total - bad)) of $total ctest entries passed ($cases cases)"
}

configure_and_build() {  # STAGE PRESET BUILD_DIR TARGET [CMAKE_OPTION...]
  local stage=$1 preset=$2 build=$3 target=$4
  shift 4
  check "$stage: configure" cmake --preset "$preset" -B "$build" "$@" || return 1
  check "$stage: build" cmake --build "$build" --target "$target" -j "$jobs" || return 1
}

has_gpu() { [ -e /dev/nvidiactl ] || [ -e /dev/dxg ]; }
has_nvcc() { command -v nvcc >/dev/null 2>&1 || [ -x "${CUDA_HOME:-/usr/local/cuda}/bin/nvcc" ]; }

changed_since() {  # commit that this work starts from; the empty tree for a first commit
  local base
  if [ -n "${GPUNN_BASE:-}" ]; then echo "$GPUNN_BASE"; return; fi
  base=$(git merge-base HEAD origin/main 2>/dev/null)
  if [ -n "$base" ] && [ "$base" != "$(git rev-parse HEAD)" ]; then echo "$base"; return; fi
  git rev-parse --verify --quiet HEAD~1 || git hash-object -t tree /dev/null
}

stage_tree() {
  check "tree: check_tree" tools/check_tree.py
  if command -v clang-format-19 >/dev/null 2>&1; then
    check "tree: clang-format" tools/format.sh --check
  fi
  # What clang-tidy says is advice, unless GPUNN_TIDY_STRICT=1: which files it reads depends on the time it has.
  if command -v clang-tidy-19 >/dev/null 2>&1; then
    echo "--- tree: clang-tidy"
    if ! tidy_changed && [ "${GPUNN_TIDY_STRICT:-0}" = 1 ]; then record "tree: clang-tidy" 1; fi
  fi
}

# Reads the files that changed, as the emulated build compiles them, for at most GPUNN_TIDY_SECONDS.
tidy_changed() {
  local files=() file status=0 read_count=0 deadline=$((SECONDS + ${GPUNN_TIDY_SECONDS:-90}))
  while IFS= read -r file; do
    if [ -f "$file" ]; then files+=("$file"); fi
  done < <({ git diff --name-only "$(changed_since)" -- '*.cpp' '*.cu'
             git ls-files --others --exclude-standard '*.cpp' '*.cu'; } | sort -u)
  if [ ${#files[@]} = 0 ]; then echo "clang-tidy: nothing changed"; return 0; fi
  { cmake --preset asan && cmake --build build/asan --target gpunn_build_info; } >/dev/null || return 1
  local batch=()
  for file in "${files[@]}"; do
    grep -qF "/$file\"" build/asan/compile_commands.json || continue
    [ $SECONDS -lt $deadline ] || break
    batch+=("$file")
    read_count=$((read_count + 1))
    if [ ${#batch[@]} -ge "$jobs" ]; then tidy "${batch[@]}" || status=1; batch=(); fi
  done
  if [ ${#batch[@]} -gt 0 ]; then tidy "${batch[@]}" || status=1; fi
  echo "clang-tidy: read $read_count of ${#files[@]} changed files (those of this build, within the time)"
  return $status
}

tidy() {
  printf '%s\0' "$@" |
    xargs -0 -n 1 -P "$jobs" clang-tidy-19 --quiet -p build/asan --extra-arg=-Wno-unknown-warning-option 2>/dev/null
}

stage_asan() {
  configure_and_build asan asan build/asan all || return
  run_ctest asan build/asan
}

stage_tsan() {
  configure_and_build tsan tsan build/tsan gpunn_race_tests || return
  run_ctest tsan build/tsan -L '^race$'
}

stage_release() {
  local build=build/release
  if has_gpu; then build=build/release-cpu; fi  # there build/release is the demo's, with CUDA
  configure_and_build release release "$build" all -DGPUNN_CUDA=OFF || return
  run_ctest release "$build"
  check "release: demo" demo
}

# The demo as a user runs it: it must end, say how well it did, and leave a report behind.
demo() {
  local out report
  out=$(GPUNN_BOOTSTRAP=0 tools/demo.sh) || return 1
  echo "$out"
  report=$(sed -n 's/^report: //p' <<<"$out")
  [ -s "$report" ] && grep -q '^test accuracy: [0-9.]* %' <<<"$out"
}

stage_cuda() {
  if ! has_nvcc; then echo "cuda: no nvcc on this machine, nothing to do"; return; fi
  configure_and_build cuda cuda build/cuda all || return
  if has_gpu; then run_ctest cuda build/cuda; else echo "cuda: compiled and linked; no GPU here to run it on"; fi
}

for stage in "${stages[@]}"; do
  echo "=== $stage"
  start=$SECONDS
  "stage_$stage"
  summary+=("$(printf '%-8s %5d s' "$stage" $((SECONDS - start)))")
done

echo
printf '%s\n' "${summary[@]}" "$(printf '%-8s %5d s' total $SECONDS)"
if [ ${#failures[@]} -gt 0 ]; then printf 'FAILED: %s\n' "${failures[@]}"; fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]

#!/usr/bin/env bash
# Installs what building libgpunn needs and this machine lacks. Debian and Ubuntu: by apt-get, and only what is
# missing; elsewhere it lists what to install. CUDA is never installed: without nvcc the CPU build is made.
#   tools/bootstrap.sh          to build and run
#   tools/bootstrap.sh --dev    also what tools/test.sh checks with
set -euo pipefail

dev=0
for argument in "$@"; do
  case "$argument" in
    --dev) dev=1 ;;
    -h | --help) sed -n '2,5s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) echo "bootstrap.sh: unknown option $argument" >&2; exit 2 ;;
  esac
done

# Debian package, and how to tell that it is there however it was installed: a command, a header or a path.
needs="
cmake                 command cmake
ninja-build           command ninja
g++                   command g++
ccache                command ccache
pkg-config            command pkg-config
python3               command python3
git                   command git
zlib1g-dev            header  zlib.h
libpng-dev            header  png.h
libfmt-dev            header  fmt/format.h
libhwy-dev            header  hwy/highway.h
nlohmann-json3-dev    header  nlohmann/json.hpp
libcli11-dev          header  CLI/CLI.hpp
libgtest-dev          header  gtest/gtest.h
libgmock-dev          header  gmock/gmock.h
libdnnl-dev           header  oneapi/dnnl/dnnl.h
librapidcheck-dev     header  rapidcheck.h
libboost-context-dev  header  boost/context/detail/fcontext.hpp
dataset-fashion-mnist path    /usr/share/datasets/fashion-mnist/train-images-idx3-ubyte.gz
"
if [ "$dev" = 1 ]; then
  needs+="
clang-format-19       command clang-format-19
clang-tidy-19         command clang-tidy-19
valgrind              command valgrind
"
fi

is_there() {  # KIND WHAT
  case "$1" in
    command) command -v "$2" >/dev/null 2>&1 ;;
    path) [ -e "$2" ] ;;
    header)
      if command -v g++ >/dev/null 2>&1; then
        printf '#if !__has_include(<%s>)\n#error missing\n#endif\n' "$2" | g++ -x c++ -std=c++20 -E - >/dev/null 2>&1
      else
        [ -e "/usr/include/$2" ]
      fi ;;
  esac
}

list_missing() {
  while read -r package kind what; do
    [ -n "$package" ] || continue
    is_there "$kind" "$what" || echo "$package"
  done <<<"$needs"
}

missing=$(list_missing | tr '\n' ' ')
if [ -n "${missing// /}" ]; then
  if ! command -v apt-get >/dev/null 2>&1; then
    echo "bootstrap.sh: no apt-get here. Please install what these Debian packages hold, then run again:" >&2
    tr ' ' '\n' <<<"$missing" | sed 's/^/  /' >&2
    exit 1
  fi
  as_root=()
  if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
      echo "bootstrap.sh: not root and no sudo. As root: apt-get install $missing" >&2
      exit 1
    fi
    as_root=(sudo)
  fi
  apt_get() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
      -o Acquire::Retries=3 -o DPkg::Lock::Timeout=120 "$@" </dev/null
  }
  echo "bootstrap.sh: installing $missing" >&2
  updated=0
  for try in 1 2 3; do
    if [ "$updated" = 0 ] && apt_get update >&2; then updated=1; fi
    # shellcheck disable=SC2086  # a list of package names
    if apt_get install --no-install-recommends $missing >&2; then break; fi
    if [ "$try" = 3 ]; then
      echo "bootstrap.sh: could not install: $missing" >&2
      exit 1
    fi
    updated=0
    sleep $((try * 5))
  done
  missing=$(list_missing | tr '\n' ' ')
  if [ -n "${missing// /}" ]; then
    echo "bootstrap.sh: still missing after the install: $missing" >&2
    exit 1
  fi
fi

have=$(cmake --version | sed -n '1s/[^0-9]*\([0-9.]*\).*/\1/p')
if [ "$(printf '%s\n3.25\n' "$have" | sort -V | head -n 1)" != 3.25 ]; then
  echo "bootstrap.sh: CMake 3.25 or newer is needed, $have is installed" >&2
  exit 1
fi
gcc_major=$(g++ -dumpversion | cut -d. -f1)
if [ "$gcc_major" -lt 12 ]; then
  echo "bootstrap.sh: g++ 12 or newer is needed, $gcc_major is installed" >&2
  exit 1
fi

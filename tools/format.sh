#!/usr/bin/env bash
# Formats every C++ and CUDA source of the checkout with clang-format 19.
#   tools/format.sh            rewrites what differs
#   tools/format.sh --check    lists what differs and fails
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mode=(-i)
case "${1:-}" in
  "") ;;
  --check) mode=(--dry-run --Werror) ;;
  *) echo "format.sh: unknown option $1 (only --check)" >&2; exit 2 ;;
esac
# Files that were deleted but not yet committed are still listed.
git ls-files -z --cached --others --exclude-standard '*.h' '*.cpp' '*.cu' '*.cuh' |
  while IFS= read -r -d '' file; do if [ -f "$file" ]; then printf '%s\0' "$file"; fi; done |
  xargs -0 -r clang-format-19 "${mode[@]}"

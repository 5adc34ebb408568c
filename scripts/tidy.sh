#!/usr/bin/env bash
# Runs clang-tidy-19 over the production code, or over the files named.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

scripts/setup.sh --dev
cmake --preset debug >/dev/null
files=("$@")
if [[ ${#files[@]} -eq 0 ]]; then
  mapfile -t files < <(find base net proxy sidecar model_runtime examples -name '*.cc' | sort)
fi
printf '%s\0' "${files[@]}" | xargs -0 -n 4 -P 2 clang-tidy-19 -p build/debug --quiet

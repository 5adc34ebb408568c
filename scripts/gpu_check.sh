#!/usr/bin/env bash
# Checks and times on a GPU what cannot be shown without one, and prints one table for docs/gpu.md.
# Needs CUDA, CMake, ninja and a C++ compiler; nothing else of what Penstock needs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'TEXT'
usage: scripts/gpu_check.sh [--jobs N] [--build-only]
Exits with 0 if everything is as wanted, 1 if not, 3 if there is no GPU.
TEXT
}

jobs=$(nproc)
run=true
while [[ $# -gt 0 ]]; do
  case $1 in
    --jobs)
      [[ $# -ge 2 ]] || { usage >&2; exit 2; }
      jobs=$2
      shift 2
      ;;
    --build-only)
      run=false
      shift
      ;;
    -h | --help)
      usage
      exit 0
      ;;
    *)
      usage >&2
      exit 2
      ;;
  esac
done

build=build/gpu_check
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! cmake --preset cuda -B "$build" -DPENSTOCK_ONLY_MODEL_RUNTIME=ON >"$log" 2>&1 ||
  ! cmake --build "$build" -j "$jobs" --target gpu_check >"$log" 2>&1; then
  tail -n 60 "$log"
  echo "gpu_check: the build failed" >&2
  exit 1
fi
$run || exit 0

echo "$(date -u +%Y-%m-%d), $(nvcc --version 2>/dev/null | sed -n 's/.*release \([^,]*\),.*/CUDA \1/p')"
status=0
"$build/bin/gpu_check" || status=$?
[[ $status -ne 3 ]] || exit 3

sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
if [[ ! -x $sanitizer ]]; then
  echo "| compute-sanitizer | not installed here | clean | |"
elif "$sanitizer" --error-exitcode 9 "$build/bin/gpu_check" --small >"$log" 2>&1; then
  echo "| compute-sanitizer on small images | clean | clean | ok |"
else
  echo "| compute-sanitizer on small images | see below | clean | NOT |"
  tail -n 40 "$log"
  status=1
fi
exit "$status"

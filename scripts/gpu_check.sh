#!/usr/bin/env bash
# Checks and times on a GPU what cannot be shown without one, and prints one table for docs/gpu.md.
# Needs CUDA, CMake, ninja and a C++ compiler; nothing else of what Penstock needs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'TEXT'
usage: scripts/gpu_check.sh [--jobs N] [--build-only]
Exits with 0 if everything is as wanted, 1 if not, 3 if there is no GPU. A check that ends early, or
not within 45 seconds, is a row of the table, and the others still run. After the build all together
take less than 10 minutes, whatever hangs.
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
# The compiler is whichever the device's machine has, and may warn of what ours does not.
if ! cmake --preset cuda -B "$build" -DPENSTOCK_ONLY_MODEL_RUNTIME=ON -DPENSTOCK_WARNINGS_FAIL=OFF \
    >"$log" 2>&1 ||
  ! cmake --build "$build" -j "$jobs" --target gpu_check >"$log" 2>&1; then
  tail -n 60 "$log"
  echo "gpu_check: the build failed" >&2
  exit 1
fi
$run || exit 0

# A device that does not answer keeps nobody here.
bounded() { timeout --kill-after=5 "$1" "${@:2}"; }

echo "$(date -u +%Y-%m-%d), $("$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)" --version 2>/dev/null | sed -n 's/.*release \([^,]*\),.*/CUDA \1/p')"
# What times depend on; clocks as they are at rest.
gpu=${CUDA_VISIBLE_DEVICES:-0}
state=driver_version,clocks.sm,clocks.max.sm,clocks.mem,clocks.max.mem,power.limit
if state=$(bounded 5 nvidia-smi --id="${gpu%%,*}" --format=csv,noheader,nounits \
  --query-gpu="$state" 2>/dev/null); then
  IFS=', ' read -r driver clock most memory most_memory power <<<"$state"
  echo "driver $driver, clock $clock of at most $most MHz, memory $memory of $most_memory MHz, power limit $power W"
fi
ended=0
bounded 45 "$build/bin/gpu_check" || ended=$?
if [[ $ended -ne 0 ]]; then
  [[ $ended -eq 3 ]] || echo "gpu_check: ended with status $ended (124, 137: not within 45 seconds)" >&2
  exit $((ended == 3 ? 3 : 1))
fi
status=0
for check in matmul denoise memory overlap hand-over busy-share throughput runtime; do
  ended=0
  bounded 45 "$build/bin/gpu_check" "$check" || ended=$?
  if [[ $ended -gt 1 ]]; then
    echo "| $check | ended with status $ended (124, 137: not within 45 seconds) | | NOT |"
  fi
  [[ $ended -eq 0 ]] || status=1
done

sanitizer=$(command -v compute-sanitizer || echo /usr/local/cuda/bin/compute-sanitizer)
if [[ ! -x $sanitizer ]]; then
  echo "| compute-sanitizer | not installed here | clean | |"
elif bounded 90 "$sanitizer" --error-exitcode 9 "$build/bin/gpu_check" small >"$log" 2>&1; then
  echo "| compute-sanitizer on small images | clean | clean | ok |"
elif grep -qi "device not supported" "$log"; then
  echo "| compute-sanitizer | cannot watch this device | clean | |"
else
  echo "| compute-sanitizer on small images | see below | clean | NOT |"
  tail -n 40 "$log"
  status=1
fi
exit "$status"

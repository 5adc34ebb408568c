#!/usr/bin/env bash
# Runs the fuzz targets one after the other, with clang-19's libFuzzer under AddressSanitizer and
# UndefinedBehaviorSanitizer. New inputs of interest go to build/fuzz/found/TARGET; an input that
# breaks something stays in build/fuzz/crashes/TARGET: put it into tests/fuzz/corpus/TARGET together
# with the fix.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'TEXT'
usage: scripts/fuzz.sh [--seconds N] [--target NAME]…
  --seconds N    for each target (default: 60)
  --target NAME  only this one, a folder of tests/fuzz/corpus; may be repeated (default: all)
TEXT
}

seconds=60
targets=()
while (($#)); do
  case $1 in
    --seconds) seconds=${2:?--seconds needs a number}; shift 2 ;;
    --target) targets+=("${2:?--target needs a name}"); shift 2 ;;
    --help) usage; exit 0 ;;
    *) usage >&2; exit 2 ;;
  esac
done
[[ $seconds =~ ^[1-9][0-9]*$ ]] || { echo "fuzz: --seconds: expected a whole number, got $seconds" >&2; exit 2; }
command -v clang++-19 >/dev/null || { echo "fuzz: no clang++-19; run scripts/setup.sh --fuzz" >&2; exit 1; }

all=(tests/fuzz/corpus/*/)
all=("${all[@]%/}")
all=("${all[@]##*/}")
if ((${#targets[@]} == 0)); then
  targets=("${all[@]}")
fi
for target in "${targets[@]}"; do
  [[ -d tests/fuzz/corpus/$target ]] || { echo "fuzz: no target $target; there are: ${all[*]}" >&2; exit 2; }
done

cmake --preset fuzz
cmake --build --preset fuzz --target "${targets[@]/%/_fuzz}"

export ASAN_OPTIONS=detect_stack_use_after_return=1:strict_string_checks=1
export UBSAN_OPTIONS=print_stacktrace=1
failed=()
for target in "${targets[@]}"; do
  found=build/fuzz/found/$target
  crashes=build/fuzz/crashes/$target
  mkdir -p "$found" "$crashes"
  echo "== $target: $seconds s"
  "build/fuzz/bin/${target}_fuzz" -max_total_time="$seconds" -timeout=20 -rss_limit_mb=2048 \
    -print_final_stats=1 -artifact_prefix="$crashes/" "$found" "tests/fuzz/corpus/$target" \
    >"build/fuzz/$target.log" 2>&1 || failed+=("$target")
  grep -E '^(SUMMARY|==[0-9]+== ERROR|stat::number_of_executed_units|.*runtime error|.*promised)' \
    "build/fuzz/$target.log" || tail -n 3 "build/fuzz/$target.log"
done
if ((${#failed[@]})); then
  echo "fuzz: broken: ${failed[*]}; see build/fuzz/TARGET.log and build/fuzz/crashes/TARGET" >&2
  exit 1
fi

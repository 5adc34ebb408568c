#!/usr/bin/env bash
# Sets up, builds, and runs every test: all of them in the debug build, the unit, simulation and
# concurrency tests again under AddressSanitizer, and of those what has threads under ThreadSanitizer.
# The last line says how many passed and failed.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

usage() {
  cat <<'TEXT'
usage: scripts/test.sh [--preset debug|release|asan|tsan] [--filter REGEX] [--no-setup] [--jobs N]
  --preset    only this build (may be repeated); default: debug, asan and tsan
  --filter    only the tests whose name matches
  --no-setup  do not look at packages
  --jobs      how many compile at once, and with one more how many test; default: 2
TEXT
}

presets=()
filter=
setup=true
jobs=2
while [[ $# -gt 0 ]]; do
  case $1 in
    --preset | --filter | --jobs)
      [[ $# -ge 2 ]] || { usage >&2; exit 2; }
      case $1 in
        --preset) presets+=("$2") ;;
        --filter) filter=$2 ;;
        --jobs) jobs=$2 ;;
      esac
      shift 2
      ;;
    --no-setup)
      setup=false
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
[[ ${#presets[@]} -gt 0 ]] || presets=(debug asan tsan)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0
failed=0
failures=()

# What a preset leaves out: under the sanitizers only what they can find something in is run.
selection() {
  case $1 in
    asan | tsan) echo --label-regex 'unit|simulation|sanitizers' ;;
  esac
}

# ThreadSanitizer needs an address space that is not randomised too widely.
launcher() {
  if [[ $1 == tsan ]] && setarch "$(uname -m)" -R true 2>/dev/null; then
    echo setarch "$(uname -m)" -R
  fi
}

run_preset() {
  local preset=$1 log=$work/$1.log started=$SECONDS summary
  local -a select launch
  read -ra select <<<"$(selection "$preset")"
  read -ra launch <<<"$(launcher "$preset")"
  [[ -z $filter ]] || select+=(--tests-regex "$filter")
  echo "== $preset: build"
  if ! cmake --preset "$preset" >"$log" || ! cmake --build --preset "$preset" -j "$jobs" >"$log"; then
    tail -n 60 "$log"
    failed=$((failed + 1))
    failures+=("$preset: the build")
    return
  fi
  echo "== $preset: built in $((SECONDS - started)) s; test"
  started=$SECONDS
  # One more than there are cores, since most tests wait more than they compute.
  "${launch[@]}" ctest --preset "$preset" -j "$((jobs + 1))" --no-tests=error "${select[@]}" 2>&1 |
    tee "$log" || true
  echo "== $preset: tested in $((SECONDS - started)) s"
  summary=$(grep -E '^[0-9]+% tests passed, [0-9]+ tests? failed out of [0-9]+' "$log" || true)
  if [[ -z $summary ]]; then
    failed=$((failed + 1))
    failures+=("$preset: no test ran")
    return
  fi
  local bad all
  bad=$(sed -E 's/.*passed, ([0-9]+) tests? failed.*/\1/' <<<"$summary")
  all=$(sed -E 's/.*out of ([0-9]+).*/\1/' <<<"$summary")
  failed=$((failed + bad))
  passed=$((passed + all - bad))
  [[ $bad -eq 0 ]] || failures+=("$preset: $bad of $all tests")
}

if $setup; then
  scripts/setup.sh --test
fi
for preset in "${presets[@]}"; do
  run_preset "$preset"
done
for failure in "${failures[@]}"; do
  echo "failed: $failure"
done
echo "$passed passed, $failed failed"
[[ $failed -eq 0 && $passed -gt 0 ]]

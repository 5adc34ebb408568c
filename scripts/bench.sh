#!/usr/bin/env bash
# Builds release and measures Penstock beside HAProxy, nginx and nghttpx in one run on this machine:
# cost and latency, hand-over of a slot, the admission queue, the predict gate, memory. Prints Markdown tables.
#
#   scripts/bench.sh              everything, some 15 minutes
#   scripts/bench.sh --quick      the same in two minutes, rougher
#   scripts/bench.sh --section comparison|handover|queue|gate|python|memory
#   scripts/bench.sh --section comparison --workload "3 bytes, 64" --rounds 24
#   scripts/bench.sh --peers-only
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case " $* " in
  *" -h "* | *" --help "*)
    sed -n 's/^# \{0,1\}//p' "${BASH_SOURCE[0]}" | sed 1d
    exit 0
    ;;
esac

scripts/setup.sh --bench
if [[ " $* " != *" --peers-only "* ]]; then
  mkdir -p build
  cmake --preset release >build/configure.log
  cmake --build --preset release \
    --target penstock-proxy penstock-sidecar examples/all handover_replica queue_cost >build/bench-build.log ||
    { tail -n 40 build/bench-build.log >&2; exit 1; }
fi
exec /usr/bin/python3 tests/bench/bench.py --binaries build/release/bin "$@"

#!/bin/sh
# A worker for tests/fuzz/worker_frames_fuzz.cc. $1: the socket. Greets, waits for the first byte of a
# request, and says what the fuzzer wants.
cat "$FUZZ_GREETING" >&"$1"
head -c "$FUZZ_WAIT_FOR" <&"$1" >/dev/null
exec cat "$FUZZ_FRAMES" >&"$1"

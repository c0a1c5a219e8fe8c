#!/usr/bin/env bash
# The long suite: every quick test again under ASan and UBSan, at each instruction set that this machine has, the tests
# labelled `long`, then minutes of fuzzing (FUZZ_SECONDS a target, 60 unless told).
set -euo pipefail
cd "$(dirname "$0")/.."
jobs=$(nproc)
ctest --test-dir build --output-on-failure -j "$jobs" -L long --no-tests=ignore
for level in ref avx2 avx512 amx neon dotprod i8mm; do
  NG_CPU=$level build/nanogrid doctor > /dev/null 2>&1 || continue
  echo "== NG_CPU=$level"
  NG_CPU=$level ctest --test-dir build --output-on-failure -j "$jobs" -L unit
done
cmake -S . -B build-asan -G Ninja -DNG_SANITIZE=ON -DCMAKE_BUILD_TYPE=RelWithDebInfo > /dev/null
cmake --build build-asan -j "$jobs"
echo "== ASan and UBSan"
ctest --test-dir build-asan --output-on-failure -j "$jobs" -LE 'no-asan' --timeout 900
scripts/fuzz.sh "${FUZZ_SECONDS:-60}"

#!/usr/bin/env bash
# fuzz.sh [SECONDS=300] [TARGET..]: runs the fuzz targets (libFuzzer, ASan, UBSan) one after the other, starting from
# fuzz/corpus; what they find new stays in build-fuzz/corpus/TARGET, crashes in build-fuzz/crashes.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=${1:-300}; shift || true
NANOGRID_EXTRA_PACKAGES="clang libclang-rt-14-dev" scripts/deps.sh
cmake -S . -B build-fuzz -G Ninja -DNG_FUZZ=ON -DNG_SANITIZE=ON -DNG_WERROR=OFF -DCMAKE_C_COMPILER=clang > /dev/null
targets=${*:-$(cd fuzz && ls fuzz_*.c | sed 's/^fuzz_//; s/\.c$//')}
failed=0
for t in $targets; do
  cmake --build build-fuzz --target "fuzz_$t" > build-fuzz/build.log 2>&1 || { tail -n 20 build-fuzz/build.log; exit 1; }
  mkdir -p "build-fuzz/corpus/$t" build-fuzz/crashes
  if build-fuzz/"fuzz_$t" -max_total_time="$seconds" -max_len=16384 -timeout=10 -rss_limit_mb=2048 \
      -artifact_prefix="build-fuzz/crashes/$t-" "build-fuzz/corpus/$t" "fuzz/corpus/$t" > "build-fuzz/$t.log" 2>&1; then
    echo "fuzz_$t: $(grep -o 'Done [0-9]* runs' "build-fuzz/$t.log" || tail -n 1 "build-fuzz/$t.log"), no finding"
  else
    echo "fuzz_$t: FOUND something, see build-fuzz/$t.log"; failed=1
  fi
done
exit $failed

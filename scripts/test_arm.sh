#!/usr/bin/env bash
# test_arm.sh: builds for 64-bit ARM and runs under qemu-aarch64: at the first of LEVELS (all: neon, which is a Cortex-A72's,
# dotprod, i8mm; ref runs too) the whole unit suite, at each the tests that multiply; at each the program itself on the golden models and,
# where NANOGRID_FIXTURES is set, on the conformance fixtures, whose bytes must be those of x86 (tests/golden/bits.json); at the last also on
# SmolLM2-135M where it is already here.  Emulated times mean nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
packages="gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user"
for p in jansson yaml sqlite3 utf8proc curl4-openssl microhttpd cmocka; do packages="$packages lib$p-dev:arm64"; done
if ! command -v aarch64-linux-gnu-gcc > /dev/null || [ ! -e /usr/lib/aarch64-linux-gnu/libcmocka.so ]; then
  if [ "$(id -u)" != 0 ]; then
    echo "Please type: sudo dpkg --add-architecture arm64 && sudo apt-get update && sudo apt-get install -y $packages" >&2
    exit 1
  fi
  dpkg --add-architecture arm64
  apt-get update > /dev/null
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages > /tmp/nanogrid-arm-apt.log 2>&1 < /dev/null ||
    { tail -n 20 /tmp/nanogrid-arm-apt.log >&2; exit 1; }
fi
cmake -S . -B build-arm -G Ninja -DCMAKE_TOOLCHAIN_FILE=cmake/aarch64.cmake > /dev/null
cmake --build build-arm -j "$(nproc)"
export QEMU_LD_PREFIX=/
printf '#!/bin/sh\nexec qemu-aarch64 "%s" "$@"\n' "$PWD/build-arm/nanogrid" > build-arm/emulated
chmod +x build-arm/emulated
levels=${LEVELS:-neon dotprod i8mm}
which=(-L 'unit|fuzz')
real=0
for level in $levels; do
  if ! NG_CPU=$level qemu-aarch64 build-arm/nanogrid doctor > /dev/null 2>&1; then
    echo "FAIL this emulator does not offer $level; LEVELS='..' chooses others" >&2
    exit 1
  fi
  echo "== NG_CPU=$level: unit tests, $SECONDS s after the start"
  NG_CPU=$level ctest --test-dir build-arm --output-on-failure -j "$(nproc)" "${which[@]}" "$@"
  which=(-R '^unit/test_(bert|decoder_head|generate|kernel|llama|prefix|repack|scheduler|session|thread_choice)$|^fuzz/blocks$')
  [ "$level" = "${levels##* }" ] && real=1
  for t in engine embed bits; do
    echo "== NG_CPU=$level: tests/cli/test_$t.py, $SECONDS s after the start"
    more=(NANOGRID_BITS_REAL=$real)
    [ $t = embed ] && more=(-u MINILM_DIR XDG_CACHE_HOME=/nonexistent) # without the real MiniLM, whose quantisation takes many minutes here
    env "${more[@]}" NANOGRID_FETCH=0 NG_CPU=$level NANOGRID="$PWD/build-arm/emulated" python3 tests/cli/test_$t.py || [ $? = 77 ]
  done
done
echo "== all passed at $levels, $SECONDS s"

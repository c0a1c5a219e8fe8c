#!/usr/bin/env bash
# test_arm.sh: builds for 64-bit ARM and runs under qemu-aarch64 all unit tests at the first level, those that multiply at
# each level that the emulated processor offers (LEVELS, all: ref neon dotprod i8mm), then the program itself on the golden models and, where NANOGRID_FIXTURES is set, the conformance fixtures.
# It checks that results are the same bits as on x86 (the golden files are); emulated times mean nothing.
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
which=(-L 'unit|fuzz')
for level in ${LEVELS:-ref neon dotprod i8mm}; do
  NG_CPU=$level qemu-aarch64 build-arm/nanogrid doctor > /dev/null 2>&1 || { echo "== $level: not offered by this emulator"; continue; }
  echo "== NG_CPU=$level"
  NG_CPU=$level ctest --test-dir build-arm --output-on-failure -j "$(nproc)" "${which[@]}" "$@"
  which=(-R '^unit/test_(bert|decoder_head|generate|kernel|llama|prefix|repack|scheduler|session|thread_choice)$|^fuzz/blocks$')
  for t in engine embed; do
    echo "== tests/cli/test_$t.py, NG_CPU=$level"
    # without the real MiniLM, whose quantisation takes many minutes here
    env -u MINILM_DIR -u PEERS_DIR XDG_CACHE_HOME=/nonexistent NANOGRID_FETCH=0 NG_CPU=$level NANOGRID=$PWD/build-arm/emulated python3 tests/cli/test_$t.py || [ $? = 77 ]
  done
done

#!/usr/bin/env bash
# bench.sh BUILD: speed of what this machine can measure without anything beside the project; see docs/performance.md.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1
"$build/nanogrid" serve --listen 127.0.0.1:0 2> "$build/bench-serve.log" &
server=$!
trap 'kill $server 2> /dev/null || true' EXIT
for _ in $(seq 100); do
  address=$(sed -n 's/.*listening on http:\/\/\([^ /]*\).*/\1/p' "$build/bench-serve.log" | head -n 1)
  [ -n "$address" ] && break
  sleep 0.05
done
"$build/load" --port "${address##*:}" --rate 100 --seconds 10
"$build/roofline"
NANOGRID="$PWD/$build/nanogrid" bench/engine || echo "some rows are missed or missing: see the table"

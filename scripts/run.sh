#!/usr/bin/env bash
# run.sh BUILD [ONCE]: starts `nanogrid serve` on a free port (or $NANOGRID_LISTEN), sends one real request of every
# task, prints the answers; ONCE=1 stops then, else the server stays up until Ctrl-C.
set -euo pipefail
build=$1 once=${2:-}

# In a network namespace of its own (unshare -n) the loopback interface is down at first; where it is up, or is not ours to change, this changes nothing.
ip link set lo up 2> /dev/null || python3 - 2> /dev/null << 'PY' || true
import fcntl, socket, struct
fcntl.ioctl(socket.socket(), 0x8914, struct.pack("16sh14x", b"lo", 0x49))  # SIOCSIFFLAGS: up, loopback, running
PY

log=$(mktemp)
"$build/nanogrid" serve --listen "${NANOGRID_LISTEN:-127.0.0.1:8080}" 2> "$log" &
server=$!
trap 'kill $server 2> /dev/null || true; wait $server 2> /dev/null || true; rm -f "$log"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

for _ in $(seq 100); do
  address=$(sed -n 's/.*listening on http:\/\/\([^ /]*\).*/\1/p' "$log" | head -n 1)
  [ -n "$address" ] && break
  kill -0 $server 2> /dev/null || {
    if [ -z "${NANOGRID_LISTEN:-}" ] && grep -qi 'in use' "$log"; then # the usual port is taken: any other will do
      NANOGRID_LISTEN=127.0.0.1:0 exec "$0" "$@"
    fi
    cat "$log" >&2; exit 1
  }
  sleep 0.05
done
[ -n "${address:-}" ] || { echo "the server did not come up:" >&2; cat "$log" >&2; exit 1; }
"$build/first_answers" "http://$address"
if [ "$once" = 1 ]; then exit 0; fi
echo
echo "The grid is up: http://$address/ (dashboard), http://$address/v1 (OpenAI API).  Ctrl-C stops it."
wait $server

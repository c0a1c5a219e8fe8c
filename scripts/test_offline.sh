#!/usr/bin/env bash
# Runs the quick suite under strace and holds it to its promise: without an upstream nothing here talks to anybody.
# Prints whom each program connected or sent to; any address but loopback and local sockets is a failure.  What a test's own set-up fetches from
# a package registry (a wheel, once, into a cache) is fetched before, by an untraced run of those tests.
set -euo pipefail
build=$1
NANOGRID_EXTRA_PACKAGES=strace scripts/deps.sh
unset NANOGRID_DATA NANOGRID_FIXTURES PEERS_DIR
ctest --test-dir "$build" -R test_openai > /dev/null || true
log=$(mktemp)
trap 'rm -f "$log"' EXIT
strace -f -Y -qq --seccomp-bpf --signal=none -e trace=connect,sendto,sendmsg,sendmmsg -o "$log" \
  ctest --test-dir "$build" -LE long -j "$(nproc)" --timeout 900 --output-on-failure
python3 - "$log" << 'PY'
import collections, ipaddress, re, sys

seen, outside = collections.Counter(), 0
for line in open(sys.argv[1], errors="replace"):
    program = re.match(r"\d+<([^>]*)>", line)
    for address in re.findall(r'inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)"', line):
        ip = ipaddress.ip_address(address[0] or address[1])
        local = ip.is_loopback or ip.is_unspecified
        outside += not local
        seen[program[1] if program else "?", "loopback" if local else str(ip)] += 1
    if "AF_UNIX" in line: seen[program[1] if program else "?", "local socket"] += 1
for (program, to), n in sorted(seen.items()): print("%-16s %-16s %d" % (program, to, n))
assert any(to == "loopback" for _, to in seen), "nothing was seen at all: does strace work here?"
print("%d connections outside loopback" % outside)
sys.exit(outside > 0)
PY

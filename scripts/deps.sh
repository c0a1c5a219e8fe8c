#!/usr/bin/env bash
# Makes sure that what the build needs is there: installs missing Debian packages when it may (root, or sudo without a
# password), else prints the one line to type.
set -euo pipefail
packages="gcc make cmake ninja-build pkg-config python3 libjansson-dev libyaml-dev libsqlite3-dev libutf8proc-dev
  libcurl4-openssl-dev libmicrohttpd-dev libcmocka-dev ${NANOGRID_EXTRA_PACKAGES:-}"
command -v dpkg-query > /dev/null || exit 0   # not Debian: the build names what it lacks
missing=
for p in $packages; do
  case $p in
    gcc) command -v cc > /dev/null && continue ;;
    make | cmake | pkg-config | python3) command -v "$p" > /dev/null && continue ;;
    ninja-build) command -v ninja > /dev/null && continue ;;
  esac
  dpkg-query -W -f='${Status}' "$p" 2> /dev/null | grep -q 'ok installed' || missing="$missing $p"
done
[ -z "$missing" ] && exit 0
if [ "$(id -u)" = 0 ]; then as_root=; elif sudo -n true 2> /dev/null; then as_root=sudo; else
  echo "nanogrid needs Debian packages that are not installed.  Please type:" >&2
  echo "  sudo apt-get install -y$missing" >&2
  exit 1
fi
echo "installing:$missing" >&2
export DEBIAN_FRONTEND=noninteractive
$as_root apt-get install -y --no-install-recommends $missing > /tmp/nanogrid-apt.log 2>&1 < /dev/null ||
  { $as_root apt-get update > /tmp/nanogrid-apt.log 2>&1 < /dev/null &&
    $as_root apt-get install -y --no-install-recommends $missing >> /tmp/nanogrid-apt.log 2>&1 < /dev/null; } ||
  { tail -n 20 /tmp/nanogrid-apt.log >&2; exit 1; }

#!/usr/bin/env bash
# man.sh NANOGRID DIR: writes nanogrid.1 and one page a verb, all made from the option tables.
set -euo pipefail
nanogrid=$1 dir=$2
mkdir -p "$dir"
"$nanogrid" help --man > "$dir/nanogrid.1"
for verb in $("$nanogrid" help | sed -n 's/^  \([a-z-]*\)  .*/\1/p'); do
  "$nanogrid" help --man "$verb" > "$dir/nanogrid-$verb.1"
done

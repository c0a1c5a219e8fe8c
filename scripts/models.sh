#!/usr/bin/env bash
# models.sh BUILD [RECIPE..]: trains the shipped packages again and writes their cards.  Needs NANOGRID_DATA.
set -euo pipefail
cd "$(dirname "$0")/.."
build=$1; shift
[ -n "${NANOGRID_DATA:-}" ] || { echo "models: set NANOGRID_DATA to the folder of the data sets (see docs/recipes.md)" >&2; exit 1; }
for recipe in ${*:-recipes/*.yaml}; do
  echo "== $recipe"
  if grep -q '^package:' "$recipe"; then
    "$build/nanogrid" train "$recipe"
    "$build/nanogrid" eval "$recipe" --card
  else
    "$build/nanogrid" train "$recipe" --out "$build/trained/$(basename "$recipe" .yaml)"
    "$build/nanogrid" eval "$recipe"
  fi
done

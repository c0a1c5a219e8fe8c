#!/usr/bin/env bash
# models.sh BUILD [RECIPE..]: trains the shipped packages again, in place, and writes their cards; recipes of no package go to
# BUILD/trained.  Needs NANOGRID_DATA; encoder-en also MINILM_DIR, the folder of all-MiniLM-L6-v2 (config.json,
# model.safetensors, vocab.txt, tokenizer.json).  Minutes for the linear models, less than an hour on two cores for the encoder.
set -euo pipefail
export LC_ALL=C
cd "$(dirname "$0")/.."
build=$1; shift
[ -n "${NANOGRID_DATA:-}" ] || { echo "models: set NANOGRID_DATA to the folder of the data sets (see docs/recipes.md)" >&2; exit 1; }
for recipe in ${*:-recipes/*.yaml}; do
  echo "== $recipe"
  name=$(sed -n 's/^name: *//p' "$recipe" | head -1)
  if grep -q '^task: extract' "$recipe"; then
    "$build/nanogrid" eval "$recipe" --card # rules, alone or with a head that other recipes train: nothing is trained
  elif [ -d "models/$name" ]; then
    verb=train
    if grep -q '^distill:' "$recipe"; then verb=distill; fi
    if grep -q '^lora:' "$recipe"; then verb=finetune; fi
    "$build/nanogrid" "$verb" "$recipe"
    "$build/nanogrid" eval "$recipe" --card
  else
    "$build/nanogrid" train "$recipe" --out "$build/trained/$name"
    "$build/nanogrid" eval "$recipe" --dir "$build/trained/$name"
  fi
done

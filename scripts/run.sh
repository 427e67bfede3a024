#!/bin/sh
# From a fresh clone to a finished experiment: installs what is missing, builds the release binary and meta-trains
# configs/quickstart.yaml (well under a minute). Each call makes a new run directory.
# Usage: scripts/run.sh [CONFIG [mixflow train options]]
set -eu
cd "$(dirname "$0")/.."

scripts/build.sh

config=${1:-configs/quickstart.yaml}
[ $# -eq 0 ] || shift
name=$(basename "$config" .yaml)
out=runs/$name-$(date +%Y%m%d-%H%M%S)
[ ! -e "$out" ] || out=$out-$$
exec build/release/mixflow train "$config" --out "$out" "$@"

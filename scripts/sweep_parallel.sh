#!/bin/sh
# A sweep by GNU parallel: as many processes at once as there are shards, one thread each, on this machine; with
# PARALLEL="--sshloginfile hosts --wd ." on several machines that share the directory.
# Usage: scripts/sweep_parallel.sh SHARDS SWEEP.yaml DIR [OPTION...]
set -eu

[ $# -ge 3 ] || {
  echo "usage: $0 SHARDS SWEEP.yaml DIR [OPTION...]" >&2
  exit 2
}
command -v parallel >/dev/null || {
  echo "$0: GNU parallel is not installed (apt-get install parallel)" >&2
  exit 2
}
shards=$1 sweep=$2 directory=$3
shift 3
mixflow=${MIXFLOW:-$(cd "$(dirname "$0")/.." && pwd)/build/release/mixflow}
seq "$shards" | parallel -j "$shards" --line-buffer \
  "$mixflow" sweep "$sweep" --out "$directory" --threads 1 --shard "{}/$shards" "$@"

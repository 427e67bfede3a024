#!/bin/sh
# Time and memory of one meta-gradient in mixflow, JAX and PyTorch: same function, weights and data, one program after the
# other in each round. Installs what is missing (JAX and PyTorch into build/venv), builds the release binary, writes
# data/runs/<date>-<cpu>/peers.{csv,md,json}. Usage: scripts/bench_peers.sh [--workloads fewshot,3M,58M,..] [--rounds N]
# [--precision f32,bf16] [--threads N] (--help lists all).
set -eu
cd "$(dirname "$0")/.."

case " $* " in
  *" --help "* | *" -h "*) exec python3 scripts/bench_peers.py --help ;;
esac
scripts/build.sh
exec python3 scripts/bench_peers.py "$@"

#!/bin/sh
# Reproduces the tables and figures of the MixFlow-MG paper on a CPU: installs what is missing, builds the release binary,
# plans at the paper's shapes, measures at shapes that fit. Writes results/: README.md sets the paper's headline claims
# beside what was found; CSV, Markdown and plots for each experiment; report.html. Under an hour on 2 cores; --quick: under
# 5 minutes.
# Usage: scripts/reproduce_paper.sh [--quick] [--out DIR] [--only NAME,NAME]
set -eu
cd "$(dirname "$0")/.."

case " $* " in
  *" --help "* | *" -h "*) exec python3 scripts/reproduce_paper.py --help ;;
esac
scripts/build.sh
exec python3 scripts/reproduce_paper.py "$@"

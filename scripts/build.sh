#!/bin/sh
# Installs what is missing and builds the release binary, build/release/mixflow.
set -eu
cd "$(dirname "$0")/.."

scripts/setup.sh
cmake --preset release
cmake --build --preset release --target mixflow

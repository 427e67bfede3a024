#!/bin/sh
# From a fresh clone to tested: installs what is missing, then configures, builds and tests the release preset and the
# dev preset (AddressSanitizer, UndefinedBehaviorSanitizer, graph checks, warnings are errors).
# Usage: scripts/test.sh [PRESET...]     (default: release dev)
set -eu
cd "$(dirname "$0")/.."

scripts/setup.sh
[ $# -gt 0 ] || set -- release dev
for preset; do
  cmake --preset "$preset"
  cmake --build --preset "$preset"
done
for preset; do
  echo "== tests of the $preset preset"
  ctest --preset "$preset" --parallel "$(nproc)"
done

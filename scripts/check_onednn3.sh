#!/bin/sh
# Compiles the one file that includes oneDNN's headers against those of oneDNN 3.x, which Debian does not ship yet.
# Needs pip; the headers are downloaded into a temporary directory. Usage: scripts/check_onednn3.sh [VERSION]
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT

package=onednn-devel${1:+==$1}
python3 -m pip download --quiet --no-deps --dest "$dir" "$package"
python3 -m zipfile -e "$dir"/*.whl "$dir/wheel"
header=$(find "$dir/wheel" -path '*/oneapi/dnnl/dnnl.h' | head -n 1)
[ -n "$header" ] || { echo "$package holds no oneapi/dnnl/dnnl.h" >&2; exit 1; }
include=$(dirname "$(dirname "$(dirname "$header")")")

grep -h 'define DNNL_VERSION_[MP]' "$include/oneapi/dnnl/dnnl_version.h"
${CXX:-g++} -std=c++20 -fopenmp -Wall -Wextra -Werror -fsyntax-only -isystem "$include" -I "$root/src" \
  "$root/src/kernels/onednn.cpp"
echo "onednn.cpp compiles with $package"

#!/bin/sh
# Installs what building, testing and the Python scripts need, and nothing that is there already: Debian 12 and newer,
# Ubuntu 24.04 and newer. Asks for root (by sudo) only when something is missing.
# Usage: scripts/setup.sh
set -eu

packages="g++ cmake ninja-build ccache
  libdnnl-dev libhwy-dev libcli11-dev libyaml-cpp-dev libspdlog-dev nlohmann-json3-dev zlib1g-dev libxxhash-dev libboost-dev
  doctest-dev
  gnuplot-nox
  python3 python3-pip python3-venv ca-certificates"
[ "$(dpkg --print-architecture 2>/dev/null)" != amd64 ] || packages="$packages libasmjit-dev"

installed() {
  [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
  echo "$0: no apt-get here; mixflow needs what these Debian packages hold:" $packages >&2
  exit 0 # they may be there in another way: CMake says what is not
fi

missing=
for package in $packages; do
  installed "$package" || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

echo "installing:$missing"
as_root=
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || {
    echo "$0: run as root: apt-get install$missing" >&2
    exit 1
  }
  as_root=sudo
fi
apt() {
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get -q "$@"
}
apt update || { # mirrors are sometimes caught in the middle of an update
  sleep 5
  apt update
}
apt install -y --no-install-recommends $missing
